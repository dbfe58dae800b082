"""`interlock polls`: what services report when they are asked."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interlock.cli import trying
from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import triggers
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper, Words

_Ref = Annotated[str, typer.Argument(metavar="POLL", help="The poll's name or id.")]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    polls = group(tree, "polls", "Services that are asked for what is new.")
    command(polls, "create")(create)
    command(polls, "list")(list_polls)
    command(polls, "show")(show)
    command(polls, "pause")(pause)
    command(polls, "resume")(resume)
    command(polls, "delete")(delete)


async def create(
    desk: "Desk",
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    trigger: Annotated[str, typer.Argument(metavar="TRIGGER", help="What is reported, such as github.issue_updated.")],
    fields: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="The trigger's config.")] = None,
    handler: Annotated[str, typer.Option(metavar="NAME", help="The handler to start for each item.")],
    connection: Annotated[str | None, typer.Option(metavar="REF", help="The connection's id or name.")] = None,
    every: Annotated[str | None, typer.Option(metavar="TIME", help="How often at most, without news: 5m, 1h.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Items since then, not from now on: 2h, 7d, a day.")
    ] = None,
    priority: Annotated[Literal["low", "normal", "high"], typer.Option(help="Before or after other work.")] = "normal",
    retry: Annotated[str | None, typer.Option(metavar="JSON", help=f"{trying.HELP}.")] = None,
) -> "Answer":
    """Ask a service for what is new, again and again, and start a handler for each item.

    The service is asked at once for what is there already: an item counts if it is new after that. While there is news it is
    asked more often, and never more often than its connector allows.

    Example:
      interlock polls create issues github.issue_updated repo=octocat/hello --handler incident
    """
    from interlock.cli import inputs, times
    from interlock.kernel import SystemClock

    connector_id, _, trigger_id = trigger.partition(".")
    async with desk.open(acting=True) as il:
        manifest = await il.catalog.fetch_connector_for(il.caller.tenant_id, connector_id)
        schemas = {each.trigger_id: each.config_schema for each in manifest.triggers}
        made = await il.polls.create(
            name,
            trigger,
            handler=handler,
            connection=connection,
            config=inputs.parse_pairs(fields or (), schemas.get(trigger_id, {})),
            every=None if every is None else times.parse_span(every, option="--every").total_seconds(),
            since=None if since is None else times.parse_moment(since, option="--since", now=SystemClock().now()),
            priority=priority,
            retry=None if retry is None else trying.parse(retry, option="--retry"),
        )
    return _described(made)


async def list_polls(
    desk: "Desk",
    cursor: Annotated[str | None, typer.Option(metavar="NAME", help="Go on after this poll.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 100,
) -> "Answer":
    """List polls by their names.

    Example:
      interlock polls list
    """
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.polls.list(cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("No polls yet: `interlock polls create NAME TRIGGER --handler NAME` makes one.")
            return
        rows = [
            (each.name, paper.state(_state(each)), each.trigger, each.handler, moment(each.last_polled_at),
             moment(each.next_at), str(each.found))
            for each in found
        ]  # fmt: skip
        paper.table(("name", "state", "trigger", "starts", "asked", "next", "items"), rows)

    document = page("polls", [each.record() for each in found], limit=limit, key="name")
    return Answer(document=document, show=show_page)


async def show(desk: "Desk", ref: _Ref) -> "Answer":
    """Show one poll.

    Example:
      interlock polls show issues
    """
    async with desk.open() as il:
        return _described(await il.polls.fetch(ref))


async def pause(desk: "Desk", ref: _Ref) -> "Answer":
    """Pause a poll: it asks nothing until it is resumed.

    Example:
      interlock polls pause issues
    """
    async with desk.open() as il:
        return _described(await il.polls.pause(ref))


async def resume(desk: "Desk", ref: _Ref) -> "Answer":
    """Resume a poll: it asks at once for all that is new since it was paused. Also for one that waits after failures.

    Example:
      interlock polls resume issues
    """
    async with desk.open() as il:
        return _described(await il.polls.resume(ref))


async def delete(desk: "Desk", ref: _Ref) -> "Answer":
    """Delete a poll. What it started goes on.

    Example:
      interlock polls delete issues
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        found = await il.polls.delete(ref)
    return Answer(document=found.record(), show=lambda paper: paper.line(f"{found.name} is deleted."))


def _state(found: "triggers.polling.Poll") -> str:
    return "failing" if found.failures and found.state.value == "active" else found.state.value


def _described(found: "triggers.polling.Poll") -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.cli.text import moment
    from interlock.kernel import canonical

    problem: Words | None = None
    if found.problem is not None:
        problem = Ink(f"{found.problem} ({found.failures} in a row)", "warn")

    def draw(paper: "Paper") -> None:
        paper.line(paper.state(_state(found)), Ink(found.name, "strong"), Ink(found.trigger_id, "faint"))
        paper.fields(
            [
                ("trigger", found.trigger),
                ("handler", found.handler),
                ("config", canonical(dict(found.config)).decode() if found.config else None),
                ("connection", found.connection),
                (
                    "asked every",
                    f"{found.pace.total_seconds():g} s now, {found.interval.total_seconds():g} s without news",
                ),
                ("tried", trying.words(found.retry)),
                ("asked", moment(found.last_polled_at) or None),
                ("next", moment(found.next_at) or None),
                ("items", str(found.found)),
                ("last item", moment(found.last_found_at) or None),
                ("problem", problem),
                ("made", f"{moment(found.created_at)} by {found.created_by}"),
            ]
        )

    return Answer(document=found.record(), show=draw)
