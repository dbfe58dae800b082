"""The port of one attempt: every request through it is committed before it leaves and is settled after."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import anyio

from interlock import connections, plane, sdk
from interlock.kernel import Redactor, StoreError, Tx
from interlock.runs import entries
from interlock.runs.call import Call
from interlock.runs.entries import Entry
from interlock.runs.errors import AttemptOver, OwnershipLapsed, RunCancelled, StaleRun
from interlock.runs.journal import Journal, Move, Records
from interlock.runs.model import Attempt, Delivery, Purpose, Run
from interlock.runs.sending import Draft, Prepared, Sent, correlated, prepare, ready, request_draft, tell, traced
from interlock.runs.wiring import Wiring

T = TypeVar("T")

MOVE_ON = frozenset(
    {
        plane.FailureClass.TARGET_UNAVAILABLE,
        plane.FailureClass.LANE_UNAVAILABLE,
        plane.FailureClass.SANDBOX_UNENFORCEABLE,
    }
)
"""Failures before dispatch that leave the next acceptable target class to be tried."""

STOPPED = (OwnershipLapsed, StaleRun, RunCancelled)


class Sender:
    """`sdk.Http` for one attempt. The first send may have been committed with the attempt itself (`prepared`).

    What became known of a send is written with the next change (the next send, or the attempt's end), so that a plain
    call costs two commits. Until then the ledger says `unknown`, which is the safe side.
    """

    def __init__(
        self,
        wiring: Wiring,
        call: Call,
        journal: Journal,
        attempt: Attempt,
        *,
        lease: connections.Lease | None,
        deadline_at: datetime,
        prepared: Prepared | None = None,
    ) -> None:
        self._wiring = wiring
        self._call = call
        self._journal = journal
        self._attempt = attempt
        self.lease = lease
        self._deadline_at = deadline_at
        self._prepared = prepared
        self._turn = anyio.Lock(fast_acquire=True)
        self._offered: Prepared | None = None
        """A send whose commit failed: it did not leave, but it may stand in the ledger."""
        self._closed = False
        self.stopped: OwnershipLapsed | StaleRun | RunCancelled | None = None
        """Why this process must not go on with the run, whatever a handler makes of that error."""
        self.sent: list[Sent] = []

    @property
    def run_id(self) -> str:
        """The run that it sends for."""
        return self._attempt.run_id

    @property
    def run(self) -> Run:
        """The run as last committed."""
        return self._journal.run

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody was seen to ask for the run to stop."""
        return self._journal.cancel_requested

    @property
    def begun_at(self) -> datetime:
        """When the run was made: the same for every attempt."""
        return self._journal.run.created_at

    async def request(self, request: sdk.HttpRequest) -> sdk.HttpResponse:
        """Send a request once, as `carry` does. Raises also HandlerFailed for a write where only a read may be sent."""
        async with self._in_turn():
            self._check(request)
            again = self._call.revalidation  # only of reads that are data: none of them is ever settled by reading
            conditioned = request
            if again is not None and self._prepared is None:
                conditioned = await again.condition(request)
            draft = request_draft(self._call, self.lease, correlated(self._wiring, self._call, conditioned))
            response = await self._carry(draft, self._response)
            return response if again is None else again.answer(request, response)

    async def carry(self, draft: Draft, read: Callable[[plane.Receipt], T | plane.Failure]) -> T:
        """Send once, over the first acceptable target class that takes it; one at a time. `read` says what a receipt comes
        to. Raises what it raises, plane.EffectFailed, OwnershipLapsed, RunCancelled, AttemptOver."""
        async with self._in_turn():
            return await self._carry(draft, read)

    @asynccontextmanager
    async def _in_turn(self) -> AsyncGenerator[None]:
        async with self._turn:
            if self._closed:
                raise AttemptOver(f"{self._attempt.attempt_id} has ended; nothing more is sent for it")
            try:
                yield
            except STOPPED as error:
                self.stopped = error
                raise

    async def _carry(self, draft: Draft, read: Callable[[plane.Receipt], T | plane.Failure]) -> T:
        *others, last = self._call.request.targets
        for target_class in others:
            told = await self._send(draft, target_class, read)
            if not isinstance(told, plane.Failure):
                return told
            # A lane's word for the failure is not enough: the receipt says whether anything had left.
            if told.failure_class not in MOVE_ON or self.sent[-1].delivery is not Delivery.NOT_SENT:
                raise plane.EffectFailed.of(told)
        told = await self._send(draft, last, read)
        if isinstance(told, plane.Failure):
            raise plane.EffectFailed.of(told)
        return told

    def _check(self, request: sdk.HttpRequest) -> None:
        """What is there to read sends nothing that may write: nobody approved that, and nothing would settle it."""
        operation = self._call.operation
        only_reads = operation.effect is sdk.Effect.READ or request.purpose is sdk.Purpose.RECONCILE
        if only_reads and operation.may_write(request.method):
            raise sdk.HandlerFailed(
                f"{self._call.capability.capability_id}: a read does not {request.method} {request.path}; it was not sent",
                effect="none",
            )

    async def _send(
        self, draft: Draft, target_class: str, read: Callable[[plane.Receipt], T | plane.Failure]
    ) -> T | plane.Failure:
        await ready(self._wiring, target_class)
        return read(await self._dispatch(await self._commit(draft, target_class), target_class))

    def _response(self, receipt: plane.Receipt) -> sdk.HttpResponse | plane.Failure:
        """The answer, or the failure. Nothing is raised here for what the service said: a receipt may hold what a service
        repeats of our credential, and this frame would carry it into tracebacks."""
        redactor = self._call.redactor
        if receipt.failure is not None:
            return receipt.failure
        return sdk.HttpResponse(
            status=receipt.status or 0,
            headers=tuple((redactor.text(name), redactor.text(value)) for name, value in receipt.headers),
            body=redactor.data(receipt.body),
            received_at=receipt.finished_at,
        )

    async def _commit(self, draft: Draft, target_class: str) -> Sent:
        if self._prepared is not None:
            sent = Sent(prepared=self._prepared)
            self._prepared = None
            self.sent.append(sent)
            return sent
        await self._look_up()
        at = self._wiring.clock.now()
        prepared = prepare(
            self._wiring,
            self._call,
            self._attempt,
            draft,
            number=len(self.sent) + 1,
            target_class=target_class,
            deadline_at=self._deadline(draft),
            at=at,
        )
        try:
            await self.record([entries.send_intended(prepared.send)], at=at, records=Records(send=prepared.send))
        except StoreError:
            self._offered = prepared
            raise
        self.sent.append(Sent(prepared=prepared))
        return self.sent[-1]

    def _deadline(self, draft: Draft) -> datetime:
        """Reading what became of a write has time of its own: that the call's is over may be why it is needed."""
        if draft.purpose is not Purpose.RECONCILE:
            return self._deadline_at
        return self._wiring.clock.now() + timedelta(seconds=self._call.operation.timeout_seconds)

    async def _dispatch(self, sent: Sent, target_class: str) -> plane.Receipt:
        ownership = self._wiring.ownership
        reads = sent.prepared.send.purpose is Purpose.RECONCILE  # a stop forbids effects, not finding out
        if self._journal.cancel_requested and not reads:
            sent.delivery = Delivery.NOT_SENT
            raise RunCancelled(f"{self._attempt.run_id} was cancelled before its effect left")
        remaining = ownership.may_send(self._attempt.owner_id)
        if remaining <= 0:
            # Committed and then frozen: another process may be recovering this very send.
            raise OwnershipLapsed(f"this process lost its hold on {self._attempt.run_id} before sending")
        authority = self._wiring.authorizer.issue(
            sent.prepared.intent.digest,
            audience=self._wiring.node.node_id,
            target_class=target_class,
            ttl=remaining,
        )

        def may_leave() -> bool:
            sent.left_at = self._wiring.clock.now()
            return ownership.may_send(self._attempt.owner_id) > 0

        def keep(receipt: plane.Receipt) -> None:
            # Also called when the caller is cancelled, so that what is known is not lost.
            sent.delivery = Delivery(receipt.delivery.value)
            sent.status = receipt.status
            sent.failed = receipt.failure is not None
            sent.receipt_json = without_secrets(receipt, self._call.redactor)

        try:
            with traced(self._wiring.tracing, self._call, sent) as span:
                receipt = await self._wiring.node.execute(
                    sent.prepared.intent,
                    authority=authority,
                    target_class=target_class,
                    requirement=plane.sandboxed(self._call.sandbox),
                    may_leave=may_leave,
                    on_receipt=keep,
                )
                tell(span, receipt)
        except anyio.get_cancelled_exc_class() as gone:
            # Without the lane's frames: they hold the request as it left, credential and all.
            raise gone.with_traceback(None)  # noqa: B904 - it is the same one
        if receipt.delivery is plane.Delivery.NOT_SENT and ownership.may_send(self._attempt.owner_id) <= 0:
            raise OwnershipLapsed(f"this process lost its hold on {self._attempt.run_id} while it was about to send")
        return receipt

    async def record(
        self,
        told: Sequence[Entry],
        *,
        at: datetime,
        move: Move | None = None,
        records: Records | None = None,
        beside: Callable[[Tx], object] | None = None,
    ) -> None:
        """Write a change to the run, if there is one, with what is known of the last send and not yet written. Raises as
        `Journal.write`; what is known then waits for the next change."""
        await self._look_up()
        if self._prepared is not None:
            # Committed with the attempt, which ended before its turn came.
            self.sent.append(Sent(prepared=self._prepared, delivery=Delivery.NOT_SENT))
            self._prepared = None
        last = self.sent[-1] if self.sent and not self.sent[-1].settled else None
        if last is not None:
            end = last.end(at)
            told, records = [entries.send_settled(end), *told], replace(records or Records(), send_end=end)
        if told:
            await self._journal.write(told, at=at, move=move, records=records, beside=beside)
        if last is not None:
            last.settled = True

    async def _look_up(self) -> None:
        """Whether the send whose commit had no answer is in the ledger all the same, and with it what was told before."""
        offered, attempt = self._offered, self._attempt
        if offered is None:
            return
        ledger = self._wiring.ledger
        sends = await self._wiring.store.read(lambda tx: ledger.list_sends(tx, attempt.tenant_id, attempt.run_id))
        if any(each.send_id == offered.send.send_id for each in sends):
            for before in self.sent:
                before.settled = True
            self.sent.append(Sent(prepared=offered, delivery=Delivery.NOT_SENT))
        self._offered = None

    def refused(self) -> None:
        """The last answer proved that the service did nothing."""
        if self.sent and self.sent[-1].delivery is Delivery.RESPONDED:
            self.sent[-1].delivery = Delivery.REJECTED

    def effect(self) -> sdk.EffectState:
        """What the sends alone say of the attempt's writes."""
        effects = {sent.effect for sent in self.writes}
        return "unknown" if "unknown" in effects else "happened" if "happened" in effects else "none"

    def last_write(self) -> datetime:
        """When the last write left, or was committed to; without one, when the attempt began."""
        last = self.writes[-1] if self.writes else None
        return self._attempt.started_at if last is None else last.left_at or last.prepared.send.started_at

    @property
    def writes(self) -> list[Sent]:
        """What may have changed something, by what was sent and not by what the operation says of itself."""
        return [sent for sent in self.sent if sent.prepared.writes]

    @property
    def nothing_left(self) -> bool:
        """Whether something was about to leave in this attempt, and nothing did: proven for every send."""
        begun = self._prepared is not None or bool(self.sent)
        return begun and all(sent.delivery is Delivery.NOT_SENT for sent in self.sent)

    def close(self) -> None:
        """Nothing more is sent: the attempt's end is about to be recorded. What a handler left running finds out."""
        self._closed = True


def without_secrets(receipt: plane.Receipt, redactor: Redactor) -> str:
    """The receipt's record; where something had to be taken out of it, its evidence fits what is left."""
    text = redactor.text(receipt.canonical)
    return text if text == receipt.canonical else redactor.text(plane.redacted(receipt, redactor.text).canonical)
