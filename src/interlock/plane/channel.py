"""Both directions of a running execution: events out, which readers follow from a cursor, and input in.

Both are bounded in bytes. Whoever is faster waits: a lane for the slowest reader that is attached, a sender for the lane.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import anyio

from interlock.kernel import Clock
from interlock.plane.errors import InputClosed
from interlock.plane.events import EventType, ExecutionEvent
from interlock.plane.receipt import Fact, Receipt

WINDOW: Final = 1_048_576
"""Bytes of events that are kept for readers who come later, and the most that an attached reader may lag behind."""

MAX_SENDERS: Final = 64
"""How many may number their input to one execution."""

_COST: Final = 256
"""What an event counts besides its data, so that empty ones are bounded, too."""


class EventLog:
    """The events of one execution. With nobody attached the oldest are let go; a reader who comes later is told so."""

    def __init__(self, execution_id: str, clock: Clock, *, window: int = WINDOW) -> None:
        self._execution_id = execution_id
        self._clock = clock
        self._window = window
        self._kept: deque[ExecutionEvent] = deque()
        self._bytes = 0
        self._last = 0
        self._cursors: dict[object, int] = {}
        self._changed = anyio.Event()
        self._ended = False

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._last

    async def append(
        self,
        type_: EventType,
        *,
        stream: str | None = None,
        data: bytes = b"",
        facts: Mapping[str, Fact] | None = None,
    ) -> None:
        """Add an event, once the slowest attached reader has room for it."""
        while self._bytes > self._window and self._cursors:
            if not self._let_go():
                if min(self._cursors.values()) >= self._last:
                    break  # all is read: what is left is one event that is larger than the window
                await self._changed.wait()
        self._add(type_, stream=stream, data=data, facts=facts or {}, receipt=None)

    def note(self, type_: EventType) -> None:
        """Add an event that must not wait for readers."""
        self._add(type_, stream=None, data=b"", facts={}, receipt=None)

    def end(self, receipt: Receipt) -> None:
        """Add the receipt, the last event there is. Never waits."""
        self._ended = True
        self._add(EventType.RECEIPT, stream=None, data=b"", facts={}, receipt=receipt)

    async def follow(self, after: int = 0) -> AsyncGenerator[ExecutionEvent]:
        """The events after that number, as they come, to the receipt. To leave early, close the generator: while it is
        open and not read, the execution waits."""
        reader = self.attach(after)
        try:
            while batch := await reader.more():
                for event in batch:
                    yield event
                    reader.acknowledge(event.seq)
        finally:
            reader.leave()

    def attach(self, after: int = 0) -> "Reader":
        """A reader of the events after that number. Until it leaves, the execution waits for it. ValueError if negative."""
        if after < 0:
            raise ValueError(f"events are numbered from 1, and {after} is before the first: 0 asks for all of them")
        reader = Reader(after, self._give, self._mark)
        self._cursors[reader] = after
        return reader

    async def _give(self, after: int) -> list[ExecutionEvent]:
        while True:
            found = self._after(after)
            if found or (self._ended and after >= self._last):
                return found
            await self._changed.wait()

    def _mark(self, reader: object, seq: int | None) -> None:
        """Note how far a reader has come; None: it has left."""
        if seq is None:
            self._cursors.pop(reader, None)
        elif reader in self._cursors:
            self._cursors[reader] = max(seq, self._cursors[reader])
        self._wake()

    def _add(
        self, type_: EventType, *, stream: str | None, data: bytes, facts: Mapping[str, Fact], receipt: Receipt | None
    ) -> None:
        self._last += 1
        event = ExecutionEvent(
            execution_id=self._execution_id,
            seq=self._last,
            type=type_,
            at=self._clock.now(),
            stream=stream,
            data=data,
            size=len(data),
            facts=dict(facts),
            receipt=receipt,
        )
        self._kept.append(event)
        self._bytes += len(data) + _COST
        self._let_go()
        self._wake()

    def _let_go(self) -> bool:
        """Drop what is beyond the window and has been read by all who are attached."""
        seen = min(self._cursors.values(), default=self._last)
        dropped = False
        while self._bytes > self._window and len(self._kept) > 1 and self._kept[0].seq <= seen:
            self._bytes -= self._kept.popleft().size + _COST
            dropped = True
        return dropped

    def _after(self, cursor: int) -> list[ExecutionEvent]:
        """A batch for one reader; what is gone is named first."""
        first = self._kept[0].seq if self._kept else 1
        found: list[ExecutionEvent] = []
        for event in reversed(self._kept):
            if event.seq <= cursor:
                break
            found.append(event)
        found.reverse()
        if cursor + 1 < first and found:
            gap = ExecutionEvent(
                execution_id=self._execution_id,
                seq=first - 1,
                type=EventType.GAP,
                at=self._clock.now(),
                facts={"from": cursor + 1, "to": first - 1},
            )
            found.insert(0, gap)
        return found

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class Reader:
    """One who reads an event log. What it was given and has not acknowledged is kept, so that it can go back."""

    def __init__(
        self,
        after: int,
        give: Callable[[int], Awaitable[list[ExecutionEvent]]],
        mark: Callable[[object, int | None], None],
    ) -> None:
        """Only a log makes one: `EventLog.attach`."""
        self._given = after
        self._give = give
        self._mark = mark

    async def more(self) -> list[ExecutionEvent]:
        """The events after those that were given, once there are some; none after the receipt."""
        batch = await self._give(self._given)
        if batch:
            self._given = batch[-1].seq
        return batch

    def go_back(self, after: int) -> None:
        """Have the events after that number given again; those that were acknowledged may be gone."""
        self._given = after

    def acknowledge(self, seq: int) -> None:
        """What was given up to there has arrived, and need not be kept for this reader."""
        self._mark(self, min(seq, self._given))

    def leave(self) -> None:
        """Read no more. Again is harmless."""
        self._mark(self, None)


class InputKind(StrEnum):
    """What is sent in: bytes; a text where the lane tells texts from bytes; a new size of the terminal (`rows`, `columns`);
    a signal by its name (`signal`)."""

    DATA = "data"
    TEXT = "text"
    RESIZE = "resize"
    SIGNAL = "signal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One piece of input."""

    kind: InputKind = InputKind.DATA
    data: bytes = b""
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Fact])


class Inbox:
    """The input of one execution, in order."""

    def __init__(self, *, window: int = WINDOW) -> None:
        self._window = window
        self._waiting: deque[Input] = deque()
        self._bytes = 0
        self._open = True
        self._changed = anyio.Event()
        self._numbers: dict[str, int] = {}
        self._one_at_a_time = anyio.Lock()

    @property
    def open(self) -> bool:
        """Whether more may be sent."""
        return self._open

    async def send(self, piece: Input) -> None:
        """Hand a piece to the lane, once it has room. Raises InputClosed after the end."""
        while self._open and self._bytes > self._window:
            await self._changed.wait()
        if not self._open:
            raise InputClosed("the input of this execution has ended")
        self._waiting.append(piece)
        self._bytes += len(piece.data) + _COST
        self._wake()

    async def send_once(self, sender: str, number: int, piece: Input) -> None:
        """As `send`, unless that sender has sent this number or a later one before. Raises InputClosed."""
        async with self._one_at_a_time:
            if number <= self._numbers.get(sender, 0):
                return
            if sender not in self._numbers and len(self._numbers) >= MAX_SENDERS:
                raise InputClosed(f"{MAX_SENDERS} senders have sent input to this execution")
            await self.send(piece)
            self._numbers[sender] = number

    def end(self) -> None:
        """No more input. What was sent is still read. Again is harmless."""
        self._open = False
        self._wake()

    async def receive(self) -> Input | None:
        """For the lane: the next piece; None when the input has ended."""
        while not self._waiting:
            if not self._open:
                return None
            await self._changed.wait()
        piece = self._waiting.popleft()
        self._bytes -= len(piece.data) + _COST
        self._wake()
        return piece

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class Channel:
    """What a streaming lane talks through."""

    def __init__(self, log: EventLog, inbox: Inbox) -> None:
        self.log = log
        self.inbox = inbox

    async def output(self, stream: str, data: bytes, facts: Mapping[str, Fact] | None = None) -> None:
        """Say something; waits while the slowest reader has no room."""
        await self.log.append(EventType.OUTPUT, stream=stream, data=data, facts=facts)
