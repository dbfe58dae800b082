"""`interlock agent chat`: one conversation with an agent, turn by turn."""

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import streams
from interlock.cli.frame import command
from interlock.cli.text import clean

if TYPE_CHECKING:
    from interlock import agents, app
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

ENDS = frozenset({"/exit", "/quit"})
"""What ends a conversation, beside the end of the input."""


def register(agent: typer.Typer) -> None:
    """Add the command of this module."""
    command(agent, "chat")(chat)


async def chat(
    desk: "Desk",
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The spec: YAML or JSON.")],
    session: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Go on with this conversation; else a new one begins.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Ask this one: provider:name; `fake` plays one.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="The session may go on though the agent has changed.")
    ] = False,
) -> "Answer":
    """Talk with an agent: a line of stdin is a turn, and its answer comes as it is said.

    /exit or the end of the input ends it; the conversation stays. A turn that waits for a yes ends it, too: after the approval,
    `interlock agent resume` goes on with the turn.

    Example:
      interlock agent chat desk.yaml --model fake
    """
    import anyio.to_thread

    from interlock.cli import specs, turns
    from interlock.cli.desk import Answer

    count, waiting = 0, None
    async with turns.open_with_models(desk) as il:
        spec = specs.read(desk, file, complete=True, registry=il.agents.registry)
        spec = spec if model is None else turns.asking(spec, model)
        session_id = session or (await il.agent_sessions.create(spec)).session_id
        _say(desk, f"session {session_id}; /exit ends\n")
        while waiting is None:
            _say(desk, "> ")
            line = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
            if not line or line.strip() in ENDS:
                break
            if line.strip():
                turn = await _turn(desk, il, spec, line.strip(), session_id, accept=accept)
                count += 1
                waiting = turn if turn.waiting else None
    document = {"session_id": session_id, "turns": count, "waiting": None if waiting is None else waiting.to_json()}

    def show(paper: "Paper") -> None:
        if waiting is not None:
            turns.show_turn(paper, waiting)
        paper.line(f"{count} turns: interlock agent chat {file} --session {session_id}")

    return Answer(document=document, show=show, exit_code=turns.exit_code(waiting))


async def _turn(
    desk: "Desk", il: "app.Interlock", spec: "agents.Spec", text: str, session_id: str, *, accept: bool
) -> "agents.harness.Turn":
    """One turn, its words told as they come. A failed one is told, and the conversation goes on."""
    from interlock import agents

    turn, said = None, False
    async with aclosing(il.agents.stream(spec, text, session=session_id, accept=accept)) as told:
        async for each in told:
            if isinstance(each, agents.harness.Turn):
                turn = each
            elif each.kind == "delta" and each.data["kind"] == "text":
                _say(desk, clean(str(each.data["text"])))
                said = True
    assert turn is not None
    if turn.failure is not None:
        _say(desk, f"{chr(10) if said else ''}({turn.failure.code}: {clean(turn.failure.message)})")
    elif not said and turn.answer:
        _say(desk, clean(turn.answer))
    _say(desk, "\n")
    return turn


def _say(desk: "Desk", text: str) -> None:
    if not desk.options.as_json:
        out = streams.answers()
        out.write(text)
        out.flush()
