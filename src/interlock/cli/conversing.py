"""One execution of the plane at the terminal: what it says goes out as it comes, what is typed goes in."""

import base64
import codecs
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, closing, suppress
from typing import TYPE_CHECKING, BinaryIO

from interlock.cli import aside, streams
from interlock.cli.ending import Ending

if TYPE_CHECKING:
    from interlock import plane
    from interlock.cli.placing import Place
    from interlock.kernel import JSON

_MAX_SHOWN = 8_388_608
_MAX_LINE = 16_777_216
_LAST_WORD = 10.0
_LATE = 3.0
"""Seconds past its time within which an execution's end is told: a command is given two of them to obey."""

_UNREAD = 0.5
"""Seconds past its time for which a reader who does not read is waited for."""


class Shown:
    """What came out: passed on at once, or kept for the document."""

    def __init__(self, *, live: bool, end: bytes = b"", file: BinaryIO | None = None) -> None:
        """`end` follows each piece; all but stderr goes to a `file` if there is one."""
        self._live = live
        self._end = end
        self._file = file
        self._kept: dict[str, bytearray] = {}
        self._cut: set[str] = set()
        self._writers: dict[bool, aside.Writer] = {}

    async def take(self, stream: str, data: bytes) -> None:
        """Raises BrokenPipeError if nobody reads any more, Unwritten."""
        data += self._end
        is_error = stream == "stderr"
        if self._live or (self._file is not None and not is_error):
            if is_error not in self._writers:
                self._writers[is_error] = aside.Writer(sys.stderr if is_error else self._file or streams.answers())
            await self._writers[is_error].write(data)
            return
        kept = self._kept.setdefault(stream, bytearray())
        taken = data[: _MAX_SHOWN - len(kept)]
        kept += taken
        if len(taken) < len(data):
            self._cut.add(stream)

    def close(self) -> None:
        """Nothing more goes out."""
        for writer in self._writers.values():
            writer.close()

    def document(self, ending: Ending) -> "dict[str, JSON]":
        """All that is known, for programs."""
        told: dict[str, JSON] = {} if ending.error is None else {"error": ending.error.to_json()}
        told["receipt"] = None if ending.receipt is None else ending.receipt.record()
        for name, data in self._kept.items():
            cut = name in self._cut
            try:
                told[name] = codecs.getincrementaldecoder("utf-8")().decode(bytes(data), final=not cut)
            except UnicodeDecodeError:
                told[f"{name}_base64"] = base64.b64encode(data).decode()
            if cut:
                told[f"{name}_truncated"] = True
        return told


class Patience:
    """When enough has been heard: after so many messages; or if None are expected, once there is nothing more to say and
    none has come for so many seconds."""

    def __init__(self, *, expect: int | None = None, quiet: float = 0.0) -> None:
        import anyio

        self.scope = anyio.CancelScope()
        """For what ends when it is enough."""
        self.heard = 0
        self._expect = expect
        self._quiet = quiet
        self._changed = anyio.Event()

    def hear(self) -> None:
        """There was a message."""
        self.heard += 1
        self._changed.set()
        if self.heard == self._expect:
            self.scope.cancel()

    async def wait(self) -> None:
        """Until it is enough, with nothing more to say."""
        import anyio

        if self._expect is not None:
            await anyio.sleep_forever()
        while self._quiet:
            self._changed = anyio.Event()
            with anyio.move_on_after(self._quiet) as waiting:
                await self._changed.wait()
            if waiting.cancelled_caught:
                return


async def carry_out(
    place: "Place",
    intent: "plane.Intent",
    target_class: str,
    shown: Shown,
    ending: Ending,
    *,
    feed: "Callable[[], AsyncGenerator[plane.Input]] | None" = None,
    patience: Patience | None = None,
    tty: bool = False,
) -> None:
    """Have it done, with what it says passed on as it comes, and leave its receipt in the `ending`, also if it is interrupted.
    It takes little more than the time of the `ending`, even if a node does not tell how it ended, which is an EffectFailed. A
    `tty` keeps the size of ours."""
    ending.under_way = True
    import anyio

    from interlock import plane
    from interlock.kernel import PlaneError

    ref = None
    with anyio.CancelScope(deadline=ending.ends):
        try:
            ref = await place.start(intent, target_class=target_class)
        except plane.ExecutionRejected as error:
            ending.receipt = error.receipt
            return
    if ref is None:
        raise _unaccepted(place, ending)
    with closing(shown), anyio.CancelScope(deadline=ending.ends + _LATE):
        try:
            async with anyio.create_task_group() as tasks:
                if tty:
                    tasks.start_soon(_resize, place, ref)
                ending.receipt = await _follow(place, ref, shown, feed, patience or Patience(), ending.ends)
                tasks.cancel_scope.cancel()
        except BaseException:
            with anyio.move_on_after(_LAST_WORD, shield=True), suppress(PlaneError):
                ending.receipt = (await place.executions.cancel(ref)).receipt  # elsewhere it would go on
            raise
    if ending.receipt is None:
        raise _untold("how it ended", ending)


def _unaccepted(place: "Place", ending: Ending) -> "plane.EffectFailed":
    """The error for an end of the time before an execution was accepted, as far as is known here."""
    from interlock import app

    node = place.executions if isinstance(place, app.RemotePlane) else None
    if node is not None and node.unanswered:
        return _untold("whether it was accepted", ending)
    why = "" if node is None or node.trouble is None else f"; the node was not reached: {node.trouble}"
    return ending.late(f": it was not accepted, as far as is known here{why}")


def _untold(what: str, ending: Ending) -> "plane.EffectFailed":
    from interlock import plane

    message = f"{what} was not told within {ending.seconds:g} seconds; what it has done is unknown from here"
    return plane.EffectFailed.of(plane.Failure.of(plane.FailureClass.PEER_LOST, message))


async def _follow(
    place: "Place",
    ref: "plane.ExecutionRef",
    shown: Shown,
    feed: "Callable[[], AsyncGenerator[plane.Input]] | None",
    patience: Patience,
    ends: float,
) -> "plane.Receipt":
    import anyio

    receipt: plane.Receipt | None = None
    is_read = True
    async with anyio.create_task_group() as tasks:
        if feed is not None:
            tasks.start_soon(_feed, place, ref, feed, patience)
        async with aclosing(place.executions.subscribe(ref)) as events:
            async for event in events:
                receipt = event.receipt or receipt
                if event.stream not in (None, "head") and is_read:
                    with anyio.CancelScope(deadline=max(ends, anyio.current_time()) + _UNREAD) as taking:
                        await shown.take(event.stream, event.data)
                    is_read = not taking.cancelled_caught  # the rest is passed over, up to how it ended
                    patience.hear()
        tasks.cancel_scope.cancel()
    # Who has been told how it ended need not ask again: a node that is ending may be gone by now.
    return receipt or await place.executions.wait(ref)


async def _feed(
    place: "Place",
    ref: "plane.ExecutionRef",
    feed: "Callable[[], AsyncGenerator[plane.Input]]",
    patience: Patience,
) -> None:
    from interlock import plane

    with suppress(plane.InputClosed):  # it ended before it had read all
        with patience.scope:
            async with aclosing(feed()) as pieces:
                async for piece in pieces:
                    await place.executions.send_input(ref, piece)
            await patience.wait()
        await place.executions.end_input(ref)


async def _resize(place: "Place", ref: "plane.ExecutionRef") -> None:
    import anyio

    from interlock import plane

    with anyio.open_signal_receiver(signal.SIGWINCH) as signals, suppress(plane.InputClosed):
        async for _ in signals:
            size = terminal_size()
            facts = {"rows": size.rows, "columns": size.columns}
            await place.executions.send_input(ref, plane.Input(kind=plane.InputKind.RESIZE, facts=facts))


async def bytes_of_stdin() -> "AsyncGenerator[plane.Input]":
    """As it comes."""
    from interlock import plane

    async with aclosing(aside.stdin_pieces()) as pieces:
        async for data in pieces:
            yield plane.Input(data=data)


async def lines_of_stdin() -> "AsyncGenerator[plane.Input]":
    """Each line a text. Raises Usage for one that is longer than a message may be."""
    from interlock import plane
    from interlock.cli.errors import Usage

    begun = bytearray()
    async with aclosing(aside.stdin_pieces()) as pieces:
        async for data in pieces:
            first, *others = data.split(b"\n")
            begun += first
            for following in others:
                yield plane.Input(kind=plane.InputKind.TEXT, data=bytes(begun))
                begun = bytearray(following)
            if len(begun) > _MAX_LINE:
                raise Usage(f"a line of stdin has more than {_MAX_LINE} bytes, the limit of a message")
    if begun:
        yield plane.Input(kind=plane.InputKind.TEXT, data=bytes(begun))


def terminal_size() -> "plane.TerminalSize":
    """Of the terminal that keys come from."""
    from interlock import plane

    size = os.get_terminal_size(sys.stdin.fileno())
    return plane.TerminalSize(rows=size.lines or 24, columns=size.columns or 80)
