"""Asking for effects."""

from math import ceil
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from starlette.responses import Response

from interlock import runs
from interlock.server.api.access import Asking
from interlock.server.api.answers import Key, read_base64, told
from interlock.server.api.runs import Outcome
from interlock.server.api.shapes import Table

router: Final = APIRouter(tags=["calls"])

HTTP: Final = {
    runs.State.HELD: 202,
    runs.State.QUEUED: 202,
    runs.State.RUNNING: 202,
    runs.State.DENIED: 403,
    runs.State.SHED: 429,
}
STATES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"model": Outcome, "description": "It waits: for an approval, or for a worker."},
    403: {
        "model": Outcome,
        "description": "Policy denied it, and says why. (Or a problem: the token does not open this.)",
    },
    429: {"model": Outcome, "description": "It was shed, by policy or a budget. (Or a problem: too many requests.)"},
}


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid")

    environment: str | None = None
    trace_id: str | None = None
    timeout: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False, description="Seconds.")] = 120.0


class Ask(_Call):
    """An effect that is asked for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"capability": "github.issue.create", "input": {"repo": "octocat/hello", "title": "It broke"}}]
        },
    )
    capability: str
    input: Table = {}
    connection: str | None = None
    target: list[str] | None = None
    sandbox: str | None = None
    allowed_operations: list[str] | None = None
    parent_run_id: str | None = None
    cost: dict[str, StrictInt] = {}
    extensions: Table = {}


class Invoke(Ask):
    """An effect that is asked for, now."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3


class Proxy(_Call):
    """A request of one's own over a connection: `path` is below the service's address. Its body is one of `body` (JSON), `text`
    and `base64`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"connection": "github", "method": "GET", "path": "/user/repos"}]},
    )
    connection: str
    method: str
    path: str
    params: Table | None = None
    headers: dict[str, str] | None = None
    body: Any = None
    text: str | None = None
    base64: str | None = None


@router.post("/invoke", response_model=Outcome, responses=STATES, summary="Ask for one effect")
async def invoke(il: Asking, asked: Invoke, key: Key = None) -> Response:
    """Policy decides first: the effect happens, is denied, shed, or held for an approval. Failures are errors with a `run_id`."""
    given = asked.model_dump()
    return answer(await il.invoke(given.pop("capability"), given.pop("input"), idempotency_key=key, **given))


@router.post("/proxy", response_model=Outcome, responses=STATES, summary="Send a request of your own over a connection")
async def proxy(il: Asking, asked: Proxy, key: Key = None) -> Response:
    """It is a run of the capability NAME.proxy.METHOD, under policy as any other."""
    given = asked.model_dump()
    content = read_base64(given.pop("base64"))
    where = [given.pop(name) for name in ("connection", "method", "path")]
    return answer(await il.proxy(*where, idempotency_key=key, content=content, **given))


def answer(outcome: runs.Outcome) -> Response:
    """An outcome, with the status that says it to who reads no more."""
    wait = outcome.retry_after_seconds
    headers = {} if wait is None else {"Retry-After": str(ceil(wait))}
    return told(outcome, status=HTTP.get(outcome.state, 200), headers=headers)
