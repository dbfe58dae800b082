"""What a killed process leaves to the next one, on every tier: what `docs/restarts.md` says, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from fix_faults import Case, recover
from interlock import Interlock, plane, runs
from interlock.app import assembly
from interlock.kernel import Caller, InterlockError, SystemClock, Uuid7Ids
from interlock.testing import ManualClock, github
from restart_victim import INTENT, MANIFEST, POLICY, chosen

PAGE = Path(__file__).parents[2] / "docs" / "restarts.md"
TIERS = ("memory", "sqlite-file", "postgres")


def promised(tier: str) -> dict[str, bool]:
    """What the page says: each row's yes or no in the tier's column."""
    table = PAGE.read_text().partition("## The store")[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    rows = [row for row in cells if row[1 + TIERS.index(tier)] in {"yes", "no"}]
    return {row[0]: row[1 + TIERS.index(tier)] == "yes" for row in rows}


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def case(
    tier: str, request: pytest.FixtureRequest, fault_server: github.GitHub, monkeypatch: pytest.MonkeyPatch
) -> Case:
    if tier == "memory":
        repo = "acme/forgotten"
        fault_server.add_repository(repo)
        return Case(url=":memory:", through=":memory:", repo=repo, server=fault_server, proxy=None)
    maker: Callable[[], Case] = request.getfixturevalue(
        "make_postgres_case" if tier == "postgres" else "make_sqlite_case"
    )
    return maker()


def killed_at_work(case: Case, folder: Path) -> dict[str, Any]:
    """What it said before its last call, in the middle of which it was killed."""
    path = Path(__file__).parents[1] / "restart_victim.py"
    process = subprocess.Popen(
        [sys.executable, str(path), case.url, case.server.url, case.repo, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    case.fault("hold")
    process.stdin.write(b"go\n")
    process.stdin.flush()
    case.server.wait_held()
    process.kill()
    process.communicate()
    case.server.release()
    return told


async def survivors(case: Case, folder: Path, told: dict[str, Any]) -> dict[str, bool]:
    """What a process that comes later finds."""
    clock = ManualClock(SystemClock().now())
    kept, file = chosen(case.url, case.server.url, folder)
    parts = await assembly.assemble(
        kept, file=file, clock=clock, ids=Uuid7Ids(clock), create=True, rules=POLICY, more_connectors=[MANIFEST]
    )
    il = Interlock(parts, Caller(actor="operator"))
    ask = {"repo": case.repo, "title": "one"}
    try:
        found = dict[str, bool]()
        evidence = await il.evidence()
        found["evidence of what is done outside of runs"] = bool(evidence)
        settled = await recover(il)
        at_work = [each.run for each in settled if json.loads(each.run.input_json)["title"] == "at work"]
        found["a call that was at work: it is settled, and not repeated"] = [run.state for run in at_work] == [
            runs.State.COMPLETED
        ]
        found["runs with their decisions, sends, receipts and events"] = any(
            each.run.run_id == told["done"] and each.verdict.ok for each in settled
        )
        found["outputs and other artifacts"] = await told_again(il, told)
        found["idempotency keys"] = False
        found["approvals"] = False
        found["what budgets have counted"] = False
        connections = [each.name for each in await il.connections.list()]
        found["connections and their sealed credentials"] = "restarted" in connections
        if not connections:
            await il.connections.connect_token("acme", "ghp_a_token_for_the_fault_tests", base_url=case.server.url)
        with suppress(InterlockError):
            outcome = await il.approvals.execute(told["approval"])
            found["approvals"] = outcome.state is runs.State.COMPLETED
        only = "restarted" if "restarted" in connections else None
        spent = await il.invoke("acme.issue.create", {**ask, "title": "more"}, cost={"cents": 1}, connection=only)
        found["what budgets have counted"] = spent.state is runs.State.SHED
        again = await il.invoke("acme.issue.create", ask, idempotency_key="one", connection=only)
        found["idempotency keys"] = again.replayed
        authority = plane.AuthorityDecision.model_validate_json(json.dumps(told["authority"]))
        verifier = parts.wiring.authorizer.verifier()
        refused = verifier.spend(
            authority, intent_digest=INTENT, audience=assembly.NODE_ID, target_class=plane.LOCAL_HTTP
        )
        found["authority that was issued inside the process"] = refused is None
        return found
    finally:
        with anyio.CancelScope(shield=True):
            await assembly.close(parts)


async def told_again(il: Interlock, told: dict[str, Any]) -> bool:
    with suppress(InterlockError):
        return (await il.runs.outcome(told["done"])).output == told["output"]
    return False


def test_what_a_killed_process_leaves_is_what_the_page_says(tier: str, case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    told = killed_at_work(case, folder)
    at_work = case.effects()
    found = anyio.run(survivors, case, folder, told)
    assert found == promised(tier)
    # Held in the middle of the third: two had been done, and nothing of it is done again.
    assert at_work == 2
