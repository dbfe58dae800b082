"""What is started at its times."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model
from starlette.responses import Response

from interlock import triggers
from interlock.kernel import document
from interlock.server.api.access import Operating, Whole
from interlock.server.api.answers import Cursor, Limit, paged, raw, told
from interlock.server.api.dispatch import Priority
from interlock.server.api.shapes import Moment, Table, page

router: Final = APIRouter(prefix="/schedules", tags=["schedules"])

_SCHEDULE: dict[str, Any] = {
    **dict.fromkeys(("schedule_id", "tenant_id", "name", "when", "created_by"), (str, ...)),
    "state": (triggers.schedules.State, ...),
    "timing": (Table, ...),
    "handler": (str, Field(default=None, description="What it starts, or")),
    "capability": (str, Field(default=None, description="what it asks for.")),
    "input": (Table, ...),
    **dict.fromkeys(("connection", "last_run_id", "problem"), (str | None, ...)),
    "priority": (Priority, ...),
    "catch_up": (triggers.schedules.CatchUp, ...),
    **dict.fromkeys(("cap", "runs"), (int, ...)),
    **dict.fromkeys(("next_at", "last_due_at", "last_fired_at", "missed_at"), (Moment | None, ...)),
    **dict.fromkeys(("created_at", "updated_at"), (Moment, ...)),
}
Schedule = create_model("Schedule", __doc__="What is done at which times.", **_SCHEDULE)
_NEXT: dict[str, Any] = {"next": (list[Moment], ...)}
Next = create_model("Next", __doc__="The next times; none while it is paused.", **_NEXT)

Ref = Annotated[str, Path(max_length=200, description="The schedule's name or id.", examples=["morning"])]


class CreateSchedule(BaseModel):
    """One of `cron`, `every` (seconds, from `start` on) and `at`, and one of `handler` and `capability`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "morning", "cron": "30 9 * * MON-FRI", "zone": "Europe/Berlin", "handler": "report"}]
        },
    )
    name: str
    cron: str | None = None
    zone: str = "UTC"
    every: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    start: AwareDatetime | None = None
    at: AwareDatetime | None = None
    handler: str | None = None
    capability: str | None = None
    input: Table = {}
    connection: str | None = None
    priority: Priority = "normal"
    catch_up: Literal["skip", "one", "all"] = "one"
    cap: Annotated[int, Field(ge=1, le=100)] = 10


@router.get("", response_model=page("schedules", Schedule), summary="List schedules by their names")
async def list_schedules(il: Whole, cursor: Cursor = None, limit: Limit = 100) -> Response:
    return paged("schedules", await il.schedules.list(cursor=cursor, limit=limit), limit=limit, key="name")


@router.post("", response_model=Schedule, summary="Start a handler, or ask for a capability, at certain times")
async def create(il: Operating, asked: CreateSchedule) -> Response:
    """What it starts acts as whose token this is, without roles."""
    given = asked.model_dump()
    return told(await il.schedules.create(given.pop("name"), **given))


@router.get("/{schedule}", response_model=Schedule, summary="One schedule")
async def fetch(il: Whole, schedule: Ref) -> Response:
    return told(await il.schedules.fetch(schedule))


@router.get("/{schedule}/next", response_model=Next, summary="The next times of a schedule")
async def preview(
    il: Whole, schedule: Ref, limit: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 5
) -> Response:
    return raw({"next": document(await il.schedules.preview(schedule, limit=limit))})


@router.post("/{schedule}/pause", response_model=Schedule, summary="Start nothing until it is resumed")
async def pause(il: Operating, schedule: Ref) -> Response:
    return told(await il.schedules.pause(schedule))


@router.post("/{schedule}/resume", response_model=Schedule, summary="Go on with the first time from now")
async def resume(il: Operating, schedule: Ref) -> Response:
    return told(await il.schedules.resume(schedule))


@router.post("/{schedule}/delete", response_model=Schedule, summary="Keep it no more")
async def delete(il: Operating, schedule: Ref) -> Response:
    """What it started goes on."""
    return told(await il.schedules.delete(schedule))
