"""The guest agent: it lets nodes in that hold its token, and runs one command for each connection, as an outpost does.
Standard library alone, so that it runs in any root file system with a python3.

It may grant less than a node asks for, and never more. With itself ends nothing that runs: each command has a process of its
own above it, which ends with its connection."""

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, Final

from interlock.adapters.lanes.places.frames import BadFrame, Frames
from interlock.adapters.lanes.places.handshake import PROOF, VERSION, agrees, prove, read_token
from interlock.adapters.lanes.places.outpost import CAPABILITIES, serve
from interlock.adapters.lanes.process.keeper import bury, drain, prepare

_PATIENCE: Final = 10.0
"""Seconds that a node has to prove itself."""

_MOST_STRANGERS: Final = 64
"""How many may be at it at once; then the one that was the first has to go."""

_NONCE: Final = 32
_YES: Final = b"y"


class _Refused(Exception):
    """The node is not let in. The words are for it to read."""


def main() -> None:
    """Serve until a signal ends it."""
    options = _options()
    with open(options.token_file, "rb") as file:
        token = read_token(file.read())
    granted = tuple(name for name in CAPABILITIES if name not in options.without)
    with _listen(options.listen) as listener:
        woken = prepare()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        doorman = _Doorman(listener, options.sessions)
        while True:
            ready, _, _ = select.select([listener, woken, *doorman.strangers], [], [])
            if woken in ready:
                drain(woken)
                doorman.bury()
            for door in set(doorman.strangers) & set(ready):
                doorman.answer(door)
            if listener in ready:
                connection, _ = listener.accept()
                with connection:
                    doorman.let_in(connection, token, granted, options.name)


class _Doorman:
    """Who is at the agent: strangers, each behind a door of its own by which it asks for a session, and nodes."""

    def __init__(self, listener: socket.socket, sessions: int) -> None:
        self._listener = listener
        self._most = sessions
        self._children: set[int] = set()
        self._nodes: set[int] = set()
        self.strangers: dict[socket.socket, int] = {}
        """By their doors, the first that came first."""

    def bury(self) -> None:
        """Take note of those that ended."""
        bury(self._children)
        self._nodes &= self._children

    def let_in(self, connection: socket.socket, token: bytes, granted: tuple[str, ...], name: str) -> None:
        """Have somebody greeted, by a process of its own."""
        if len(self.strangers) >= _MOST_STRANGERS:
            door, first = next(iter(self.strangers.items()))
            if first in self._children:  # else it has gone by itself, and its number may be another's
                os.kill(first, signal.SIGKILL)
            self._forget(door)
        ours, theirs = socket.socketpair()
        try:
            child = os.fork()
        except OSError:  # no process can be had now: whoever came is hung up on, and may come again
            ours.close()
            theirs.close()
            return
        if child:
            theirs.close()
            self._children.add(child)
            self.strangers[ours] = child
            return
        for each in (self._listener, ours, *self.strangers):
            each.close()
        _attend(connection, theirs, token, granted, name)

    def answer(self, door: socket.socket) -> None:
        """Give a session to whoever has proved to be a node, if there is one left."""
        child = self.strangers[door]
        with contextlib.suppress(OSError):
            if door.recv(1):
                is_free = len(self._nodes) < self._most
                if is_free:
                    self._nodes.add(child)
                door.sendall(_YES if is_free else b"n")
        self._forget(door)

    def _forget(self, door: socket.socket) -> None:
        del self.strangers[door]
        door.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs commands for nodes that hold its token.")
    parser.add_argument("--listen", required=True, help="/path of a socket file, or host:port")
    parser.add_argument("--token-file", required=True, help="the file with the token, of 32 bytes or more")
    parser.add_argument("--name", default=socket.gethostname(), help="what it calls itself")
    parser.add_argument("--without", action="append", default=[], choices=CAPABILITIES, help="do not grant this")
    parser.add_argument(
        "--sessions", type=int, default=64, help="how many commands at once, of nodes that hold the token"
    )
    return parser.parse_args()


def _listen(where: str) -> socket.socket:
    if where.startswith("/"):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(where)
        finally:
            os.umask(mask)
        listener.listen()
        return listener
    host, _, port = where.rpartition(":")
    host = host.strip("[]")
    return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def _attend(connection: socket.socket, door: socket.socket, token: bytes, granted: tuple[str, ...], name: str) -> None:
    """Greet somebody, and serve them. It ends this process."""
    try:
        frames = Frames()
        allowed = _greet(connection, door, frames, token, granted, name)
        door.close()
        both = connection.detach()
        serve(both, both, frames, allowed)
    except (_Refused, BadFrame, OSError, ValueError) as error:
        sys.stderr.write(f"interlock: {type(error).__name__}: {error}\n")
    os._exit(0)


def _greet(
    connection: socket.socket,
    door: socket.socket,
    frames: Frames,
    token: bytes,
    offered: tuple[str, ...],
    name: str,
) -> tuple[str, ...]:
    """What the node may ask for. Raises _Refused, BadFrame, OSError."""
    hello = json.dumps({"guest": name[:200], "versions": [VERSION], "nonce": os.urandom(_NONCE).hex()}).encode()
    connection.settimeout(_PATIENCE)
    connection.sendall(frames.encode(b"g", hello))
    kind, data = _next(connection, frames)
    proof, text = data[:PROOF], data[PROOF:]
    try:
        if kind != b"a" or not agrees(proof, token, b"node", hello, text):
            raise _Refused("token")
        granted = _grant(json.loads(text), offered)
        door.sendall(b"?")
        if door.recv(1) != _YES:
            raise _Refused("sessions")
    except _Refused as refused:
        connection.sendall(frames.encode(b"f", json.dumps({"reason": str(refused)}).encode()))
        raise
    answer = json.dumps({"granted": granted}).encode()
    connection.sendall(frames.encode(b"b", prove(token, b"guest", hello, text, answer) + answer))
    said = hello, text, answer
    frames.seal(ours=prove(token, b"guest frames", *said), theirs=prove(token, b"node frames", *said))
    return granted


def _grant(asked: "dict[str, Any]", offered: tuple[str, ...]) -> tuple[str, ...]:
    """Never more than is asked for, nor than is offered. Raises _Refused."""
    try:
        version, required, optional = asked["version"], set(asked["required"]), set(asked["optional"])
        lacking = ", ".join(sorted(required - set(offered)))
    except (KeyError, TypeError) as error:
        raise _Refused("no request for capabilities") from error
    if version != VERSION:
        raise _Refused("version")
    wanted = required | optional
    if lacking:
        raise _Refused(f"capability {lacking}")
    return tuple(name for name in offered if name in wanted)


def _next(connection: socket.socket, frames: Frames) -> "tuple[bytes, bytes]":
    """The next frame. Raises OSError if it does not come in time."""
    ends = time.monotonic() + _PATIENCE
    while True:
        connection.settimeout(max(0.001, ends - time.monotonic()))
        data = connection.recv(4096)
        if not data:
            raise ConnectionError("the node left")
        for frame in frames.feed(data):
            return frame
