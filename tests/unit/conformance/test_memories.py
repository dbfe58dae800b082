"""The memory suite tells a provider that lies, hangs, dies or answers with something else, and goes on."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest

from interlock import conformance
from interlock.testing import memory as kit

pytestmark = [pytest.mark.anyio, pytest.mark.faults]  # providers on trial are processes

GETS = "core-what-is-remembered-is-got"
FINDS = "core-what-is-remembered-is-found-at-once"
SAYS = "core-it-says-who-it-is"

ODD_ONES = """
import os, sys, time
import anyio
from interlock import memory
from interlock.adapters.memory import InProcess

class Liar(InProcess):
    name = "liar"
    claims = frozenset({"turn_hooks"})

class Modest(InProcess):
    name = "modest"
    withheld = frozenset({"history", "consolidate"})

class Blocks(InProcess):
    name = "blocks"
    async def remember(self, scope, draft):
        time.sleep(3_600)

class Waits(InProcess):
    name = "waits"
    async def remember(self, scope, draft):
        await anyio.sleep_forever()

class Shapes(InProcess):
    name = "shapes"
    async def get(self, scope, record_id):
        return {"text": "a dictionary"}

class Trips(InProcess):
    name = "trips"
    async def remember(self, scope, draft):
        return {}["no such key"]

class Dies(InProcess):
    name = "dies"
    async def remember(self, scope, draft):
        os._exit(9)

class Talks(InProcess):
    name = "talks"
    async def remember(self, scope, draft):
        print("this is no answer")
        return await super().remember(scope, draft)

class Leaks(InProcess):
    name = "leaks"
    async def retrieve(self, scope, query):
        found = await super().retrieve(memory.Scope(tenant=scope.tenant), query)
        return found.changed(scope=scope)

class Closed(InProcess):
    name = "closed"
    @classmethod
    async def open(cls, config, *, clock, ids):
        raise memory.ProviderUnavailable("nobody is there")
"""


@pytest.fixture(autouse=True, scope="module")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("site")
    names = ("liar", "modest", "blocks", "waits", "shapes", "trips", "dies", "talks", "leaks", "closed")
    entries = "".join(f"{name} = odd_ones:{name.title()}\n" for name in names)
    info = folder / "odd-1.0.dist-info"
    info.mkdir()
    (folder / "odd_ones.py").write_text(ODD_ONES)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[interlock.memory]\n{entries}gone = no_such_module:Provider\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


async def test_a_lie_about_capabilities_is_a_failure():
    report = await conformance.check_memory("liar", only=[GETS, SAYS])
    assert (report.finding(GETS).verdict, report.finding(SAYS).verdict) == ("passed", "failed")
    assert "turn_hooks" in report.finding(SAYS).detail
    assert dict(report.levels)["core"] == "not kept"


async def test_what_is_not_offered_is_no_failure():
    report = await conformance.check_memory("modest", levels=["lifecycle"])
    assert report.passed
    skipped = {each.detail for each in report.findings if each.verdict == "skipped"}
    assert {"not offered: history", "not offered: consolidate"} <= skipped
    (told,) = dict(report.levels).values()
    held, cases = report.count(conformance.Verdict.PASSED) - 1, len(report.findings) - 1  # without "opens"
    assert 0 < held < cases
    assert told == f"kept as far as it is offered: {held} of {cases}"


async def test_what_hangs_is_killed_and_after_some_cases_tried_no_more():
    report = await conformance.check_memory("blocks", only=[str(case) for case in kit.CASES[:4]], patience=1)
    told = [(each.verdict, each.detail) for each in report.findings if each.check_id != "opens"]
    assert told[:3] == [("failed", "it did not end within 1 seconds, and was killed")] * 3
    assert told[3] == ("skipped", "not tried: the provider had hung or died in 3 cases")


async def test_what_waits_for_ever_is_told_by_the_operation():
    report = await conformance.check_memory("waits", only=[GETS], patience=2)
    assert "waits did not answer to remember within 1 seconds" in report.finding(GETS).detail


async def test_what_a_provider_raises_is_told_with_its_place():
    report = await conformance.check_memory("trips", only=[GETS])
    told = report.finding(GETS).detail
    assert "trips failed at remember with KeyError, raised at odd_ones.py:" in told
    assert "(KeyError: 'no such key')" in told


async def test_what_dies_takes_nothing_with_it():
    report = await conformance.check_memory("dies", only=[GETS, SAYS])
    assert report.finding(GETS).detail == "its process died"
    assert report.finding(SAYS).verdict == "passed"


async def test_wrong_shapes_and_other_scopes_are_told():
    report = await conformance.check_memory("shapes", only=[GETS])
    assert "a dict where a Record is due" in report.finding(GETS).detail
    report = await conformance.check_memory("leaks", levels=["core"])
    assert not report.passed
    assert any("of another scope" in each.detail for each in report.findings)


async def test_what_it_prints_is_nobodys_answer():
    assert (await conformance.check_memory("talks", only=[GETS])).passed


async def test_what_cannot_be_had_is_told():
    with pytest.raises(conformance.UnknownSubject, match="there is no memory provider"):
        await conformance.check_memory("nobody")
    with pytest.raises(conformance.SubjectBroken, match="no_such_module"):
        await conformance.check_memory("gone")
    with pytest.raises(conformance.UnknownSubject, match="takes no configuration"):
        await conformance.check_memory("memory", {"path": "x"})
    with pytest.raises(conformance.UnknownSubject, match="no level"):
        await conformance.check_memory("memory", levels=["best"])
    with pytest.raises(conformance.UnknownSubject, match="no case"):
        await conformance.check_memory("memory", only=["core-none"])
    report = await conformance.check_memory("closed", only=[GETS])
    assert (report.finding("opens").verdict, report.finding(GETS).verdict) == ("failed", "skipped")
    assert "nobody is there" in report.finding("opens").detail


async def test_a_provider_inside_another_has_storage_of_its_own():
    inner = {"name": "sqlite", "config": {"path": "{folder}/inner.db", "dimensions": 16}}
    report = await conformance.check_memory("cached", {"inner": inner}, only=[GETS, FINDS])
    assert report.passed


@pytest.mark.parametrize("name", ["memory", "liar", "closed"])
async def test_a_report_is_what_its_schema_says(name: str):
    schema = json.loads((Path(__file__).parents[3] / "schemas" / "conformance-report" / "v1.json").read_text())
    report = await conformance.check_memory(name, only=[GETS, SAYS])
    jsonschema_rs.validate(schema, report.record())


async def test_each_case_has_storage_of_its_own(tmp_path: Path):
    asked = {"path": f"{tmp_path}/{{case}}.db", "dimensions": 16}
    report = await conformance.check_memory("sqlite", asked, only=[GETS, FINDS])
    assert report.passed
    assert len([name for name in os.listdir(tmp_path) if name.endswith(".db")]) == 3
