"""The way out of a sandbox: a proxy for its listed hosts, which stands outside and is asked at the sandbox's own loopback.

It speaks SOCKS 5 (RFC 1928, by names and addresses) and HTTP (CONNECT, and plain requests in absolute form), whichever the
first byte says. What a command asks for is compared with the list as it is written; names are resolved out here, and the
operator's address policy is the last word. Where else a command wants to go is counted and not written down: that is the
command's to choose, and could be a secret.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import anyio

from interlock import plane
from interlock.adapters.lanes.egress import Egress
from interlock.adapters.lanes.process import asking
from interlock.adapters.lanes.wire import Dialler, Wire

_FOREVER: Final = 1_000_000.0
_PATIENCE: Final = 10.0
"""Seconds within which the command says where it wants to go, and a host is reached."""

_SHORT: Final = 0.1
"""Seconds before the next caller is let in, where one could not be."""

_MOST_AT_ONCE: Final = 64
_MOST_NOTES: Final = 256
_PIECE: Final = 65_536

_T = TypeVar("_T")

DiallerFor: TypeAlias = Callable[[str], Dialler]
"""Who connects to a `host:port`."""


async def gated(
    work: Callable[[], Awaitable[_T]],
    way_out: int,
    hosts: Sequence[str],
    exchange: plane.Exchange,
    dialler_for: DiallerFor,
) -> _T:
    """Do the work while the gate to these hosts stands open. From `way_out` comes the listener. Raises LaneFailure."""
    gate = _Gate({asking.normal(host): host for host in hosts}, exchange, dialler_for)
    failure, done = None, list[_T]()
    with socket.socket(fileno=os.dup(way_out)) as way:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.serve, way)
            try:
                done.append(await work())
            except plane.LaneFailure as error:  # kept for after the tasks, who would put it into a group
                failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return done[0]


class _Gate:
    def __init__(self, hosts: dict[str, str], exchange: plane.Exchange, dialler_for: DiallerFor) -> None:
        self._hosts = hosts
        self._exchange = exchange
        self._dialler_for = dialler_for
        self._places = anyio.Semaphore(_MOST_AT_ONCE)

    async def serve(self, way: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await anyio.wait_readable(way)
        said, fds, _flags, _address = socket.recv_fds(way, 1, 1)
        if not said or not fds:
            return  # whoever was to open it has failed, and says so itself
        with socket.socket(fileno=fds[0]) as listener:
            listener.setblocking(False)  # noqa: FBT003 - it takes no name
            async with anyio.create_task_group() as tasks:
                while True:
                    await self._places.acquire()
                    try:
                        caller, _ = await loop.sock_accept(listener)
                    except OSError:  # it hung up, or the node is short of descriptors: no reason to end the command
                        self._places.release()
                        await self._exchange.clock.sleep(_SHORT)
                    else:
                        tasks.start_soon(self._attend, caller)

    async def _attend(self, caller: socket.socket) -> None:
        try:
            with caller, contextlib.suppress(OSError, TimeoutError):
                caller.setblocking(False)  # noqa: FBT003 - it takes no name
                with anyio.fail_after(_PATIENCE):
                    asked = await asking.listen(caller)
                if asked is not None:
                    await self._lead(asked)
        finally:
            self._places.release()

    async def _lead(self, asked: asking.Asked) -> None:
        listed = self._hosts.get(asking.normal(asked.host_port))
        if listed is None:
            self._count("hosts_refused")
            await asked.refuse(asking.FORBIDDEN, "this host is not among the sandbox's listed hosts")
            return
        host, _, port = listed.rpartition(":")
        url = plane.Url("http", host.strip("[]"), int(port), "/")
        try:
            wire = await self._dialler_for(listed).dial(url, _PATIENCE)
        except plane.LaneFailure as error:
            self._count("hosts_failed")
            self._note("host_failed", {"host": listed, "code": error.failure.code})
            await asked.refuse(asking.UNREACHABLE, error.failure.message)
            return
        await self._carry(asked, wire, listed)

    async def _carry(self, asked: asking.Asked, wire: Wire, listed: str) -> None:
        own = plane.Exchange(self._exchange.clock, ends_at=self._exchange.ends_at, may_leave=self._exchange.may_leave)
        received = 0
        try:
            first = await asked.accept()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_send, asked.caller, wire, own, first, tasks.cancel_scope)
                with contextlib.suppress(OSError):
                    while data := await wire.read(_FOREVER):
                        received += len(data)
                        await asyncio.get_running_loop().sock_sendall(asked.caller, data)
                tasks.cancel_scope.cancel()
        finally:
            wire.close()
            self._count("hosts_reached")
            facts: dict[str, plane.Fact] = {"host": listed, "peer": wire.peer, "sent": own.bytes_sent}
            self._note("host_reached", {**facts, "received": received})

    def _count(self, name: str) -> None:
        count = self._exchange.facts.get(name)
        self._exchange.facts[name] = 1 + (count if isinstance(count, int) else 0)

    def _note(self, kind: str, facts: dict[str, plane.Fact]) -> None:
        if sum(note[0] in ("host_reached", "host_failed") for note in self._exchange.notes) < _MOST_NOTES:
            self._exchange.note(kind, facts)


async def _send(
    caller: socket.socket, wire: Wire, exchange: plane.Exchange, first: bytes, scope: anyio.CancelScope
) -> None:
    """To the host, until the command says no more. What may not leave any more ends the connection."""
    try:
        data = first or await asyncio.get_running_loop().sock_recv(caller, _PIECE)
        while data:
            await wire.write(data, _FOREVER, exchange)
            data = await asyncio.get_running_loop().sock_recv(caller, _PIECE)
        wire.end()
    except (OSError, TimeoutError, plane.LaneFailure):
        scope.cancel()


def dialler_for(egress: Egress, baits: dict[str, plane.AddressPolicy]) -> DiallerFor:
    """Connects as the operator allows; to the listeners of a probe of our own, too."""

    def make(host_port: str) -> Dialler:
        own = baits.get(host_port)
        return Dialler(egress if own is None else Egress(addresses=own))

    return make
