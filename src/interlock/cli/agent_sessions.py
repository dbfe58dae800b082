"""`interlock agent sessions`: conversations with agents."""

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command, group
from interlock.cli.text import moment

if TYPE_CHECKING:
    from interlock import agents, inference
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_Id = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")]
_SHOWN = 2000
"""Characters of one text that people are shown."""


def register(agent: typer.Typer) -> None:
    """Add the commands of this module."""
    sessions = group(agent, "sessions", "Conversations with agents.")
    command(sessions, "list")(list_sessions)
    command(sessions, "show")(show)
    command(sessions, "fork")(fork)
    command(sessions, "delete")(delete)


async def list_sessions(
    desk: "Desk",
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Only those with this agent.")] = None,
    cursor: Annotated[str | None, typer.Option(metavar="SESSION", help="Go on after this session.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 50,
) -> "Answer":
    """List sessions, newest first.

    Example:
      interlock agent sessions list --agent desk
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import document, page

    async with desk.open() as il:
        found = await il.agent_sessions.list(agent_id=agent, cursor=cursor, limit=limit)

    def show_page(paper: "Paper") -> None:
        if not found:
            paper.line("No sessions: `interlock agent run SPEC --session new` begins one.")
            return
        rows = [
            (each.session_id, each.agent_id, str(each.head), moment(each.updated_at), each.title or "")
            for each in found
        ]
        paper.table(("session", "agent", "turns", "last", "title"), rows)

    records = [document(each) for each in found]
    return Answer(document=page("sessions", records, limit=limit, key="session_id"), show=show_page)


async def show(
    desk: "Desk",
    session: _Id,
    after: Annotated[int, typer.Option(metavar="N", min=0, help="Only the turns after this one.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many turns.")] = 50,
) -> "Answer":
    """Show a session, and what was said in it.

    Example:
      interlock agent sessions show ags_0193… --after 10
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    async with desk.open() as il:
        found = await il.agent_sessions.fetch(session)
        turns = await il.agent_sessions.turns(session, after=after, limit=limit)

    def show_all(paper: "Paper") -> None:
        _describe(paper, found)
        for each in turns:
            paper.heading(f"Turn {each.number}, {each.turn_id}" + (f", {each.failure}" if each.failure else ""))
            for message in each.said:
                show_message(paper, message)

    return Answer(
        document={"session": document(found), "turns": [each.to_json() for each in turns]},
        show=show_all,
    )


async def fork(
    desk: "Desk",
    session: _Id,
    at: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="After its N-th turn; else after its last.")
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="A title of its own.")] = None,
) -> "Answer":
    """Make another session that has gone the same way so far.

    Both go their own way from there; nothing that was done is done again.

    Example:
      interlock agent sessions fork ags_0193… --at 3
    """
    async with desk.open() as il:
        return _described(await il.agent_sessions.fork(session, turn=at, title=title))


async def delete(desk: "Desk", session: _Id) -> "Answer":
    """Delete a session, and what was said in it.

    The runs of its turns stay in the ledger.

    Example:
      interlock agent sessions delete ags_0193…
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        gone = await il.agent_sessions.delete(session)
    return Answer(
        document={"deleted": gone.session_id},
        show=lambda paper: paper.line(f"Deleted {gone.session_id}, {gone.head} turns."),
    )


def _described(found: "agents.sessions.Session") -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.kernel import document

    return Answer(document={"session": document(found)}, show=lambda paper: _describe(paper, found))


def _describe(paper: "Paper", found: "agents.sessions.Session") -> None:

    forked = None if found.forked_from is None else f"{found.forked_from}, after turn {found.forked_at}"
    paper.fields(
        [
            ("session", found.session_id),
            ("agent", f"{found.agent_id}, {found.fingerprint}"),
            ("title", found.title),
            ("turns", str(found.head)),
            ("summed up", f"up to turn {found.summed_up}" if found.summed_up else None),
            ("open turn", found.open_turn),
            ("forked from", forked),
            ("last change", moment(found.updated_at)),
        ]
    )


def show_message(paper: "Paper", message: "inference.Message") -> None:
    """Show people what was said, without what a model thought."""
    from interlock import inference

    for part in message.parts:
        match part:
            case inference.Text(text=text):
                told = f"{message.role.value}: {_cut(text)}"
            case inference.Call(name=name, arguments=arguments):
                told = f"calls {name} {_cut(arguments)}"
            case inference.Outcome(name=name, text=text, failed=failed):
                told = f"{name} {'failed' if failed else 'said'}: {_cut(text)}"
            case inference.Thinking():
                continue
        first, *more = told.split("\n")
        paper.line(f"  {first}")
        for line in more:
            paper.line(f"    {line}")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
