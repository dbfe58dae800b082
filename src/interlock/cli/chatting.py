"""`interlock agent chat`: one conversation with an agent, turn by turn."""

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import streams, turns
from interlock.cli.frame import command
from interlock.cli.text import clean

if TYPE_CHECKING:
    from interlock import agents
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.facade import Facade
    from interlock.cli.paper import Paper

ENDS = frozenset({"/exit", "/quit"})
"""What ends a conversation, beside the end of the input."""


def register(agent: typer.Typer) -> None:
    """Add the command of this module."""
    command(agent, "chat")(chat)


async def chat(
    desk: "Desk",
    *,
    file: turns.SPEC,
    session: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Go on with this conversation; else a new one begins.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Ask this one: provider:name; `fake` plays one.")
    ] = None,
    context: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="For operations and controls; no model sees it.")
    ] = None,
    environment: Annotated[str | None, typer.Option(metavar="NAME", help="Recorded, and judged by policy.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="The session may go on though the agent has changed.")
    ] = False,
) -> "Answer":
    """Talk with an agent: a line of stdin is a turn, and its answer comes as it is said.

    /exit or the end of the input ends it; the conversation stays. A turn that waits for a yes ends it, too: after the approval,
    `interlock agent resume` goes on with the turn. With --json each turn, once it is over, is an object on a line of its own,
    with its answer; the conversation is on the last line.

    Example:
      interlock agent chat desk.yaml --model fake
    """
    from interlock.cli import asked_agents, inputs, lookback
    from interlock.cli.desk import Answer

    desk.on_lines = True
    async with turns.open_with_models(desk) as il:
        meant = await asked_agents.meant(desk, il, file, model)
        given = inputs.parse_pairs(context or (), meant.context_schema)
        with meant.placed():
            found = await (
                il.agent_sessions.create(meant.spec) if session is None else il.agent_sessions.fetch(session)
            )
        options = {"session": found.session_id, "context": given, "environment": environment, "accept": accept}
        _say(desk, f"session {found.session_id}; /exit ends\n")
        count, waiting = await _talk(desk, il, meant.spec, options)
    told = None if waiting is None else waiting.to_json()
    again = f"{file} --session {found.session_id}" + ("" if model is None else f" --model {model}")

    def show(paper: "Paper") -> None:
        if waiting is not None:
            lookback.show_turn(paper, waiting)
        paper.line(f"{count} turns: interlock agent chat {again}")

    return Answer(
        document={"session_id": found.session_id, "turns": count, "waiting": told},
        show=show,
        exit_code=turns.exit_code(waiting),
    )


async def _talk(
    desk: "Desk", il: "Facade", spec: Any, options: dict[str, Any]
) -> "tuple[int, agents.harness.Turn | None]":
    """Turn by turn, until the input ends or a turn waits for a person: how many were taken, and that one."""
    import anyio.to_thread

    count = 0
    while True:
        _say(desk, "> ")
        line = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        if not line or line.strip() in ENDS:
            return count, None
        if line.strip():
            turn = await _turn(desk, il, spec, line.strip(), options)
            count += 1
            if turn.waiting:
                return count, turn


async def _turn(desk: "Desk", il: "Facade", spec: Any, text: str, options: dict[str, Any]) -> "agents.harness.Turn":
    """One turn, its words told as they come. A failed one is told, and the conversation goes on."""
    from interlock import agents
    from interlock.kernel import canonical

    turn, said = None, False
    async with aclosing(il.agents.stream(spec, text, **options)) as told:
        async for each in told:
            if isinstance(each, agents.harness.Turn):
                turn = each
            elif each.kind == "delta" and each.data["kind"] == "text":
                _say(desk, clean(str(each.data["text"])))
                said = True
    assert turn is not None
    if desk.options.as_json:
        _write(canonical(turn.to_json()).decode() + "\n")
    if turn.failure is not None:
        _say(desk, f"{chr(10) if said else ''}({turn.failure.code}: {clean(turn.failure.message)})")
    elif not said and turn.answer:
        _say(desk, clean(turn.answer))
    _say(desk, "\n")
    return turn


def _say(desk: "Desk", text: str) -> None:
    if not desk.options.as_json:
        _write(text)


def _write(text: str) -> None:
    out = streams.answers()
    out.write(text)
    out.flush()
