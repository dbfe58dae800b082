"""Work that is done later: handed on, looked at, tried again, given up, paused."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model
from starlette.responses import Response

from interlock import dispatch, runs
from interlock.kernel import document
from interlock.server.api.access import Asking, Operating, Reading, Whole
from interlock.server.api.answers import Cursor, Key, Limit, id_of, raw, told
from interlock.server.api.calls import STATES, Ask, answer
from interlock.server.api.runs import Outcome, Run, RunId
from interlock.server.api.shapes import Moment, Table, page, shape
from interlock.server.errors import Forbidden

router: Final = APIRouter(tags=["dispatch"])

MAX_WAIT: Final = 60.0
"""Seconds for which one request waits; who wants to wait longer asks again."""

_MAX_ALL: Final = 1000
_LONGEST: Final = 30 * 86400

Priority = Literal["low", "normal", "high"]
_WAITING: dict[str, Any] = {
    **dict.fromkeys(("run_id", "lane", "capability"), (str, ...)),
    **dict.fromkeys(("why", "connection_id"), (str | None, ...)),
    **dict.fromkeys(("tries", "crashes", "attempts"), (int, ...)),
    **dict.fromkeys(("due_at", "submitted_at"), (Moment, ...)),
    "state": (runs.State, ...),
    "standing": (dispatch.Standing, ...),
    "priority": (Priority, ...),
    "deadline_at": (str | None, ...),
    "retry": (Table, ...),
    "error": (Table | None, ...),
}
Waiting = create_model("Waiting", __doc__="Work with its run's state.", **_WAITING)
Stats, Pause, Comparison = shape(dispatch.Stats), shape(dispatch.Pause), shape(dispatch.Comparison)
_RUNS: dict[str, Any] = {"runs": (list[str], ...)}
Several = create_model("Several", __doc__="The runs that it was done with.", **_RUNS)
_PAUSES: dict[str, Any] = {"pauses": (list[Pause], ...)}
Pauses = create_model("Pauses", **_PAUSES)
_RESUMED: dict[str, Any] = {"handed_out": (int, ...)}
Resumed = create_model("Resumed", __doc__="How much work is handed out that waited for that.", **_RESUMED)

WorkId = Annotated[str, id_of("run", "run")]


class Tries(BaseModel):
    """How often it is tried, how long it waits in between, and after how long from now it is not begun any more, in seconds."""

    model_config = ConfigDict(extra="forbid")
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    base_seconds: Annotated[float, Field(gt=0, le=_LONGEST, allow_inf_nan=False)] = 1.0
    cap_seconds: Annotated[float, Field(gt=0, le=_LONGEST, allow_inf_nan=False)] = 300.0
    deadline_seconds: Annotated[float | None, Field(gt=0, le=_LONGEST, allow_inf_nan=False)] = None

    def policy(self) -> dispatch.RetryPolicy:
        """How often, and the pauses in between. Raises RequestError."""
        return dispatch.RetryPolicy(**self.model_dump(exclude={"deadline_seconds"}))

    def deadlines(self, now: datetime) -> list[datetime]:
        """From when on it is not begun any more, if that is said."""
        return [] if self.deadline_seconds is None else [now + timedelta(seconds=self.deadline_seconds)]


class _Later(BaseModel):
    priority: Priority = "normal"
    due_at: AwareDatetime | None = None
    deadline_at: AwareDatetime | None = None
    retry: Tries | None = None

    def when(self, now: datetime) -> dict[str, Any]:
        """As the facade takes it: of two deadlines the earlier one. Raises RequestError."""
        deadlines = [] if self.retry is None else self.retry.deadlines(now)
        deadlines += [] if self.deadline_at is None else [self.deadline_at]
        return {
            "priority": dispatch.Priority[self.priority.upper()],
            "due_at": self.due_at,
            "deadline_at": min(deadlines, default=None),
            "retry": None if self.retry is None else self.retry.policy(),
        }


class Enqueue(Ask, _Later):
    """An effect that a worker is to carry out."""


class Submit(_Later):
    """An event for a registered handler."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"handler": "incident", "payload": {"severity": 2}}]}
    )
    handler: str
    payload: Table = {}
    connection_id: str | None = None
    trace_id: str | None = None
    environment: str | None = None


class Note(BaseModel):
    """Why; it is recorded."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"note": "the service is back"}]})
    note: str = ""


class Because(BaseModel):
    """Why; it is recorded."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "nobody needs it any more"}]})
    reason: str


class _Fitting(BaseModel):
    model_config = ConfigDict(extra="forbid")
    handler: str | None = None
    capability: str | None = None
    connection_id: str | None = None
    why: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=_MAX_ALL)] = _MAX_ALL


class ReplayAll(_Fitting, Note):
    """The dead letters that fit."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"capability": "github.issue.create"}]})


class DismissAll(_Fitting, Because):
    """The dead letters that fit."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"handler": "incident", "reason": "drill"}]}
    )


class Pausing(BaseModel):
    """What is paused: a `capability`, a `handler` or a `connection` by its id as `subject`, or the whole `tenant`."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"scope": "capability", "subject": "github.issue.create"}]}
    )
    scope: dispatch.Scope
    subject: str = ""
    reason: str = ""


class Resuming(BaseModel):
    """The pause that ends."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"scope": "tenant"}]})
    scope: dispatch.Scope
    subject: str = ""


@router.post("/enqueue", status_code=202, response_model=Outcome, responses=STATES, summary="Have a worker do it")
async def enqueue(request: Request, il: Asking, asked: Enqueue, key: Key = None) -> Response:
    """As `invoke`, by a worker, now or at `due_at`. It is answered once that is committed."""
    given = asked.model_dump(exclude={"priority", "due_at", "deadline_at", "retry"})
    capability, value = given.pop("capability"), given.pop("input")
    when = asked.when(request.state.clock.now())
    return answer(await il.dispatch.invoke(capability, value, idempotency_key=key, **given, **when))


@router.post("/events", status_code=202, response_model=Outcome, responses=STATES, summary="Have a handler called")
async def submit(request: Request, il: Asking, asked: Submit, key: Key = None) -> Response:
    """By a worker that has it, now or at `due_at`. It is answered once that is committed."""
    if not request.state.token.caller.sees(f"handler.{asked.handler}", asked.connection_id):
        raise Forbidden(f"this token is limited, and handler.{asked.handler[:100]} is not among what it may ask for")
    given = asked.model_dump(include={"handler", "payload", "connection_id", "trace_id", "environment"})
    return answer(await il.dispatch.submit(**given, idempotency_key=key, **asked.when(request.state.clock.now())))


@router.get(
    "/runs/{run_id}/wait", response_model=Outcome, responses=STATES, summary="What came of a run, once it has ended"
)
async def wait(
    il: Reading,
    run_id: RunId,
    timeout: Annotated[float, Query(ge=0, le=MAX_WAIT, allow_inf_nan=False, description="Seconds.")] = 20.0,  # noqa: ASYNC109 - a parameter of the request
) -> Response:
    """After `timeout` seconds, how it stands."""
    await il.runs.fetch(run_id)
    return answer(await il.dispatch.wait(run_id, timeout=timeout))


@router.get("/runs/{run_id}/compare", response_model=Comparison, summary="What was different between two attempts")
async def compare(
    il: Whole,
    run_id: RunId,
    first: Annotated[int, Query(ge=1, le=10_000)] = 1,
    last: Annotated[int | None, Query(ge=1, le=10_000)] = None,
) -> Response:
    return told(await il.dispatch.compare(run_id, first=first, last=last))


@router.get("/dispatch", response_model=page("dispatch", Waiting), summary="List work: what is due, parked, or dead")
async def list_work(
    il: Whole,
    *,
    standing: dispatch.Standing = dispatch.Standing.DUE,
    handler: Annotated[str | None, Query(max_length=200)] = None,
    capability: Annotated[str | None, Query(max_length=200)] = None,
    connection_id: Annotated[str | None, Query(max_length=200)] = None,
    why: Annotated[str | None, Query(max_length=200)] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    found = await il.dispatch.list(
        standing=standing,
        handler=handler,
        capability=capability,
        connection_id=connection_id,
        why=why,
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )
    last = found[-1].cursor if len(found) >= limit else None
    return raw({"dispatch": [document(each) for each in found], "next_cursor": last})


@router.get("/dispatch/stats", response_model=Stats, summary="How much there is to do")
async def stats(il: Whole) -> Response:
    return told(await il.dispatch.stats())


@router.post("/dispatch/replay", response_model=Several, summary="Replay the dead letters that fit")
async def replay_all(il: Operating, asked: ReplayAll) -> Response:
    return raw({"runs": document(await il.dispatch.replay_all(**asked.model_dump()))})


@router.post("/dispatch/dismiss", response_model=Several, summary="Dismiss the dead letters that fit")
async def dismiss_all(il: Operating, asked: DismissAll) -> Response:
    return raw({"runs": document(await il.dispatch.dismiss_all(**asked.model_dump()))})


@router.get("/dispatch/{run_id}", response_model=Waiting, summary="The work of one run")
async def fetch(il: Whole, run_id: WorkId) -> Response:
    return told(await il.dispatch.fetch(run_id))


@router.post("/dispatch/{run_id}/replay", response_model=Run, summary="Try a dead letter again: the same run")
async def replay(il: Operating, run_id: WorkId, asked: Note) -> Response:
    return told(await il.dispatch.replay(run_id, note=asked.note))


@router.post("/dispatch/{run_id}/dismiss", response_model=Run, summary="End a dead letter for good")
async def dismiss(il: Operating, run_id: WorkId, asked: Because) -> Response:
    return told(await il.dispatch.dismiss(run_id, reason=asked.reason))


@router.get("/pauses", response_model=Pauses, summary="What is paused")
async def pauses(il: Whole) -> Response:
    return raw({"pauses": document(await il.dispatch.pauses())})


@router.post("/pauses", response_model=Pause, summary="Begin no more of it")
async def pause(il: Operating, asked: Pausing) -> Response:
    return told(await il.dispatch.pause(asked.scope, asked.subject, reason=asked.reason))


@router.post("/pauses/resume", response_model=Resumed, summary="End a pause")
async def resume(il: Operating, asked: Resuming) -> Response:
    return raw({"handed_out": await il.dispatch.resume(asked.scope, asked.subject)})
