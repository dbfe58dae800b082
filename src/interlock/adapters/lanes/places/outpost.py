"""The far side of a placement: it runs one command for a node that is somewhere else. Standard library alone, Python 3.10.

It speaks frames over two descriptors. A command is kept by a keeper, as on the node's own host, so that all of it ends
together; it ends, too, when the connection does, or when nothing is heard of the node for a while.

    in   o  a piece of an order, a JSON text    r  the last piece: run it
         i  input    z  the end of input    c  stream, count: so many more bytes of output may come
         s  letter, number: a signal, as a keeper takes it    k  kill all of it    t  rows, columns    p  are you there?
    out  h  a JSON text: the outpost is ready    d  stream, data: output    c  count: so many more bytes of input may come
         e, x  what a keeper tells of the end, after the last output    l  the keeper was killed    p  yes
"""

import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import sys
import termios
import time
from typing import Any, Final

from interlock.adapters.lanes.places.frames import CHUNK, WINDOW, BadFrame, Frames
from interlock.adapters.lanes.process.groups import Groups
from interlock.adapters.lanes.process.keeper import drain, fork_keeper, hand_over, own, prepare, see_off

PROTOCOL: Final = 1
OUT: Final = 1
ERR: Final = 2

CAPABILITIES: Final = ("limits", "run", "secrets", "terminal")
"""What an order may ask for."""

_MAX_ORDER: Final = 33_554_432
_FIRST_ORDER: Final = 30.0
"""Seconds within which the order has to come."""


class _Gone(Exception):
    """The node went away."""


def main() -> None:
    """Behind the first two descriptors, which the command does not get."""
    source, sink = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200) for fd in (0, 1))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    serve(source, sink, Frames(), CAPABILITIES)


def serve(source: int, sink: int, frames: Frames, allowed: "tuple[str, ...]") -> None:
    """One command, to its end or the connection's. Nothing of it is left afterwards."""
    os.set_blocking(source, False)
    os.set_blocking(sink, False)
    woken = prepare()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper = fork_keeper(theirs.detach(), without={ours.fileno(), source, sink})
    control = own(ours.detach())
    control.settimeout(0)
    groups = contextlib.ExitStack()
    try:
        Outpost(source, sink, frames, control, woken, allowed, groups).run()
    except (_Gone, BadFrame, OSError) as error:
        sys.stderr.write(f"interlock: {type(error).__name__}: {error}\n")
    finally:
        control.close()
        see_off({keeper}, woken)
        groups.close()


class _Outlet:
    """One stream of output."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.credit = WINDOW


class Outpost:
    """Between a node and a keeper."""

    def __init__(
        self,
        source: int,
        sink: int,
        frames: Frames,
        control: socket.socket,
        woken: socket.socket,
        allowed: "tuple[str, ...]",
        groups: contextlib.ExitStack,
    ) -> None:
        """`groups` is closed when nothing of the command is left."""
        self._groups = groups
        self._source = source
        self._sink = sink
        self._frames = frames
        self._control = control
        self._woken = woken
        self._allowed = allowed
        self._unsent = bytearray()
        self._order: bytearray | None = bytearray()
        self._outlets: dict[int, _Outlet] = {}
        self._input: int | None = None
        self._terminal = False
        self._pending = bytearray()
        self._input_ends = False
        self._end: tuple[bytes, bytes] | None = None
        self._told = False
        self._silence = _FIRST_ORDER
        self._heard = time.monotonic()

    def run(self) -> None:
        """Until the end is told, and the node has hung up."""
        hello: dict[str, Any] = {"protocol": PROTOCOL, "python": ".".join(map(str, sys.version_info[:3]))}
        if "limits" in self._allowed:
            hello["offers"] = sorted(Groups().offered)
        self._say(b"h", json.dumps(hello).encode())
        while not self._told or self._unsent:
            ready = self._wait()
            if self._source in ready:
                self._listen()
            if self._control.fileno() in ready:
                self._hear_keeper()
            self._feed()
            for stream, outlet in list(self._outlets.items()):
                if outlet.fd in ready or self._end is not None:
                    self._carry(stream, outlet)
            if self._end is not None and not self._outlets and not self._told:
                self._told = True
                self._say(*self._end)
            self._send()
        self._leave()

    # -- waiting

    def _leave(self) -> None:
        """Say that this was all, and stay until the node hangs up, or for as long as it may be silent. Were it still to say
        something to nobody, its system would tell it so, and the end might go unread."""
        if self._sink == self._source:
            with socket.socket(fileno=os.dup(self._sink)) as both:
                both.shutdown(socket.SHUT_WR)
        else:
            os.close(self._sink)
        ends = time.monotonic() + self._silence
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        while (left := ends - time.monotonic()) > 0 and poll.poll(left * 1000):
            try:
                if not os.read(self._source, WINDOW):
                    return
            except BlockingIOError:
                continue

    def _wait(self) -> "set[int]":
        """Which descriptors are ready. Raises _Gone after too long a silence."""
        wanted: dict[int, int] = {self._source: select.POLLIN, self._woken.fileno(): select.POLLIN}
        if self._end is None:
            wanted[self._control.fileno()] = select.POLLIN
        if self._unsent:
            wanted[self._sink] = wanted.get(self._sink, 0) | select.POLLOUT
        for outlet in self._outlets.values():
            if outlet.credit > 0 and len(self._unsent) < WINDOW:
                wanted[outlet.fd] = wanted.get(outlet.fd, 0) | select.POLLIN
        if self._input is not None and self._pending:
            wanted[self._input] = wanted.get(self._input, 0) | select.POLLOUT
        poll = select.poll()
        for fd, mask in wanted.items():
            poll.register(fd, mask)
        left = self._heard + self._silence - time.monotonic()
        if left <= 0:
            raise _Gone(f"nothing was heard of the node for {self._silence:g} seconds")
        ready = {fd for fd, _event in poll.poll(left * 1000 + 1)}
        if self._woken.fileno() in ready:
            drain(self._woken)
        return ready

    # -- the node

    def _say(self, kind: bytes, data: bytes = b"") -> None:
        self._unsent += self._frames.encode(kind, data)

    def _send(self) -> None:
        while self._unsent:
            try:
                del self._unsent[: os.write(self._sink, self._unsent)]
            except BlockingIOError:
                return

    def _listen(self) -> None:
        try:
            data = os.read(self._source, WINDOW)
        except BlockingIOError:
            return
        if not data:
            raise _Gone("the connection has ended")
        self._heard = time.monotonic()
        for kind, content in self._frames.feed(data):
            self._obey(kind, content)

    def _obey(self, kind: bytes, data: bytes) -> None:
        if kind == b"p":
            self._say(b"p")
        elif kind in b"or":
            self._take_order(data, last=kind == b"r")
        elif self._order is not None:
            raise BadFrame(f"the frame {kind!r} before an order")
        elif kind == b"i":
            self._pending += data
            if len(self._pending) > WINDOW:
                raise BadFrame("more input than was asked for")
        elif kind == b"z":
            self._input_ends = True
        elif kind == b"c":
            stream, count = _unpack("!BI", data)
            if stream in self._outlets:
                self._outlets[stream].credit += count
        elif kind == b"t":
            self._resize(*_unpack("!HH", data))
        elif kind in b"sk":
            with contextlib.suppress(OSError):  # a keeper that is gone is seen when it is listened to
                self._control.send(data if kind == b"s" else b"k")
        else:
            raise BadFrame(f"the unknown frame {kind!r}")

    # -- the command

    def _take_order(self, data: bytes, *, last: bool) -> None:
        if self._order is None:
            raise BadFrame("a second order")
        self._order += data
        if len(self._order) > _MAX_ORDER:
            raise BadFrame(f"an order of more than {_MAX_ORDER} bytes")
        if last:
            text, self._order = bytes(self._order), None
            try:
                self._start(json.loads(text))
            except (KeyError, TypeError, ValueError) as error:
                raise BadFrame(f"an order that cannot be read: {type(error).__name__}") from error

    def _start(self, order: "dict[str, Any]") -> None:
        totals: dict[str, int] = order.get("totals", {})
        asked = {"run"} | {name for name in ("limits", "secrets", "terminal") if order[name]}
        asked |= {"limits"} if totals else set()
        if asked - set(self._allowed):
            raise BadFrame("an order for more than was granted")
        self._silence = max(1.0, min(300.0, float(order["silence"])))
        spec = {
            "argv": order["argv"],
            "env": order["env"],
            "cwd": order["cwd"],
            "path": order["path"],
            "fds": [int(number) for number in order["secrets"]],
            "terminal": order["terminal"] is not None,
            "wrapped": False,
            "rlimits": order["limits"],
        }
        theirs: list[int] = []
        try:
            self._open(order, theirs)
            theirs += [_readable(text.encode()) for text in order["secrets"].values()]
            groups = self._groups.enter_context(Groups().limited(totals)) if totals else ()
            hand_over(self._control, {**spec, "groups": list(groups)}, theirs)
        except OSError:
            self._end = b"e", b"0 preparation"
        finally:
            for fd in set(theirs):
                os.close(fd)

    def _open(self, order: "dict[str, Any]", theirs: "list[int]") -> None:
        """The command's streams: its own ends are added to `theirs`."""
        if order["terminal"] is not None:
            ours, slave = os.openpty()
            theirs += [slave] * 3
            self._outlets[OUT], self._input, self._terminal = _Outlet(ours), ours, True
            self._resize(*order["terminal"])
        else:
            stdin, self._input = os.pipe()
            theirs.append(stdin)
            for stream in (OUT,) if order["merged"] else (OUT, ERR):
                ours, written = os.pipe()
                theirs.append(written)
                self._outlets[stream] = _Outlet(ours)
            theirs += theirs[1:2] if order["merged"] else []
        for fd in {self._input, *(outlet.fd for outlet in self._outlets.values())}:
            os.set_blocking(fd, False)

    def _resize(self, rows: int, columns: int) -> None:
        if self._terminal and OUT in self._outlets:
            fcntl.ioctl(self._outlets[OUT].fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _carry(self, stream: int, outlet: _Outlet) -> None:
        """Pass output on, as much as the node takes."""
        while outlet.credit > 0 and len(self._unsent) < WINDOW:
            try:
                data = os.read(outlet.fd, min(CHUNK, outlet.credit))
            except BlockingIOError:
                if self._end is None:
                    return
                data = b""  # what is there is all that comes, whoever else may hold the other end
            except OSError:
                data = b""  # a terminal that nobody has open any more
            if not data:
                del self._outlets[stream]
                if outlet.fd != self._input:
                    os.close(outlet.fd)
                return
            outlet.credit -= len(data)
            self._say(b"d", bytes([stream]) + data)

    def _feed(self) -> None:
        """Hand input to the command, as much as it takes, and have as much sent again."""
        while self._pending:
            taken = len(self._pending)
            if self._input is not None and self._end is None:
                try:
                    taken = os.write(self._input, self._pending)
                except BlockingIOError:
                    return
                except OSError:  # it reads no more, which is its right
                    self._close_input()
            del self._pending[:taken]
            self._say(b"c", struct.pack("!I", taken))
        if self._input_ends and not self._terminal:
            self._close_input()

    def _close_input(self) -> None:
        if self._input is not None and not self._terminal:
            os.close(self._input)
        self._input = None

    def _hear_keeper(self) -> None:
        try:
            data = self._control.recv(1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._end = (data[:1], data[1:]) if data else (b"l", b"")


def _readable(value: bytes) -> int:
    """A descriptor from which the value can be read once. Raises OSError if the system has no room for it."""
    theirs, ours = os.pipe()
    try:
        os.set_blocking(ours, False)
        if value and os.write(ours, value) < len(value):
            raise OSError("no room for the value")
    except OSError:
        os.close(theirs)
        raise
    finally:
        os.close(ours)
    return theirs


def _unpack(form: str, data: bytes) -> "tuple[int, ...]":
    try:
        return struct.unpack(form, data)
    except struct.error as error:
        raise BadFrame("a frame of the wrong length") from error
