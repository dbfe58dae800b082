"""`interlock runs`: what happened, and what a person can do about it."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import archiving, streams
from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import runs
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.facade import RunsFace
    from interlock.cli.paper import Paper

_POLL_SECONDS = 0.3
_PAGE = 1000
_GOES_ON = frozenset({"accepted", "queued", "running", "retry_scheduled"})
_Id = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    following = group(tree, "runs", "What was asked for, what was done, and what is known of it.")
    command(following, "list")(list_runs)
    command(following, "show")(show)
    command(following, "events")(events)
    command(following, "cancel")(cancel)
    command(following, "settle")(settle)
    command(following, "recover")(recover)
    command(following, "wait")(wait)
    command(following, "replay")(replay)
    command(following, "archive")(archiving.archive)
    command(following, "archives")(archiving.archives)


async def list_runs(
    desk: "Desk",
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="Only these: held, waiting, failed …")
    ] = None,
    capability: Annotated[str | None, typer.Option(metavar="ID", help="Only of this capability.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="REF", help="Only over this connection.")] = None,
    by: Annotated[str | None, typer.Option(metavar="ACTOR", help="Only asked for by this actor.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only asked for since: 2h, 7d, 2026-01-31 …")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only asked for before then.")] = None,
    trace: Annotated[str | None, typer.Option(metavar="ID", help="Only of this trace.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="RUN", help="Only asked for by this run.")] = None,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this run.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
) -> "Answer":
    """List runs, newest first.

    Example:
      interlock runs list --state held,waiting --since 7d
    """
    from interlock import runs
    from interlock.cli.desk import Answer
    from interlock.cli.times import parse_moment
    from interlock.cli.words import states
    from interlock.kernel import SystemClock, document, page

    wanted, now = states(state or (), runs.State), SystemClock().now()
    async with desk.open() as il:
        found = await il.runs.list(
            states=wanted,
            capability=capability,
            connection_id=None if connection is None else (await il.connections.fetch(connection)).connection_id,
            actor=by,
            trace_id=trace,
            parent_run_id=parent,
            since=None if since is None else parse_moment(since, option="--since", now=now),
            until=None if until is None else parse_moment(until, option="--until", now=now),
            cursor=cursor,
            limit=limit,
        )

    return Answer(
        document=page("runs", [document(each) for each in found], limit=limit, key="run_id"),
        show=lambda paper: _show_page(paper, found, limit),
    )


async def show(desk: "Desk", run_id: _Id) -> "Answer":
    """Show one run.

    Its timeline, what was sent and how it arrived, why it was allowed, what it left, and what is next.

    Example:
      interlock runs show run_01890a5d…
    """
    from interlock.cli import portrait
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    async with desk.open() as il:
        history = await il.runs.history(run_id)
        told = await il.runs.events(run_id, limit=_PAGE)
    parts = {"run": history.run, "decisions": history.decisions, "approvals": history.approvals,
             "attempts": history.attempts, "sends": history.sends, "artifacts": history.artifacts, "events": told}  # fmt: skip
    return Answer(
        document={name: document(part) for name, part in parts.items()},
        show=lambda paper: portrait.draw(paper, history, told),
    )


async def events(
    desk: "Desk",
    *,
    run_id: _Id,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run ends or waits for a person.")
    ] = False,
    after: Annotated[int, typer.Option(metavar="SEQ", min=0, help="Only events after this number.")] = 0,
) -> "Answer | None":
    """List a run's events in order. Each holds the hash of the one before it.

    With --follow, --json prints one document per event and line.

    Example:
      interlock runs events run_01890a5d… --follow
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    desk.on_lines = follow
    async with desk.open() as il:
        if follow:
            await _follow(desk, il.runs, run_id, after)
            return None
        found: list[runs.Event] = []
        while page := await il.runs.events(run_id, after_seq=found[-1].seq if found else after, limit=_PAGE):
            found.extend(page)
    return Answer(document={"run_id": run_id, "events": document(found)}, show=lambda paper: _show_events(paper, found))


async def cancel(
    desk: "Desk",
    run_id: _Id,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is recorded.")] = "",
) -> "Answer":
    """Stop a run. One that is at work stops before its next send: what has left cannot be called back.

    One that waits because nobody knows whether it happened is given up, and stays unknown.

    Example:
      interlock runs cancel run_01890a5d… --reason 'asked for by mistake'
    """
    async with desk.open() as il:
        return _moved(await il.runs.cancel(run_id, reason=reason))


async def settle(
    desk: "Desk",
    *,
    run_id: _Id,
    happened: Annotated[bool, typer.Option("--happened", help="You saw at the service that it happened.")] = False,
    not_happened: Annotated[bool, typer.Option("--not-happened", help="You saw that it did not.")] = False,
    note: Annotated[str, typer.Option(metavar="TEXT", help="How you know; it is recorded.")] = "",
) -> "Answer":
    """Settle a run whose outcome is unknown.

    Look at the service and say what you saw; without that, Interlock reads the service once more.

    Example:
      interlock runs settle run_01890a5d… --happened --note 'issue 42 is there'
    """
    from interlock import runs
    from interlock.cli.errors import Usage

    if happened and not_happened:
        raise Usage("--happened and --not-happened exclude each other; without either the service is read once more")
    seen = runs.Seen.HAPPENED if happened else runs.Seen.NOT_HAPPENED if not_happened else None
    async with desk.open() as il:
        return _moved(await il.runs.settle(run_id, seen=seen, note=note))


async def recover(desk: "Desk") -> "Answer":
    """Take over what dead processes left.

    A process counts as dead when it has been silent for one owner lease (8 seconds unless set), so this may take that
    long. Unknown outcomes are settled by reading the service, or held for a person; nothing is repeated blindly. A program that
    keeps Interlock open does so by itself from time to time; this does it now.

    Example:
      interlock runs recover
    """
    from interlock import runs
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.kernel import JSON

    async with desk.open_here() as il:
        if await il.runs.list(states=(runs.State.RUNNING,), limit=1):
            sys.stderr.write("Watching whether the processes that have runs open are still alive …\n")
            sys.stderr.flush()
        found = await il.runs.recover()

    def show_all(paper: "Paper") -> None:
        if not found:
            paper.line("Nothing to recover.")
        for each in found:
            why = "" if each.error is None else each.error.message
            paper.line(paper.state(each.state.value), Ink(each.capability, "strong"), Ink(each.run_id, "faint"), why)

    documents: list[JSON] = [
        {
            "run_id": each.run_id,
            "capability": each.capability,
            "state": each.state.value,
            "error": None if each.error is None else each.error.to_json(),
        }
        for each in found
    ]
    return Answer(document={"recovered": documents}, show=show_all)


async def wait(
    desk: "Desk",
    run_id: _Id,
    seconds: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For how long.")] = 60.0,
) -> "Answer":
    """Wait until a run has ended, and show what came of it. Exit code 1 if it has not ended by then.

    Example:
      interlock runs wait run_01890a5d… --timeout 600
    """
    from dataclasses import replace

    from interlock.cli import invoking
    from interlock.cli.complaint import FAILED

    async with desk.open() as il:
        outcome = await il.dispatch.wait(run_id, timeout=seconds)
    told = invoking.answer(outcome)
    return replace(told, exit_code=FAILED) if outcome.state.value in _GOES_ON else told


async def replay(
    desk: "Desk",
    *,
    run_id: Annotated[str | None, typer.Argument(metavar="RUN", help="The run's id.")] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is recorded.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All dead letters that fit, up to --limit.")] = False,
    handler: Annotated[str | None, typer.Option(metavar="NAME", help="Only for this handler.")] = None,
    capability: Annotated[str | None, typer.Option(metavar="ID", help="Only of this capability.")] = None,
    why: Annotated[str | None, typer.Option(metavar="REASON", help="Only for this reason: exhausted, poison …")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only submitted since: 2h, 7d …")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only submitted before then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 1000,
) -> "Answer":
    """Have a dead letter tried again, or with --all those that fit: the same run, the next attempt.

    What it did before it does not do twice. A worker does it: `interlock runs wait` tells what comes of it.

    Example:
      interlock runs replay run_01890a5d… --note 'the handler is mended'
    """
    from interlock.cli.dispatching import ended, moments, one_or_all

    one_or_all(run_id, every=every)
    async with desk.open() as il:
        if run_id is not None:
            return ended("replayed", [(await il.dispatch.replay(run_id, note=note)).run_id])
        fitting = moments(since, until)
        return ended(
            "replayed",
            await il.dispatch.replay_all(
                note=note, handler=handler, capability=capability, why=why, **fitting, limit=limit
            ),
        )


def _moved(run: "runs.Run") -> "Answer":
    from interlock import runs
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.kernel import document

    def show_run(paper: "Paper") -> None:
        paper.line(
            paper.state(run.state.value), Ink(run.capability, "strong"), Ink(run.run_id, "faint"), run.reason or ""
        )
        if run.state.value == "running":
            paper.line("  it stops before its next send")
        if run.reason == runs.GIVEN_UP:
            paper.line("  whether it happened stays unknown: look at the service")

    return Answer(document={"run": document(run)}, show=show_run)


def _show_page(paper: "Paper", found: "Sequence[runs.Listed]", limit: int) -> None:
    from interlock.cli.paper import Ink
    from interlock.cli.text import moment

    if not found:
        paper.line("No runs.")
        return
    rows = [
        (
            each.run_id,
            paper.state(each.state.value),
            each.capability,
            each.actor,
            moment(each.created_at),
            each.reason or "",
        )
        for each in found
    ]
    paper.table(("run", "state", "capability", "actor", "asked", "reason"), rows)
    if len(found) >= limit:
        paper.line(Ink(f"more: --cursor {found[-1].run_id}", "faint"))


def _show_events(paper: "Paper", found: "Sequence[runs.Event]") -> None:
    from interlock.cli import portrait

    for event in found:
        portrait.draw_event(paper, event)


async def _follow(desk: "Desk", face: "RunsFace", run_id: str, after: int) -> None:
    import anyio

    from interlock import runs
    from interlock.kernel import canonical, document

    paper, out = desk.paper(), streams.answers()
    standing = {runs.State.ACCEPTED, runs.State.QUEUED, runs.State.RUNNING, runs.State.RETRY_SCHEDULED}
    while True:
        run = await face.fetch(run_id)
        while page := await face.events(run_id, after_seq=after, limit=_PAGE):
            if desk.options.as_json:
                out.writelines(canonical(document(event)).decode() + "\n" for event in page)
            else:
                _show_events(paper, page)
            out.flush()
            after = page[-1].seq
        if run.state not in standing:
            return
        await anyio.sleep(_POLL_SECONDS)
