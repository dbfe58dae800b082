"""One attempt at a guest's turn: its loop is run from its beginning, and how that ended goes on record."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio

from interlock import dispatch, runs
from interlock.agents.errors import TurnFailed
from interlock.agents.harness import guest_consents, guest_journal
from interlock.agents.harness.guest_journal import Consent, GuestSheet
from interlock.agents.harness.guest_standing import turn_of
from interlock.agents.harness.guest_steps import Steps, failure_of
from interlock.agents.harness.means import Means
from interlock.agents.harness.performing import OURS
from interlock.agents.harness.recording import recorded, stands
from interlock.agents.harness.standing import Turn
from interlock.agents.harness.taking import CONSENT, LAST_SECONDS
from interlock.kernel import InterlockError, Retry, Tx, canonical, is_interruption


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


class GuestAttempt:
    """One attempt at a guest's turn."""

    def __init__(self, means: Means, stopping: dispatch.Stopping, working: runs.Working, sheet: GuestSheet) -> None:
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
        return Taken(turn=await turn_of(self._means, run), value=None if came is None else came.value)

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
