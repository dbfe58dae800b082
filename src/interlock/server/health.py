"""How the server is, for what watches it.

GET /livez     204 while the process answers
GET /readyz    204 while it is to be sent requests: its store answers and takes work, and it is not about to end; else 503
GET /metrics   what it has answered, and readings of how strained it is (Prometheus); by a token with the role `metrics`
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from interlock import kernel, tokens
from interlock.server.connect import HEALTH_SECONDS
from interlock.server.errors import Forbidden, NodeClosing, RequestTooSlow, problem
from interlock.server.gate import Door, shown_token, tell_operator
from interlock.server.metrics import MEDIA_TYPE, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock import app, dispatch

PATHS: Final = ("/livez", "/readyz", "/metrics")

READY_SECONDS: Final = 1.0
"""How old what is told of the store may be: anybody may ask, and as often as they like."""

BACKLOG_SECONDS: Final = 5.0
"""How old what is told of the backlog may be."""

MOST_FAILED: Final = 3
"""So many writes of work that fail in a row say that the store takes none."""

FAILED_SECONDS: Final = 30.0
"""For so long that counts after the last of them: only requests can show that the store takes what is written again."""

METRICS: Final = "metrics"
"""The role of whoever may read what all tenants together do."""


class Health(Door):
    """The three paths. Whoever asks for the health of a server may know it by any name."""

    def __init__(self, il: "app.Interlock", *, clock: kernel.Clock | None = None) -> None:
        self._clock = clock or kernel.SystemClock()
        self._il = il
        self._backlog: Sequence[dispatch.Backlog] = ()
        self._read_at = -BACKLOG_SECONDS
        self._looking = anyio.Lock()
        self._looked_at = -READY_SECONDS
        self._store = Response(status_code=204)
        self._failed = 0
        self._failed_at = 0.0
        self._is_closing = False
        answers = (self._live, self._ready, self._tell)
        routes = [Route(path, answer) for path, answer in zip(PATHS, answers, strict=True)]
        super().__init__(Router(routes, redirect_slashes=False, default=_nothing_here))

    def admit(self, scope: Scope) -> None:
        super().admit(scope)
        if scope["type"] != "http":
            raise HTTPException(404)

    def answer(self, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            answer = problem(kernel.RequestError("there is nothing of that kind here"), status=error.status_code)
            answer.headers.update(error.headers or {})
            return answer
        if isinstance(error, kernel.InterlockError):
            return problem(error)
        if isinstance(error, TimeoutError):
            return problem(RequestTooSlow("the store took too long"), status=503)
        tell_operator(error)
        return problem(kernel.InternalError("this server has a defect; its log says more"))

    def close(self) -> None:
        self._is_closing = True

    async def _live(self, _request: Request) -> Response:
        return Response(status_code=204)

    async def _ready(self, _request: Request) -> Response:
        if self._is_closing:
            raise NodeClosing("this server is ending")
        async with self._looking:
            if self._clock.monotonic() - self._looked_at >= READY_SECONDS:
                self._store = await self._look()
                self._looked_at = self._clock.monotonic()
        return self._store

    async def _look(self) -> Response:
        """What to answer for a while of the store, to anybody who asks."""
        failed, now = self._il.failed_writes, self._clock.monotonic()
        if failed != self._failed:
            self._failed, self._failed_at = failed, now
        if failed >= MOST_FAILED and now - self._failed_at < FAILED_SECONDS:
            return problem(kernel.StoreError(f"the last {failed} writes of work have failed"))
        try:
            with anyio.fail_after(HEALTH_SECONDS):
                await self._il.connections.installs.list(limit=1)
        except Exception as error:  # noqa: BLE001 - told as any other
            return self.answer(error)
        return Response(status_code=204)

    async def _tell(self, request: Request) -> Response:
        token = await self._il.tokens.identify(shown_token(request))
        if token.caller.is_limited or not token.roles & {METRICS, tokens.OPERATOR}:
            raise Forbidden(f"this takes a token with the role {METRICS!r}", details={"role": METRICS})
        il = self._il
        told = tell(il.counts, readings=il.pressure, at_work=il.at_work, backlog=await self._read())
        return Response(told, media_type=MEDIA_TYPE)

    async def _read(self) -> "Sequence[dispatch.Backlog]":
        """What waits, read once in a while however many ask; nothing while the store is away, which is no reason to tell nothing
        else."""
        now = self._clock.monotonic()
        if now - self._read_at >= BACKLOG_SECONDS:
            self._read_at, self._backlog = now, ()
            with suppress(kernel.StoreError, TimeoutError), anyio.fail_after(HEALTH_SECONDS):
                self._backlog = await self._il.backlog()
        return self._backlog


async def _nothing_here(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)
