"""The API as an ASGI application: the routes, with the token in front of them, and every error in one form."""

import logging
from typing import Any, Final, cast

import anyio
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Scope

from interlock import agents, app, kernel
from interlock.kernel import VERSION, Clock, SystemClock
from interlock.server.api import (
    agent_sessions,
    agent_specs,
    approvals,
    calls,
    catalog,
    connections,
    dispatch,
    polls,
    providers,
    runs,
    schedules,
    subscriptions,
    tokens,
    turns,
    webhooks,
)
from interlock.server.api.access import Identified, Meters
from interlock.server.api.description import DOCUMENT, describe
from interlock.server.errors import RequestTooSlow, WrongHost, WrongOrigin, problem
from interlock.server.gate import Door, tell_operator

_log: Final = logging.getLogger(__name__)

LONGEST: Final = app.MAX_TIMEOUT + 60.0
"""Seconds for which a request is carried out: a call that has all the time there is, and what is read after it."""

_TURNS: Final = "/v1/agents/turns"
"""What is asked there takes as long as the limits of the turn itself say."""

_CALLS: Final = (runs, calls, dispatch, approvals, connections, catalog, providers, tokens)
_AGENTS: Final = (agent_specs, turns, agent_sessions)
_EVENTS: Final = (webhooks, schedules, polls, subscriptions)
ROUTERS: Final = tuple(each.router for each in (*_CALLS, *_AGENTS, *_EVENTS))
"""Each resource's paths, below `/v1`."""


class Api(Door):
    """The API of one Interlock, which is spoken to at one of `hosts` (`host:port`, as in a browser's address)."""

    def __init__(
        self, il: app.Interlock, *, hosts: frozenset[str], clock: Clock | None = None, meters: Meters | None = None
    ) -> None:
        self._hosts = hosts
        self._origins = frozenset(f"{scheme}://{host}" for host in hosts for scheme in ("http", "https"))
        self._closing = anyio.Event()
        super().__init__(
            Identified(
                routes(self),
                il,
                meters=meters or Meters(clock or SystemClock()),
                closing=self._closing,
                open_to_all=frozenset({DOCUMENT}),
            )
        )

    def admit(self, scope: Scope) -> None:
        super().admit(scope)
        if scope["type"] != "http":
            raise HTTPException(404)
        headers = HTTPConnection(scope).headers
        if headers.get("host", "").lower() not in self._hosts:
            raise WrongHost(
                "this server is not the host that the request names",
                next_step="Speak to it as `connect.url` says, or where it listens; `interlock serve --host` adds names.",
            )
        if headers.get("origin", "").lower() not in ("", *self._origins):
            raise WrongOrigin("a page of another site asks")

    def seconds(self, scope: Scope) -> float | None:
        path = scope["path"]
        return None if path.endswith("/stream") or path.startswith(_TURNS) else LONGEST

    def close(self) -> None:
        self._closing.set()

    def answer(self, error: Exception) -> Response:
        """The problem document of an error."""
        if isinstance(error, agents.InvalidSpec):  # of the caller's own: ours are told as what they are
            return problem(error, status=400)
        if isinstance(error, kernel.InterlockError):
            if isinstance(error, kernel.StoreError | kernel.ConfigurationError | kernel.InternalError):
                _log.error("%s", error)
            return problem(error)
        if isinstance(error, RequestValidationError):
            return problem(_misfit(error), status=400)
        if isinstance(error, HTTPException):
            answer = problem(
                kernel.RequestError(_WORDS.get(error.status_code, "this cannot be read")), status=error.status_code
            )
            answer.headers.update(error.headers or {})  # of a wrong method: which there are
            return answer
        if isinstance(error, TimeoutError):
            return problem(RequestTooSlow("the request took too long"))
        tell_operator(error)
        return problem(kernel.InternalError("this server has a defect; its log says more"))


_WORDS: Final = {404: "there is nothing of that kind here", 405: "this is not done with what is here"}


def routes(door: Door | None = None) -> FastAPI:
    """The routes, which need nothing open; errors are told as `door` tells them."""
    made = FastAPI(
        title="Interlock",
        version=VERSION,
        openapi_url=DOCUMENT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: f"{route.tags[0]}_{route.name}",
        # Its spans go where the program's own SDK says. They begin behind the token, so that strangers decide nothing about our
        # traces. What it was asked for, and what became of it, stands in the ledger.
        telemetry={"auto_configure": False, "logs": False, "operation_spans": False},
    )
    for router in ROUTERS:
        made.include_router(router, prefix="/v1")
    made.openapi = lambda: describe(made)
    if door is not None:
        made.state.answer = door.answer  # for who tells an error in the middle of a stream

        async def tell(_: Request, error: Exception) -> Response:
            return door.answer(error)

        for kind in (kernel.InterlockError, RequestValidationError, HTTPException, Exception):
            made.add_exception_handler(kind, tell)
    return made


def openapi() -> dict[str, Any]:
    """The description of the API (OpenAPI)."""
    return describe(routes())


def _misfit(error: RequestValidationError) -> kernel.RequestError:
    """What does not fit, and where; nothing of what was sent is told again."""
    found = [
        {"where": ".".join(str(part)[:60] for part in each["loc"][:8]), "what": str(each["msg"])[:200]}
        for each in cast("list[dict[str, Any]]", list(error.errors()))[:20]
    ]
    first = found[0] if found else {"where": "body", "what": "it cannot be read"}
    hint = "; send a JSON object, with the header `Content-Type: application/json`" if first["where"] == "body" else ""
    return kernel.RequestError(f"{first['where']}: {first['what']}{hint}", details={"problems": found})
