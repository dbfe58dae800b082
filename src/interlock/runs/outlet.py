"""What an attempt at a task sends by itself: requests whose answers are read as they come, each committed before it leaves."""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self, cast

import anyio
from anyio.abc import TaskGroup

from interlock import plane
from interlock.kernel import Redactor
from interlock.runs import entries
from interlock.runs.entries import Entry
from interlock.runs.errors import OwnershipLapsed, RunCancelled
from interlock.runs.journal import Records
from interlock.runs.ledger import SendEnd
from interlock.runs.model import Delivery, Purpose, Send
from interlock.runs.sender import without_secrets
from interlock.runs.sending import ready
from interlock.runs.tasks import Working
from interlock.runs.wiring import Wiring

_TARGET: Final = plane.LOCAL_HTTP


class Flow:
    """An answer: its head, and its body, piece by piece as it comes. Reading raises plane.EffectFailed where it breaks off."""

    def __init__(self, reader: plane.Reader, scope: anyio.CancelScope) -> None:
        """Only an outlet makes one."""
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self._reader = reader
        self._scope = scope
        self._events: deque[plane.ExecutionEvent] = deque()
        self._ended = False

    async def begin(self) -> Self:
        """Wait for the head. Raises plane.EffectFailed."""
        event = await self._next()
        if event.receipt is not None:
            _check(event.receipt)
            self.status, self.headers = event.receipt.status or 0, event.receipt.headers
            self._events.appendleft(event)
            return self
        lines = (line.partition(": ") for line in cast("list[str]", event.facts["headers"]))
        self.status, self.headers = cast("int", event.facts["status"]), tuple((each[0], each[2]) for each in lines)
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        event = await self._next()
        if event.receipt is None:
            return event.data
        self._ended = True
        _check(event.receipt)
        return event.receipt.body

    def close(self) -> None:
        """Read no more: what is under way is broken off. Again is harmless."""
        self._ended = True
        self._reader.leave()
        self._scope.cancel()

    async def _next(self) -> plane.ExecutionEvent:
        if not self._events:
            self._events.extend(await self._reader.more())
        event = self._events.popleft()
        self._reader.acknowledge(event.seq)
        return event


@dataclass(slots=True, kw_only=True)
class _Sent:
    send: Send
    intent: plane.Intent
    log: plane.EventLog
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    delivery: Delivery = Delivery.UNKNOWN
    receipt_json: str | None = None
    settled: bool = False


class Outlet:
    """The port of one attempt. What became known of a send is written with the next change: with the next send, or with the
    attempt's end (`send_end`)."""

    def __init__(
        self, wiring: Wiring, working: Working, tasks: TaskGroup, *, deadline_at: datetime, redactor: Redactor
    ) -> None:
        self._wiring = wiring
        self._working = working
        self._tasks = tasks
        self._deadline_at = deadline_at
        self._redactor = redactor
        self._sent: list[_Sent] = []

    @property
    def sends(self) -> int:
        """How many requests it has sent."""
        return len(self._sent)

    async def send(self, draw: Callable[[dict[str, Any]], plane.HttpIntent], *, told: Sequence[Entry] = ()) -> Flow:
        """Send once. `draw` makes the intent, which streams its answer, of the fields that all intents share; `told` goes on
        record with it. Raises plane.EffectFailed, OwnershipLapsed, RunCancelled, StaleRun, StoreError."""
        wiring, journal = self._wiring, self._working.journal
        await ready(wiring, _TARGET)
        sent = self._prepare(draw)
        end = self.send_end()
        settled = () if end is None else (entries.send_settled(end),)
        await journal.write(
            [*settled, entries.send_intended(sent.send), *told],
            at=sent.send.started_at,
            records=Records(send=sent.send, send_end=end),
        )
        self._sent.append(sent)
        if journal.cancel_requested:
            sent.delivery = Delivery.NOT_SENT
            raise RunCancelled(f"{journal.run.run_id} was cancelled before its request left", run_id=journal.run.run_id)
        reader = sent.log.attach()
        self._tasks.start_soon(self._carry_out, sent)
        return await Flow(reader, sent.scope).begin()

    def send_end(self) -> SendEnd | None:
        """What is known of the last send and not on record, to be written with the next change."""
        last = self._sent[-1] if self._sent and not self._sent[-1].settled else None
        if last is None:
            return None
        last.settled = True
        return SendEnd(
            send_id=last.send.send_id,
            delivery=last.delivery,
            receipt_json=last.receipt_json,
            finished_at=self._wiring.clock.now(),
        )

    def _prepare(self, draw: Callable[[dict[str, Any]], plane.HttpIntent]) -> _Sent:
        wiring, attempt, run = self._wiring, self._working.attempt, self._working.journal.run
        intent = draw(
            {
                "intent_id": wiring.ids.new("snd"),
                "tenant_id": attempt.tenant_id,
                "run_id": attempt.run_id,
                "attempt_id": attempt.attempt_id,
                "trace_id": run.trace_id,
                "deadline_at": self._deadline_at,
            }
        )
        send = Send(
            send_id=intent.intent_id,
            run_id=attempt.run_id,
            attempt_id=attempt.attempt_id,
            tenant_id=attempt.tenant_id,
            number=self.sends + 1,
            purpose=Purpose.EFFECT,
            target_class=_TARGET,
            intent_json=intent.canonical,
            intent_digest=intent.digest,
            delivery=Delivery.UNKNOWN,
            receipt_json=None,
            started_at=wiring.clock.now(),
            finished_at=None,
        )
        return _Sent(send=send, intent=intent, log=plane.EventLog(intent.intent_id, wiring.clock))

    async def _carry_out(self, sent: _Sent) -> None:
        wiring, owner_id = self._wiring, self._working.attempt.owner_id

        def keep(receipt: plane.Receipt) -> None:
            sent.delivery = Delivery(receipt.delivery.value)
            sent.receipt_json = without_secrets(receipt, self._redactor)
            sent.log.end(receipt)

        inbox = plane.Inbox()
        inbox.end()
        remaining = wiring.ownership.may_send(owner_id)
        facts = {"interlock.send.id": sent.send.send_id, "interlock.target.class": _TARGET}
        with sent.scope, wiring.tracing.span("request", role="client", facts=facts) as span:
            await wiring.node.execute(
                sent.intent,
                authority=wiring.authorizer.issue(
                    sent.intent.digest, audience=wiring.node.node_id, target_class=_TARGET, ttl=max(remaining, 0.0)
                ),
                target_class=_TARGET,
                may_leave=lambda: wiring.ownership.may_send(owner_id) > 0,
                on_receipt=keep,
                channel=plane.Channel(sent.log, inbox),
            )
            span.note({"interlock.delivery": sent.delivery.value})


@asynccontextmanager
async def outlet(
    wiring: Wiring, working: Working, *, deadline_at: datetime, redactor: Redactor
) -> AsyncGenerator[Outlet]:
    """The attempt's outlet: what is under way when the block ends is broken off. Raises OwnershipLapsed for an attempt whose
    owner has lost its hold, and what the block raises."""
    if wiring.ownership.may_send(working.attempt.owner_id) <= 0:
        raise OwnershipLapsed(f"this process lost its hold on {working.attempt.run_id} before sending")
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield Outlet(wiring, working, tasks, deadline_at=deadline_at, redactor=redactor)
        except Exception as error:  # noqa: BLE001 - raised outside the group, which would wrap it in another
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _check(receipt: plane.Receipt) -> None:
    if receipt.failure is not None:
        raise plane.EffectFailed.of(receipt.failure)
