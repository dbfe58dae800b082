"""In front of every request: the host it names, who sends it, how long it may take, and how it ends when it goes wrong."""

import logging
import re
import traceback
from abc import ABC, abstractmethod
from typing import Final

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from interlock import kernel
from interlock.server.errors import RequestTooLarge, RequestTooSlow, Unauthenticated, WrongHost, problem
from interlock.server.identity import Clients, claimed_digest

REQUEST_SECONDS: Final = 90.0
"""How long a request may take from its head to the last byte of its answer."""

MAX_HEAD: Final = 32_768
"""Bytes of the head of a request."""

_BEARER: Final = re.compile(r"[Bb]earer +(\S{1,200})")
_log: Final = logging.getLogger(__name__)


class Door(ABC):
    """Lets requests through that are admitted, and tells all errors in one form, to WebSockets before they are opened."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def admit(self, scope: Scope) -> None:
        """Raises for a request that does not come in."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD:
            raise RequestTooLarge(f"the head of the request has more than {MAX_HEAD} bytes")
        scope["app"] = self  # routes then raise what does not fit them, and do not answer it themselves

    @abstractmethod
    def answer(self, error: Exception) -> Response:
        """What the client is told of an error."""

    def seconds(self, scope: Scope) -> float | None:
        """How long a request may take; None for as long as it likes."""
        return REQUEST_SECONDS

    def close(self) -> None:  # noqa: B027 - most hold nothing open
        """The server ends: what is held open for no answer in particular ends, too."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            self.admit(scope)
            if scope["type"] == "websocket":
                await self._app(scope, receive, note)
                return
            with anyio.fail_after(self.seconds(scope)):
                await self._app(scope, receive, note)
        except Exception as error:  # noqa: BLE001 - nothing of it may reach the client, or end the node
            if begun:
                tell_operator(error)
                raise ConnectionAbortedError from None  # the answer cannot be taken back: the connection ends
            answer = self.answer(error)
            if answer.status_code == 408:
                answer.headers["Connection"] = "close"  # what is still to come of the request is not waited for
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(answer)
            else:
                await answer(scope, receive, send)


class Gate(Door):
    """In front of a node: it knows its clients."""

    def __init__(self, app: ASGIApp, *, clients: Clients, hosts: frozenset[str] | None) -> None:
        super().__init__(app)
        self._clients = clients
        self._hosts = hosts

    def admit(self, scope: Scope) -> None:
        super().admit(scope)
        connection = HTTPConnection(scope)
        host = connection.headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self._hosts is not None and name.lower().strip("[]") not in self._hosts:
            raise WrongHost("this node is not the host that the request names")
        state = scope["state"]
        query = scope["query_string"].decode("latin-1")
        promised = claimed_digest(connection.headers.get("content-digest"))
        state["subject"] = self._clients.identify(
            state.get("certificate"),
            connection.headers.get("authorization"),
            method=scope.get("method", "GET"),
            target=scope["raw_path"].decode("latin-1") + (f"?{query}" if query else ""),
            body_digest=promised,
        )
        state["known"]()
        state["promised"] = None if state.get("certificate") is not None else promised

    def answer(self, error: Exception) -> Response:
        if isinstance(error, kernel.StoreError):
            _log.error("the node's journal: %s", error)
        if isinstance(error, kernel.InterlockError):
            return problem(error)
        if isinstance(error, HTTPException):
            return problem(kernel.RequestError("there is nothing of that kind here"), status=error.status_code)
        if isinstance(error, TimeoutError):
            return problem(RequestTooSlow("the request took too long"))
        tell_operator(error)
        return problem(kernel.InternalError("this node has a defect; its log says more"))


def shown_token(connection: HTTPConnection) -> kernel.Secret:
    """The API token of a request. Raises Unauthenticated without one."""
    given = connection.headers.getlist("authorization")
    found = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        raise Unauthenticated(
            "a request shows a token",
            next_step="Send the header `Authorization: Bearer TOKEN`; `interlock tokens create` makes one.",
        )
    return kernel.Secret(found[1])


def tell_operator(error: Exception) -> None:
    """Where a request broke."""
    if not isinstance(error, OSError | kernel.InterlockError | TimeoutError):
        _log.error("a request broke:\n%s", frames(error))


def frames(error: Exception) -> str:
    """Where it was raised. Not its text: that may hold what a client has sent."""
    return "".join(traceback.format_tb(error.__traceback__))
