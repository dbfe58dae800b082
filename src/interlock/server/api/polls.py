"""What services report when they are asked."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model
from starlette.responses import Response

from interlock import sdk, triggers
from interlock.server.api.access import Operating, Whole
from interlock.server.api.answers import Cursor, Limit, paged, told
from interlock.server.api.dispatch import Priority
from interlock.server.api.shapes import Moment, Table, page

router: Final = APIRouter(prefix="/polls", tags=["polls"])

_POLL: dict[str, Any] = {
    **dict.fromkeys(("trigger_id", "tenant_id", "name", "trigger", "handler", "created_by"), (str, ...)),
    "state": (triggers.polling.State, ...),
    **dict.fromkeys(("connection", "problem"), (str | None, ...)),
    "config": (Table, ...),
    "priority": (Priority, ...),
    "retry": (Table, Field(description="How often the work of an item is tried.")),
    **dict.fromkeys(("interval", "pace"), (float, Field(description="Seconds."))),
    "mark": (Any, Field(description="Where the next one begins.")),
    **dict.fromkeys(("found", "failures"), (int, ...)),
    **dict.fromkeys(("next_at", "last_polled_at", "last_found_at"), (Moment | None, ...)),
    **dict.fromkeys(("created_at", "updated_at"), (Moment, ...)),
}
Poll = create_model("Poll", __doc__="A trigger of a connector, asked for again and again.", **_POLL)

Ref = Annotated[str, Path(max_length=200, description="The poll's name or id.", examples=["issues"])]


class CreatePoll(BaseModel):
    """A trigger, and the handler that is started for each new item: new from now on, or `since`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "issues",
                    "trigger": "github.issue_updated",
                    "handler": "incident",
                    "config": {"repo": "octocat/hello"},
                }
            ]
        },
    )
    name: str
    trigger: str
    handler: str
    connection: str | None = None
    config: Table = {}
    every: Annotated[float | None, Field(gt=0, allow_inf_nan=False, description="Seconds, at most.")] = None
    since: AwareDatetime | None = None
    priority: Priority = "normal"
    retry: sdk.Retries | None = None


@router.get("", response_model=page("polls", Poll), summary="List polls by their names")
async def list_polls(il: Whole, cursor: Cursor = None, limit: Limit = 100) -> Response:
    return paged("polls", await il.polls.list(cursor=cursor, limit=limit), limit=limit, key="name")


@router.post("", response_model=Poll, summary="Ask a service for what is new, again and again")
async def create(il: Operating, asked: CreatePoll) -> Response:
    """It is asked at once for what is there already, as whose token this is, without roles."""
    given = asked.model_dump(exclude={"name", "trigger", "retry"})
    return told(await il.polls.create(asked.name, asked.trigger, retry=asked.retry, **given))


@router.get("/{poll}", response_model=Poll, summary="One poll")
async def fetch(il: Whole, poll: Ref) -> Response:
    return told(await il.polls.fetch(poll))


@router.post("/{poll}/pause", response_model=Poll, summary="Ask nothing until it is resumed")
async def pause(il: Operating, poll: Ref) -> Response:
    return told(await il.polls.pause(poll))


@router.post("/{poll}/resume", response_model=Poll, summary="Ask at once for all that is new since it was paused")
async def resume(il: Operating, poll: Ref) -> Response:
    return told(await il.polls.resume(poll))


@router.post("/{poll}/delete", response_model=Poll, summary="Keep it no more")
async def delete(il: Operating, poll: Ref) -> Response:
    """What it started goes on."""
    return told(await il.polls.delete(poll))
