"""Turns of agents: taken, gone on with, looked at, followed."""

from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.responses import Response, StreamingResponse

from interlock import agents, app, inference, runs
from interlock.kernel import to_rfc3339
from interlock.server.api.access import Asking, Operating, Reading
from interlock.server.api.agent_sessions import Session
from interlock.server.api.agent_specs import OfAgent, meant
from interlock.server.api.answers import HEADERS, Cursor, Key, id_of, raw, told
from interlock.server.api.calls import HTTP
from interlock.server.api.shapes import Moment, Table, page, shape
from interlock.server.api.turn_streams import KIND, Taken, followed

router: Final = APIRouter(prefix="/agents/turns", tags=["turns"])

TurnId = Annotated[str, id_of("turn's run", "run")]

Waiting = create_model("TurnWaiting", __base__=shape(agents.harness.Waiting))
_WHOSE: Final[dict[str, Any]] = {
    "run_id": (str, ...),
    "agent_id": (str, ...),
    "session_id": (str | None, ...),
    "state": (runs.State, ...),
}
_TURN: Final[dict[str, Any]] = {
    **_WHOSE,
    "phase": (agents.turns.Phase, ...),
    "answer": (str | None, ...),
    "result": (Any, ...),
    "failure": (Table | None, Field(description="Why it came to no end: `code`, `message`, `details`.")),
    "waiting": (list[Waiting], ...),
    "rounds": (int, ...),
    "operations": (int, ...),
    "usage": (inference.Usage, ...),
    "worked_s": (float, ...),
    "error": (Any, ...),
}
_GLANCE: Final[dict[str, Any]] = {
    **_WHOSE,
    "reason": (str | None, ...),
    "error": (Any, ...),
    "rounds": (int | None, ...),
    "operations": (int | None, ...),
    "usage": (inference.Usage | None, ...),
    "created_at": (Moment, ...),
    "finished_at": (cast("Any", Moment) | None, ...),
}
_LINE: Final[dict[str, Any]] = {"seq": (int, ...), "at": (Moment, ...), "kind": (str, ...), "data": (Table, ...)}
Turn = create_model("Turn", __doc__="A turn of an agent. `state` is that of its run.", **_TURN)
Glance = create_model("TurnGlance", __doc__="A turn in a list.", **_GLANCE)
Line = create_model("TurnLine", __doc__="An entry of a turn's journal.", **_LINE)
_JOURNAL: Final[dict[str, Any]] = {"run_id": (str, ...), "lines": (list[Line], ...)}
Journal = create_model("TurnJournal", __doc__="What happened in a turn, and what was about to.", **_JOURNAL)
_INSPECTED: Final[dict[str, Any]] = {"turn": (Turn, ...), "state": (Table | None, ...)}
Inspected = create_model("TurnState", __doc__="A turn, and the state that its journal leads to.", **_INSPECTED)

_STATES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"model": Turn, "description": "It waits: for a yes, for a worker, or for who is at it."},
    403: {"model": Turn, "description": "Policy denied it. (Or a problem: the token does not open this.)"},
    429: {"model": Turn, "description": "It was shed, by policy or a budget. (Or a problem: too many requests.)"},
}
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {KIND: {}}, "description": "Events; the last is the `turn`, or the `error`."}
}


class Say(OfAgent):
    """Something that is said to an agent."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"agent": "triage", "text": "What is issue 7 about?"}]}
    )
    text: Annotated[str, Field(max_length=agents.harness.MAX_TEXT)]
    session: Annotated[str | None, Field(max_length=200, description="The conversation to go on with.")] = None
    context: Table = Field(default_factory=dict[str, Any], description="For operations and controls; no model sees it.")
    environment: str | None = None
    trace_id: str | None = None
    accept: Annotated[bool, Field(description="The session may go on though the agent has changed.")] = False

    def options(self, key: str | None) -> app.TurnOptions:
        """How the turn is asked for."""
        return {
            "session": self.session,
            "context": self.context,
            "environment": self.environment,
            "trace_id": self.trace_id,
            "accept": self.accept,
            "idempotency_key": key,
        }


class TakeTurn(Say):
    """Something that is said to an agent, here and now, or (`later`) by a worker."""

    later: bool = False


class ForkTurn(BaseModel):
    """As the turn stood after that event of its journal; without one, as it stands."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"event": 7}]})
    event: Annotated[int | None, Field(ge=0, le=2**53)] = None
    title: str | None = None


class SettleCall(BaseModel):
    """What became of a call, as a person saw it: it happened, and `text` came of it, or it did not."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"call_id": "call_1", "happened": True, "text": "it is closed"}]},
    )
    call_id: str
    happened: bool
    text: str = ""
    note: str = ""


@router.post("", response_model=Turn, responses=_STATES, summary="Say something to an agent, and take its turn")
async def take(request: Request, il: Asking, asked: TakeTurn, key: Key = None) -> Response:
    """It is answered once the turn has ended or waits. A client that goes away ends nothing. A turn that failed is an error
    with a `run_id`."""
    spec = meant(il, request, asked)
    how = asked.options(key)
    return _answer(await (il.agents.submit if asked.later else il.agents.run)(spec, asked.text, **how))


@router.post("/stream", response_class=Response, responses=_STREAM, summary="As `take`, told as it happens (SSE)")
async def take_told(request: Request, il: Asking, asked: Say, key: Key = None) -> Response:
    """With what the model is saying. A client that goes away ends nothing, and finds the turn by its run."""
    return Taken(il.agents.stream(meant(il, request, asked), asked.text, **asked.options(key)), request)


@router.get("", response_model=page("turns", Glance), summary="List turns, newest first")
async def list_turns(
    il: Reading,
    agent_id: Annotated[str | None, Query(max_length=200, description="Only those of this agent.")] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=agents.harness.MOST_LISTED, description="How many at most.")] = 50,
) -> Response:
    found = [each.to_json() for each in await il.agents.list(agent_id=agent_id, cursor=cursor, limit=limit)]
    return raw({"turns": found, "next_cursor": found[-1]["run_id"] if len(found) == limit else None})


@router.get("/{turn_id}", response_model=Turn, summary="How a turn stands")
async def fetch(il: Reading, turn_id: TurnId) -> Response:
    await _check(il, turn_id)
    return raw((await il.agents.fetch(turn_id)).to_json())


@router.get("/{turn_id}/state", response_model=Inspected, summary="A turn with all that was said and done in it")
async def inspect(il: Reading, turn_id: TurnId) -> Response:
    await _check(il, turn_id)
    turn, state = await il.agents.inspect(turn_id)
    return raw({"turn": turn.to_json(), "state": None if state is None else state.model_dump(mode="json")})


@router.get("/{turn_id}/journal", response_model=Journal, summary="A turn's journal")
async def lines(il: Reading, turn_id: TurnId) -> Response:
    await _check(il, turn_id)
    found = await il.agents.lines(turn_id)
    return raw(
        {
            "run_id": turn_id,
            "lines": [
                {"seq": each.seq, "at": to_rfc3339(each.at), "kind": each.kind, "data": dict(each.data)}
                for each in found
            ],
        }
    )


@router.get(
    "/{turn_id}/stream",
    response_class=StreamingResponse,
    responses={**_STREAM, 204: {"description": "The turn has ended, and all was told."}},
    summary="A turn's journal as it grows (SSE)",
)
async def follow(
    request: Request,
    il: Reading,
    turn_id: TurnId,
    last_event_id: Annotated[str, Header(pattern="^[0-9]{1,15}$", description="Go on after this event.")] = "0",
) -> Response:
    """Whoever takes the turn, here or elsewhere; what the model is saying is told to who asked for the turn alone. It ends with
    the turn, whose event is the last."""
    run, after = await _check(il, turn_id), int(last_event_id)
    if run.finished_at is not None and after >= run.head_seq:
        return Response(status_code=204, headers=HEADERS)
    events = followed(il, turn_id, after, closing=request.state.closing, clock=request.state.clock)
    return StreamingResponse(events, media_type=KIND, headers=HEADERS)


@router.get(
    "/{turn_id}/snapshot",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
    summary="The turn's state as a signed file",
)
async def snapshot(
    il: Reading,
    turn_id: TurnId,
    event: Annotated[int | None, Query(ge=0, le=2**53, description="As it stood after this event.")] = None,
) -> Response:
    """For `interlock agent fork --snapshot`, byte for byte. It holds all that was said."""
    await _check(il, turn_id)
    return Response(await il.agents.snapshot(turn_id, event=event), media_type="application/json", headers=HEADERS)


@router.post("/{turn_id}/fork", response_model=Session, summary="A conversation that begins from where a turn stands")
async def fork(il: Asking, turn_id: TurnId, asked: ForkTurn) -> Response:
    """Nothing that was done is done again, and no approval comes along."""
    await _check(il, turn_id)
    return told(await il.agents.fork(turn_id, event=asked.event, title=asked.title))


@router.post("/{turn_id}/resume", response_model=Turn, responses=_STATES, summary="Go on with a turn")
async def resume(il: Asking, turn_id: TurnId) -> Response:
    """One that was decided on, that was settled, or whose process is gone."""
    await _check(il, turn_id)
    return _answer(await il.agents.resume(turn_id))


@router.post(
    "/{turn_id}/resume/stream",
    response_class=Response,
    responses=_STREAM,
    summary="As `resume`, told as it happens (SSE)",
)
async def resume_told(request: Request, il: Asking, turn_id: TurnId) -> Response:
    await _check(il, turn_id)
    return Taken(il.agents.resume_stream(turn_id), request)


@router.post("/{turn_id}/settle", response_model=Turn, summary="Say what became of a call of which nobody can tell")
async def settle(il: Operating, turn_id: TurnId, asked: SettleCall) -> Response:
    """It takes the role that reviews, too: the model is told what you say."""
    await _check(il, turn_id)
    given = asked.model_dump()
    return raw((await il.agents.settle(turn_id, given.pop("call_id"), **given)).to_json())


async def _check(il: app.Interlock, turn_id: str) -> runs.Run:
    """The turn's run. Raises RunNotFound, also for a run that is no turn."""
    run = await il.runs.fetch(turn_id)
    if run.kind is not runs.Kind.AGENT_TURN:
        raise runs.RunNotFound(f"{turn_id} is no turn of an agent", next_step="`GET /v1/agents/turns` lists turns.")
    return run


def _answer(turn: agents.harness.Turn) -> Response:
    """A turn, with the status that says it to who reads no more."""
    return raw(turn.to_json(), status=HTTP.get(turn.state, 200))
