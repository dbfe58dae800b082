"""`interlock agent`: agents as data."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interlock.cli import (
    agent_sessions,
    agent_states,
    agent_views,
    asked_agents,
    chatting,
    evals,
    lookback,
    specs,
    turns,
)
from interlock.cli.frame import command, group
from interlock.cli.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock import agents, bridges, sdk
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON, InterlockError

_SPEC = typer.Argument(metavar="FILE", help="The spec: YAML or JSON; - is stdin.")


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    agent = group(tree, "agent", "Agents: specs that are plain data, and their turns.")
    command(agent, "validate")(validate)
    agent_views.register(agent)
    command(agent, "diff")(diff)
    command(agent, "schema")(schema)
    command(agent, "export")(export)
    command(agent, "import")(import_foreign)
    turns.register(agent)
    lookback.register(agent)
    chatting.register(agent)
    agent_states.register(agent)
    evals.register(agent)
    agent_sessions.register(agent)


def validate(desk: "Desk", files: Annotated[list[str], _SPEC]) -> "Answer":
    """Check specs, and tell all that is wrong with each.

    Operations, schemas and controls that a spec only names are looked up in the modules of `[app] modules`; the controls that are
    built in are known everywhere. An operation that nothing here stands for is told, also where the spec says all of it. A model
    that these settings cannot ask is a warning: the spec may be for others.

    Example:
      interlock agent validate desk.yaml triage.yaml
    """
    from interlock import agents, app
    from interlock.cli.complaint import DONE, USAGE
    from interlock.cli.desk import Answer
    from interlock.cli.errors import FileRefused
    from interlock.kernel import InterlockError

    found: list[tuple[str, agents.Spec | InterlockError]] = []
    for file in files:
        try:
            found.append((file, specs.read(desk, file, complete=True)))
        except agents.InvalidSpec as error:
            found.append((file, error))
        except FileRefused as error:
            if len(files) == 1:
                raise
            found.append((file, error))  # the others are checked all the same
    settings = desk.settings()
    doubts = {
        file: app.model_doubts(settings, each, brought=(asked_agents.FAKE,))
        for file, each in found
        if isinstance(each, agents.Spec)
    }
    told = [_checked(file, each, doubts.get(file, ())) for file, each in found]

    def show_all(paper: "Paper") -> None:
        for file, each in found:
            if isinstance(each, agents.Spec):
                paper.line(paper.state("ok"), f"{file}: agent {each.id}, {each.fingerprint}")
                for doubt in doubts[file]:
                    paper.line(f"  {doubt}")
                continue
            first, *problems = each.message.split("\n")
            paper.line(paper.state("failed"), first)
            for problem in problems:
                paper.line(problem)

    wrong = any(not isinstance(each, agents.Spec) for _, each in found)
    return Answer(document={"specs": told}, show=show_all, exit_code=USAGE if wrong else DONE)


def _checked(file: str, found: "agents.Spec | InterlockError", doubts: "Sequence[sdk.Problem]") -> "Mapping[str, JSON]":
    from interlock.kernel import InterlockError

    if isinstance(found, InterlockError):
        return {"file": file, "valid": False, "error": found.message, **found.details}
    warnings: list[JSON] = [each.to_json() for each in doubts]
    return {"file": file, "valid": True, "id": found.id, "fingerprint": found.fingerprint, "warnings": warnings}


def diff(
    desk: "Desk",
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A spec: YAML or JSON; - is stdin.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The other one.")],
) -> "Answer":
    """Tell where two specs differ, however each is written.

    Example:
      interlock agent diff desk.yaml desk-new.yaml
    """
    from interlock import agents
    from interlock.cli.desk import Answer

    one, other = specs.read(desk, before), specs.read(desk, after)
    found = agents.compare(one, other)
    document = {
        "same": not found,
        "before": one.fingerprint,
        "after": other.fingerprint,
        "differences": [each.to_json() for each in found],
    }

    def show_differences(paper: "Paper") -> None:
        if not found:
            paper.line(f"Both are the same agent: {one.fingerprint}")
            return
        rows = [(each.path, each.what, _short(each.before), _short(each.after)) for each in found]
        paper.table(("place", "what", "before", "after"), rows)

    return Answer(document=document, show=show_differences)


def schema(_: "Desk") -> "Answer":
    """Print the JSON Schema of specs, for editors.

    Example:
      interlock agent schema > agent.schema.json
    """
    from interlock import agents
    from interlock.cli.desk import Answer

    document = agents.schema()
    return Answer(document=document, show=lambda paper: paper.data(document))


def export(
    desk: "Desk",
    file: Annotated[str, _SPEC],
    form: Annotated[
        Literal["yaml", "json", "open-agent-spec"],
        typer.Option("--format", metavar="FORMAT", help="yaml, json or open-agent-spec."),
    ] = "yaml",
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")] = "-",
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer | None":
    """Write a spec in full: with all that it only named, and all defaults.

    What is written is the same agent wherever Interlock reads it. Others who read an Open Agent Specification do not learn all
    of it; what they do not is told.

    Example:
      interlock agent export desk.yaml --format json -o desk.json
    """
    from interlock import agents, bridges

    spec = specs.read(desk, file)
    if form == "open-agent-spec":
        text, report = bridges.to_open_agent_spec(spec)
    else:
        text, report = agents.write_spec(spec, form), bridges.Report()
    return _written(spec, text, report, output, force=force)


def import_foreign(
    _: "Desk",
    file: Annotated[str, typer.Argument(metavar="FILE", help="The document: YAML or JSON; - is stdin.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")] = "-",
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer | None":
    """Make a spec of an agent's document of the Open Agent Specification.

    What is lost or assumed is told. A tool of which nobody says what a second call would mean is unsafe_once, behind an approval.

    Example:
      interlock agent import their-agent.yaml -o desk.yaml
    """
    from interlock import agents, bridges
    from interlock.cli import files

    spec, report = bridges.from_open_agent_spec(files.read(file, "document", limit=agents.LIMITS.max_bytes))
    return _written(spec, agents.write_spec(spec), report, output, force=force)


def _written(spec: "agents.Spec", text: str, report: "bridges.Report", output: str, *, force: bool) -> "Answer | None":
    """What stdout got is the answer itself, and the report goes beside it."""
    from interlock.cli import files
    from interlock.cli.desk import Answer

    files.write(output, text.encode(), "spec", force=force)
    notes = [f"{each.fate.value}: {each.path}: {each.text}" for each in report.notes]
    if output == "-":
        sys.stderr.write("".join(f"{clean(each)}\n" for each in notes))
        return None
    document = {
        "file": output,
        "id": spec.id,
        "fingerprint": spec.fingerprint,
        "report": [each.to_json() for each in report.notes],
    }

    def show_written(paper: "Paper") -> None:
        for each in notes:
            paper.line(each)
        paper.line(f"{output}: agent {spec.id}, {spec.fingerprint}")

    return Answer(document=document, show=show_written)


def _short(value: object) -> str:
    text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
