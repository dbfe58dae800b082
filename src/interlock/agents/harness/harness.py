"""Turns as runs: admitted, taken by this process or handed to workers, gone on with, looked at."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from interlock import approvals, dispatch, inference, runs
from interlock.agents import sessions
from interlock.agents.errors import TurnNotResumable
from interlock.agents.harness import guest_standing, journal, leaving, looking, settling, spending, taking
from interlock.agents.harness.asking import NAME, Asked, asked_for, check_may_ask, is_guest, limited
from interlock.agents.harness.glancing import Glance, glances
from interlock.agents.harness.guest_attempts import Loop, Taken
from interlock.agents.harness.guests import Guest, Guests
from interlock.agents.harness.means import Means, Watch
from interlock.agents.harness.sheets import Sheet
from interlock.agents.harness.standing import Turn, turn_of
from interlock.kernel import Caller, Fact, RequestError, Retry, Tx

LANE: Final = "agent"
"""Where turns wait that are left to workers."""

MOST_LISTED: Final = 200
_TRIES: Final = 5

GOES_ON: Final = frozenset({runs.State.QUEUED, runs.State.RETRY_SCHEDULED, runs.State.HELD, runs.State.WAITING})
"""States of a run whose turn may be gone on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a turn is asked for, beside what is said. `accept`: the session may go on with an agent that has changed."""

    environment: str = "dev"
    idempotency_key: str | None = None
    trace_id: str | None = None
    parent_run_id: str | None = None
    origin: runs.Origin = runs.Origin.CALL
    accept: bool = False


class Harness:
    """The turns of one installation."""

    def __init__(self, means: Means, docket: dispatch.Docket) -> None:
        self.means = means
        self._docket = docket
        self.stopping = dispatch.Stopping(means.wiring)
        """What hears of turns that somebody wants stopped."""
        self._guests = Guests(means, docket, self.stopping)

    # -- asked for

    async def run(self, caller: Caller, asked: Asked, options: Options, *, watch: Watch | None = None) -> Turn:
        """Take a turn, here and now. Held, denied, shed and failed come back as values, and so does the turn that holds the
        idempotency key. Raises RequestError, InvalidContext, and what ends the attempt and not the turn."""
        wiring = self.means.wiring
        await wiring.ownership.begin()
        drawn = self._drawn(caller, asked, options, runs.State.RUNNING)
        with wiring.ownership.working(drawn.run.run_id):
            admitted, run = await self._admit(drawn, caller, asked, options, handed=None)
            if admitted.fresh and drawn.attempt is not None:
                working = runs.Working(journal=wiring.journal(run), attempt=drawn.attempt, caller=caller)
                return await self._take(working, watch=watch, due=None)
        return await self.fetch(caller, run.run_id)

    async def submit(
        self, caller: Caller, asked: Asked, options: Options, *, retry: dispatch.RetryPolicy | None = None
    ) -> Turn:
        """Leave a turn to the workers. Raises RequestError."""
        drawn = self._drawn(caller, asked, options, runs.State.QUEUED)
        _, run = await self._admit(drawn, caller, asked, options, handed=retry or dispatch.RetryPolicy())
        return await self.fetch(caller, run.run_id)

    def _drawn(self, caller: Caller, asked: Asked, options: Options, state: runs.State) -> runs.Admission:
        """The turn's run: one that is taken here and now begins with its first attempt."""
        check_may_ask(caller, asked.name)
        asked.seen()
        task = runs.Task(
            name=asked.name,
            kind=runs.Kind.AGENT_TURN,
            input=asked.to_json(caller),
            origin=options.origin,
            environment=options.environment,
            idempotency_key=options.idempotency_key,
            trace_id=options.trace_id,
            parent_run_id=options.parent_run_id,
        )
        return self.means.tasks.draw(caller, task, state=state)

    async def _admit(
        self,
        drawn: runs.Admission,
        caller: Caller,
        asked: Asked,
        options: Options,
        *,
        handed: dispatch.RetryPolicy | None,
    ) -> tuple[runs.Admitted, runs.Run]:
        def admit(tx: Tx) -> tuple[runs.Admitted, runs.Run]:
            [(admitted, run)] = self.means.tasks.admit_all_in(tx, [drawn])
            if admitted.fresh and run.state in (runs.State.QUEUED, runs.State.RUNNING):
                self._opened(tx, caller, asked, options, run)
                if handed is not None:
                    self._docket.enter(tx, [self._docket.due_of(run, lane=LANE, retry=handed)])
            return admitted, run

        tries = iter(range(_TRIES))
        while True:
            if asked.session_id is not None:
                with suppress(sessions.SessionNotFound):  # a turn that has the key already takes none
                    await leaving.catch_up(self.means, caller, asked.session_id, dead=True)
            try:
                return await self.means.wiring.store.write(admit)
            except sessions.SessionBusy as error:
                if not error.details["ended"] or next(tries, None) is None:
                    raise  # else its turn has ended in between

    def _opened(self, tx: Tx, caller: Caller, asked: Asked, options: Options, run: runs.Run) -> None:
        """The turn is its session's, from its admission on."""
        if asked.session_id is not None:
            self.means.sessions.begin(
                tx, caller, asked.session_id, turn_id=run.run_id, spec=asked.spec, accept=options.accept
            )

    # -- gone on with

    async def resume(self, caller: Caller, run_id: str, *, watch: Watch | None = None) -> Turn:
        """Go on with a turn that waits, or whose process is gone: here and now. One that still waits for a person is told as it
        stands. Raises RunNotFound, TurnNotResumable, and as `run`."""
        run = await self._fetch(caller, run_id)
        if run.state in runs.FINAL and run.state is not runs.State.DEAD:
            return await self.fetch(caller, run_id)
        if run.state not in GOES_ON:
            raise _not_resumable(run)
        if run.state is runs.State.HELD and not await self._is_decided(run):
            return await self.fetch(caller, run_id)
        decisions = await self.means.wiring.store.read(
            lambda tx: self.means.wiring.ledger.list_decisions(tx, run.tenant_id, run_id)
        )
        requester = runs.asked_by(run, decisions[0].facts_json)
        due = await self._docket.find(run)
        with self.means.wiring.ownership.working(run_id):
            working = await self.means.tasks.begin(run, requester)
            return await self._take(working, watch=watch, due=due)

    async def _is_decided(self, run: runs.Run) -> bool:
        """Whether somebody has decided on anything that the turn is held for."""
        desk = self.means.wiring.approvals
        sheet = await self.sheet(run)
        ids = [*sheet.asked.values(), *(str(each["approval_id"]) for each in sheet.put_off.values())]

        def read(tx: Tx) -> bool:
            found = [desk.find_in(tx, tenant_id=run.tenant_id, approval_id=each) for each in ids]
            return any(each is not None and each.state is not approvals.State.PENDING for each in found)

        return await self.means.wiring.store.read(read)

    async def take_due(self, run: runs.Run, caller: Caller, due: dispatch.Due) -> runs.Run | None:
        """For a worker: begin the next attempt at a turn and take it as far as it goes; None if another hand was first. Raises
        StoreError."""
        with self.means.wiring.ownership.working(run.run_id):
            try:
                working = await self.means.tasks.begin(run, caller)
            except runs.StaleRun:
                return None
            await self._take(working, watch=None, due=due)
            return working.journal.run

    async def _take(self, working: runs.Working, *, watch: Watch | None, due: dispatch.Due | None) -> Turn:
        run = working.journal.run
        working = replace(working, caller=limited(run, working.caller))
        taken = taking.Taking(self.means, self._docket, working, watch=watch, due=due)
        facts: dict[str, Fact] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": run.capability.removeprefix("agent."),
            "gen_ai.conversation.id": taken.asked.session_id,
            "interlock.run.id": run.run_id,
            "interlock.tenant.id": run.tenant_id,
            "interlock.attempt.number": working.attempt.number,
        }
        wiring = self.means.wiring
        span = wiring.tracing.span(f"invoke_agent {facts['gen_ai.agent.name']}", parent=run.traceparent, facts=facts)
        with span as open_span:
            with self.stopping.heard(run.run_id, taken.stop):
                turn = await taken.take()
            open_span.note({"interlock.run.state": turn.state.value})
            if turn.failure is not None:
                open_span.fail(turn.failure.code)
        return turn

    async def take_guest(self, caller: Caller, guest: Guest, loop: Loop) -> Taken:
        """Take a turn of another framework's agent. Raises as `Guests.take`."""
        return await self._guests.take(caller, guest, loop)

    # -- looked at

    async def fetch(self, caller: Caller, run_id: str) -> Turn:
        """How a turn stands, also one of another framework's agent. Raises RunNotFound, UnreadableJournal."""
        run = await self.means.reading.fetch(caller, run_id)
        if is_guest(run):
            return await guest_standing.turn_of(self.means, run)
        asked = asked_for(run)
        if run.state in (runs.State.DENIED, runs.State.SHED):
            return turn_of(run, asked, None)
        return turn_of(run, asked, await self.sheet(run))

    async def _fetch(self, caller: Caller, run_id: str) -> runs.Run:
        run = await self.means.reading.fetch(caller, run_id)
        asked_for(run)
        return run

    async def list_turns(
        self, caller: Caller, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Sequence[Glance]:
        """Turns, newest first, after the one whose run id is `cursor`. Raises RequestError."""
        if not 1 <= limit <= MOST_LISTED:
            raise RequestError(f"limit must be 1 to {MOST_LISTED}, not {limit}")
        query = runs.RunFilter(
            tenant_id=caller.tenant_id,
            kind=runs.Kind.AGENT_TURN,
            capability=None if agent_id is None else f"{NAME}{agent_id}",
            cursor=cursor,
            limit=limit,
            seen_by=caller if caller.is_limited else None,
        )
        return await glances(self.means, query)

    async def sheet(self, run: runs.Run, *, upto: int | None = None) -> Sheet:
        """Where the turn of a run stands, or stood after the event `upto`, from its journal. Raises UnreadableJournal."""
        return await looking.replayed(self.means, run, upto=upto)

    async def lines(self, caller: Caller, run_id: str) -> Sequence[journal.Line]:
        """The journal of a turn. Raises RunNotFound, UnreadableJournal."""
        run = await self.means.reading.fetch(caller, run_id)
        if is_guest(run):
            return await guest_standing.lines_of(self.means, run)
        asked_for(run)
        return await looking.lines_of(self.means, run)

    async def ask_about(
        self, caller: Caller, run_id: str, request: inference.Request, *, key: str, timeout_s: float
    ) -> inference.Answered:
        """Ask a model about a turn that is over. The rules for its agent and session count it; its spec's own limits were the
        turn's. Raises RunNotFound, and as `Inference.ask`."""
        run = await self._fetch(caller, run_id)
        counting = spending.Spending(self.means, run, asked_for(run), with_caps=False)
        await counting.look_up()
        return await spending.ask_beside(self.means, counting, caller, run, request, key=key, timeout_s=timeout_s)

    # -- settled

    async def settle(
        self, caller: Caller, run_id: str, call_id: str, *, happened: bool, text: str = "", note: str = ""
    ) -> Turn:
        """Say what became of an operation of which nobody can tell: it happened, and `text` came of it, or it did not, and is
        done once the turn goes on. It takes the reviewer's role. Raises RunNotFound, RunNotWaiting, RequestError, RoleMissing."""
        said = settling.Said(call_id=call_id, happened=happened, text=text, note=note)
        run = await self.means.reading.fetch(caller, run_id)
        if is_guest(run):
            await self._guests.settle(caller, run, said)
        else:
            asked_for(run)
            await settling.settle(self.means, self._docket, caller, run, said)
        return await self.fetch(caller, run_id)


def _not_resumable(run: runs.Run) -> TurnNotResumable:
    if run.state is runs.State.DEAD:
        return TurnNotResumable(
            f"{run.run_id} is a dead letter: as often as it may be, it was tried",
            retry=Retry.AFTER_CHANGE,
            next_step=f"Mend what it failed of (`interlock runs show {run.run_id}`), then `interlock runs replay {run.run_id}`.",
            run_id=run.run_id,
        )
    return TurnNotResumable(f"another process is at {run.run_id}: it is {run.state}", run_id=run.run_id)
