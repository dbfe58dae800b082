"""Work that is left for later, and its worker killed: at every commit, and around every request that leaves."""

import signal
from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

from fault_kills import Killed, commits_of, kill_at
from fault_world import hand_over
from fix_faults import Case, Child, settle
from interlock import runs
from interlock.kernel import SystemClock
from interlock.testing import ManualClock

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

MakeCase = Callable[[], Case]
FLOWS = ("handled", "later")


async def come_to(case: Case) -> tuple[str, int]:
    """What comes of it once another worker is there: the state of the run that was submitted, and the effects."""
    async with case.watch(ManualClock(SystemClock().now() + timedelta(hours=1))) as il:
        await hand_over(il)
        found = [run for run in await il.runs.list() if run.parent_run_id is None]
        assert await il.dispatch.list() == []
    assert len(found) <= 1
    return (found[0].state.value if found else "nothing", case.effects())


@pytest.mark.parametrize("flow", FLOWS)
def test_a_kill_at_every_commit(child: Child, make_case: MakeCase, flow: str) -> None:
    commits = commits_of(child, make_case(), flow)
    assert len(commits) >= 3, commits
    killed = [
        kill_at(child, make_case(), flow, when, number)
        for number in range(1, len(commits) + 1)
        for when in ("before", "after")
    ]
    settle(*(each.case for each in killed))
    found = {each.boundary: anyio.run(come_to, each.case) for each in killed}
    assert set(found.values()) == {("nothing", 0), ("completed", 1)}, found


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("kind", ["hold_before", "hold", "late"])
def test_a_kill_around_the_request(child: Child, make_case: MakeCase, flow: str, kind: str) -> None:
    case = make_case()
    case.fault(kind)
    child.start(case.order(flow))
    child.go()
    case.server.wait_held()
    child.send(signal.SIGKILL)
    assert child.finish().exit == -signal.SIGKILL
    if kind == "late":
        case.server.release()
    [killed] = [Killed(case, kind)]
    for each in settle(killed.case)[0]:
        assert each.run.state in (runs.State.RETRY_SCHEDULED, runs.State.COMPLETED)
    assert anyio.run(come_to, case) == ("completed", 1)
