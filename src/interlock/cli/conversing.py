"""One execution of the plane at the terminal: what it says goes out as it comes, what is typed goes in."""

import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, cast

from interlock.cli import streams

if TYPE_CHECKING:
    from io import BufferedReader

    from interlock import plane
    from interlock.cli.desk import Answer
    from interlock.cli.placing import Place
    from interlock.kernel import JSON

_MAX_SHOWN = 8_388_608
_PIECE = 65_536
_LAST_WORD = 10.0


class Shown:
    """What came out: passed on at once, or kept for the document."""

    def __init__(self, *, live: bool, end: bytes = b"") -> None:
        self._live = live
        self._end = end
        self._kept: dict[str, bytearray] = {}

    def take(self, stream: str, data: bytes) -> None:
        if self._live:
            out = sys.stderr.buffer if stream == "stderr" else streams.answers().buffer
            out.write(data + self._end)
            out.flush()
            return
        kept = self._kept.setdefault(stream, bytearray())
        kept += (data + self._end)[: _MAX_SHOWN - len(kept)]

    def answer(self, receipt: "plane.Receipt", exit_code: int) -> "Answer":
        from interlock.cli.desk import Answer

        streams: dict[str, JSON] = {name: data.decode(errors="replace") for name, data in self._kept.items()}
        return Answer(document={"receipt": receipt.record(), **streams}, show=lambda _: None, exit_code=exit_code)


async def converse(
    local: "Place",
    intent: "plane.Intent",
    target_class: str,
    shown: Shown,
    feed: "Callable[[], AsyncGenerator[plane.Input]] | None" = None,
) -> "plane.Receipt":
    """Carry it out, with what it says passed on as it comes."""
    import anyio

    ref = await local.start(intent, target_class=target_class)
    receipt: plane.Receipt | None = None
    try:
        async with anyio.create_task_group() as tasks:
            if feed is not None:
                tasks.start_soon(_feed, local, ref, feed)
            async with aclosing(local.executions.subscribe(ref)) as events:
                async for event in events:
                    receipt = event.receipt or receipt
                    if event.stream not in (None, "head"):
                        shown.take(event.stream, event.data)
            tasks.cancel_scope.cancel()
        # Who has been told how it ended need not ask again: a node that is ending may be gone by now.
        return receipt or await local.executions.wait(ref)
    except anyio.get_cancelled_exc_class():
        with anyio.move_on_after(_LAST_WORD, shield=True):
            await local.executions.cancel(ref)  # elsewhere it would go on
        raise


async def _feed(local: "Place", ref: "plane.ExecutionRef", feed: "Callable[[], AsyncGenerator[plane.Input]]") -> None:
    from interlock import plane

    try:
        async with aclosing(feed()) as pieces:
            async for piece in pieces:
                await local.executions.send_input(ref, piece)
        await local.executions.end_input(ref)
    except plane.InputClosed:
        return  # it ended before it had read all


async def bytes_of_stdin() -> "AsyncGenerator[plane.Input]":
    from interlock import plane

    while data := await _read_stdin():
        yield plane.Input(data=data)


async def lines_of_stdin() -> "AsyncGenerator[plane.Input]":
    from interlock import plane

    rest = b""
    while data := await _read_stdin():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield plane.Input(kind=plane.InputKind.TEXT, data=line)
    if rest:
        yield plane.Input(kind=plane.InputKind.TEXT, data=rest)


async def _read_stdin() -> bytes:
    import anyio.to_thread

    try:
        return await anyio.to_thread.run_sync(
            cast("BufferedReader", sys.stdin.buffer).read1, _PIECE, abandon_on_cancel=True
        )
    except OSError:
        return b""  # there is no stdin


def terminal_size() -> "plane.TerminalSize":
    from interlock import plane

    try:
        columns, rows = os.get_terminal_size(streams.answers().fileno())
    except OSError:
        columns, rows = 80, 24
    return plane.TerminalSize(rows=rows, columns=columns)


@contextmanager
def raw_terminal() -> Generator[None]:
    """Keys go to the command as they are pressed."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
