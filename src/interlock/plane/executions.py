"""Executions that go on while their caller does other things, on a node in this process."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from types import TracebackType
from typing import Final, NoReturn, Self

import anyio
from anyio.abc import TaskGroup

from interlock.kernel import Clock, IdSource, StoreError
from interlock.plane.acceptance import Acceptance, Journal, Key, lost
from interlock.plane.authority import AuthorityDecision, denied
from interlock.plane.channel import Channel, Input, Reader
from interlock.plane.client import (
    ExecutionConflict,
    ExecutionNotFound,
    ExecutionRef,
    ExecutionRejected,
    ExecutionStatus,
    StaleExecution,
)
from interlock.plane.events import EventType, ExecutionEvent
from interlock.plane.execution import Execution
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.intent import Intent
from interlock.plane.lane import Lane
from interlock.plane.node import Node, not_durable
from interlock.plane.receipt import Receipt
from interlock.plane.roster import Held, Roster

_log: Final = logging.getLogger(__name__)

RETAIN: Final = timedelta(minutes=10)
"""How long a node still answers for an execution that has ended, and holds its key, unless it is told otherwise."""

_USED: Final = frozenset({"authority_replayed", "authority_expired"})
"""What a verifier says of a genuine authority that was used, at once or later."""


class Executions:
    """A `plane.Client` on a node in this process. Open it with `async with`: executions end when it closes. While it
    is open, the node's targets are kept proved."""

    def __init__(
        self,
        node: Node,
        *,
        clock: Clock,
        ids: IdSource,
        journal: Journal | None = None,
        capacity: int = 4096,
        retain: timedelta = RETAIN,
    ) -> None:
        """`capacity`: how many may run at once; a quarter of them for any one client, where there are several."""
        self._node = node
        self._clock = clock
        self._ids = ids
        self._journal = journal
        self._roster = Roster(clock, capacity=capacity, retain=retain)
        self._group: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        if self._journal is not None:
            for acceptance, receipt in await self._journal.load():
                await self._recall(self._journal, acceptance, receipt)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._node.keep_proved)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._group is not None
        group, self._group = self._group, None
        group.cancel_scope.cancel()
        if isinstance(error, anyio.get_cancelled_exc_class()):
            return await group.__aexit__(kind, error, trace)
        await group.__aexit__(None, None, None)  # what the caller raises goes on as it is, and in no group
        return None

    async def start(
        self,
        intent: Intent,
        *,
        authority: AuthorityDecision | None,
        target_class: str,
        asked_by: str | None = None,
    ) -> ExecutionRef:
        """As `Client.start`. `asked_by`: as whom the client is known, where there are several; each has keys of its own."""
        group = self._group
        if group is None:
            raise RuntimeError("the executions are not open: start them within `async with plane.Executions(…)`")
        execution = self._node.open(intent, target_class, asked_by=asked_by)
        key = (asked_by, intent.tenant_id, intent.idempotency_key or intent.intent_id)
        self._roster.let_go()
        if (full := self._roster.full_for(key)) is not None:
            await self._reject(execution, full)
        if intent.durable and self._journal is None:
            await self._reject(execution, not_durable(self._node.node_id))
        with self._roster.coming(key):  # many that are admitted at once find no more room than there is
            lane = await self._node.admit(execution, authority)
            known = self._roster.find_by_key(key)  # by now, another caller may have begun it
            if known is not None:
                return await self._again(known, execution, authority, lane)
            if isinstance(lane, Failure):
                await self._reject(execution, lane)
            assert authority is not None
            if self._roster.knows_nonce(authority.nonce):  # its verifier may be younger than what the journal knows
                await self._reject(execution, denied("authority_replayed", "the authority was used before"))
            held = self._roster.hold(self._accept(execution, authority, key))
            self._roster.enter(held)
        try:
            if self._journal is not None:
                with anyio.CancelScope(shield=True):
                    await self._journal.accept(held.acceptance)
        except StoreError as error:
            held.refused = error
            self._roster.leave(held)
            self._roster.forget(held)
            raise
        finally:
            held.accepted.set()
        execution.exchange.channel = Channel(held.log, held.inbox)
        group.start_soon(self._carry_out, held, execution, lane)
        return self._ref(held)

    async def subscribe(self, ref: ExecutionRef, *, after: int = 0) -> AsyncGenerator[ExecutionEvent]:
        async with aclosing(self._find(ref).log.follow(after)) as events:
            async for event in events:
                yield event

    def attach_reader(self, ref: ExecutionRef, *, after: int = 0) -> Reader:
        """A reader of the events after that number, for one who says himself what has arrived. Let it leave. Raises
        ExecutionNotFound."""
        return self._find(ref).log.attach(after)

    def find_asker(self, ref: ExecutionRef) -> str | None:
        """As whom the client is known that started it. Raises ExecutionNotFound."""
        return self._find(ref).acceptance.asked_by

    async def send_input(self, ref: ExecutionRef, piece: Input) -> None:
        await self._steered(ref).inbox.send(piece)

    async def send_numbered(self, ref: ExecutionRef, piece: Input, *, sender: str, number: int) -> None:
        """As `send_input`, for one who sends again what may have been lost: each number of a sender counts once."""
        await self._steered(ref).inbox.send_once(sender, number, piece)

    async def end_input(self, ref: ExecutionRef) -> None:
        held = self._steered(ref)
        if held.inbox.open:
            held.inbox.end()
            held.log.note(EventType.INPUT_CLOSED)

    async def attach(self, ref: ExecutionRef) -> ExecutionRef:
        held = self._find(ref)
        held.fence += 1
        return self._ref(held)

    async def status(self, ref: ExecutionRef) -> ExecutionStatus:
        return self._find(ref).status()

    async def cancel(self, ref: ExecutionRef) -> ExecutionStatus:
        held = self._steered(ref)
        held.scope.cancel()
        await held.ended.wait()
        return held.status()

    async def wait(self, ref: ExecutionRef) -> Receipt:
        held = self._find(ref)
        await held.ended.wait()
        assert held.receipt is not None
        return held.receipt

    async def end_all(self) -> None:
        """Cancel what runs, and wait until nothing of it is left."""
        running = self._roster.unended()
        for held in running:
            held.scope.cancel()
        for held in running:
            await held.ended.wait()

    # -- finding

    def _find(self, ref: ExecutionRef) -> Held:
        held = self._roster.find(ref.execution_id) if ref.node_id == self._node.node_id else None
        if held is None:
            raise ExecutionNotFound(f"node {self._node.node_id} has no execution {ref.execution_id[:60]}")
        return held

    def _steered(self, ref: ExecutionRef) -> Held:
        held = self._find(ref)
        if ref.fence != held.fence:
            raise StaleExecution(f"{ref.execution_id} is steered under fence {held.fence}, not {ref.fence}")
        return held

    def _ref(self, held: Held) -> ExecutionRef:
        return ExecutionRef(node_id=self._node.node_id, execution_id=held.acceptance.execution_id, fence=held.fence)

    # -- accepting

    async def _again(
        self, known: Held, execution: Execution, authority: AuthorityDecision | None, lane: Lane | Failure
    ) -> ExecutionRef:
        """The execution that has the key, for whoever may start it: under a new authority, or under its own, whose use
        was this very execution and whose answer was lost."""
        own = authority is not None and authority.nonce == known.acceptance.authority_nonce
        if isinstance(lane, Failure) and not (own and lane.code in _USED):
            await self._reject(execution, lane)
        if execution.intent.digest != known.acceptance.intent_digest:
            raise ExecutionConflict(f"the key {known.acceptance.key[:60]!r} belongs to another intent")
        await known.accepted.wait()
        if known.refused is not None:
            raise StoreError(known.refused.message) from known.refused
        return self._ref(known)

    def _accept(self, execution: Execution, authority: AuthorityDecision, key: Key) -> Acceptance:
        target, lane_id = execution.target, execution.lane_id
        assert target is not None
        assert lane_id is not None
        return Acceptance(
            execution_id=self._ids.new("exe"),
            tenant_id=key[1],
            run_id=execution.intent.run_id,
            attempt_id=execution.intent.attempt_id,
            key=key[2],
            intent_id=execution.intent.intent_id,
            intent_digest=execution.intent.digest,
            authority_nonce=authority.nonce,
            target_class=execution.target_class,
            target_id=target.target_id,
            lane_id=lane_id,
            accepted_at=execution.started_at,
            asked_by=key[0],
        )

    async def _reject(self, execution: Execution, failure: Failure) -> NoReturn:
        raise ExecutionRejected(await self._node.finish(execution, failure))

    # -- carrying out

    async def _carry_out(self, held: Held, execution: Execution, lane: Lane) -> None:
        failure: Failure | None = Failure.of(FailureClass.CANCELLED, "the node stopped")
        try:
            with held.scope:
                await held.log.append(EventType.STARTED, facts={"lane_id": lane.lane_id})
                failure = await self._node.carry_out(execution, lane)
            if held.scope.cancelled_caught:
                failure = Failure.of(FailureClass.CANCELLED, "the execution was cancelled")
        finally:
            self._roster.leave(held)
            with anyio.CancelScope(shield=True):
                receipt = await self._node.finish(execution, failure)
                await self._record(held, receipt)
                self._roster.end(held, receipt)

    async def _record(self, held: Held, receipt: Receipt) -> None:
        if self._journal is None:
            return
        try:
            await self._journal.finish(held.acceptance.execution_id, receipt)
        except StoreError as error:
            # The receipt is told all the same; after a restart this node would call the execution ambiguous.
            _log.error("%s: its receipt could not be kept: %s", held.acceptance.execution_id, error)

    async def _recall(self, journal: Journal, acceptance: Acceptance, receipt: Receipt | None) -> None:
        """Answer for what was accepted before this process began. What had not ended is never begun again."""
        held = self._roster.hold(acceptance)
        held.accepted.set()
        if receipt is None:
            receipt = lost(acceptance, self._node.node_id, self._clock.now(), signer=self._node.signer)
            # Evidence first: if this process is lost, too, the next one makes the same of it.
            await self._node.record(acceptance, receipt)
            await journal.finish(acceptance.execution_id, receipt)
        self._roster.end(held, receipt)
