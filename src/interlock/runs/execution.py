"""From an admitted run to its end: attempts and their retries."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import anyio

from interlock import sdk
from interlock.kernel import PROGRESS, InterlockError, StoreError
from interlock.runs import attempt as attempts
from interlock.runs import entries, renewing
from interlock.runs.attempt import Ending
from interlock.runs.beginning import Begun, begin
from interlock.runs.call import Call
from interlock.runs.closing import Closing
from interlock.runs.errors import OutcomeUnsaved
from interlock.runs.handed import Following
from interlock.runs.journal import Journal, Move
from interlock.runs.ledger import AttemptEnd
from interlock.runs.model import AttemptState
from interlock.runs.sender import Sender
from interlock.runs.wiring import Wiring

_log = logging.getLogger(__name__)
_progress = logging.getLogger(PROGRESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What an earlier attempt left open: a write of `written_at` with an unknown outcome (None: nothing left), why, and
    whether the effect may be sent again once it is proven not to have happened; `forbidden`: only policy keeps it from that."""

    cause: InterlockError
    written_at: datetime | None
    may_send: bool
    forbidden: bool = False


class Execution:
    """Carries admitted runs out."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    async def run(
        self,
        call: Call,
        journal: Journal,
        begun: Begun,
        facts: sdk.Facts,
        *,
        doubt: Doubt | None = None,
        following: Following | None = None,
    ) -> Ending:
        """Go on from a committed beginning to the run's end. With a `doubt`, reading settles that first.

        Raises StaleRun or OwnershipLapsed when the run is no longer this process's, StoreError (OutcomeUnsaved, of a write)
        when the store fails, and cancellation. A cancelled
        recovery (one with a `doubt`) leaves its attempt open, for the next recovery; else the run ends with its caller.
        """
        left_open, refused = doubt, False
        while True:
            sender = self._sender(call, journal, begun)
            closing = Closing(wiring=self._wiring, call=call, attempt=begun.attempt, sender=sender, following=following)
            try:
                ending = await self._traced(call, sender, facts, begun, left_open)
                again = await self._again(
                    call, journal, begun, sender, ending, facts, refused=refused, once=following is not None
                )
                if again is None:
                    with anyio.CancelScope(shield=True):
                        await closing.finish(ending)
                    return ending
            except anyio.get_cancelled_exc_class():
                if doubt is None or following is not None:
                    await _abandon(closing)
                raise
            except StoreError as error:
                raise _unsaved(call, sender, error) from error
            left_open = left_open if ending.effect == "unknown" else None
            refused = refused or isinstance(ending.error, sdk.AuthFailed)
            call, begun = again

    def _sender(self, call: Call, journal: Journal, begun: Begun) -> Sender:
        return Sender(
            self._wiring,
            call,
            journal,
            begun.attempt,
            lease=begun.lease,
            deadline_at=begun.deadline_at,
            prepared=begun.prepared,
        )

    async def _traced(self, call: Call, sender: Sender, facts: sdk.Facts, begun: Begun, doubt: Doubt | None) -> Ending:
        told = {"interlock.run.id": sender.run_id, "interlock.attempt.number": begun.attempt.number}
        with self._wiring.tracing.span("attempt", facts=told) as span:
            ending = await self._attempt(call, sender, facts, begun, doubt)
            if ending.error is not None:
                span.fail(ending.error.code)
            span.note({"interlock.effect": ending.effect})
            return ending

    async def _attempt(
        self,
        call: Call,
        sender: Sender,
        facts: sdk.Facts,
        begun: Begun,
        doubt: Doubt | None,
    ) -> Ending:
        wiring = self._wiring
        # A script is settled by running it again, not by reading: what its actions did before is found by their keys.
        reads = call.operation.script is None
        if doubt is not None and doubt.written_at is not None and reads:
            settled = await attempts.reconcile(
                wiring, call, sender, facts, cause=doubt.cause, written_at=doubt.written_at
            )
            if not settled.again:
                return settled
        if doubt is not None and not doubt.may_send:
            if doubt.written_at is not None and not reads:
                return attempts.unclear(call, doubt.cause, "only running it again would tell, and it may not run again")
            return Ending(error=doubt.cause, effect="none", unmade=doubt.forbidden)
        ending = await attempts.carry_out(wiring, call, sender, facts, begun)
        if doubt is not None and doubt.written_at is not None and not reads:
            return attempts.run_again(call, ending)
        if ending.effect == "unknown" and ending.error is not None and reads:
            return await attempts.reconcile(
                wiring, call, sender, facts, cause=ending.error, written_at=sender.last_write()
            )
        if isinstance(ending.error, sdk.UnexpectedAnswer) and ending.effect == "happened":
            # It happened, and only the answer cannot be read: the record itself may say the same.
            read = await attempts.reconcile(
                wiring, call, sender, facts, cause=ending.error, written_at=sender.last_write()
            )
            return read if read.error is None else ending
        return ending

    async def _again(
        self,
        call: Call,
        journal: Journal,
        begun: Begun,
        sender: Sender,
        ending: Ending,
        facts: sdk.Facts,
        *,
        refused: bool,
        once: bool,
    ) -> tuple[Call, Begun] | None:
        """Begin the next attempt, if one is safe, sensible and still in time. `refused`: the service has refused a credential of
        this run before, so that it goes on with no other one. `once`: the next attempt is a worker's."""
        wiring, error = self._wiring, ending.error
        if error is None:
            return None
        following, delay = call, None
        if renewing.is_refusal(call, error):
            await sender.record([], at=wiring.clock.now())  # what is known must not wait for the service
            renewed = await renewing.renewed(wiring, call, ending)
            if renewed is None or (refused and isinstance(error, sdk.AuthFailed)):
                return None
            following, delay = renewed, 0.0
        if once or not ending.again or begun.attempt.number >= call.request.max_attempts:
            return None
        if delay is None:
            delay = wiring.limits.backoff.delay(begun.attempt.number, at_least=error.retry_after)
        if delay > wiring.limits.retry_wait or journal.cancel_requested:
            return None
        if wiring.clock.now() + timedelta(seconds=delay) >= begun.deadline_at:
            return None
        await sender.record([], at=wiring.clock.now())  # what is known must not wait for the pause
        if delay >= 1:
            _progress.info("%s: %s; trying again in %.0f s", call.capability.capability_id, error.message, delay)
        await wiring.clock.sleep(delay)
        next_begun = await self._begin_next(
            following, journal, begun, sender, error, facts, fresh=following is not call
        )
        return None if next_begun is None else (following, next_begun)

    async def _begin_next(
        self,
        call: Call,
        journal: Journal,
        begun: Begun,
        sender: Sender,
        error: InterlockError,
        facts: sdk.Facts,
        *,
        fresh: bool,
    ) -> Begun | None:
        """End the attempt with its error, and commit the next one; on a `fresh` lease where the credential is another one. None
        if none can be made."""
        wiring, run, at = self._wiring, journal.run, self._wiring.clock.now()
        try:
            following = await begin(
                wiring,
                call,
                run_id=run.run_id,
                number=begun.attempt.number + 1,
                fence=run.fence,
                at=at,
                facts=facts,
                deadline_at=begun.deadline_at,
                lease=None if fresh else begun.lease,
            )
        except InterlockError:
            return None  # the credential ended in the meantime: the error that stands says more
        sender.close()
        end = AttemptEnd(
            attempt_id=begun.attempt.attempt_id, state=AttemptState.FAILED, finished_at=at, error=error.to_json()
        )
        await journal.write(
            [entries.attempt_ended(end), *following.entries(call)],
            at=at,
            move=Move(),
            records=replace(following.records(), attempt_end=end),
        )
        return following


def _unsaved(call: Call, sender: Sender, error: StoreError) -> InterlockError:
    """What the store's failure means to a caller, who must not send a write again that has left, or that recovery, to which
    the run is still open, will send."""
    if call.operation.effect is sdk.Effect.READ:
        return error
    what = (
        "has not happened, and goes on in recovery, for that"
        if sender.effect() == "none"
        else "left, and what became of it"
    )
    text = f"{call.capability.capability_id} {what} could not be recorded: {error.message}"
    return OutcomeUnsaved(text, details={"cause": error.to_json()})


async def _abandon(closing: Closing) -> None:
    with anyio.CancelScope(shield=True):
        try:
            await closing.abandon()
        except InterlockError as error:
            if error.details.get("ended_here"):
                return  # its end was being committed when the caller went away
            # The cancellation goes on; recovery finds the attempt open and closes it.
            _log.warning("%s is left to recovery: %s", closing.attempt.run_id, error)
