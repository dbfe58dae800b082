"""The near side of a placement: one connection, by which a command that runs far away is talked with.

What may be under way is granted beforehand, in both directions, so that nothing here grows: neither when a reader is slow nor
when the far side is hostile.
"""

import asyncio
import json
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import anyio

from interlock import plane
from interlock.adapters.lanes.places.frames import CHUNK, MAX_FRAME, WINDOW, BadFrame, Frames
from interlock.adapters.lanes.places.outpost import ERR, OUT, PROTOCOL
from interlock.adapters.lanes.process.keepers import Ended, KeeperLost, NotStarted, read_end
from interlock.kernel import InvalidJson, JsonLimits, parse_json

_LIMITS: Final = JsonLimits(max_bytes=4096, max_depth=3, max_nodes=256)
_LARGEST: Final = 2**53


class LinkLost(KeeperLost):
    """The connection carries no more; the failure says why."""

    def __init__(self, failure: plane.LaneFailure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Link(asyncio.Protocol):
    """One connection to a far side. It is fed by a transport, and writes by `connect`'s function."""

    def __init__(self, *, silence: float) -> None:
        """`silence`: seconds without a sign of the far side after which it counts as lost; it counts alike."""
        self.frames = Frames()
        self.granted = frozenset[str]()
        """What the far side does for us, of what was asked."""
        self.offers = frozenset[plane.Restraint]()
        """What it says that it can enforce on all processes of a command together."""
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._write: Callable[[bytes], None] = _nowhere
        self._early = bytearray()
        """What came before a command and is not read yet: keys may be agreed on between two frames of it."""
        self._running = False
        self._end: Ended | NotStarted | None = None
        self._failure: plane.LaneFailure | None = None
        self._changed = anyio.Event()
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.credit = WINDOW
        """Bytes of input that the far side takes now."""
        self.sources: dict[int, Output] = {}

    # -- what the transport tells

    def connect(self, write: Callable[[bytes], None]) -> None:
        """The connection is there. To write into one that has ended is no error: whoever reads is told why it has."""

        def put(data: bytes) -> None:
            with suppress(BrokenPipeError):
                write(data)

        self._write = put

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.connect(transport.write)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._heard = self._loop.time()
        if self._running:
            self._parse(data)
            return
        if self._failure is not None:
            return  # nobody reads it any more
        self._early += data
        if len(self._early) > MAX_FRAME:
            self.lose(_garbled("it says more than a greeting"))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        if self._running:
            message = "the connection to the far side broke, which ends all that ran there"
            self.lose(plane.LaneFailure(plane.FailureClass.PEER_LOST, message, code="link_lost"))
        else:
            message = "the connection ended before the far side was ready"
            self.lose(plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, message, code="far_side_left"))

    def lose(self, failure: plane.LaneFailure) -> None:
        """It is over; the first reason counts."""
        if self._failure is None:
            self._failure = failure
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    # -- before a command

    def send(self, data: bytes) -> None:
        """Send bytes that are no frame: what comes before the frames."""
        self._write(data)

    def say(self, kind: bytes, data: bytes = b"") -> None:
        """Send a frame, if there is anybody to send it to."""
        if self._failure is None:
            self._write(self.frames.encode(kind, data))

    async def greeting(self) -> tuple[bytes, bytes]:
        """The next frame before a command. Raises LaneFailure."""
        while True:
            try:
                frame = next(self.frames.feed(self._early), None)
            except BadFrame as error:
                raise _garbled(str(error)) from error
            self._early.clear()
            if frame is not None:
                return frame
            if self._failure is not None:
                raise self._failure
            await self._changed.wait()

    async def hello(self) -> None:
        """Wait until the outpost is ready. Raises LaneFailure."""
        kind, data = await self.greeting()
        told = told_by(data)
        if kind != b"h" or told.get("protocol") != PROTOCOL:
            message = f"the far side speaks another protocol than {PROTOCOL}"
            raise plane.LaneFailure(plane.FailureClass.LAUNCH_FAILED, message, code="protocol_unknown")
        offers = told.get("offers")
        together = (plane.Restraint.PROCESSES, plane.Restraint.TOTAL_MEMORY)
        self.offers = frozenset(each for each in together if isinstance(offers, list) and each in offers)

    def order(self, order: Mapping[str, Any]) -> None:
        """Have a command started, once in the life of a link."""
        self._running = True
        streams = (OUT,) if order["merged"] or order["terminal"] else (OUT, ERR)
        self.sources = {stream: Output(self, stream) for stream in streams}
        text = json.dumps({**order, "silence": self._silence}, ensure_ascii=False).encode()
        pieces = [text[begin : begin + CHUNK] for begin in range(0, len(text), CHUNK)]
        for piece in pieces[:-1]:
            self.say(b"o", piece)
        self.say(b"r", pieces[-1])
        self._heard = self._loop.time()
        self._tick()
        self._parse(bytes(self._early))

    # -- a command, as a run holds it

    async def ended(self) -> Ended:
        """Wait until nothing of the command is left. Raises NotStarted, KeeperLost."""
        while self._end is None:
            if self._failure is not None:
                raise LinkLost(self._failure)
            await self._changed.wait()
        if isinstance(self._end, NotStarted):
            raise self._end
        return self._end

    def signal(self, number: int, *, everything: bool = False) -> None:
        """Send a signal to the command's process group, or to all that it started."""
        self.say(b"s", f"{'t' if everything else 'g'}{int(number)}".encode())

    def kill(self) -> None:
        """Kill all of it."""
        self.say(b"k")

    async def input_wanted(self) -> bool:
        """Wait until input may be sent. False if none is taken any more."""
        while self.credit <= 0 and not self.over:
            await self._changed.wait()
        return not self.over

    async def change(self) -> None:
        """Wait for whatever comes next."""
        await self._changed.wait()

    @property
    def over(self) -> bool:
        """Whether no more output comes."""
        return self._end is not None or self._failure is not None

    # -- inside

    def _parse(self, data: bytes) -> None:
        if self._failure is not None:
            return
        try:
            for kind, content in self.frames.feed(data):
                self._take(kind, content)
        except BadFrame as error:
            self.lose(_garbled(str(error)))
        self._wake()

    def _take(self, kind: bytes, data: bytes) -> None:
        """What comes while a command runs. Raises BadFrame."""
        if self._end is not None:
            raise BadFrame(f"the frame {kind!r} after the end")
        if kind == b"d" and data and data[0] in self.sources:
            self.sources[data[0]].take(data[1:])
        elif kind == b"c" and len(data) == struct.calcsize("!I"):
            self.credit += struct.unpack("!I", data)[0]
            if self.credit > WINDOW:
                raise BadFrame("more input granted than fits")
        elif kind in (b"e", b"x"):
            self._end = _end(kind + data)
        elif kind == b"l":
            message = "the keeper of the far side is gone"
            self.lose(plane.LaneFailure(plane.FailureClass.PEER_LOST, message, code="keeper_lost"))
        elif kind != b"p":
            raise BadFrame(f"the frame {kind!r} at the wrong time")

    def _tick(self) -> None:
        if self._loop.time() - self._heard > self._silence:
            message = f"nothing was heard of the far side for {self._silence:g} seconds, which ends all that ran there"
            self.lose(plane.LaneFailure(plane.FailureClass.PEER_LOST, message, code="far_side_silent"))
        elif not self.over:
            self.say(b"p")
            self._timer = self._loop.call_later(self._silence / 4, self._tick)

    def close(self) -> None:
        """Forget it: nothing is sent or waited for any more."""
        self.connection_lost(None)

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class Output:
    """One stream of a far command's output."""

    def __init__(self, link: Link, stream: int) -> None:
        self._link = link
        self._stream = stream
        self._waiting = bytearray()

    def take(self, data: bytes) -> None:
        """More of it came. Raises BadFrame if it was not asked for."""
        self._waiting += data
        if len(self._waiting) > WINDOW:
            raise BadFrame("more output than was asked for")

    def over(self) -> None:
        """What is there is all: the end comes after the last output."""

    async def next(self) -> bytes:
        """What comes next; nothing at the end."""
        while not self._waiting:
            if self._link.over:
                return b""
            await self._link.change()
        data = bytes(self._waiting)
        self._waiting.clear()
        self._link.say(b"c", struct.pack("!BI", self._stream, len(data)))
        return data


def told_by(data: bytes) -> dict[str, Any]:
    """A greeting's JSON object. Raises LaneFailure."""
    try:
        value = parse_json(data, limits=_LIMITS, what="greeting")
    except InvalidJson:
        value = None
    if isinstance(value, dict):
        return value
    raise _garbled("its greeting cannot be read")


def _garbled(why: str) -> plane.LaneFailure:
    message = f"the far side does not keep to the protocol: {why}"
    return plane.LaneFailure(plane.FailureClass.FRAMING_FAILED, message, code="far_side_garbled")


def _end(answer: bytes) -> Ended | NotStarted:
    """Raises BadFrame for what no keeper tells."""
    try:
        ended = read_end(answer.decode())
    except NotStarted as never:
        return never
    except (ValueError, OverflowError) as error:
        raise BadFrame("an end that cannot be read") from error
    if max(ended.code or 0, ended.signal or 0, ended.max_rss, ended.left) > _LARGEST:
        raise BadFrame("an end that cannot be")
    return ended


def _nowhere(data: bytes) -> None:
    del data
    raise AssertionError("nothing is sent before there is a connection")
