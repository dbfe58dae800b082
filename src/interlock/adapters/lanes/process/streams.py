"""A command's streams on the node's side: pipes or a pseudo-terminal, read and written without blocking. What a run needs of
them is a port, since a command may also be somewhere else."""

import fcntl
import hashlib
import os
import struct
import termios
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import anyio

from interlock import plane
from interlock.adapters.lanes.process.lines import Lines

_CHUNK: Final = 262_144
_PIPE: Final = 65_536
"""What a pipe holds unless it is told otherwise."""

END_OF_INPUT: Final = b"\x04"
"""What a terminal takes for the end of input, at the beginning of a line."""

KEYS: Final = {"SIGINT": b"\x03", "SIGQUIT": b"\x1c", "SIGTSTP": b"\x1a"}
"""The keys by which a terminal sends a signal to whoever is in its foreground."""


class Source(Protocol):
    """Where one stream of a command's output comes from."""

    async def next(self) -> bytes:
        """What comes next; nothing at the end."""
        ...

    def over(self) -> None:
        """The command has ended: what is there now is all that comes."""
        ...


class Streams(Protocol):
    """All streams of one command."""

    @property
    def output(self) -> Mapping[str, Source]:
        """By name."""
        ...

    @property
    def terminal(self) -> bool:
        """Whether they are one pseudo-terminal."""
        ...

    def given(self) -> None:
        """The command has its ends."""
        ...

    async def write(self, data: bytes) -> None:
        """Hand all of it to the command, as fast as it reads. Raises OSError if it reads no more."""
        ...

    def end_input(self) -> None:
        """Nothing more is written. Again is harmless."""
        ...

    def resize(self, rows: int, columns: int) -> None:
        """Tell the command, by its terminal, of another size."""
        ...


class Descriptor:
    """A source behind a descriptor of ours."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._waiting = anyio.CancelScope()
        self._over = False
        self._roomy = False

    def over(self) -> None:
        self._over = True
        self._waiting.cancel()

    async def next(self) -> bytes:
        while True:
            try:
                data = os.read(self.fd, _CHUNK)
            except BlockingIOError:
                if self._over:
                    return b""
            except OSError:  # a terminal that nobody has open any more
                return b""
            else:
                if len(data) >= _PIPE and not self._roomy:
                    self._make_room()
                return data
            with anyio.CancelScope() as self._waiting:
                await anyio.wait_readable(self.fd)

    def _make_room(self) -> None:
        """The command writes faster than it is read: what it waits for then is mostly the other side's waking up."""
        self._roomy = True
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # a terminal, or the user has many pipes of that size
                fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _CHUNK)


@dataclass(slots=True)
class LocalStreams:
    """The node's ends, and the command's three, which are closed once it has them."""

    theirs: tuple[int, int, int]
    output: dict[str, Descriptor]
    input: int | None
    terminal: bool

    def given(self) -> None:
        _close(set(self.theirs))
        self.theirs = (-1, -1, -1)

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self.input is not None:
            try:
                view = view[os.write(self.input, view) :]
            except BlockingIOError:
                await anyio.wait_writable(self.input)

    def end_input(self) -> None:
        if self.input is not None and not self.terminal:
            os.close(self.input)
        self.input = None

    def resize(self, rows: int, columns: int) -> None:
        if self.terminal:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(self.output["stdout"].fd, termios.TIOCSWINSZ, size)

    def close(self) -> None:
        """Close all."""
        self.given()
        self.end_input()
        _close({source.fd for source in self.output.values()})
        self.output = {}


def pipes(intent: plane.ProcessIntent) -> LocalStreams:
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
    sources = {name: Descriptor(fd) for name, fd in output.items()}
    return LocalStreams((theirs_in, theirs_out, theirs_err), sources, ours_in, terminal=False)


def terminal(size: plane.TerminalSize) -> LocalStreams:
    """A pseudo-terminal of that size. Raises OSError where there is none to be had."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    streams = LocalStreams((theirs, theirs, theirs), {"stdout": Descriptor(ours)}, ours, terminal=True)
    streams.resize(size.rows, size.columns)
    return streams


class Outlet:
    """One stream of output on its way to the channel: counted, digested, and cut into lines if they are asked for."""

    def __init__(self, name: str, source: Source, channel: plane.Channel | None, *, lines: bool) -> None:
        self.size = 0
        self._name = name
        self._source = source
        self._channel = channel
        self._lines = Lines() if lines else None
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of all that was read."""
        return f"sha256:{self._hash.hexdigest()}"

    def over(self) -> None:
        """The command has ended: what is there now is all that comes, whoever else may hold the other end of its pipe."""
        self._source.over()

    async def read(self) -> int:
        """Pass on what comes next. The number of bytes; 0 at the end."""
        data = await self._source.next()
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


def _close(fds: set[int]) -> None:
    for fd in fds - {-1}:
        os.close(fd)
