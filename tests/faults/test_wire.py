"""A wire that breaks in every way, for writes that create, change and delete, done or not done behind it.

All of them end with the effect there exactly once, and with a packet that says how that was found out.
"""

import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
import anyio.to_thread
import pytest

from fault_world import TOKEN, connector
from fix_faults import Case, Settled, recover
from interlock import Interlock, runs
from interlock.kernel import JSON, InterlockError, SystemClock

pytestmark = pytest.mark.anyio

HURRIED = connector(timeout=5.0).manifest
"""For peers that hang."""

KINDS = ("cut_before", "cut_answer", "reset", "hang", "late")


@dataclass(frozen=True, slots=True)
class Write:
    """A write, and which requests at the service it is."""

    capability: str
    match: str
    input: Mapping[str, JSON]


WRITES = {
    "create": Write("acme.issue.create", "POST /repos/{}/issues", {"title": "one"}),
    "update": Write("acme.issue.close", "PATCH /repos/{}/issues/1", {"number": 1}),
    "delete": Write("acme.ref.delete", "DELETE /repos/{}/git/refs/heads/old", {"ref": "old"}),
}


@dataclass(slots=True)
class Cut:
    """One write whose wire breaks."""

    case: Case
    repo: str
    kind: str
    write: Write
    said: str = ""

    @property
    def match(self) -> str:
        return self.write.match.format(self.repo)


def prepare(case: Case, name: str, write: str, kind: str, *, apply: bool) -> Cut:
    """A repository with what the write needs, and the fault."""
    repo = f"{case.repo}-{name}"
    case.server.add_repository(repo)
    if write == "update":
        case.server.add_issues(repo, 1)
    if write == "delete":
        sha = ask(case, f"/repos/{repo}/git/ref/heads/main")["object"]["sha"]
        ask(case, f"/repos/{repo}/git/refs", {"ref": "refs/heads/old", "sha": sha})
    cut = Cut(case, repo, kind, WRITES[write])
    case.server.fault(kind, match=cut.match, apply=apply)
    return cut


def ask(case: Case, path: str, body: Mapping[str, JSON] | None = None) -> dict[str, dict[str, str]]:
    """Ask the service by ourselves."""
    request = urllib.request.Request(
        case.server.url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {TOKEN}", "user-agent": "tests", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


async def make(il: Interlock, cut: Cut) -> None:
    try:
        outcome = await il.invoke(cut.write.capability, {"repo": cut.repo, **cut.write.input})
        cut.said = outcome.state.value
    except InterlockError as error:
        cut.said = error.code


class LateClock(SystemClock):
    """The machine's clock; whoever waits begins to once what comes late has come."""

    def __init__(self) -> None:
        self.all_is_there = anyio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.all_is_there.wait()
        await super().sleep(seconds)


@pytest.mark.parametrize("apply", [True, False])
async def test_a_wire_that_breaks(make_case: Callable[[], Case], apply: bool) -> None:
    case, clock = make_case(), LateClock()
    names = [(write, kind) for write in WRITES for kind in KINDS]
    cuts = {f"{write} {kind}": prepare(case, f"{write}-{kind}", write, kind, apply=apply) for write, kind in names}
    late = [cut.match for cut in cuts.values() if cut.kind == "late"]

    def release() -> None:
        """The clients are gone, the effects come later: before the service's settling time is over."""
        case.server.wait_held(len(late))
        case.server.release()
        while apply and not all(case.server.effects(match) for match in late):
            pass

    async def come() -> None:
        await anyio.to_thread.run_sync(release)
        clock.all_is_there.set()

    async with case.open(manifest=HURRIED, clock=clock) as il:
        async with anyio.create_task_group() as group:
            group.start_soon(come)
            for cut in cuts.values():
                group.start_soon(make, il, cut)
        found = {settled.run.input_json: settled for settled in await recover(il)}
    stands = {name: (cut.said, case.server.effects(cut.match)) for name, cut in cuts.items()}
    assert stands == dict.fromkeys(cuts, ("completed", 1))
    assert len(found) == len(cuts)
    assert all(honest(settled) for settled in found.values())


async def test_an_answer_that_nobody_can_read(make_case: Callable[[], Case]) -> None:
    """It says that the write was done, and not what came of it: that is read at the service, and nothing is written again."""
    case = make_case()
    case.fault("garbage")
    async with case.open() as il:
        outcome = await il.invoke("acme.issue.create", {"repo": case.repo, "title": "one"})
        [settled] = await recover(il)
    assert (outcome.state, case.effects()) == (runs.State.COMPLETED, 1)
    assert settled.verdict.ok
    assert len(settled.attempts) == 1


def honest(settled: Settled) -> bool:
    """The packet verifies, and the ledger says that the first write was in doubt, and that reading settled it."""
    assert settled.verdict.ok, settled.verdict
    assert settled.run.state is runs.State.COMPLETED
    return any(send.purpose is runs.Purpose.RECONCILE for send in settled.sends)
