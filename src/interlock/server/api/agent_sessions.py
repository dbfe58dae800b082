"""Conversations with agents."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.responses import Response

from interlock import agents
from interlock.server.api.access import Asking, Reading
from interlock.server.api.agent_specs import OfAgent, meant
from interlock.server.api.answers import Cursor, Limit, id_of, paged, raw, told
from interlock.server.api.shapes import Table, page, shape

router: Final = APIRouter(prefix="/agents/sessions", tags=["sessions"])

SessionId = Annotated[str, id_of("session", "ags")]

Session = shape(agents.sessions.Session)
_EXCHANGE: Final[dict[str, Any]] = {
    "number": (int, ...),
    "turn_id": (str, ...),
    "failure": (str | None, ...),
    "tokens": (int, ...),
    "said": (list[Table], ...),
}
Exchange = create_model("Exchange", __doc__="What an ended turn left in its session.", **_EXCHANGE)
_SAID: Final[dict[str, Any]] = {"session_id": (str, ...), "turns": (list[Exchange], ...)}
Said = create_model("SessionTurns", __doc__="What was said in a session, in order.", **_SAID)


class BeginSession(OfAgent):
    """With which agent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"agent": "triage", "title": "Issue 7"}]})
    title: str | None = None
    metadata: Table | None = None


class ForkSession(BaseModel):
    """After which of its turns; without `at` after its last."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"at": 3}]})
    at: Annotated[int | None, Field(ge=0, le=agents.sessions.MAX_TURNS)] = None
    title: str | None = None


@router.get("", response_model=page("sessions", Session), summary="List sessions, newest first")
async def list_sessions(
    il: Reading,
    agent_id: Annotated[str | None, Query(max_length=200, description="Only those with this agent.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    found = await il.agent_sessions.list(agent_id=agent_id, cursor=cursor, limit=limit)
    return paged("sessions", found, limit=limit, key="session_id")


@router.post("", response_model=Session, summary="Begin a conversation with an agent")
async def create(request: Request, il: Asking, asked: BeginSession) -> Response:
    spec = meant(il, request, asked)
    return told(await il.agent_sessions.create(spec, title=asked.title, metadata=asked.metadata))


@router.get("/{session_id}", response_model=Session, summary="One session")
async def fetch(il: Reading, session_id: SessionId) -> Response:
    return told(await il.agent_sessions.fetch(session_id))


@router.get("/{session_id}/turns", response_model=Said, summary="What was said in a session, in order")
async def turns(
    il: Reading,
    session_id: SessionId,
    after: Annotated[int, Query(ge=0, le=agents.sessions.MAX_TURNS, description="Only the turns after this one.")] = 0,
    limit: Limit = 50,
) -> Response:
    found = await il.agent_sessions.turns(session_id, after=after, limit=limit)
    return raw({"session_id": session_id, "turns": [each.to_json() for each in found]})


@router.post("/{session_id}/fork", response_model=Session, summary="Another session that has gone the same way so far")
async def fork(il: Asking, session_id: SessionId, asked: ForkSession) -> Response:
    """Both go their own way from there; nothing that was done is done again."""
    return told(await il.agent_sessions.fork(session_id, turn=asked.at, title=asked.title))


@router.post("/{session_id}/delete", response_model=Session, summary="Delete a session, and what was said in it")
async def delete(il: Asking, session_id: SessionId) -> Response:
    """The runs of its turns stay in the ledger."""
    return told(await il.agent_sessions.delete(session_id))
