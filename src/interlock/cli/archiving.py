"""`interlock runs archive` and `interlock runs archives`: runs that leave the ledger as packets."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from interlock import runs
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper


async def archive(
    desk: "Desk",
    *,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Runs that ended so long ago: 90d, 52w. Else as the settings say.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the archives lie. Else as the settings say.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many runs would leave, and change nothing.")
    ] = False,
) -> "Answer":
    """Have runs that ended long ago leave the store, as signed packets in a folder.

    Only those of this tenant that nobody can go on with: no dead letters, nothing that is held, waits or runs, and no run whose
    idempotency key still holds. It can be stopped at any time; the same command goes on. `interlock review export` takes
    a packet out again.

    Example:
      interlock runs archive --older-than 90d --to /var/archives
    """
    from interlock.cli.desk import Answer
    from interlock.cli.text import size
    from interlock.cli.times import parse_span
    from interlock.kernel import document

    age = None if older_than is None else parse_span(older_than, option="--older-than")
    async with desk.open_here(acting=not dry_run) as il:
        if dry_run:
            plan = await il.archives.plan(older_than=age)
            return Answer(document=document(plan), show=lambda paper: _show_plan(paper, plan))
        shows = sys.stderr.isatty() and not desk.options.as_json

        def tell(done: "runs.Done") -> None:
            if shows:
                sys.stderr.write(f"\r{done.runs} runs, {size(done.size)} …")
                sys.stderr.flush()

        done = await il.archives.write(older_than=age, folder=to, on_progress=tell)
    if shows and done.runs:
        sys.stderr.write("\n")

    return Answer(
        document={
            "runs": done.runs,
            "size": done.size,
            "archives": [document(each) for each in done.archives],
            "unreadable": done.unreadable,
            "stays": [*done.stays],
        },
        show=lambda paper: _show_done(paper, done),
    )


async def archives(
    desk: "Desk",
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this archive.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
) -> "Answer":
    """List the archives that runs have left for, newest first.

    Example:
      interlock runs archives
    """
    from interlock.cli.desk import Answer
    from interlock.cli.text import moment, size
    from interlock.kernel import document, page

    async with desk.open_here() as il:
        found = await il.archives.list(cursor=cursor, limit=limit)

    def show(paper: "Paper") -> None:
        if not found:
            paper.line("No archives.")
            return
        rows = [
            (each.archive_id, str(each.runs), size(each.size), "open" if each.closed_at is None else moment(each.closed_at),
             str(Path(each.folder, each.name)))
            for each in found
        ]  # fmt: skip
        paper.table(("archive", "runs", "size", "closed", "file"), rows)

    documents = [document(each) for each in found]
    return Answer(document=page("archives", documents, limit=limit, key="archive_id"), show=show)


def _show_plan(paper: "Paper", plan: "runs.Plan") -> None:
    from interlock.cli.text import moment

    if plan.oldest is None or plan.newest is None:
        paper.line("No run is old enough, or free to leave.")
        return
    paper.fields(
        [("would leave", str(plan.runs)), ("asked for from", moment(plan.oldest)), ("to", moment(plan.newest))]
    )


def _show_done(paper: "Paper", done: "runs.Done") -> None:
    from interlock.cli.text import size

    if done.unreadable:
        more = ", …" if done.unreadable > len(done.stays) else ""
        what = "1 run stays: it" if done.unreadable == 1 else f"{done.unreadable} runs stay: they"
        paper.line(f"{what} cannot be read: {', '.join(done.stays)}{more}")
    if not done.runs:
        paper.line("No run is old enough, or free to leave." if not done.unreadable else "No other run has left.")
        return
    left = "1 run has left as a signed packet" if done.runs == 1 else f"{done.runs} runs have left as signed packets"
    paper.line(f"{left}, {size(done.size)}:")
    for each in done.archives:
        paper.line(" ", str(Path(each.folder, each.name)))
