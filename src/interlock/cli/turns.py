"""`interlock agent run|resume|settle`: turns of agents, taken."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import asked_agents, lookback, streams
from interlock.cli.frame import command
from interlock.cli.text import clean

if TYPE_CHECKING:
    from interlock import agents
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.facade import Facade

SPEC = Annotated[
    str,
    typer.Argument(metavar="FILE", help="The spec: YAML or JSON; - is stdin. Or agent:NAME, one of `[app.agents]`."),
]
_STREAM = Annotated[bool, typer.Option("--stream", help="Tell what happens, and what the model says, as it comes.")]

_LEAVES = (
    "`interlock agent list` shows the turn: `interlock agent resume RUN` goes on, `interlock runs cancel RUN` ends it."
)

_GOES_ON = "What was asked for goes on at the server: `interlock agent list` shows the turn, `interlock runs cancel RUN` ends it."


def register(agent: typer.Typer) -> None:
    """Add the commands of this module."""
    command(agent, "run")(run)
    command(agent, "resume")(resume)
    command(agent, "settle")(settle)


async def run(
    desk: "Desk",
    *,
    file: SPEC,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is said to the agent; - is stdin.")],
    session: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Go on with this conversation; `new` begins one.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Ask this one: provider:name; `fake` plays one.")
    ] = None,
    context: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="For operations and controls; no model sees it.")
    ] = None,
    stream: _STREAM = False,
    later: Annotated[bool, typer.Option("--later", help="Leave it to a worker: `interlock worker`.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(metavar="KEY", help="The same key takes one turn.")] = None,
    environment: Annotated[str | None, typer.Option(metavar="NAME", help="Recorded, and judged by policy.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="The session may go on though the agent has changed.")
    ] = False,
) -> "Answer | None":
    """Say something to an agent, and take its turn.

    All that it does is recorded. One that waits for a yes is held: after `interlock approvals approve`, `interlock agent resume`
    goes on with it, as it does after a crash.

    Example:
      interlock agent run desk.yaml 'Is ticket 7 answered?' --model fake
    """
    from interlock.cli import inputs

    desk.on_lines = stream
    said = inputs.words(text)
    async with open_with_models(desk) as il:
        meant = await asked_agents.meant(desk, il, file, model)
        with meant.placed():
            given: dict[str, Any] = {
                "session": (await il.agent_sessions.create(meant.spec)).session_id if session == "new" else session,
                "context": inputs.parse_pairs(context or (), meant.context_schema),
                "idempotency_key": idempotency_key,
                "environment": environment,
                "accept": accept,
            }
            if later:
                meant.check_left()
                return _answer(await il.agents.submit(meant.spec, said, **given))
            if stream:
                return await _streamed(desk, il.agents.stream(meant.spec, said, **given))
            return _answer(await il.agents.run(meant.spec, said, **given))


async def resume(desk: "Desk", run_id: lookback.Id, *, stream: _STREAM = False) -> "Answer | None":
    """Go on with a turn: one that was decided on, that was settled, or whose process is gone.

    Example:
      interlock agent resume run_01890a5d…
    """
    from interlock import app

    desk.on_lines = stream
    async with open_with_models(desk) as il:
        found = await il.agents.fetch(run_id)
        if found.state.value == "running" and isinstance(il, app.Interlock):
            await il.runs.recover()  # if its process is gone, that shows in its silence
        if stream:
            return await _streamed(desk, il.agents.resume_stream(run_id))
        return _answer(await il.agents.resume(run_id))


async def settle(
    desk: "Desk",
    *,
    run_id: lookback.Id,
    call: Annotated[str, typer.Argument(metavar="CALL", help="The call: `interlock agent inspect` shows it.")],
    happened: Annotated[
        str | None, typer.Option("--happened", metavar="TEXT", help="It happened, and this is what came of it.")
    ] = None,
    not_happened: Annotated[bool, typer.Option("--not-happened", help="It did not, and may be done.")] = False,
    note: Annotated[str, typer.Option(metavar="TEXT", help="How you know; it is recorded.")] = "",
) -> "Answer":
    """Say what became of an operation of which nobody can tell.

    Look at what the operation works on first. The model is told what you say came of it.

    Example:
      interlock agent settle run_01890a5d… call_1 --happened 'ticket 7 is closed'
    """
    from interlock.cli.errors import Usage

    if (happened is None) is not not_happened:
        raise Usage("say what you saw: --happened TEXT, or --not-happened")
    async with open_with_models(desk) as il:
        turn = await il.agents.settle(run_id, call, happened=not not_happened, text=happened or "", note=note)
    return _answer(turn)


@asynccontextmanager
async def open_with_models(desk: "Desk") -> AsyncGenerator["Facade"]:
    """The server that was named; else Interlock here, with models that only play one."""
    if desk.server is not None:
        desk.leaves = _GOES_ON
        async with desk.open_there() as remote:
            yield remote
        return
    from interlock.testing import models

    desk.leaves = _LEAVES
    async with desk.open_here(acting=True, models={asked_agents.FAKE: models.named}) as il:
        yield il


async def _streamed(
    desk: "Desk", told: "AsyncGenerator[agents.harness.Happening | agents.harness.Turn]"
) -> "Answer | None":
    """Print what happens as it happens. As JSON, each on a line of its own, and the turn on the last."""
    from interlock import agents
    from interlock.kernel import canonical

    out, paper, turn = streams.answers(), desk.paper(), None
    saying = False
    async with aclosing(told) as steps:
        async for each in steps:
            if isinstance(each, agents.harness.Turn):  # the last
                turn = each.check()
            elif desk.options.as_json:
                out.write(canonical(each.to_json()).decode() + "\n")
            elif each.kind == "delta" and each.data["kind"] == "text":
                out.write(clean(str(each.data["text"])))
                saying = True
            elif each.kind == "missed" and saying:
                out.write("…")
            elif each.kind not in ("delta", "missed"):
                if saying:
                    out.write("\n")
                saying = False
                paper.line(f"… {_happened(each)}")
            out.flush()
    assert turn is not None
    return _answer(turn)


def _happened(told: "agents.harness.Happening") -> str:
    data, kind = told.data, told.kind.removeprefix("turn.")
    what = data.get("operation") or data.get("call_id") or data.get("kind") or ""
    return f"{kind} {what}".rstrip()


def _answer(turn: "agents.harness.Turn") -> "Answer":
    from interlock.cli.desk import Answer

    return Answer(
        document=turn.to_json(), show=lambda paper: lookback.show_turn(paper, turn), exit_code=exit_code(turn)
    )


def exit_code(turn: "agents.harness.Turn | None") -> int:
    """What a command ends with that leaves the turn so."""
    from interlock.cli.complaint import DENIED, DONE, HELD, UNKNOWN

    codes = {"held": HELD, "waiting": UNKNOWN, "denied": DENIED, "shed": DENIED}
    return DONE if turn is None else codes.get(turn.state.value, DONE)
