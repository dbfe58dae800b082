"""What becomes of turns of agents that were killed: another process goes on with each, and a server has counted what was done."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import anyio

import fault_agents
from fault_agents import CLASSES, REVIEWER, Counting
from fault_kills import Killed, commits_of, kill_at
from fix_faults import Case, Child
from interlock import agents, runs
from interlock.app import Interlock
from interlock.kernel import SystemClock
from interlock.testing import ManualClock

FLOW = "agent_turn"
ONCE = ("dedupe", "reconcile", "unsafe_once")
ASKED = len(fault_agents.SCRIPT)


def kill_at_commits(
    child: Child, make_case: Callable[[], Case], counted: Counting, when: str, chosen: Callable[[int], Iterable[int]]
) -> None:
    """Kill a turn at those of its commits, and go on with each. `chosen` is told how many commits it has."""

    def case() -> Case:
        return replace(make_case(), service_url=counted.url)

    commits = commits_of(child, case(), FLOW)
    assert len(commits) >= 15, commits
    killed = [kill_at(child, case(), FLOW, when, number) for number in chosen(len(commits))]
    anyio.run(all_finished, killed, counted)


async def all_finished(killed: list[Killed], counted: Counting) -> None:
    limiter = anyio.CapacityLimiter(4)

    async def one(each: Killed) -> None:
        async with limiter:
            turn, _ = await finished(each.case, counted)
            check(each.case, counted, each.boundary, turn)

    async with anyio.create_task_group() as tasks:
        for each in killed:
            tasks.start_soon(one, each)


async def finished(case: Case, counted: Counting) -> tuple[agents.harness.Turn | None, int]:
    """The turn, gone on with by another process until it has ended, and how often a person had to say what they saw."""
    async with case.watch(ManualClock(SystemClock().now())) as il:
        il.agents.offer(*fault_agents.OPERATIONS)
        while any(each.state.value == "running" for each in await il.runs.list()):
            await il.runs.recover()
        found = await il.agents.list()
        if not found:
            return None, 0
        [turn] = found
        looked = 0
        while turn.state.value not in ("completed", "failed"):
            try:
                turn = await fault_agents.go_on(il, turn)
            except agents.OperationUnclear:
                turn = await seen(il, turn.run_id, case, counted)
                looked += 1
        await proven(il)
        return turn, looked


async def seen(il: Interlock, run_id: str, case: Case, counted: Counting) -> agents.harness.Turn:
    """A person looks at the server, and says what they saw."""
    turn = await il.agents.fetch(run_id)
    [waiting] = turn.waiting
    assert (waiting.operation, waiting.unclear) == ("pay", True)
    happened = counted.done[case.repo, "unsafe_once"] > 0
    text = '{"done":1}' if happened else ""
    return await il.as_caller(REVIEWER).agents.settle(run_id, waiting.call_id or "", happened=happened, text=text)


async def proven(il: Interlock) -> None:
    """Every packet verifies, and no answer was asked for twice that was on record."""
    trust = runs.Trust.parse(await il.trust())
    everything = await il.runs.list(limit=100)
    for each in everything:
        assert runs.verify.verify(await il.runs.packet(each.run_id), trust=trust).ok
    answered = [each for each in everything if each.capability == "inference.fake" and each.state.value == "completed"]
    assert len(answered) == ASKED


def check(case: Case, counted: Counting, boundary: str, turn: agents.harness.Turn | None) -> None:
    done = {name: counted.done[case.repo, name] for name in CLASSES}
    if turn is None:
        assert not any(done.values()), boundary
        return
    assert (turn.state.value, turn.answer) == ("completed", "All is done."), (boundary, turn)
    assert {name: done[name] for name in ONCE} == dict.fromkeys(ONCE, 1), boundary
    assert done["pure"] == 0
    assert done["idempotent"] in (1, 2), boundary
