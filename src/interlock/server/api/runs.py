"""Runs: what was asked for, how it stands, and what proves it."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

import anyio
import orjson
from fastapi import APIRouter, Header, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, create_model
from starlette.responses import Response, StreamingResponse

from interlock import app, approvals, runs
from interlock.kernel import Clock, document
from interlock.server.api.access import Asking, Operating, Reading, Whole
from interlock.server.api.answers import HEADERS, Cursor, Limit, id_of, paged, raw, told
from interlock.server.api.shapes import page, shape

router: Final = APIRouter(tags=["runs"])

LISTENING: Final = 0.25
"""Seconds between two looks at what has happened."""

SILENCE: Final = 15.0
"""Seconds after which a stream says that it is there."""

MAX_EVENTS: Final = 1000

RunId = Annotated[str, id_of("run", "run")]
ArtifactId = Annotated[str, id_of("artifact", "art")]

Listed, Run, Event, Artifact = shape(runs.Listed), shape(runs.Run), shape(runs.Event), shape(runs.Artifact)
Outcome = shape(runs.Outcome)
Approval = shape(approvals.Approval, binding_digest=str, self_reviewed=bool)
_PARTS: dict[str, Any] = {
    "run": (Run, ...),
    "attempts": (list[shape(runs.Attempt)], ...),
    "sends": (list[shape(runs.Send)], ...),
    "decisions": (list[shape(runs.Decision)], ...),
    "artifacts": (list[Artifact], ...),
    "approvals": (list[Approval], ...),
}
History = create_model("History", __doc__="A run with what hangs on it.", **_PARTS)
_EVENTS: dict[str, Any] = {"run_id": (str, ...), "events": (list[Event], ...)}
Events = create_model("Events", **_EVENTS)


class Cancel(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "asked twice"}]})
    reason: str = ""


class Settle(BaseModel):
    """What a person saw; without `seen` the service is read once more."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"seen": "happened", "note": "it is #7"}]}
    )
    seen: runs.Seen | None = None
    note: str = ""


@router.get("/runs", response_model=page("runs", Listed), summary="List runs, newest first")
async def list_runs(
    il: Reading,
    *,
    state: Annotated[list[runs.State] | None, Query(max_length=20, description="Only in these states.")] = None,
    capability: Annotated[str | None, Query(max_length=200)] = None,
    connection_id: Annotated[str | None, Query(max_length=200)] = None,
    actor: Annotated[str | None, Query(max_length=200)] = None,
    trace_id: Annotated[str | None, Query(max_length=200)] = None,
    parent_run_id: Annotated[str | None, Query(max_length=200)] = None,
    since: Annotated[AwareDatetime | None, Query(description="Asked for at this moment or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Asked for before this moment.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    found = await il.runs.list(
        states=state or (),
        capability=capability,
        connection_id=connection_id,
        actor=actor,
        trace_id=trace_id,
        parent_run_id=parent_run_id,
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )
    return paged("runs", found, limit=limit, key="run_id")


@router.get("/runs/{run_id}", response_model=Run, summary="One run, with its input")
async def fetch(il: Reading, run_id: RunId) -> Response:
    return told(await il.runs.fetch(run_id))


@router.get("/runs/{run_id}/history", response_model=History, summary="One run with everything but its events")
async def history(il: Reading, run_id: RunId) -> Response:
    return told(await il.runs.history(run_id))


@router.get("/runs/{run_id}/outcome", response_model=Outcome, summary="How a run stands, as `invoke` would have told")
async def outcome(il: Reading, run_id: RunId) -> Response:
    return told(await il.runs.outcome(run_id))


@router.get("/runs/{run_id}/events", response_model=Events, summary="A run's events in order")
async def events(
    il: Reading,
    run_id: RunId,
    after_seq: Annotated[int, Query(ge=0, le=2**53, description="Only events after this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = MAX_EVENTS,
) -> Response:
    found = await il.runs.events(run_id, after_seq=after_seq, limit=limit)
    return raw({"run_id": run_id, "events": [document(each) for each in found]})


@router.get(
    "/runs/{run_id}/events/stream",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}},
        204: {"description": "The run has ended, and all was told."},
    },
    summary="A run's events as they happen (SSE)",
)
async def stream(
    request: Request,
    il: Reading,
    run_id: RunId,
    last_event_id: Annotated[str, Header(pattern="^[0-9]{1,15}$", description="Go on after this event.")] = "0",
) -> Response:
    """Server-sent events: the id of each is its number, its data the event. It ends with the run; who was cut off sends
    `Last-Event-ID`, as browsers do by themselves."""
    run, after = await il.runs.fetch(run_id), int(last_event_id)
    if run.finished_at is not None and after >= run.head_seq:
        return Response(status_code=204, headers=HEADERS)
    told = _follow(il.runs, run_id, after, closing=request.state.closing, clock=request.state.clock)
    return StreamingResponse(told, media_type="text/event-stream", headers=HEADERS)


async def _follow(
    known: app.Runs, run_id: str, after: int, *, closing: anyio.Event, clock: Clock
) -> AsyncGenerator[bytes]:
    silent_since = clock.monotonic()
    while not closing.is_set():
        run = await known.fetch(run_id)
        while after < run.head_seq and (found := await known.events(run_id, after_seq=after, limit=MAX_EVENTS)):
            for each in found:
                yield b"id: %d\ndata: %s\n\n" % (each.seq, orjson.dumps(document(each)))
            after, silent_since = found[-1].seq, clock.monotonic()
        if run.finished_at is not None:
            return
        if clock.monotonic() - silent_since >= SILENCE:
            silent_since = clock.monotonic()
            yield b": here\n\n"
        await clock.sleep(LISTENING)


@router.get(
    "/runs/{run_id}/packet",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
    summary="The run's signed review packet",
)
async def packet(il: Reading, run_id: RunId) -> Response:
    """For `interlock review verify`, byte for byte."""
    return Response(await il.runs.packet(run_id), media_type="application/json", headers=HEADERS)


@router.post("/runs/{run_id}/cancel", response_model=Run, summary="Stop a run")
async def cancel(il: Asking, run_id: RunId, asked: Cancel) -> Response:
    """One that is at work stops before its next send."""
    return told(await il.runs.cancel(run_id, reason=asked.reason))


@router.post("/runs/{run_id}/settle", response_model=Run, summary="Settle a run of unknown outcome")
async def settle(il: Operating, run_id: RunId, asked: Settle) -> Response:
    return told(await il.runs.settle(run_id, seen=asked.seen, note=asked.note))


@router.get(
    "/artifacts/{artifact_id}", response_model=Artifact, tags=["artifacts"], summary="An artifact, without its content"
)
async def artifact(il: Reading, artifact_id: ArtifactId) -> Response:
    return told((await il.runs.artifact(artifact_id))[0])


@router.get(
    "/artifacts/{artifact_id}/content",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
    tags=["artifacts"],
    summary="An artifact's content",
)
async def content(il: Reading, artifact_id: ArtifactId) -> Response:
    """Compared with its digest first. Whatever it is, it is handed over as a file, and shown by no browser."""
    found, content = await il.runs.artifact(artifact_id)
    headers = {**HEADERS, "Content-Disposition": f"attachment; filename={found.artifact_id}"}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get(
    "/trust",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
    summary="The public keys that packets are signed with",
)
async def trust(il: Whole) -> Response:
    return Response(await il.trust(), media_type="application/json", headers=HEADERS)
