"""The front of `interlock serve`: which part of it a request is for, and by which names it may be spoken to."""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from interlock.kernel import Clock, Counts, SystemClock
from interlock.server.connect import ConnectPages
from interlock.server.gate import Door
from interlock.server.health import PATHS, Health
from interlock.server.hooks import PREFIX, Hooks

if TYPE_CHECKING:
    from interlock import app

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "-"})
"""What is counted by its name. `-`: it was no request of HTTP."""

_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "[::1]")


class Front(Door):
    """Several doors as one: the beginning of a path says which, and the pages take the rest. Every answer is counted."""

    def __init__(self, parts: Mapping[str, Door], pages: Door, *, counts: Counts, clock: Clock) -> None:
        super().__init__(pages)
        self._parts = parts
        self._pages = pages
        self._counts = counts
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, begun, status = str(scope.get("path", "")), self._clock.monotonic(), 499

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        part = next((begin for begin in self._parts if path.startswith(begin)), "/")
        try:
            await self._parts.get(part, self._pages)(scope, receive, note)
        finally:
            route = getattr(scope.get("route"), "path", part)
            route = route if route.startswith(part) else part.rstrip("/") + route  # as the part itself knows it
            method = str(scope.get("method", "-"))
            method = method if method in _METHODS else "other"  # strangers choose it
            self._counts.add("http_requests", route=route, method=method, status=str(status))
            self._counts.time("http_request", self._clock.monotonic() - begun, route=route)

    def answer(self, error: Exception) -> Response:
        return self._pages.answer(error)

    def close(self) -> None:
        for each in (*self._parts.values(), self._pages):
            each.close()


def open_front(
    il: "app.Interlock",
    *,
    origin: str,
    host: str,
    port: int,
    names: Collection[str] = (),
    clock: Clock | None = None,
) -> Front:
    """All that one Interlock answers, listening there: the API, its health, and at `origin` what services report, and the pages.
    `names` are further `host:port` by which the API may be spoken to."""
    from interlock.server.api import Api  # here: a node has none of it

    known = {urlsplit(origin).netloc, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", *names}
    if is_loopback(host):
        known |= {f"{each}:{port}" for each in _THIS_MACHINE}
    clock = clock or SystemClock()
    health = Health(il, clock=clock)
    parts: dict[str, Door] = {
        "/v1/": Api(il, hosts=frozenset(each.lower() for each in known), clock=clock),
        PREFIX: Hooks(il.intake, origin=origin, clock=clock, counts=il.counts, tracing=il.tracing),
        **dict.fromkeys(PATHS, health),
    }
    return Front(parts, ConnectPages(il, origin=origin), counts=il.counts, clock=clock)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
