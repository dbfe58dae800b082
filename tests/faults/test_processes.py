"""Several processes at once, and processes that freeze: one effect, and whoever comes too late is told so."""

import contextlib
import signal
import sqlite3
from collections.abc import Callable

import anyio

from fault_world import AGENT, LEASE, REVIEWER
from fix_faults import Case, Child, Settled, settle
from interlock import runs
from interlock.kernel import SystemClock
from interlock.runs import AttemptState
from interlock.testing import ManualClock

MakeCase = Callable[[], Case]
TOO_LATE = {"stale_run", "ownership_lapsed"}


def completed(settled: list[Settled]) -> Settled:
    """The one run, done."""
    assert [each.run.state for each in settled] == [runs.State.COMPLETED]
    return settled[0]


def admission(child: Child, case: Case) -> int:
    """Which commit of the flow `create` admits the run."""
    child.start(case.order("create"))
    if case.proxy is not None:
        case.proxy.arm()
    child.go()
    report = child.finish()
    assert "came_to" in report.said, report
    seen = report.said["commits"] if case.proxy is None else case.proxy.seen
    return 1 + next(number for number, label in enumerate(seen) if "admit run" in label or "insert runs" in label)


def thaw(child: Child) -> str:
    """Let it go on, after longer than its lease, and hear what it then says."""
    child.pass_time(LEASE + 1)
    child.send(signal.SIGCONT)
    report = child.finish()
    assert report.exit == 0, report
    return report.said.get("error") or "came_to"


def test_an_owner_that_freezes_while_its_request_is_under_way(child: Child, make_case: MakeCase) -> None:
    case = make_case()
    case.fault("hold")
    child.start(case.order("create"))
    child.go()
    case.server.wait_held()
    child.send(signal.SIGSTOP)
    run = completed(settle(case)[0])
    assert [attempt.state for attempt in run.attempts] == [AttemptState.LOST, AttemptState.COMPLETED]
    case.server.release()
    assert thaw(child) in TOO_LATE
    assert completed(settle(case)[0]).run == run.run
    assert case.effects() == 1


def test_an_owner_that_freezes_between_its_admission_and_its_send(child: Child, make_case: MakeCase) -> None:
    number = admission(child, make_case())
    case = make_case()
    if case.proxy is None:
        child.start(case.order("create", signal=signal.SIGSTOP, when="after", commit=number))
    else:
        frozen = case.proxy.freeze(lambda: child.send(signal.SIGSTOP))
        child.start(case.order("create"))
        case.proxy.arm("after", number, frozen)
    child.go()
    child.wait("stopped")
    run = completed(settle(case)[0])
    assert case.effects() == 1
    if case.proxy is not None:
        case.proxy.thaw()
    assert thaw(child) in TOO_LATE
    assert completed(settle(case)[0]).run == run.run
    assert case.effects() == 1


async def stop_it(case: Case) -> None:
    """Ask for the run to be stopped: recovery then reads what happened, and sends nothing itself."""
    async with case.watch(ManualClock(SystemClock().now())) as il:
        [run] = await il.runs.list()
        await il.runs.cancel(run.run_id)


def test_an_owner_that_wakes_up_after_recovery_read_that_nothing_happened(child: Child, make_case: MakeCase) -> None:
    """The hard race: "not there" is on record, and the send that would belie it is still about to be made."""
    number = admission(child, make_case())
    case = make_case()
    if case.proxy is None:
        child.start(case.order("create", signal=signal.SIGSTOP, when="after", commit=number))
    else:
        child.start(case.order("create"))
        case.proxy.arm_statement(r"FROM leases\b", case.proxy.freeze(lambda: child.send(signal.SIGSTOP)))
    child.go()
    child.wait("stopped")
    anyio.run(stop_it, case)
    [run] = settle(case)[0]
    assert (run.run.state, case.effects()) == (runs.State.FAILED, 0)
    if case.proxy is not None:
        case.proxy.thaw()
    assert thaw(child) in TOO_LATE
    [after] = settle(case)[0]
    assert (after.run, after.attempts, after.sends) == (run.run, run.attempts, run.sends)
    assert case.effects() == 0


def test_an_owner_that_freezes_while_it_fetches_its_credential(child: Child, make_postgres_case: MakeCase) -> None:
    """The last moment before the request: its hold has been checked, and no byte has left."""
    case = make_postgres_case()
    assert case.proxy is not None
    child.start(case.order("create"))
    case.proxy.arm_statement(r"FROM leases\b", case.proxy.freeze(lambda: child.send(signal.SIGSTOP)))
    child.go()
    child.wait("stopped")
    run = completed(settle(case)[0])
    assert case.effects() == 1
    case.proxy.thaw()
    assert thaw(child) in TOO_LATE
    assert completed(settle(case)[0]).run == run.run
    assert case.effects() == 1


def test_an_owner_that_freezes_before_it_saves_the_outcome(child: Child, make_postgres_case: MakeCase) -> None:
    number = admission(child, make_postgres_case()) + 1
    case = make_postgres_case()
    assert case.proxy is not None
    child.start(case.order("create"))
    case.proxy.arm("before", number, case.proxy.freeze(lambda: child.send(signal.SIGSTOP)))
    child.go()
    child.wait("stopped")
    run = completed(settle(case)[0])
    case.proxy.thaw()  # the outcome travels on, too late
    assert thaw(child) in TOO_LATE
    assert completed(settle(case)[0]).run == run.run
    assert case.effects() == 1


def test_two_processes_with_the_same_keys(child: Child, other_child: Child, make_case: MakeCase) -> None:
    case, times = make_case(), 15
    both = (child, other_child)
    for each in both:
        each.start(case.order("many_keys", times=times))
    for each in both:
        each.go()
    told, told_too = (each.wait("came_to") for each in both)
    for each in both:
        assert each.finish().exit == 0
    assert told == told_too
    assert [each["output"]["title"] for each in told] == [str(number) for number in range(times)]
    assert {each["state"] for each in told} == {"completed"}
    assert len({each["run_id"] for each in told}) == times == case.effects()
    assert {each.run.run_id for each in settle(case)[0]} == {each["run_id"] for each in told}


def test_two_processes_execute_one_held_run(child: Child, other_child: Child, make_case: MakeCase) -> None:
    case, times, both = make_case(), 5, (child, other_child)
    for number in range(times):
        approval_id = anyio.run(hold_and_approve, case, f"{number}")
        for each in both:
            each.start(case.order("execute", approval_id=approval_id))
        for each in both:
            each.go()
        reports = [each.finish() for each in both]
        assert [report.exit for report in reports] == [0, 0]
        done = [report.said["came_to"] for report in reports if "came_to" in report.said]
        refused = [report.said["error"] for report in reports if "error" in report.said]
        assert [outcome["state"] for outcome in done] == ["completed"], reports
        assert len(refused) == 1
        assert refused[0] in {"already_spent", "run_not_held"}
    assert case.effects() == times
    settled = settle(case)[0]
    assert [each.run.state for each in settled] == [runs.State.COMPLETED] * times
    assert all(len(each.attempts) == 1 for each in settled)


async def hold_and_approve(case: Case, title: str) -> str:
    async with case.open() as il:
        held = await il.as_caller(AGENT).invoke("acme.issue.create", {"repo": case.repo, "title": title})
        assert held.state is runs.State.HELD
        assert held.approval_id is not None
        await il.as_caller(REVIEWER).approvals.approve(held.approval_id)
        return held.approval_id


def test_a_clock_that_jumps_while_the_request_is_under_way(child: Child, make_case: MakeCase) -> None:
    for seconds in (3600.0, -3600.0):
        case = make_case()
        case.fault("hold")
        child.start(case.order("create", timeout=30.0))
        child.go()
        case.server.wait_held()
        child.jump(seconds)
        case.server.release()
        report = child.finish()
        assert report.exit == 0, report
        assert report.said.get("came_to", {}).get("state") == "completed" or report.said.get("error"), report
        assert completed(settle(case)[0])
        assert case.effects() == 1


def test_a_live_owner_whose_clock_falls_back_is_left_alone(child: Child, make_sqlite_case: MakeCase) -> None:
    case = make_sqlite_case()
    case.fault("hold_before")
    child.start(case.order("create"))
    child.go()
    case.server.wait_held()
    child.jump(-3600.0)
    anyio.run(watch_it_live, child, case)
    case.server.release()
    assert child.finish().exit == 0
    assert completed(settle(case)[0])
    assert case.effects() == 1


async def watch_it_live(child: Child, case: Case) -> None:
    """Two of its leases long; it beats three times in each."""
    clock = ManualClock(SystemClock().now())
    async with case.watch(clock) as il:
        for _ in range(6):
            assert await il.sweep() == []
            beat(child, case)
            clock.advance(LEASE / 3)
        assert await il.sweep() == []


def test_a_dead_owner_whose_clock_ran_ahead_is_recovered(child: Child, make_sqlite_case: MakeCase) -> None:
    case = make_sqlite_case()
    case.fault("hold")
    child.start(case.order("create"))
    child.go()
    case.server.wait_held()
    child.jump(3600.0)
    beat(child, case)
    child.send(signal.SIGKILL)
    child.finish()
    assert completed(settle(case)[0])
    assert case.effects() == 1


def beat(child: Child, case: Case) -> None:
    """Let the process renew its lease once, and go back to sleep until it is due again."""
    beaten, slept = beats(case), child.naps
    child.pass_time(LEASE / 3)
    while beats(case) == beaten or child.naps == slept:
        assert child.alive


def beats(case: Case) -> int:
    """How often the owners have renewed their leases."""
    with contextlib.closing(sqlite3.connect(case.url)) as session:
        return session.execute("SELECT sum(beat) FROM owners").fetchone()[0]
