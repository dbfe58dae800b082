"""`interlock agent list|inspect|trace|replay`: turns of agents, looked at."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command
from interlock.cli.text import clean, counted

if TYPE_CHECKING:
    from interlock import agents, inference
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON

Id = Annotated[str, typer.Argument(metavar="RUN", help="The turn's run.")]
_MS = timedelta(milliseconds=1)
_SHOWN = 2000
"""Characters of one text that people are shown."""


def register(agent: typer.Typer) -> None:
    """Add the commands of this module."""
    command(agent, "list")(list_turns)
    command(agent, "inspect")(inspect)
    command(agent, "trace")(trace)
    command(agent, "replay")(replay)


async def list_turns(
    desk: "Desk",
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this agent.")] = None,
    cursor: Annotated[str | None, typer.Option(metavar="RUN", help="Go on after this run.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 50,
) -> "Answer":
    """List turns, newest first.

    Example:
      interlock agent list --agent desk
    """
    from interlock.cli.desk import Answer
    from interlock.kernel import page

    async with desk.open() as il:
        found = await il.agents.list(agent_id=agent, cursor=cursor, limit=limit)

    def show(paper: "Paper") -> None:
        if not found:
            paper.line("No turns: `interlock agent run FILE TEXT` takes one.")
            return
        rows = [(each.run_id, paper.state(each.state.value), each.agent_id, _short(_came(each))) for each in found]
        paper.table(("run", "state", "agent", "what came of it"), rows)

    records: list[JSON] = [each.to_json() for each in found]
    return Answer(document=page("turns", records, limit=limit, key="run_id"), show=show)


async def inspect(desk: "Desk", run_id: Id) -> "Answer":
    """Show how a turn stands: what was said, what was done, what it waits for.

    Example:
      interlock agent inspect run_01890a5d…
    """
    from interlock.cli.desk import Answer

    async with desk.open() as il:
        turn, state = await il.agents.inspect(run_id)
    told = None if state is None else state.model_dump(mode="json")

    def show(paper: "Paper") -> None:
        show_turn(paper, turn)
        if state is None:
            paper.line(f"Another framework has its loop; what it did: `interlock agent trace {run_id}`")
            return
        for name, why in state.absent.items():
            paper.line(f"without: {name}: {clean(str(why))}")
        paper.heading("Said")
        for message in state.said:
            for part in message.parts:
                paper.line(f"  {message.role.value}: {clean(_said(part))[:_SHOWN]}")

    return Answer(document={"turn": turn.to_json(), "state": told}, show=show)


async def trace(desk: "Desk", run_id: Id) -> "Answer":
    """List a turn's journal: what was about to be done, and what happened, in order, and the milliseconds since the turn began.

    Example:
      interlock agent trace run_01890a5d…
    """
    from interlock.cli.desk import Answer
    from interlock.cli.timeline import meaning
    from interlock.kernel import to_rfc3339

    async with desk.open() as il:
        lines = await il.agents.lines(run_id)
    told = [{"seq": each.seq, "at": to_rfc3339(each.at), "kind": each.kind, "data": dict(each.data)} for each in lines]

    def show(paper: "Paper") -> None:
        rows = [
            (
                str(each.seq),
                f"{(each.at - lines[0].at) / _MS:,.0f}",
                each.kind,
                _short(meaning(each.kind if "." in each.kind else f"turn.{each.kind}", each.data)),
            )
            for each in lines
        ]
        paper.table(("event", "ms", "what", "of it"), rows)

    return Answer(document={"run_id": run_id, "lines": told}, show=show)


async def replay(desk: "Desk", run_id: Id) -> "Answer":
    """Find a turn's state again from its journal alone, and say whether it is the one that the turn is said to have ended in.

    Nothing is done, and no model is asked.

    Example:
      interlock agent replay run_01890a5d…
    """
    from interlock import agents
    from interlock.cli.desk import Answer

    async with desk.open_here() as il:
        sheet, lines = await il.agents.replay(run_id), await il.agents.lines(run_id)
    digest, ended = agents.harness.state_digest(sheet.state), any(each.kind == "ended" for each in lines)
    document = {"run_id": run_id, "same": True, "ended": ended, "events": len(lines), "state_digest": digest}

    def show(paper: "Paper") -> None:
        what = "the state that it ended in" if ended else "where it stands; it has not ended"
        paper.line(paper.state("ok"), f"{len(lines)} entries lead to {what}: {sheet.state.phase.value}, {digest}")

    return Answer(document=document, show=show)


def show_turn(paper: "Paper", turn: "agents.harness.Turn") -> None:
    """Show people how it stands."""
    usage = turn.usage
    paper.fields(
        [
            ("turn", turn.run_id),
            ("state", paper.state(turn.state.value)),
            ("agent", turn.agent_id),
            ("session", turn.session_id),
            ("asked", f"{_took(turn.rounds, turn.operations)}, {counted(usage.tokens, 'token')}"),
            ("failure", None if turn.failure is None else f"{turn.failure.code}: {turn.failure.message}"),
        ]
    )
    for each in turn.waiting:
        what = each.operation or "what is said"
        arguments = json.dumps(dict(each.arguments), ensure_ascii=False)
        paper.line(f"waits: {what} {_short(arguments)} ({each.call_id or '-'}): {each.reason}")
        if each.approval_id is not None:
            goes_on = "run its program again" if turn.is_guest else f"`interlock agent resume {turn.run_id}`"
            paper.line(f"  `interlock approvals approve {each.approval_id}`, then {goes_on}")
        elif each.unclear:
            paper.line(f"  `interlock agent settle {turn.run_id} {each.call_id} --happened TEXT` or `--not-happened`")
    if turn.answer is not None:
        paper.heading("Answer")
        for line in turn.answer.split("\n"):
            paper.line(clean(line))


def _came(turn: "agents.harness.Glance") -> str:
    if isinstance(turn.error, Mapping):
        return str(turn.error.get("message"))
    if turn.rounds is None:
        return turn.reason or ""
    return f"asked {_took(turn.rounds, turn.operations or 0)}"


def _took(rounds: int, operations: int) -> str:
    return f"{counted(rounds, 'time')}, {counted(operations, 'operation')}"


def _said(part: "inference.Piece") -> str:
    if part.kind == "call":
        return f"call {part.name}: {part.arguments}"
    return f"outcome {part.name}: {part.text}" if part.kind == "outcome" else f"{part.kind}: {part.text}"


def _short(text: str) -> str:
    text = clean(text.replace("\n", " "))
    return text if len(text) <= 100 else f"{text[:99]}…"
