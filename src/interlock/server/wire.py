"""One connection of uvicorn's, with what uvicorn leaves out: the client's certificate, and patience that ends.

Uvicorn (0.54) hands no certificate to the application and waits without end for the head of a request. Both are settled
where a connection is made: what stands in `app_state` reaches every request on it, also one that becomes a WebSocket.
"""

import asyncio
import resource
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from interlock import plane
from interlock.kernel import InterlockError
from interlock.server.errors import NodeBusy

HEAD_SECONDS: Final = 10.0
"""How long the head of a request may take to arrive."""

_OPEN_FILES: Final = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

MAX_CONNECTIONS: Final = 2_000 if _OPEN_FILES == resource.RLIM_INFINITY else min(2_000, _OPEN_FILES // 2)
"""Open at once, WebSockets included: half of the files that the process may open at most, since executions need some, too."""

MAX_STRANGERS: Final = MAX_CONNECTIONS // 4
"""How many of them may be of those who have not said yet who they are."""


class Wire(H11Protocol):
    """`H11Protocol`, with the certificate in the state of each request as `certificate` (DER; None without one), and with
    `known`, to be called when it is clear who is asking. It tells `shaken` when its TLS handshake is over. When there are
    too many connections, the one goes that has been a stranger for longest, of those first that are being answered nothing (an
    answer that nobody reads never ends), or else the newest; it is told so."""

    stranger_since: float | None = None
    """By the loop's clock; None when it is known who is there."""

    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn has it
        super().connection_made(transport)
        shaken = cast("Callable[[int], None]", self.app_state["shaken"])
        shaken(transport.get_extra_info("socket").fileno())
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls else None
        self.app_state = {**self.app_state, "certificate": certificate, "known": self._know}
        if certificate is None:
            self.stranger_since = self.loop.time()
        self._watch()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._relax()
        super().handle_websocket_upgrade(event)
        self._upgraded = True

    _upgraded = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """As uvicorn does it, with the error in the form that all errors of the application have."""
        self._answer(plane.InvalidPacket("this is no HTTP request"))
        self.transport.close()

    def _answer(self, error: InterlockError) -> None:
        answer = cast("Callable[[Exception], Response]", self.app_state["answer"])(error)
        head = h11.Response(status_code=answer.status_code, headers=[*answer.raw_headers, (b"connection", b"close")])
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")

    def _know(self) -> None:
        self.stranger_since = None

    def _make_room(self) -> None:
        waiting = [(each.stranger_since, each) for each in self.connections if isinstance(each, Wire)]
        strangers = [(since, each) for since, each in waiting if since is not None]
        idle = [(since, each) for since, each in strangers if not each.is_answering]
        if len(self.connections) > MAX_CONNECTIONS:
            others = [each for each in idle if each[1] is not self] or [
                each for each in strangers if each[1] is not self
            ]
            min(others, key=lambda each: each[0], default=(None, self))[1].turn_away()
        elif len(idle) > MAX_STRANGERS:
            min(idle, key=lambda each: each[0])[1].turn_away()

    @property
    def is_answering(self) -> bool:
        """Whether a request has come whose answer has not left."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is not None and not cycle.response_complete

    def turn_away(self) -> None:
        """End it at once; whoever is there is asked to come again."""
        with suppress(h11.LocalProtocolError):  # when it is being answered something else
            self._answer(NodeBusy("this node has as many connections as it holds"))
        self.transport.abort()
        self.connections.discard(self)

    def _watch(self) -> None:
        """Be impatient while there is no whole head; what comes after it is the application's to wait for."""
        if self._upgraded:
            return
        if self.is_answering:
            self._relax()
        elif self._impatience is None:
            self._impatience = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _relax(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None
