"""The process's own streams, which may block for ever: they are read and written beside the event loop, in a thread that
nobody waits for, so that neither the loop nor the end of the process hangs on a terminal or on a reader who does not read."""

import io
import os
import queue
import select
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Self, TextIO, TypeVar, cast

from interlock.cli import streams

if TYPE_CHECKING:
    from concurrent.futures import Future
    from io import BufferedReader

T = TypeVar("T")

_PIECE = 65_536


class Aside:
    """A thread for calls that may block, one after the other. Whoever waits for one may be cancelled."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.put(None)

    async def call(self, function: Callable[[], T]) -> T:
        """What it returns, or raises."""
        import asyncio
        from concurrent.futures import Future

        future: Future[T] = Future()
        self._calls.put(partial(_answer, future, function))
        return await asyncio.wrap_future(future)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


class Writer:
    """Writes to one of the process's streams, or to a file. Close it before its stream is closed."""

    def __init__(self, stream: TextIO | BinaryIO) -> None:
        self._stream = stream
        self._aside = Aside()
        self._closed = False

    async def write(self, data: bytes) -> None:
        """All of it, past every buffer. Raises BrokenPipeError if nobody reads any more, Unwritten."""
        try:
            await self._aside.call(partial(self._write, memoryview(data)))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise streams.Unwritten(error) from error

    def close(self) -> None:
        """What is being written may still leave, and nothing after it."""
        self._closed = True
        self._aside.__exit__()

    def _write(self, left: memoryview) -> None:
        while left and not self._closed:
            left = left[self._put(left) :]

    def _put(self, data: memoryview) -> int:
        try:
            fd = self._stream.fileno()
        except io.UnsupportedOperation:  # a program has put something else in its place
            return cast("TextIO", self._stream).buffer.write(data)
        return _patiently(lambda: os.write(fd, data), [], [fd])


async def stdin_pieces() -> AsyncGenerator[bytes]:
    """What comes in, as it comes, to its end."""
    with Aside() as aside:
        while data := await aside.call(_read_stdin):
            yield data


@contextmanager
def raw_terminal() -> Generator[None]:
    """Keys go to the command as they are pressed."""
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _answer(future: "Future[T]", function: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
        future.set_exception(error)


def _read_stdin() -> bytes:
    try:
        fd = sys.stdin.fileno()
    except io.UnsupportedOperation:
        return cast("BufferedReader", sys.stdin.buffer).read1(_PIECE)
    try:
        return _patiently(lambda: os.read(fd, _PIECE), [fd], [])
    except OSError:
        return b""  # there is no stdin, or its terminal is gone


def _patiently(call: Callable[[], T], reading: list[int], writing: list[int]) -> T:
    """Also where whoever started us lets the stream not block."""
    while True:
        try:
            return call()
        except BlockingIOError:
            select.select(reading, writing, [])
