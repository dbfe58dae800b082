"""A command's streams on the node's side: pipes or a pseudo-terminal, read and written without blocking."""

import fcntl
import hashlib
import os
import struct
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import anyio

from interlock import plane
from interlock.adapters.lanes.process.lines import Lines

_CHUNK: Final = 262_144
END_OF_INPUT: Final = b"\x04"
"""What a terminal takes for the end of input, at the beginning of a line."""

KEYS: Final = {"SIGINT": b"\x03", "SIGQUIT": b"\x1c", "SIGTSTP": b"\x1a"}
"""The keys by which a terminal sends a signal to whoever is in its foreground."""


@dataclass(slots=True)
class Streams:
    """The node's ends, and the command's three, which are closed once it has them."""

    theirs: tuple[int, int, int]
    output: dict[str, int]
    input: int | None
    terminal: bool

    def given(self) -> None:
        """The command has its ends: close them here."""
        _close(set(self.theirs))
        self.theirs = (-1, -1, -1)

    def end_input(self) -> None:
        """Nothing more is written."""
        if self.input is not None and not self.terminal:
            os.close(self.input)
        self.input = None

    def resize(self, rows: int, columns: int) -> None:
        """Tell the command, by its terminal, of another size."""
        if self.terminal:
            fcntl.ioctl(self.output["stdout"], termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Close all."""
        self.given()
        self.end_input()
        _close(set(self.output.values()))
        self.output = {}


def pipes(intent: plane.ProcessIntent) -> Streams:
    """Pipes. Without input to come, the command reads from nothing."""
    if intent.stdin or intent.interactive:
        theirs_in, ours_in = os.pipe()
        os.set_blocking(ours_in, False)
    else:
        theirs_in, ours_in = os.open(os.devnull, os.O_RDONLY), None
    out, theirs_out = os.pipe()
    output, theirs_err = {"stdout": out}, theirs_out
    if intent.stderr == "apart":
        output["stderr"], theirs_err = os.pipe()
    for fd in output.values():
        os.set_blocking(fd, False)
    return Streams((theirs_in, theirs_out, theirs_err), output, ours_in, terminal=False)


def terminal(size: plane.TerminalSize) -> Streams:
    """A pseudo-terminal of that size. Raises OSError where there is none to be had."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    streams = Streams((theirs, theirs, theirs), {"stdout": ours}, ours, terminal=True)
    streams.resize(size.rows, size.columns)
    return streams


async def write(fd: int, data: bytes) -> None:
    """Write all of it, as fast as the command reads. Raises OSError if it reads no more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await anyio.wait_writable(fd)


class Outlet:
    """One stream of output on its way to the channel: counted, digested, and cut into lines if they are asked for."""

    def __init__(self, name: str, fd: int, channel: plane.Channel | None, *, lines: bool) -> None:
        self.size = 0
        self._name = name
        self._fd = fd
        self._channel = channel
        self._lines = Lines() if lines else None
        self._hash = hashlib.sha256()
        self._waiting = anyio.CancelScope()
        self._over = False

    @property
    def digest(self) -> str:
        """Of all that was read."""
        return f"sha256:{self._hash.hexdigest()}"

    def over(self) -> None:
        """The command has ended: what is in the pipe now is all that comes, whoever else may hold its other end."""
        self._over = True
        self._waiting.cancel()

    async def read(self) -> int:
        """Pass on what comes next. The number of bytes; 0 at the end."""
        data = await self._next()
        self.size += len(data)
        self._hash.update(data)
        if self._channel is not None:
            for piece in self._pieces(data):
                await self._channel.output(self._name, piece)
        return len(data)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        if self._lines is not None:
            yield from self._lines.feed(data) if data else self._lines.finish()
        elif data:
            yield data

    async def _next(self) -> bytes:
        while True:
            try:
                return os.read(self._fd, _CHUNK)
            except BlockingIOError:
                if self._over:
                    return b""
            except OSError:  # a terminal that nobody has open any more
                return b""
            with anyio.CancelScope() as self._waiting:
                await anyio.wait_readable(self._fd)


def _close(fds: set[int]) -> None:
    for fd in fds - {-1}:
        os.close(fd)
