"""The one commit that closes an attempt and, with it, the run."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from interlock import approvals, sdk
from interlock.kernel import InterlockError, Tx, UnknownOutcome
from interlock.runs import attempt as attempts
from interlock.runs import entries, keeping
from interlock.runs.attempt import Ending
from interlock.runs.call import Call
from interlock.runs.entries import Entry
from interlock.runs.errors import RunCancelled
from interlock.runs.handed import Following
from interlock.runs.journal import Move, Records
from interlock.runs.ledger import AttemptEnd
from interlock.runs.model import Attempt, AttemptState, Delivery, State
from interlock.runs.sender import Sender
from interlock.runs.wiring import Wiring

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """The end of one attempt of one run. Its caller shields it from cancellation."""

    wiring: Wiring
    call: Call
    attempt: Attempt
    sender: Sender
    following: Following | None = None
    """What decides where the run goes instead, if workers carry it out."""

    async def finish(self, ending: Ending) -> None:
        """Record how the run ended, with its output, and tell the rooms that can use what the service said."""
        self.sender.close()
        error = ending.error
        if error is not None:
            error.run_id = self.attempt.run_id
        if self.following is not None:
            await self._follow(self.following, ending)
        else:
            await self._end(ending)
        try:
            await self._feed_back(error)
        except InterlockError as failed:
            # The outcome stands and is told; this would hide it.
            _log.warning("%s: cannot pass on what the service said: %s", self.attempt.run_id, failed)

    async def _follow(self, following: Following, ending: Ending) -> None:
        state, attempt_state = _states(ending)
        error, after = ending.error, following.done()
        if error is not None:
            after = following.unknown(error) if state is State.WAITING else following.failed(error)
        await self._write(
            after.state,
            attempt_state,
            after.reason,
            error,
            ending.content,
            told=after.told,
            beside=after.beside,
        )

    async def _end(self, ending: Ending) -> None:
        error = ending.error
        state, attempt_state = _states(ending)
        run, nothing_left = self.sender.run, self.sender.nothing_left
        unspent = nothing_left or ending.unmade
        if error is not None and state is State.FAILED and unspent and run.approval_id is not None:
            await self._end_unsent(run.approval_id, error, unmade=ending.unmade)
        else:
            await self._write(state, attempt_state, None if error is None else error.code, error, ending.content)

    async def abandon(self) -> None:
        """The caller went away. What was sent decides: nothing or a read is cancelled; a write waits. Of what workers carry
        out another one goes on."""
        self.sender.close()
        run_id = self.attempt.run_id
        if self.following is not None:
            after = self.following.stopped()
            await self._write(
                after.state, AttemptState.FAILED, after.reason, after.error, told=after.told, beside=after.beside
            )
            return
        gone = RunCancelled(f"the caller of {run_id} went away", run_id=run_id)
        if attempts.judge(self.call, self.sender, gone).effect == "none":
            await self._write(State.CANCELLED, AttemptState.CANCELLED, "caller_gone", gone)
            return
        unknown = UnknownOutcome(
            f"{self.call.capability.capability_id} may or may not have happened: its caller went away meanwhile",
            run_id=run_id,
        )
        await self._write(State.WAITING, AttemptState.FAILED, "caller_gone", unknown)
        # Whoever went away takes no answer any more; an operator, or the person who pressed Ctrl-C, may still read this.
        _log.warning(
            "%s of run %s had left when its caller went away, and may have happened: `interlock runs settle %s` finds out",
            self.call.capability.capability_id, run_id, run_id,
        )  # fmt: skip

    async def _end_unsent(self, approval_id: str, error: InterlockError, *, unmade: bool) -> None:
        """An approved call failed before anything left, or is `unmade`: the run is held again, and its approval is as if
        unspent; unless somebody has asked meanwhile for the run to be cancelled."""
        wiring, run = self.wiring, self.sender.run
        at, plain = wiring.clock.now(), error.next_step
        spent = await wiring.store.read(lambda tx: self._find_unused(tx, approval_id, at, unmade=unmade))
        if spent is None:
            error.next_step += f" The approval {approval_id} is used up: ask for another."
            await self._write(State.FAILED, AttemptState.FAILED, error.code, error)
            return
        step = f"`interlock approvals approve {approval_id}` then executes it."
        proven = "It did not happen" if unmade else "Nothing was sent"
        error.next_step += f" {proven}, so the approval still holds: {step}"
        end = self._ended(AttemptState.FAILED, error, at)

        def give_back(tx: Tx) -> None:
            if self.sender.cancel_requested:
                raise RunCancelled(f"{run.run_id} was cancelled before its effect left", run_id=run.run_id)
            wiring.approvals.give_back(tx, spent)

        try:
            await self.sender.record(
                [entries.attempt_ended(end), entries.approval_moved(spent.given_back())],
                at=at,
                # A new fence, so that nothing of this attempt can write to the run any more.
                move=Move(state=State.HELD, reason=error.code, error=end.error, fence=run.fence + 1),
                records=Records(attempt_end=end),
                beside=give_back,
            )
        except RunCancelled as stop:
            error.next_step = plain
            await self._write(State.CANCELLED, AttemptState.CANCELLED, stop.code, error)

    def _find_unused(self, tx: Tx, approval_id: str, at: datetime, *, unmade: bool) -> approvals.Approval | None:
        """The approval, if it is this run's own and still good, and nothing left in the attempts before this one either; of
        what is `unmade`, it has been found out what became of that."""
        wiring, run = self.wiring, self.sender.run
        spent = wiring.approvals.find_in(tx, tenant_id=run.tenant_id, approval_id=approval_id)
        if spent is None or not spent.run_id == spent.spent_by == run.run_id or spent.expires_at <= at:
            return None
        if unmade:
            return spent
        sends = wiring.ledger.list_sends(tx, run.tenant_id, run.run_id)
        before = (send for send in sends if send.attempt_id != self.attempt.attempt_id)
        return spent if all(send.delivery is Delivery.NOT_SENT for send in before) else None

    def _ended(self, state: AttemptState, error: InterlockError | None, at: datetime) -> AttemptEnd:
        return AttemptEnd(
            attempt_id=self.attempt.attempt_id,
            state=state,
            finished_at=at,
            error=None if error is None else error.to_json(),
        )

    async def _write(
        self,
        state: State,
        attempt_state: AttemptState,
        reason: str | None,
        error: InterlockError | None,
        output: bytes | None = None,
        *,
        told: Sequence[Entry] = (),
        beside: Callable[[Tx], object] | None = None,
    ) -> None:
        artifacts = () if output is None else (await keeping.kept(self.wiring, self.attempt, "output", output),)
        # The moment of an artifact is that of its event.
        at = artifacts[0].created_at if artifacts else self.wiring.clock.now()
        end = self._ended(attempt_state, error, at)
        await self.sender.record(
            [*told, *map(entries.artifact_recorded, artifacts), entries.attempt_ended(end)],
            at=at,
            move=Move(state=state, reason=reason, error=end.error),
            records=Records(attempt_end=end, artifacts=artifacts),
            beside=beside,
        )

    async def _feed_back(self, error: InterlockError | None) -> None:
        """A pause that the service asks for, answers to ask about by their tag."""
        wiring, call = self.wiring, self.call
        if isinstance(error, sdk.RateLimited) and error.retry_after:
            until = wiring.clock.now() + timedelta(seconds=error.retry_after)
            await wiring.budgets.block(call.budget_call, until=until)
        if call.revalidation is not None and error is None:
            await call.revalidation.keep()


def _states(ending: Ending) -> tuple[State, AttemptState]:
    if ending.error is None:
        return State.COMPLETED, AttemptState.COMPLETED
    if ending.effect == "unknown":
        return State.WAITING, AttemptState.FAILED
    if isinstance(ending.error, RunCancelled):
        return State.CANCELLED, AttemptState.CANCELLED
    return State.FAILED, AttemptState.FAILED
