"""SIGKILL at every boundary of the flow: before and after each commit, and around each request that leaves.

The commits are not listed here: a dry run counts them, so a commit that is new in the flow is killed at, too. Whatever
happens, the service has seen what was promised and never more, and every packet verifies.
"""

import signal
from collections.abc import Callable

import anyio
import pytest

from fault_kills import Killed, commits_of, kill_at
from fix_faults import Case, Child, settle

MakeCase = Callable[[], Case]
Stand = tuple[str, int]
"""A run's state and how often something was changed at the service; `nothing` if the ledger has no run."""

PROMISED: dict[str, set[Stand]] = {
    "read": {("nothing", 0), ("completed", 0)},
    "create": {("nothing", 0), ("completed", 1)},
    "keyed": {("nothing", 0), ("completed", 1)},
    "approved": {("nothing", 0), ("held", 0), ("completed", 1)},
    # Nobody can look up what happened, so a person is asked, also if it was nothing.
    "blind": {("nothing", 0), ("waiting", 0), ("waiting", 1), ("completed", 1)},
    "pair": {("nothing", 0), ("waiting", 0), ("waiting", 1), ("waiting", 2), ("completed", 2)},
    "settled_pair": {("nothing", 0), ("waiting", 1), ("completed", 2)},
}
"""All that may come of a kill at a commit. Each of these does occur."""


def stands(killed: list[Killed]) -> dict[str, Stand]:
    """How each case stands after recovery."""
    found: dict[str, Stand] = {}
    for each, settled in zip(killed, settle(*(each.case for each in killed)), strict=True):
        assert len(settled) <= 1, each
        found[each.boundary] = (settled[0].run.state.value if settled else "nothing", each.case.effects())
        if settled and settled[0].run.error:
            print(each.boundary, settled[0].run.error)  # shown when the test fails
    return found


@pytest.mark.parametrize("flow", sorted(PROMISED))
def test_a_kill_at_every_commit(child: Child, make_case: MakeCase, flow: str) -> None:
    commits = commits_of(child, make_case(), flow)
    assert len(commits) >= 4, commits
    killed = [
        kill_at(child, make_case(), flow, when, number)
        for number in range(1, len(commits) + 1)
        for when in ("before", "after")
    ]
    found = stands(killed)
    assert set(found.values()) - PROMISED[flow] == set(), found
    assert PROMISED[flow] - set(found.values()) == set(), found
    if flow == "keyed":
        for each in killed:
            anyio.run(ask_again, each.case)


async def ask_again(case: Case) -> None:
    """The same request under the same key: what is done is told again, what was lost is done now."""
    async with case.open() as il:
        before = [run.run_id for run in await il.runs.list()]
        outcome = await il.invoke("acme.issue.create", {"repo": case.repo, "title": "one"}, idempotency_key="one")
        assert outcome.replayed == bool(before)
        assert outcome.run_id in (before or [outcome.run_id])
        assert outcome.output == {"number": 1, "title": "one"}
        assert len(await il.runs.list()) == case.effects() == 1


SENDS: dict[tuple[str, str, str], Stand] = {
    # flow, whose request, what happens to it while the process dies
    ("create", "issues", "hold_before"): ("completed", 1),
    ("create", "issues", "hold"): ("completed", 1),
    ("create", "issues", "late"): ("completed", 1),
    ("keyed", "issues", "hold_before"): ("completed", 1),
    ("keyed", "issues", "hold"): ("completed", 1),
    ("keyed", "issues", "late"): ("completed", 1),
    ("approved", "issues", "hold_before"): ("completed", 1),
    ("approved", "issues", "hold"): ("completed", 1),
    ("approved", "issues", "late"): ("completed", 1),
    ("blind", "issues", "hold_before"): ("waiting", 0),
    ("blind", "issues", "hold"): ("waiting", 1),
    ("blind", "issues", "late"): ("waiting", 1),
    ("read", "issues", "hold_before"): ("completed", 0),
    ("read", "issues", "hold"): ("completed", 0),
    ("pair", "issues", "hold_before"): ("waiting", 0),
    ("pair", "issues", "hold"): ("waiting", 1),
    ("pair", "issues/1/comments", "hold_before"): ("waiting", 1),
    ("pair", "issues/1/comments", "hold"): ("waiting", 2),
    ("settled_pair", "issues", "hold_before"): ("completed", 2),
    ("settled_pair", "issues", "hold"): ("waiting", 1),
    ("settled_pair", "issues/1/comments", "hold_before"): ("waiting", 1),
    ("settled_pair", "issues/1/comments", "hold"): ("completed", 2),
    ("settled_pair", "issues/1/comments", "late"): ("completed", 2),
}


def test_a_kill_around_every_send(child: Child, make_case: MakeCase) -> None:
    killed: list[Killed] = []
    for flow, path, kind in SENDS:
        case = make_case()
        case.fault(kind, "GET" if flow == "read" else "POST", path)
        child.start(case.order(flow))
        child.go()
        case.server.wait_held()
        child.send(signal.SIGKILL)
        assert child.finish().exit == -signal.SIGKILL
        if kind == "late":  # the effect comes when nobody is there any more to hear of it
            case.server.release()
        killed.append(Killed(case, f"{flow}, {path}: {kind}"))
    assert stands(killed) == {f"{flow}, {path}: {kind}": stand for (flow, path, kind), stand in SENDS.items()}
