"""Who asks, and what may be asked by them: the token in front of every request, and how much it may ask at once."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final

import anyio
from fastapi import Depends, Request
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock import app, tokens
from interlock.kernel import JSON, Clock, JsonLimits, parse_json
from interlock.server.bodies import read_body
from interlock.server.errors import Forbidden, TooManyRequests
from interlock.server.gate import shown_token

MAX_BODY: Final = 2_500_000
"""Bytes of a request's body: an input of 1 MiB, and what JSON adds to it where it is no ASCII."""

PER_SECOND: Final = 100.0
"""How many requests a token may make, over time."""

BURST: Final = 400
"""How many at once, after a while without."""

AT_ONCE: Final = 200
"""How many requests of a token may be under way, streams of events among them."""

_LIMITS: Final = JsonLimits(max_bytes=MAX_BODY)
_MAX_METERS: Final = 10_000


@dataclass(slots=True)
class _Meter:
    """What a token has left: requests, as of a moment, and what is under way."""

    left: float
    at: float
    under_way: int = 0


@dataclass(slots=True)
class Meters:
    """How much each token asks. Only of tokens that are good, so that strangers cannot fill it."""

    clock: Clock
    per_second: float = PER_SECOND
    burst: int = BURST
    at_once: int = AT_ONCE
    _all: OrderedDict[str, _Meter] = field(default_factory=OrderedDict[str, _Meter])

    def take(self, token_id: str) -> Callable[[], None]:
        """Count a request; call what comes back when it is over. Raises TooManyRequests."""
        now = self.clock.monotonic()
        meter = self._all.setdefault(token_id, _Meter(float(self.burst), now))
        self._all.move_to_end(token_id)
        if len(self._all) > _MAX_METERS:
            self._all.popitem(last=False)
        meter.left = min(float(self.burst), meter.left + (now - meter.at) * self.per_second)
        meter.at = now
        if meter.under_way >= self.at_once:
            raise TooManyRequests(f"{self.at_once} requests of this token are under way", retry_after=1)
        if meter.left < 1:
            wait = (1 - meter.left) / self.per_second
            raise TooManyRequests(f"this token makes more than {self.per_second:g} requests a second", retry_after=wait)
        meter.left -= 1
        meter.under_way += 1

        def over() -> None:
            meter.under_way -= 1

        return over


class Identified:
    """In front of the routes: the token, then the body, which is read whole and within limits. What stands in `open_to_all` needs
    no token."""

    def __init__(
        self, routes: ASGIApp, il: app.Interlock, *, meters: Meters, closing: anyio.Event, open_to_all: frozenset[str]
    ) -> None:
        """`closing` is set when what is held open is to end."""
        self._routes = routes
        self._il = il
        self._meters = meters
        self._closing = closing
        self._open = open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in self._open:
            await self._routes(scope, receive, send)
            return
        token = await self._il.tokens.identify(shown_token(HTTPConnection(scope)))
        state = scope.setdefault("state", {})
        if "known" in state:
            state["known"]()
        over = self._meters.take(token.token_id)
        try:
            state |= {"token": token, "il": self._il.as_caller(token.caller), "closing": self._closing}
            state["clock"] = self._meters.clock
            body = await read_body(Request(scope, receive), limit=MAX_BODY)
            if body:
                parse_json(body, limits=_LIMITS, what="body", unique=True)  # strictly, before a parser that is not
            await self._routes(scope, _again(body, receive), send)
        finally:
            over()


def _again(body: bytes, receive: Receive) -> Receive:
    """The body as it was read, and then what comes: that the client is gone."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _reading(request: Request) -> app.Interlock:
    return request.state.il


def _whole(request: Request) -> app.Interlock:
    token: tokens.Token = request.state.token
    if token.caller.is_limited:
        raise Forbidden("a token that is limited to some capabilities or connections does not see this")
    return request.state.il


def _asking(request: Request) -> app.Interlock:
    _must_have(request.state.token, tokens.CALLER)
    return request.state.il


def _operating(request: Request) -> app.Interlock:
    _must_have(request.state.token, tokens.OPERATOR)
    return request.state.il


def _issuing(request: Request) -> app.Interlock:
    token: tokens.Token = request.state.token
    if tokens.ADMIN not in token.roles:
        raise Forbidden(f"this takes a token with the role {tokens.ADMIN!r}", details={"role": tokens.ADMIN})
    return request.state.il


def must_operate(request: Request, what: str) -> None:
    """Raises Forbidden unless the token is an operator's: for what only some of a path's requests ask for."""
    if tokens.OPERATOR not in request.state.token.roles:
        details: dict[str, JSON] = {"role": tokens.OPERATOR}
        raise Forbidden(f"{what} takes a token with the role {tokens.OPERATOR!r}", details=details)


def _must_have(token: tokens.Token, role: str) -> None:
    if not token.roles & {role, tokens.OPERATOR}:
        raise Forbidden(f"this takes a token with the role {role!r}", details={"role": role})


Reading = Annotated[app.Interlock, Depends(_reading)]
"""For who has a token, whatever it is limited to: only for what the rooms themselves narrow to what its caller sees."""

Whole = Annotated[app.Interlock, Depends(_whole)]
"""For reading what is the whole tenant's."""

Asking = Annotated[app.Interlock, Depends(_asking)]
"""For asking for effects."""

Operating = Annotated[app.Interlock, Depends(_operating)]
"""For changing what everybody in the tenant works with."""

Issuing = Annotated[app.Interlock, Depends(_issuing)]
"""For what has to do with tokens. An operator's is not enough."""
