"""The keepers at hand, from the node's side: who starts commands for the lane, and what they tell of them."""

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import anyio

from interlock.adapters.lanes.process.keeper import hand_over

_PROGRAM: Final = str(Path(__file__).with_name("keeper.py"))
_IDLE: Final = 16
_CLOSING: Final = 5.0
_REFUSED: Final = re.compile(r"e([0-9]{1,5}) (command|cwd|preparation)")
_ENDED: Final = re.compile(r"x(?:([0-9]{1,3}) -|- ([0-9]{1,3})) ([0-9]{1,15}) ([0-9]{1,9})")


class KeeperLost(Exception):
    """The keeper went away: somebody killed it. What it kept is killed by its mother."""


class NotStarted(Exception):
    """The command does not run, and never did. `code`: the failure's, if it is finer than its class."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a keeper is asked to start. `streams` are the command's first three descriptors, `fds` its others by number;
    the caller keeps and closes its own copies. `groups` are files of control groups to be joined, `rlimits` values by
    the limit's name."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    path: str
    streams: tuple[int, int, int]
    fds: Mapping[int, int]
    terminal: bool
    wrapped: bool
    rlimits: Mapping[str, int]
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: by itself with a code, or by a signal; the largest resident set of one of its processes, in
    bytes; how many processes it left, which were killed."""

    code: int | None
    signal: int | None
    max_rss: int
    left: int
    maybe_signal: int | None = None
    """Which it may have been where `code` is a sandbox's own, for which a death by signal n is the code 128 + n."""

    def below(self, status: int | None) -> "Ended":
        """The same of a command that ended so (as wait() tells it) below what this is the end of; None if that is not known."""
        if status is not None:
            by_signal = os.WIFSIGNALED(status)
            return replace(
                self,
                code=None if by_signal else os.WEXITSTATUS(status),
                signal=os.WTERMSIG(status) if by_signal else None,
            )
        number = (self.code or 0) - 128
        return replace(self, maybe_signal=number) if 0 < number < signal.NSIG else self


def read_end(answer: str) -> Ended:
    """What a keeper told of a command's end. Raises NotStarted, and ValueError for what no keeper says."""
    if refused := _REFUSED.fullmatch(answer):
        number, place = int(refused[1]), refused[2]
        missing = place == "command" and number == errno.ENOENT
        raise NotStarted(_reason(number, place), code="command_not_found" if missing else None)
    ended = _ENDED.fullmatch(answer)
    if ended is None:
        raise ValueError("the keeper's answer cannot be read")
    code, number, rss, left = ended.groups()
    return Ended(
        code=None if code is None else int(code),
        signal=None if number is None else int(number),
        max_rss=int(rss) * 1024,
        left=int(left),
    )


class KeeperClient:
    """One keeper, seen from the node."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def close(self) -> None:
        """Let it go; it kills what it still keeps."""
        self._control.close()

    def send(self, order: Order) -> bool:
        """Have a command started. False if the keeper is gone, and the order did not reach it."""
        spec = {
            "argv": list(order.argv),
            "env": dict(order.env),
            "cwd": order.cwd,
            "path": order.path,
            "fds": list(order.fds),
            "terminal": order.terminal,
            "wrapped": order.wrapped,
            "rlimits": dict(order.rlimits),
            "groups": list(order.groups),
        }
        try:
            hand_over(self._control, spec, [*order.streams, *order.fds.values()])
        except ConnectionError:
            return False
        return True

    async def ended(self) -> Ended:
        """Wait until nothing of the command is left. Raises NotStarted, KeeperLost."""
        try:
            return read_end(await self._receive())
        except ValueError as error:  # whoever speaks there, it is not the keeper alone
            raise KeeperLost(str(error)) from error

    def signal(self, number: int, *, everything: bool = False) -> None:
        """Send a signal to the command's process group, or to all that it started."""
        self._tell(f"{'t' if everything else 'g'}{number}")

    def kill(self) -> None:
        """Kill all of it."""
        self._tell("k")

    def _tell(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a keeper that is gone is seen by whoever waits for the end
            self._control.send(text.encode())

    async def _receive(self) -> str:
        while True:
            try:
                data = self._control.recv(1024)
            except BlockingIOError:
                await anyio.wait_readable(self._control)
                continue
            except OSError as error:
                raise KeeperLost(f"the keeper is gone: {error}") from error
            if not data:
                raise KeeperLost("the keeper is gone")
            return data.decode("ascii", "replace")


class Keepers:
    """Keepers that wait for work. They are started when they are needed, and some are kept for the next command."""

    def __init__(self) -> None:
        self._idle: list[KeeperClient] = []
        self._door: socket.socket | None = None
        self._mother: subprocess.Popen[bytes] | None = None

    def start(self, order: Order) -> KeeperClient:
        """Have a command started, by whoever is left of those that waited or by a new one."""
        while self._idle:
            keeper = self._idle.pop()
            if keeper.send(order):
                return keeper
            keeper.close()
        keeper = self._new()
        if not keeper.send(order):
            raise KeeperLost("a keeper ended as it began")
        return keeper

    def give_back(self, keeper: KeeperClient) -> None:
        """One whose command has ended."""
        if self._door is None or len(self._idle) >= _IDLE:
            keeper.close()
        else:
            self._idle.append(keeper)

    async def aclose(self) -> None:
        """Let all of them go. What commands are still running is killed."""
        for keeper in self._idle:
            keeper.close()
        self._idle.clear()
        if self._mother is None or self._door is None:
            return
        mother, self._mother = self._mother, None
        self._door.close()
        self._door = None
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_wait, mother)

    def _new(self) -> KeeperClient:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        with theirs:
            try:
                socket.send_fds(self._open(), [b"k"], [theirs.fileno()])
            except OSError:  # the mother was killed: another one
                self._forget()
                socket.send_fds(self._open(), [b"k"], [theirs.fileno()])
        return KeeperClient(ours)

    def _open(self) -> socket.socket:
        if self._door is None:
            self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._mother = subprocess.Popen(  # noqa: S603 - our own program, by our own interpreter
                    [sys.executable, "-I", "-S", _PROGRAM, str(theirs.fileno())],
                    env={},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        return self._door

    def _forget(self) -> None:
        mother, self._mother = self._mother, None
        if self._door is not None:
            self._door.close()
            self._door = None
        if mother is not None:
            _wait(mother)


def _wait(mother: subprocess.Popen[bytes]) -> None:
    try:
        mother.wait(_CLOSING)
    except subprocess.TimeoutExpired:
        mother.kill()
        mother.wait()


def _reason(number: int, place: str) -> str:
    if place == "preparation":
        return "its limits or its terminal could not be set" + (f": {os.strerror(number)}" if number else "")
    return f"the {'working folder' if place == 'cwd' else 'command'} cannot be used: {os.strerror(number)}"
