"""`interlock schedules`: what is started at its times."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from interlock import triggers
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_Ref = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The schedule's name or id.")]
_Shown = Annotated[
    int, typer.Option("--next", metavar="N", min=1, max=1000, help="How many of the next times are shown.")
]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    schedules = group(tree, "schedules", "Handlers and capabilities that are started at their times.")
    command(schedules, "create")(create)
    command(schedules, "list")(list_schedules)
    command(schedules, "show")(show)
    command(schedules, "pause")(pause)
    command(schedules, "resume")(resume)
    command(schedules, "delete")(delete)


async def create(
    desk: "Desk",
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    fields: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="The input's fields.")] = None,
    source: Annotated[
        str | None, typer.Option("--input", metavar="FILE", help="The input as JSON; - is stdin.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="'M H D M W'", help="At the times of this cron expression.")
    ] = None,
    zone: Annotated[str, typer.Option(metavar="ZONE", help="The time zone of the expression.")] = "UTC",
    every: Annotated[str | None, typer.Option(metavar="TIME", help="Every so often: 30s, 15m, 6h, 1d.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Once: in 30m, 2h, 7d, or at a moment.")] = None,
    handler: Annotated[str | None, typer.Option(metavar="NAME", help="The handler to start.")] = None,
    capability: Annotated[str | None, typer.Option(metavar="ID", help="The capability to ask for.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="REF", help="The connection's id or name.")] = None,
    priority: Annotated[Literal["low", "normal", "high"], typer.Option(help="Before or after other work.")] = "normal",
    catch_up: Annotated[
        Literal["skip", "one", "all"],
        typer.Option("--catch-up", help="Of times that were missed: none, one run for them all, or one each."),
    ] = "one",
    cap: Annotated[int, typer.Option(metavar="N", help="How many missed times `all` makes up for.")] = 10,
) -> "Answer":
    """Start a handler, or ask for a capability, at certain times.

    A cron expression has five fields: minute, hour, day of the month, month, day of the week. A time of the day that the clock
    leaves out is due when it goes on, and one that it shows twice is due once; an expression whose minute or hour begins with *
    goes by what the clock shows.

    Example:
      interlock schedules create morning --cron '30 9 * * MON-FRI' --zone Europe/Berlin --handler report
    """
    from interlock.cli import inputs, times
    from interlock.kernel import SystemClock

    async with desk.open() as il:
        tenant_id = il.caller.tenant_id
        schema = (
            {} if capability is None else (await il.catalog.fetch_for(tenant_id, capability)).operation.input_schema
        )
        made = await il.schedules.create(
            name,
            cron=cron,
            zone=zone,
            every=None if every is None else times.parse_span(every, option="--every").total_seconds(),
            at=None if at is None else times.parse_moment(at, option="--at", now=SystemClock().now(), ahead=True),
            handler=handler,
            capability=capability,
            input=inputs.collect(fields or (), source, schema),
            connection=connection,
            priority=priority,
            catch_up=catch_up,
            cap=cap,
        )
        return _described(made, await il.schedules.preview(made.schedule_id))


async def list_schedules(
    desk: "Desk",
    cursor: Annotated[str | None, typer.Option(metavar="NAME", help="Go on after this schedule.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 100,
) -> "Answer":
    """List schedules by their names.

    Example:
      interlock schedules list
    """
    from interlock import triggers
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment, shorten
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.schedules.list(cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("No schedules yet: `interlock schedules create NAME --every 1h --handler NAME` makes one.")
            return
        rows = [
            (each.name, paper.state(each.state.value), triggers.schedules.describe(each.timing), each.subject,
             moment(each.next_at), moment(each.last_fired_at), shorten(each.problem or "", 60))
            for each in found
        ]  # fmt: skip
        paper.table(("name", "state", "when", "starts", "next", "last", "problem"), rows)

    document = page("schedules", [each.record() for each in found], limit=limit, key="name")
    return Answer(document=document, show=show_page)


async def show(desk: "Desk", ref: _Ref, count: _Shown = 5) -> "Answer":
    """Show one schedule with its next times.

    Example:
      interlock schedules show morning --next 10
    """
    async with desk.open() as il:
        return _described(await il.schedules.fetch(ref), await il.schedules.preview(ref, limit=count))


async def pause(desk: "Desk", ref: _Ref) -> "Answer":
    """Pause a schedule: it starts nothing until it is resumed.

    Example:
      interlock schedules pause morning
    """
    async with desk.open() as il:
        return _described(await il.schedules.pause(ref), [])


async def resume(desk: "Desk", ref: _Ref) -> "Answer":
    """Resume a schedule: it goes on with its first time from now, and makes up for nothing.

    Example:
      interlock schedules resume morning
    """
    async with desk.open() as il:
        return _described(await il.schedules.resume(ref), await il.schedules.preview(ref))


async def delete(desk: "Desk", ref: _Ref) -> "Answer":
    """Delete a schedule. What it started goes on.

    Example:
      interlock schedules delete morning
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        found = await il.schedules.delete(ref)
    return Answer(document=found.record(), show=lambda paper: paper.line(f"{found.name} is deleted."))


def _described(found: "triggers.schedules.Schedule", following: "Sequence[datetime]") -> "Answer":
    from interlock import triggers
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.cli.text import moment
    from interlock.kernel import canonical, to_rfc3339

    def draw(paper: "Paper") -> None:
        paper.line(paper.state(found.state.value), Ink(found.name, "strong"), Ink(found.schedule_id, "faint"))
        paper.fields(
            [
                ("when", triggers.schedules.describe(found.timing)),
                (found.does, found.subject),
                ("input", canonical(dict(found.input)).decode() if found.input else None),
                ("connection", found.connection),
                ("missed times", _catch_up(found)),
                ("runs", str(found.number)),
                (
                    "last",
                    None if found.last_fired_at is None else f"{moment(found.last_fired_at)} ({found.last_run_id})",
                ),
                ("last missed", None if found.missed_at is None else moment(found.missed_at)),
                ("problem", None if found.problem is None else Ink(found.problem, "warn")),
                ("made", f"{moment(found.created_at)} by {found.created_by}"),
                *(("" if index else "next", _shown(found.timing, at)) for index, at in enumerate(following)),
            ]
        )

    document = {**found.record(), "next": [to_rfc3339(at) for at in following]}
    return Answer(document=document, show=draw)


def _catch_up(found: "triggers.schedules.Schedule") -> str:
    match found.catch_up.value:
        case "skip":
            return "are let go of"
        case "one":
            return "are one run"
        case _:
            return f"are one run each, the last {found.cap} of them"


def _shown(timing: "triggers.schedules.Timing", at: "datetime") -> str:
    """The moment, and what a clock of the schedule's time zone shows then."""
    from interlock import triggers
    from interlock.cli.text import moment

    if not isinstance(timing, triggers.schedules.Cron):
        return moment(at)
    if triggers.schedules.lacking(timing) is not None:
        return moment(at)
    return f"{moment(at)} ({at.astimezone(triggers.schedules.find_zone(timing.zone)):%a %Y-%m-%d %H:%M} {timing.zone})"
