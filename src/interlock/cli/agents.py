"""`interlock agent`: agents as data."""

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import agents
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_SPEC = typer.Argument(metavar="FILE", help="The spec: YAML or JSON; - is stdin.")


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    agent = group(tree, "agent", "Agents: specs that are plain data.")
    command(agent, "validate")(validate)
    command(agent, "show")(show)
    command(agent, "diff")(diff)
    command(agent, "schema")(schema)
    command(agent, "export")(export)


def validate(desk: "Desk", files: Annotated[list[str], _SPEC]) -> "Answer":
    """Check specs, and tell all that is wrong with each.

    Operations and schemas that a spec only names are looked up in the modules of `[app] modules`.

    Example:
      interlock agent validate desk.yaml triage.yaml
    """
    from interlock import agents
    from interlock.cli.complaint import DONE, USAGE
    from interlock.cli.desk import Answer

    found: list[tuple[str, agents.Spec | agents.InvalidSpec]] = []
    for file in files:
        try:
            found.append((file, _read(desk, file)))
        except agents.InvalidSpec as error:
            found.append((file, error))
    told = [
        {"file": file, "valid": False, **each.details}
        if isinstance(each, agents.InvalidSpec)
        else {"file": file, "valid": True, "id": each.id, "fingerprint": each.fingerprint}
        for file, each in found
    ]

    def show_all(paper: "Paper") -> None:
        for file, each in found:
            if isinstance(each, agents.InvalidSpec):
                paper.line(paper.state("failed"), each.message)
            else:
                paper.line(paper.state("ok"), f"{file}: agent {each.id}, {each.fingerprint}")

    wrong = any(isinstance(each, agents.InvalidSpec) for _, each in found)
    return Answer(document={"specs": told}, show=show_all, exit_code=USAGE if wrong else DONE)


def show(desk: "Desk", file: Annotated[str, _SPEC]) -> "Answer":
    """Show a spec: what the agent is asked, what it can do, and what watches over it.

    Example:
      interlock agent show desk.yaml
    """
    from interlock.cli.desk import Answer

    spec = _read(desk, file)
    document = {"fingerprint": spec.fingerprint, "spec": spec.to_json()}
    return Answer(document=document, show=lambda paper: _show(paper, spec))


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

    one, other = _read(desk, before), _read(desk, after)
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
    form: Annotated[Literal["yaml", "json"], typer.Option("--format", metavar="FORMAT", help="yaml or json.")] = "yaml",
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")] = "-",
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer | None":
    """Write a spec in full: with all that it only named, and all defaults.

    What is written is the same agent wherever it is read.

    Example:
      interlock agent export desk.yaml --format json -o desk.json
    """
    from interlock import agents
    from interlock.cli import files
    from interlock.cli.desk import Answer

    spec = _read(desk, file)
    content = agents.write_spec(spec, form).encode()
    files.write(output, content, "spec", force=force)
    if output == "-":
        return None
    document = {"file": output, "id": spec.id, "fingerprint": spec.fingerprint}
    return Answer(document=document, show=lambda paper: paper.line(f"{output}: agent {spec.id}, {spec.fingerprint}"))


def _read(desk: "Desk", file: str) -> "agents.Spec":
    from interlock import agents, app
    from interlock.cli import files

    content = files.read(file, "spec", limit=agents.LIMITS.max_bytes)
    source = "stdin" if file == "-" else file
    return agents.read_spec(content, source=source, registry=app.collect_operations(desk.settings()))


def _show(paper: "Paper", spec: "agents.Spec") -> None:
    memory = None if spec.memory is None else f"{spec.memory.scope}, capture {spec.memory.capture}"
    limits = [f"{value:g} {name}" for name, value in spec.controls.budgets if value is not None]
    paper.fields(
        [
            ("agent", spec.id),
            ("fingerprint", spec.fingerprint),
            ("model", spec.model),
            ("result", None if spec.result is None else f"a schema, repaired {spec.result.max_repairs} times at most"),
            ("memory", memory),
            ("limits", ", ".join([f"{spec.controls.max_turns} turns", f"{spec.controls.timeout_s:g} s", *limits])),
        ]
    )
    paper.heading("Instructions")
    for line in spec.instructions.split("\n"):
        paper.line(f"  {line}")
    if spec.operations:
        paper.heading("Operations")
        rows = [
            (each.name, f"{each.kind} {each.source.ref}", each.idempotency.value, _guards(spec, each))
            for each in spec.operations
        ]
        paper.table(("name", "source", "a second time", "guarded by"), rows)


def _guards(spec: "agents.Spec", operation: "agents.Operation") -> str:
    names = [each.control for each in spec.controls.operations if each.match.fits(operation)]
    return ", ".join([*(["approval"] if operation.approval else []), *names])


def _short(value: object) -> str:
    text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
