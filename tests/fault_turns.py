"""What becomes of conversations with agents that were killed: another process goes on with each, a server has counted what was
done, and in the end each store says what that of an undisturbed conversation says."""

import signal
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
from sqlalchemy import ColumnElement, Table, func, select, true

from fault_agents import AGENT, REVIEWER, Counting
from fault_kills import Killed, commits_of, kill_at
from fault_world import FLOWS
from fix_faults import PATIENCE, Case, Child, Watcher
from interlock import agents, runs
from interlock.adapters.sql import agent_tables, dispatch_tables, tables
from interlock.adapters.sql.transaction import connection
from interlock.kernel import SystemClock, Tx
from interlock.testing import ManualClock

CONVERSATIONS = {"agent_turn": 15, "agent_delegates": 30, "agent_talks": 40, "agent_under_policy": 10}
"""By the flow of each, how many commits it has at least."""

LEFT: Mapping[str, tuple[Table, ColumnElement[bool]]] = {
    "attempts at work": (tables.attempts, tables.attempts.c.state == "running"),
    "runs that have not ended well": (tables.runs, tables.runs.c.state != "completed"),
    "amounts that are reserved": (tables.budget_holds, true()),
    "places that are taken": (tables.budget_slots, true()),
    "approvals that could be spent": (tables.approvals, tables.approvals.c.state.in_(["pending", "approved"])),
    "sessions that are held": (agent_tables.agent_sessions, agent_tables.agent_sessions.c.open_turn.is_not(None)),
    "work that is due": (dispatch_tables.dispatches, true()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What stands in the end, without what is never the same twice, and what was done."""

    runs: Counter[str]
    approvals: Counter[str]
    turns: Counter[tuple[str, str | None]]
    said: list[str]
    remembered: list[str]
    done: dict[str, int]
    looked: int = field(default=0, compare=False)
    """How often a person had to say what they saw."""


@dataclass(frozen=True, slots=True)
class Kit:
    """Cases of conversations, whose effects a server counts."""

    child: Child
    make_case: Callable[[], Case]
    counted: Counting
    folder: Path

    def case(self, flow: str) -> Case:
        """One that nothing has happened to. A connector's calls go to its own service."""
        made = self.make_case()
        url = None if flow == "agent_under_policy" else self.counted.url
        return replace(made, service_url=url, memory=str(self.folder / f"{made.repo.replace('/', '-')}.memory"))

    def kill_at_commits(self, flow: str, when: str, chosen: Callable[[int], Iterable[int]]) -> None:
        """Kill the conversation at those of its commits, and go on with each. `chosen` is told how many it has."""
        whole = self.case(flow)
        commits = commits_of(self.child, whole, flow)
        assert len(commits) >= CONVERSATIONS[flow], commits
        killed = [kill_at(self.child, self.case(flow), flow, when, number) for number in chosen(len(commits))]
        assert sum(each.boundary != "never" for each in killed) > len(killed) // 2
        anyio.run(self._all_the_same, flow, whole, killed)

    def kill_at_its_beginning(self, flow: str, commits: Iterable[int]) -> None:
        """Kill the conversation after each of these commits: nothing is reserved then that nobody has said is to be done."""
        for number in commits:
            killed = kill_at(self.child, self.case(flow), flow, "after", number)
            assert anyio.run(self._without_intent, killed.case) == [], killed.boundary

    async def _without_intent(self, case: Case) -> list[str]:
        async with case.watch(ManualClock(SystemClock().now())) as il:
            return await il._parts.store.read(_without_intent)

    def kill_within(self, case: Case, flow: str, name: str, when: str) -> None:
        """Kill the conversation while the server keeps a request, before it has done it or after."""
        self.counted.hold(case.repo, name, when)
        self.child.start(case.order(flow))
        self.child.go()
        assert self.counted.held.wait(PATIENCE)
        self.child.send(signal.SIGKILL)
        assert self.child.finish().exit == -signal.SIGKILL
        self.counted.release.set()

    def race(self, other: Child, when: str, commit: int) -> None:
        """Two processes say yes to a turn and go on with it at once; one of them is killed at that commit (0: none is)."""
        whole, case = self.case("agent_turn"), self.case("agent_turn")
        for each, flow in ((whole, "agent_turn"), (case, "agent_held")):
            self.child.start(each.order(flow))
            self.child.go()
            report = self.child.finish()
            assert report.exit == 0, report
        both = [
            each.order("agent_decided", approval_id=report.said["came_to"], key=name)
            for each, name in ((case, "ada"), (case, "bob"))
        ]
        if case.proxy is None:
            both[0] = replace(both[0], signal=signal.SIGKILL, when=when, commit=commit)
        self.child.start(both[0])
        other.start(both[1])
        if case.proxy is not None:
            case.proxy.arm(when, commit, self._strike)  # it may be the other's commit
        self.child.go()
        other.go()
        reports = self.child.finish(), other.finish()
        assert reports[0].exit in (0, -signal.SIGKILL), reports
        assert reports[1].exit == 0, reports
        assert not any("error" in each.said for each in reports), reports
        met = f"{when} commit {commit}: {[each.said for each in reports]}"
        assert anyio.run(self.ended, case, "agent_turn") == anyio.run(self.ended, whole, "agent_turn"), met

    def _strike(self) -> bool:
        """Kill the child, unless it has come to its end already."""
        with suppress(ProcessLookupError):
            self.child.send(signal.SIGKILL)
        return True

    async def _all_the_same(self, flow: str, whole: Case, killed: list[Killed]) -> None:
        expected = await self.ended(whole, flow)
        assert expected.looked == 0
        limiter = anyio.CapacityLimiter(4)

        async def one(each: Killed) -> None:
            async with limiter:
                found = await self.ended(each.case, flow)
                assert found == expected, f"{each.boundary}:\n{found}\n{expected}"

        async with anyio.create_task_group() as tasks:
            for each in killed:
                tasks.start_soon(one, each)

    async def ended(self, case: Case, flow: str) -> End:
        """Another process goes on until all has ended, and looks at what stands then."""
        looked = 0
        async with case.watch(ManualClock(SystemClock().now())) as il:
            assert await il._parts.store.read(_without_intent) == []
            with anyio.fail_after(PATIENCE):
                while True:
                    while any(each.state.value == "running" for each in await il.runs.list(limit=100)):
                        await il.runs.recover()
                    try:
                        await FLOWS[flow](il, case.order(flow))
                        break
                    except agents.OperationUnclear:
                        looked += await self._settled(il, case)
            return replace(await self._stands(il, case), looked=looked)

    async def _settled(self, il: Watcher, case: Case) -> int:
        """A person looks at the server and says what they saw; how often. What asks below is asked again."""
        looked = 0
        for listed in await il.agents.list():
            turn = await il.agents.fetch(listed.run_id)
            for each in turn.waiting:
                if not each.unclear:
                    continue
                paid = each.operation == "pay" and self.counted.done[case.repo, "unsafe_once"] > 0
                looked += each.operation == "pay"
                await il.as_caller(REVIEWER).agents.settle(
                    turn.run_id, each.call_id or "", happened=paid, text='{"done":1}' if paid else ""
                )
        return looked

    async def _stands(self, il: Watcher, case: Case) -> End:
        trust = runs.Trust.parse(await il.trust())
        everything = await il.runs.list(limit=100)
        for each in everything:
            assert runs.verify.verify(await il.runs.packet(each.run_id), trust=trust).ok
        left = await il._parts.store.read(_left)
        assert left == {}, (left, [(each.capability, each.state) for each in everything])
        sessions = await il.agent_sessions.list()
        said = [
            f"{message.role} {part.kind} {getattr(part, 'text', '')}"
            for session in sessions
            for exchange in await il.agent_sessions.turns(session.session_id)
            for message in exchange.said
            for part in message.parts
        ]
        mem = await il.as_caller(AGENT).memory(agent="keeper")
        remembered = [str(hit.record.text) for hit in (await mem.retrieve(limit=100)).hits]
        return End(
            runs=Counter(each.capability for each in everything),
            approvals=Counter(each.state.value for each in await il.approvals.list()),
            turns=Counter([await _answered(il, each.run_id) for each in await il.agents.list()]),
            said=said,
            remembered=sorted(remembered),
            done=self._done(case),
        )

    def _done(self, case: Case) -> dict[str, int]:
        """How often each effect is there: what is as good twice as once, as once."""
        done = {name: times for (repo, name), times in self.counted.done.items() if repo == case.repo}
        assert done.pop("idempotent", 1) in (1, 2)
        return {**done, "issues": case.effects()}


async def _answered(il: Watcher, run_id: str) -> tuple[str, str | None]:
    turn = await il.agents.fetch(run_id)
    return turn.agent_id, turn.answer


def _without_intent(tx: Tx) -> list[str]:
    """What is reserved for something that nobody has said is about to be done: a question's run, an intent of a turn."""
    found: list[str] = []
    for holder in connection(tx).execute(select(tables.budget_holds.c.holder)).scalars():
        run_id, _, key = holder.partition(":")
        said = select(tables.runs.c.run_id).where(tables.runs.c.run_id == run_id)
        if key:
            events, below = tables.events.c, tables.runs.c
            intended = events.body.contains(f'"key":"{key.removesuffix(":time")}"', autoescape=True)
            said = select(events.run_id).where(events.run_id == run_id, events.type == "turn.intended", intended)
            beside = select(below.run_id).where(below.parent_run_id == run_id, below.idempotency_key == key)
            said = said.union_all(beside)
        if connection(tx).execute(said).first() is None:
            found.append(holder)
    return found


def _left(tx: Tx) -> dict[str, int]:
    """What should not be there any more."""
    counts = {
        what: connection(tx).execute(select(func.count()).select_from(table).where(which)).scalar_one()
        for what, (table, which) in LEFT.items()
    }
    return {what: count for what, count in counts.items() if count}
