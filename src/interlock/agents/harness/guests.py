"""Turns of agents whose loop is another framework's: runs as any other, with a journal of their steps, and people's yes."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import anyio

from interlock import dispatch, runs
from interlock.agents import turns
from interlock.agents.errors import TurnFailed, TurnNotResumable
from interlock.agents.harness import guest_consents, guest_journal, settling
from interlock.agents.harness.asking import GUEST_CONTRACT, NAME, check_may_ask
from interlock.agents.harness.guest_journal import Consent, GuestSheet
from interlock.agents.harness.guest_steps import Steps, content_of, failure_of
from interlock.agents.harness.means import Means
from interlock.agents.harness.performing import OURS
from interlock.agents.harness.recording import recorded, stands
from interlock.agents.harness.standing import Turn, Waiting, unclear
from interlock.agents.harness.taking import CONSENT, LAST_SECONDS
from interlock.kernel import (
    JSON,
    Caller,
    InterlockError,
    RequestError,
    Retry,
    Tx,
    canonical,
    is_interruption,
    read_json,
)

_GOES_ON: Final = frozenset({runs.State.QUEUED, runs.State.RETRY_SCHEDULED, runs.State.HELD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """An agent of another framework, and what it is asked. `input` is what the same turn has again."""

    name: str
    framework: str
    input: JSON
    key: str
    environment: str = "dev"

    def __post_init__(self) -> None:
        """Raises RequestError for what is no text: what adapters hand on comes from programs."""
        for name in ("name", "framework", "key", "environment"):
            if not isinstance(given := getattr(self, name), str):
                raise RequestError(f"{name} must be a text, not {type(given).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """How far a loop came: to its end, with a value for its own program and the answer on record, or to what people are asked."""

    value: Any = None
    answer: str | None = None
    consents: Sequence[Consent] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A turn as it stands, and of one that has ended the value that its loop came to."""

    turn: Turn
    value: Any = None


Loop: TypeAlias = Callable[[Steps], Awaitable[Came]]
"""The guest's loop, from its beginning: what it did before it is told again by the steps."""


class Guests:
    """The guests of one installation."""

    def __init__(self, means: Means, docket: dispatch.Docket, stopping: dispatch.Stopping) -> None:
        self._means = means
        self._docket = docket
        self._stopping = stopping

    async def take(self, caller: Caller, guest: Guest, loop: Loop) -> Taken:
        """Take the turn of that key as far as it goes: begin it, or go on with it. One that has ended, waits for a person, or was
        denied is told as it stands. Raises RequestError, IdempotencyConflict, TurnNotResumable if another process is at it, and
        what ended the attempt and not the turn."""
        check_may_ask(caller, f"{NAME}{guest.name}")
        await self._means.wiring.ownership.begin()
        run = await self._admitted(caller, guest)
        if run.state is runs.State.COMPLETED:
            came = await loop(Steps(self._means, run, await self.sheet(run), None))
            return Taken(turn=await self.standing(run), value=came.value)
        if run.state in runs.FINAL or run.state is runs.State.WAITING:
            return Taken(turn=await self.standing(run))
        if run.state not in _GOES_ON:
            raise TurnNotResumable(
                f"{run.run_id} is {run.state}",
                next_step="If its process is gone, `interlock runs recover` frees it within a minute; then run it again.",
                run_id=run.run_id,
            )
        sheet = await self.sheet(run)
        if sheet.doubtful:
            run = await self._waits(run)
            return Taken(turn=await self.standing(run))
        if run.state is runs.State.HELD and await guest_consents.is_waited_for(self._means, run, sheet):
            return Taken(turn=await self.standing(run))
        with self._means.wiring.ownership.working(run.run_id):
            working = await self._means.tasks.begin(run, caller)
            return await _Attempt(self, self._means, self._stopping, working, sheet).take(loop)

    async def _admitted(self, caller: Caller, guest: Guest) -> runs.Run:
        given: dict[str, JSON] = {"contract": GUEST_CONTRACT, "framework": guest.framework, "input": guest.input}
        task = runs.Task(
            name=f"{NAME}{guest.name}",
            kind=runs.Kind.AGENT_TURN,
            input=given,
            environment=guest.environment,
            idempotency_key=guest.key,
        )
        drawn = self._means.tasks.draw(caller, task)

        def admit(tx: Tx) -> runs.Run:
            [(_, run)] = self._means.tasks.admit_all_in(tx, [drawn])
            return run

        return await self._means.wiring.store.write(admit)

    async def _waits(self, run: runs.Run) -> runs.Run:
        """For a person, who says what became of what the process before was at."""
        error = unclear(run.run_id, (await self.standing(run)).waiting)
        return await self._means.tasks.close(run, runs.State.WAITING, error)

    # -- looked at

    async def lines(self, run: runs.Run) -> list[guest_journal.Line]:
        """Its journal."""
        events: list[runs.Event] = []
        while page := await self._means.reading.events_after(run, events[-1].seq if events else 0):
            events += page
        return guest_journal.lines(events)

    async def sheet(self, run: runs.Run) -> GuestSheet:
        """Where it stands. Raises UnreadableJournal."""
        return guest_journal.read(run.run_id, await self.lines(run))

    async def standing(self, run: runs.Run) -> Turn:
        """The same, for whoever asked for it."""
        sheet = await self.sheet(run)
        answer = sheet.answer
        if answer is not None and not isinstance(answer, str):
            answer = str(read_json((await content_of(self._means, run, answer)).encode()))
        return Turn(
            run_id=run.run_id,
            agent_id=run.capability.removeprefix(NAME),
            session_id=None,
            state=run.state,
            phase=_phase(run, sheet),
            answer=answer,
            waiting=() if run.state in runs.FINAL else _waiting(sheet),
            rounds=sheet.models,
            operations=sheet.tools,
            error=run.error,
            is_guest=True,
        )

    # -- settled

    async def settle(self, caller: Caller, run: runs.Run, said: settling.Said) -> None:
        """Write down what became of a step of which nobody can tell; run again, the turn goes on from there. Raises
        RunNotWaiting, RequestError, RoleMissing, StaleRun."""
        settling.check(self._means, caller, run, said)
        open_ones = (await self.sheet(run)).doubtful_calls
        key = settling.chosen(run, said, open_ones)
        entry = guest_journal.settled(
            key, by=caller.actor, happened=said.happened, text=said.text, note=said.note[:500]
        )
        await settling.written(
            self._means, self._docket, run, [entry], left=len(open_ones) > 1, prefix=guest_journal.PREFIX
        )


def _phase(run: runs.Run, sheet: GuestSheet) -> turns.Phase:
    if run.state is runs.State.COMPLETED:
        return turns.Phase.FINISHED
    if run.state in runs.FINAL:
        return turns.Phase.FAILED
    if sheet.asked or run.state is runs.State.WAITING:
        return turns.Phase.PERSON
    return turns.Phase.MODEL if sheet.begun or sheet.done else turns.Phase.NEW


def _waiting(sheet: GuestSheet) -> tuple[Waiting, ...]:
    asked = [
        Waiting(
            call_id=str(each["call_id"]),
            operation=str(each["name"]),
            arguments=each["arguments"],  # pyright: ignore[reportArgumentType]
            reason=str(each["reason"]),
            approval_id=str(each["approval_id"]),
        )
        for each in sheet.asked.values()
    ]
    doubts = [
        Waiting(
            call_id=call_id,
            operation=str(sheet.begun[key]["name"]),
            arguments={},
            reason="nobody can tell whether it was done",
            unclear=True,
        )
        for call_id, key in sheet.doubtful_calls.items()
    ]
    return (*asked, *doubts)


class _Attempt:
    """One attempt at a guest's turn."""

    def __init__(
        self, guests: Guests, means: Means, stopping: dispatch.Stopping, working: runs.Working, sheet: GuestSheet
    ) -> None:
        self._guests = guests
        self._means = means
        self._stopping = stopping
        self._working = working
        self._steps = Steps(means, working.journal.run, sheet, working)
        self._consents = guest_consents.GuestConsents(means=means, working=working, sheet=sheet)

    async def take(self, loop: Loop) -> Taken:
        scope, run_id = anyio.CancelScope(), self._working.attempt.run_id
        came: Came | None = None
        try:
            with self._stopping.heard(run_id, scope.cancel), scope:
                await self._consents.take()
                came = await loop(self._steps)
                if self._steps.doubt is not None:  # a program that has caught it
                    raise self._steps.doubt
        except anyio.get_cancelled_exc_class():
            stopped = dispatch.WorkerStopped("the process was stopped in the middle of the turn")
            with anyio.move_on_after(LAST_SECONDS, shield=True):
                await self._end(runs.State.RETRY_SCHEDULED, runs.AttemptState.FAILED, error=stopped)
            raise
        except BaseException as error:
            if is_interruption(error):
                raise
            await self._broken(error)
        if came is None:
            await self._end(runs.State.CANCELLED, runs.AttemptState.CANCELLED)
        elif came.consents:
            await self._held(came.consents)
        else:
            await self._completed(came)
        run = self._working.journal.run
        return Taken(turn=await self._guests.standing(run), value=None if came is None else came.value)

    async def _broken(self, error: BaseException) -> None:
        """The loop raised: raises what that means, once it is recorded."""
        ours = self._steps.doubt or failure_of(error)
        if ours is None:
            name = type(error).__name__
            ours = TurnFailed(f"the agent's own program raised {name}", run_id=self._working.attempt.run_id)
        ours.run_id = ours.run_id or self._working.attempt.run_id
        if self._steps.doubt is not None:
            state = runs.State.WAITING
        elif isinstance(ours, OURS) or ours.retry is Retry.LATER:
            state = runs.State.RETRY_SCHEDULED
        else:
            state = runs.State.FAILED
        await self._end(state, runs.AttemptState.FAILED, error=ours)
        if ours is error:
            raise ours
        raise ours from error

    async def _completed(self, came: Came) -> None:
        answer, kept = came.answer, None
        if answer is not None and guest_journal.is_long(answer):
            kept = await self._means.tasks.keep(self._working, guest_journal.ENDED, canonical(answer))
        entry = guest_journal.ended(self._steps.sheet, answer, None, kept=kept)
        output = canonical({"answer": answer})
        await self._end(
            runs.State.COMPLETED,
            runs.AttemptState.COMPLETED,
            told=[entry],
            kept=[] if kept is None else [kept],
            output=output,
        )

    async def _held(self, consents: Sequence[Consent]) -> None:
        asked: list[runs.Entry] = []
        last: list[str] = []

        def beside(tx: Tx) -> None:
            approvals = [(each, self._consents.request(tx, each)) for each in consents]
            asked[:] = [entry for one in approvals for entry in guest_consents.requested(*one)]
            last[:] = [approval.approval_id for _, approval in approvals]

        end = runs.TaskEnd(
            state=runs.State.HELD,
            attempt_state=runs.AttemptState.COMPLETED,
            reason=CONSENT,
            told=lambda: asked,
            approval_id=lambda: last[-1],
        )
        await self._record(end, beside)

    async def _end(
        self,
        state: runs.State,
        attempt_state: runs.AttemptState,
        *,
        error: InterlockError | None = None,
        told: Sequence[runs.Entry] = (),
        kept: Sequence[runs.Artifact] = (),
        output: bytes | None = None,
    ) -> None:
        if state in runs.FINAL and state is not runs.State.COMPLETED:
            told = [*told, guest_journal.ended(self._steps.sheet, None, state.value if error is None else error.code)]
        gone: list[runs.Entry] = []
        end = runs.TaskEnd(
            state=state,
            attempt_state=attempt_state,
            reason="cancelled" if state is runs.State.CANCELLED else None if error is None else error.code,
            error=None if error is None else error.to_json(),
            told=lambda: [*gone, *told],
            kept=kept,
            output=output,
        )
        run = self._working.journal.run

        def beside(tx: Tx) -> None:
            if state in runs.FINAL:
                gone[:] = runs.withdraw(tx, self._means.wiring, run)

        await self._record(end, beside)

    async def _record(self, end: runs.TaskEnd, beside: Callable[[Tx], None]) -> None:
        """Raises what keeps it from being on record, unless an error is raised anyway."""
        save = stands if end.error is None else recorded
        await save(self._means.wiring, self._working, lambda: self._means.tasks.end(self._working, end, beside=beside))
