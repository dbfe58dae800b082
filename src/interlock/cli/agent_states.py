"""`interlock agent snapshot|fork`: the state of a turn, carried away, and conversations that begin from one."""

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_EVENT = Annotated[
    int | None,
    typer.Option("--event", metavar="N", min=0, help="As it stood after this event: `interlock agent trace`."),
]


def register(agent: typer.Typer) -> None:
    """Add the commands of this module."""
    command(agent, "snapshot")(snapshot)
    command(agent, "fork")(fork)


async def snapshot(
    desk: "Desk",
    *,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The turn's run.")],
    event: _EVENT = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")] = "-",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer | None":
    """Write the state of a turn into a signed file.

    It holds all that was said, and no secret. `interlock agent fork --snapshot FILE` begins a conversation from it; no turn is
    resumed from one.

    Example:
      interlock agent snapshot run_0193… --event 7 -o turn.json
    """
    from interlock.cli import files
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        content = await il.agents.snapshot(run_id, event=event)
    files.write(output, content, "snapshot", force=force)
    if output == "-":
        return None
    return Answer(
        document={"file": output, "run_id": run_id, "bytes": len(content)},
        show=lambda paper: paper.line(f"{output}: {run_id}, {len(content)} bytes, signed"),
    )


async def fork(
    desk: "Desk",
    *,
    run_id: Annotated[str | None, typer.Argument(metavar="RUN", help="The turn's run.")] = None,
    event: _EVENT = None,
    snapshot_file: Annotated[
        str | None, typer.Option("--snapshot", metavar="FILE", help="From a snapshot, and no turn of this store.")
    ] = None,
    trust: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Whose snapshots are trusted: `interlock review trust`; else one's own."),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="A title for the conversation.")] = None,
    spec_file: Annotated[
        str | None, typer.Option("--spec", metavar="FILE", help="The agent to go on with: the turn has to be by it.")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Go on with it though it has changed since.")] = False,
) -> "Answer":
    """Begin a conversation from where a turn stands, or stood.

    Nothing that was done is done again. What was asked for and has no outcome is told as that, and no approval comes along.

    Example:
      interlock agent fork run_0193… --event 7
      interlock agent fork --snapshot turn.json --spec desk.yaml
    """
    from interlock import agents
    from interlock.cli import files, specs
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    limit = agents.snapshots.LIMITS.max_bytes
    content = None if snapshot_file is None else files.read(snapshot_file, "snapshot", limit=limit)
    keys = None if trust is None else files.read(trust, "trust file", limit=1_048_576)
    spec = None if spec_file is None else specs.read(desk, spec_file)
    if run_id is not None and content is None and spec is None:
        async with desk.open() as there:
            made = await there.agents.fork(run_id, event=event, title=title)
    else:
        async with desk.open_here() as il:
            made = await il.agents.fork(
                run_id, snapshot=content, trust=keys, event=event, title=title, spec=spec, accept=accept
            )

    def show(paper: "Paper") -> None:
        paper.fields([("session", made.session_id), ("agent", f"{made.agent_id}, {made.fingerprint}")])
        paper.line(f"  next: interlock agent run {spec_file or 'SPEC'} TEXT --session {made.session_id}")

    return Answer(document={"session": document(made)}, show=show)
