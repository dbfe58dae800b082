"""The connection under an answer: how to cut it, and how to wait beside it."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]


class Wires:
    """The open connections of one server, found by the peer's address."""

    def __init__(self) -> None:
        self._transports: dict[object, asyncio.Transport] = {}

    def protocol(self) -> type[H11Protocol]:
        """Uvicorn's HTTP protocol, noting its connections here."""
        transports = self._transports

        class Wire(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn has it
                super().connection_made(transport)
                transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self.client, None)
                super().connection_lost(exc)

        return Wire

    def cut(self, scope: Scope, *, reset: bool = False) -> None:
        """Close the connection: in good order after what was written, or by a TCP reset at once."""
        transport = self._transports.get(scope["client"])
        if transport is None:
            return  # the peer was quicker
        if reset:
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        else:
            transport.close()


class Cut(Response):
    """No answer, or only its head and half of its body, and then the end of the connection."""

    def __init__(self, wires: Wires, *, reset: bool = False, answer: Response | None = None) -> None:
        super().__init__()
        self._wires = wires
        self._reset = reset
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._answer is not None:
            body = bytes(self._answer.body)
            await send(
                {
                    "type": "http.response.start",
                    "status": self._answer.status_code,
                    "headers": self._answer.raw_headers,
                }
            )
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        self._wires.cut(scope, reset=self._reset)
        await until_gone(receive)  # uvicorn must know of the end, or it would answer 500 itself


async def until_gone(receive: Receive) -> None:
    """Return when the client has closed the connection (or it was cut)."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Hold:
    """A request that waits. `outcome` becomes `released`, `gone` (the client left) or `dropped` (the server stops).
    A hold that is not `listed` is nobody's to release."""

    def __init__(self, *, listed: bool = True) -> None:
        self.listed = listed
        self.outcome = ""
        self._settled = anyio.Event()

    def settle(self, outcome: str) -> None:
        """End the wait; the first outcome stays."""
        if not self.outcome:
            self.outcome = outcome
            self._settled.set()

    async def wait(self, receive: Receive | None, *, seconds: float | None = None) -> str:
        """The outcome; `released` after so many seconds. Without `receive` it does not matter whether the client
        stays."""
        async with anyio.create_task_group() as group:
            if receive is not None:
                group.start_soon(self._watch, receive)
            with anyio.move_on_after(seconds):
                await self._settled.wait()
            self.settle("released")
            group.cancel_scope.cancel()
        return self.outcome

    async def _watch(self, receive: Receive) -> None:
        await until_gone(receive)
        self.settle("gone")
