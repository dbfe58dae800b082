"""`interlock dispatch`: what is left for workers, and what they gave up."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import dispatch, runs
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.facade import Facade
    from interlock.cli.paper import Paper

_Id = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
_Handler = Annotated[str | None, typer.Option(metavar="NAME", help="Only for this handler.")]
_Capability = Annotated[str | None, typer.Option(metavar="ID", help="Only of this capability.")]
_Connection = Annotated[str | None, typer.Option(metavar="REF", help="Only over this connection.")]
_Why = Annotated[str | None, typer.Option(metavar="REASON", help="Only for this reason: exhausted, poison …")]
_Since = Annotated[str | None, typer.Option(metavar="TIME", help="Only submitted since: 2h, 7d, 2026-01-31 …")]
_Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only submitted before then.")]
_Cursor = Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on there: what the last page said.")]
_Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many.")]
_All = Annotated[bool, typer.Option("--all", help="All dead letters that fit, up to --limit.")]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    dispatching = group(tree, "dispatch", "What is left for workers, and what they gave up: dead letters.")
    command(dispatching, "list")(list_work)
    command(dispatching, "show")(show)
    command(dispatching, "dead")(dead)
    command(dispatching, "dismiss")(dismiss)
    command(dispatching, "pause")(pause)
    command(dispatching, "resume")(resume)
    command(dispatching, "stats")(stats)


async def list_work(
    desk: "Desk",
    standing: Annotated[str, typer.Option(metavar="WORD", help="due, parked or dead.")] = "due",
    handler: _Handler = None,
    capability: _Capability = None,
    connection: _Connection = None,
    why: _Why = None,
    cursor: _Cursor = None,
    limit: _Limit = 50,
) -> "Answer":
    """List work: what is due in the order of its moments; parked (it waits for more than that) or dead, newest first.

    Example:
      interlock dispatch list --handler incident
    """
    from interlock import dispatch
    from interlock.cli.words import states

    [wanted] = states([standing], dispatch.Standing)[:1]
    return await _page(desk, wanted, handler, capability, connection, why, None, None, cursor, limit)


async def dead(
    desk: "Desk",
    handler: _Handler = None,
    capability: _Capability = None,
    connection: _Connection = None,
    why: _Why = None,
    since: _Since = None,
    until: _Until = None,
    cursor: _Cursor = None,
    limit: _Limit = 50,
) -> "Answer":
    """List dead letters, newest first: work that failed for good, or as often as it may.

    `interlock runs replay` tries one again; `interlock dispatch dismiss` ends it.

    Example:
      interlock dispatch dead --handler incident --since 7d
    """
    from interlock import dispatch

    return await _page(desk, dispatch.Standing.DEAD, handler, capability, connection, why, since, until, cursor, limit)


async def _page(
    desk: "Desk",
    standing: "dispatch.Standing",
    handler: str | None,
    capability: str | None,
    connection: str | None,
    why: str | None,
    since: str | None,
    until: str | None,
    cursor: str | None,
    limit: int,
) -> "Answer":
    from interlock import dispatch
    from interlock.cli.desk import Answer
    from interlock.kernel import JSON

    parked: Sequence[dispatch.Waiting] = ()
    async with desk.open() as il:
        asked: dict[str, Any] = {
            "handler": handler,
            "capability": capability,
            "connection_id": None if connection is None else (await il.connections.fetch(connection)).connection_id,
            "why": why,
            **moments(since, until),
            "limit": limit,
        }
        found = await il.dispatch.list(standing=standing, cursor=cursor, **asked)
        if not found and cursor is None and standing is dispatch.Standing.DUE:
            parked = await il.dispatch.list(standing=dispatch.Standing.PARKED, **asked)
    more = found[-1].cursor if len(found) >= limit else None
    document: JSON = {"work": [each.to_json() for each in found], "next_cursor": more}

    def show(paper: "Paper") -> None:
        if parked:
            count = f"{len(parked)}{' or more' if len(parked) >= limit else ''}"
            paper.line(f"Nothing is due. Parked: {count}; `interlock dispatch list --standing parked` says why.")
        else:
            _show_page(paper, found, more)

    return Answer(document=document, show=show)


def moments(since: str | None, until: str | None) -> dict[str, Any]:
    """`--since` and `--until` as the facade takes them. Raises Usage."""
    from interlock.cli.times import parse_moment
    from interlock.kernel import SystemClock

    now = SystemClock().now()
    return {
        name: None if text is None else parse_moment(text, option=f"--{name}", now=now)
        for name, text in (("since", since), ("until", until))
    }


async def show(
    desk: "Desk",
    run_id: _Id,
    first: Annotated[int, typer.Option(metavar="N", min=1, help="The attempt to compare with the last one.")] = 1,
) -> "Answer":
    """Show the work of one run, and what was different between its first attempt and its last, also once it has ended.

    Example:
      interlock dispatch show run_01890a5d…
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    async with desk.open() as il:
        run, work = await _run_and_work(il, run_id)
        compared = None
        if work is None or work.attempt_count > first:
            compared = await _compared(il, run_id, first)

    def show_one(paper: "Paper") -> None:
        if work is None:
            paper.line(paper.state(run.state.value), run.capability, run.run_id)
        else:
            _show_work(paper, work)
        if compared is not None:
            paper.heading(f"Attempt {compared.first.number} and attempt {compared.last.number}")
            rows = [(name, str(one), str(other)) for name, (one, other) in compared.differences.items()]
            paper.table(("", f"attempt {compared.first.number}", f"attempt {compared.last.number}"), rows)

    told = {"work": None if work is None else work.to_json(), "compared": document(compared)}
    return Answer(document=told, show=show_one)


async def dismiss(
    desk: "Desk",
    *,
    run_id: Annotated[str | None, typer.Argument(metavar="RUN", help="The run's id.")] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is recorded.")],
    every: _All = False,
    handler: _Handler = None,
    capability: _Capability = None,
    why: _Why = None,
    since: _Since = None,
    until: _Until = None,
    limit: _Limit = 1000,
) -> "Answer":
    """End a dead letter for good, or with --all those that fit.

    Example:
      interlock dispatch dismiss run_01890a5d… --reason 'the repository is gone'
    """
    one_or_all(run_id, every=every)
    async with desk.open() as il:
        if run_id is not None:
            return ended("dismissed", [(await il.dispatch.dismiss(run_id, reason=reason)).run_id])
        fitting = moments(since, until)
        return ended(
            "dismissed",
            await il.dispatch.dismiss_all(
                reason=reason, handler=handler, capability=capability, why=why, **fitting, limit=limit
            ),
        )


def one_or_all(run_id: str | None, *, every: bool) -> None:
    """Raises Usage unless one run is named, or all that fit are meant."""
    from interlock.cli.errors import Usage

    if (run_id is None) is not every:
        raise Usage("name one RUN, or choose --all that fit with --handler, --capability, --why, --since and --until")


def ended(what: str, run_ids: Sequence[str]) -> "Answer":
    """Which runs something was done to."""
    from interlock.cli.desk import Answer

    def show_all(paper: "Paper") -> None:
        paper.line(f"{what}: {len(run_ids)}")
        for run_id in run_ids:
            paper.line(f"  {run_id}")

    return Answer(document={what: list(run_ids)}, show=show_all)


async def pause(
    desk: "Desk",
    scope: Annotated[str, typer.Argument(metavar="SCOPE", help="tenant, capability, handler or connection.")],
    subject: Annotated[str, typer.Argument(metavar="NAME", help="Which one; nothing for the tenant.")] = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is shown.")] = "",
) -> "Answer":
    """Begin no more work of a capability, a handler or a connection, or of the whole tenant. What is at work goes on.

    Example:
      interlock dispatch pause handler incident --reason 'GitHub is down'
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    async with desk.open() as il:
        if scope == "connection":
            subject = (await il.connections.fetch(subject)).connection_id
        made = await il.dispatch.pause(scope, subject, reason=reason)
    return Answer(
        document={"pause": document(made)}, show=lambda paper: paper.line(f"paused: {made.scope} {made.subject}")
    )


async def resume(
    desk: "Desk",
    scope: Annotated[str, typer.Argument(metavar="SCOPE", help="tenant, capability, handler or connection.")],
    subject: Annotated[str, typer.Argument(metavar="NAME", help="Which one; nothing for the tenant.")] = "",
) -> "Answer":
    """End a pause: what waited for that is handed to workers.

    Example:
      interlock dispatch resume handler incident
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        if scope == "connection":
            subject = (await il.connections.fetch(subject)).connection_id
        count = await il.dispatch.resume(scope, subject)
    return Answer(document={"released": count}, show=lambda paper: paper.line(f"resumed; handed out: {count}"))


async def stats(desk: "Desk") -> "Answer":
    """Show how much there is to do, since when, and why what waits waits.

    Example:
      interlock dispatch stats
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    async with desk.open() as il:
        found, pauses = await il.dispatch.stats(), await il.dispatch.pauses()

    def show_all(paper: "Paper") -> None:
        paper.fields(
            [
                ("due", str(found.due)),
                ("overdue", str(found.overdue)),
                ("at work", str(found.running)),
                ("without a worker", ", ".join(sorted(found.unserved)) or None),
                ("oldest", None if found.oldest_due_at is None else _moment(found.oldest_due_at)),
            ]
        )
        counts = [("lane", found.lanes), ("parked", found.parked), ("dead", found.dead)]
        rows = [(kind, name, str(count)) for kind, counted in counts for name, count in sorted(counted.items())]
        if rows:
            paper.table(("", "which", "how many"), rows)
        if pauses:
            paper.table(
                ("paused", "which", "by", "since", "why"),
                [(each.scope.value, each.subject, each.actor, _moment(each.at), each.reason) for each in pauses],
            )

    return Answer(document={"stats": document(found), "pauses": document(list(pauses))}, show=show_all)


async def _run_and_work(il: "Facade", run_id: str) -> "tuple[runs.Run, dispatch.Waiting | None]":
    """The run, and its work unless it has ended. Raises RunNotFound, also of a run at work that was never submitted."""
    from interlock import dispatch, runs

    try:
        work = await il.dispatch.fetch(run_id)
    except runs.RunNotFound:
        run = await il.runs.fetch(run_id)
        if run.state in dispatch.WAITED_FOR:
            raise
        return run, None
    return await il.runs.fetch(run_id), work


async def _compared(il: "Facade", run_id: str, first: int) -> "dispatch.Comparison | None":
    """That attempt and the last one, unless there is but one, or none. Raises NoSuchAttempt."""
    from interlock import dispatch

    try:
        found = await il.dispatch.compare(run_id, first=first)
    except dispatch.NoSuchAttempt:
        if first > 1:
            raise
        return None
    return found if found.last.number > first else None


def _show_work(paper: "Paper", found: "dispatch.Waiting") -> None:
    due = found.due
    paper.line(paper.state(found.state.value), due.capability, due.run_id)
    paper.fields(
        [
            ("standing", due.standing.value),
            ("why", found.why),
            ("due", _moment(due.due_at)),
            ("tries", f"{due.tries} of {due.retry.max_attempts}"),
            ("attempts", str(found.attempt_count)),
            ("crashes", str(due.crashes) if due.crashes else None),
            ("deadline", None if due.deadline_at is None else _moment(due.deadline_at)),
            ("priority", due.priority.name.lower()),
        ]
    )
    if found.error is not None:
        paper.heading("Failed with")
        paper.data(found.error)


def _show_page(paper: "Paper", found: "Sequence[dispatch.Waiting]", more: str | None) -> None:
    from interlock.cli.paper import Ink

    if not found:
        paper.line("No work.")
        return
    rows = [
        (
            each.due.run_id,
            paper.state(each.state.value),
            each.due.capability,
            _moment(each.due.due_at),
            f"{each.due.tries}/{each.due.retry.max_attempts}",
            each.why or "",
        )
        for each in found
    ]
    paper.table(("run", "state", "capability", "due", "tries", "why"), rows)
    if more is not None:
        paper.line(Ink(f"more: --cursor {more}", "faint"))


def _moment(at: Any) -> str:
    from interlock.cli.text import moment

    return moment(at)
