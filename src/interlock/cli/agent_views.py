"""`interlock agent show`: an agent as its spec tells it, and what a turn of it would ask its model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from interlock.cli import agent_sessions, asked_agents, specs, turns
from interlock.cli.frame import command

if TYPE_CHECKING:
    from interlock import agents, inference
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

NOT_SHOWN: Final = (
    "controls are not run, which may block or stop a turn",
    "MCP servers are not asked which of their tools they have now",
    "nothing of the session is summed up first",
)
"""What a preview leaves out of that which a turn does before it asks."""


def register(agent: typer.Typer) -> None:
    """Add the command of this module."""
    command(agent, "show")(show)


async def show(
    desk: "Desk",
    *,
    file: turns.SPEC,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Show what a turn would ask its model; - is stdin.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="SESSION", help="With --prompt: as the next turn of this conversation.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="With --prompt: as if it were this one: provider:name, or fake.")
    ] = None,
) -> "Answer":
    """Show a spec: what the agent is asked, what it can do, and what watches over it.

    With --prompt: what its model would be asked first, with what the session and memory add, and what the answer may cost. No
    model is asked, and no turn begins; memory is searched as a turn would search it. Controls are not run, MCP servers are not
    asked, and nothing is summed up.

    Example:
      interlock agent show desk.yaml --prompt 'Is ticket 7 answered?'
    """
    from interlock.cli import inputs
    from interlock.cli.desk import Answer
    from interlock.cli.errors import Usage

    if prompt is not None:
        return await _preview(desk, file, inputs.words(prompt), session=session, model=model)
    if session is not None or model is not None:
        raise Usage("--session and --model go with --prompt TEXT: what would be asked")
    spec = _spec(desk, file)
    document = {"fingerprint": spec.fingerprint, "spec": spec.to_json()}
    return Answer(document=document, show=lambda paper: _show_spec(paper, spec))


def _spec(desk: "Desk", file: str) -> "agents.Spec":
    from interlock import app

    if (name := file.removeprefix(asked_agents.NAMED)) == file:
        return specs.read(desk, file)
    settings = desk.settings()
    return app.InstalledAgents(settings, lambda: app.collect_operations(settings)).fetch(name)


async def _preview(desk: "Desk", file: str, said: str, *, session: str | None, model: str | None) -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.testing import models

    async with desk.open_here(models={asked_agents.FAKE: models.named}) as il:
        spec: agents.Spec = (await asked_agents.meant(desk, il, file, model)).spec
        found = await il.agents.preview(spec, said, session=session)
    document = {
        "agent": spec.id,
        "fingerprint": spec.fingerprint,
        "session": session,
        **found.to_json(),
        "not_shown": list(NOT_SHOWN),
    }
    return Answer(document=document, show=lambda paper: _show_preview(paper, spec, found, session))


# -- a spec


def _show_spec(paper: "Paper", spec: "agents.Spec") -> None:
    memory = None if spec.memory is None else f"{spec.memory.scope}, capture {spec.memory.capture}"
    paper.fields(
        [
            ("agent", spec.id),
            ("fingerprint", spec.fingerprint),
            ("model", spec.model),
            ("result", None if spec.result is None else f"a schema, repaired {spec.result.max_repairs} times at most"),
            ("memory", memory),
            ("limits", _limits(spec)),
        ]
    )
    _show_text(paper, "Instructions", spec.instructions)
    told: dict[str, Any] = spec.to_json()
    _show_fields(paper, "Context", told.get("context_schema"))
    _show_fields(paper, "Result", told.get("result", {}).get("schema"))
    if spec.operations:
        paper.heading("Operations")
        rows = [
            (each.name, f"{each.kind} {each.source.ref}", each.idempotency.value, _guards(spec, each))
            for each in spec.operations
        ]
        paper.table(("name", "source", "a second time", "guarded by"), rows)


def _limits(spec: "agents.Spec") -> str:
    budgets = [f"{value:g} {name}" for name, value in spec.controls.budgets if value is not None]
    return ", ".join([f"{spec.controls.max_turns} turns", f"{spec.controls.timeout_s:g} s", *budgets])


def _guards(spec: "agents.Spec", operation: "agents.Operation") -> str:
    names = [each.control for each in spec.controls.operations if each.match.fits(operation)]
    return ", ".join([*(["approval"] if operation.approval else []), *names])


def _show_text(paper: "Paper", title: str, text: str) -> None:
    paper.heading(title)
    for line in text.strip("\n").split("\n"):
        paper.line(f"  {line}")


def _show_fields(paper: "Paper", title: str, schema: "Mapping[str, Any] | None") -> None:
    if schema is None:
        return
    from interlock.cli.schemas import list_fields

    paper.heading(title)
    rows = [(each.name, each.kind, "required" if each.required else "", each.about) for each in list_fields(schema)]
    paper.table(("field", "kind", "", "about"), rows)


# -- a preview


def _show_preview(paper: "Paper", spec: "agents.Spec", found: "agents.harness.Preview", session: str | None) -> None:
    request, most = found.request, found.most
    before = None if session is None else f"{session}; messages before this one: {found.earlier}"
    tokens = "unknown here: the settings have no such model"
    if most is not None:
        tokens = f"about {most.input_tokens:,} asked, {most.output_tokens:,} answered at most"
    paper.fields(
        [
            ("agent", f"{spec.id}, {spec.fingerprint}"),
            ("model", request.model),
            ("session", before),
            ("memory", _recalled(spec, found)),
            ("tokens", tokens),
            ("cost", _cost(found)),
            ("limits", _limits(spec)),
        ]
    )
    _show_text(paper, "Instructions", request.instructions)
    paper.heading("Said")
    for message in request.messages:
        agent_sessions.show_message(paper, message)
    _show_tools(paper, request.tools)
    _show_fields(paper, "Result", request.result)
    paper.heading("Not shown")
    for each in NOT_SHOWN:
        paper.line(f"  {each}")


def _recalled(spec: "agents.Spec", found: "agents.harness.Preview") -> str | None:
    if spec.memory is None:
        return None
    if found.memory_failed is not None:
        ends = "a turn would fail" if spec.memory.required else "a turn goes on without"
        return f"failed: {found.memory_failed}; {ends}"
    return "nothing" if found.recalled is None else "as data, among what is said"


def _cost(found: "agents.harness.Preview") -> str | None:
    if found.most is None:
        return None
    if found.most_usd is None:
        return "unknown: nobody here knows what the model costs"
    return f"at most about {found.most_usd:f} USD for this answer; a turn may ask again, up to its limits"


def _show_tools(paper: "Paper", tools: "Sequence[inference.Tool]") -> None:
    if not tools:
        return
    from interlock.cli.schemas import list_fields
    from interlock.cli.text import shorten

    paper.heading("Tools")
    rows = [
        (each.name, ", ".join(field.name for field in list_fields(each.input)), shorten(each.description))
        for each in tools
    ]
    paper.table(("name", "takes", "about"), rows)
