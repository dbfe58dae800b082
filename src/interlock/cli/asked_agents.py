"""Which agent a command means: a spec in a file, or one that the settings name, here or at a server."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from interlock.cli import specs

if TYPE_CHECKING:
    from interlock.cli.desk import Desk
    from interlock.cli.facade import Facade
    from interlock.kernel import JSON, Written

FAKE: Final = "fake"
"""The provider of models that only play one: `fake:echo`, and `fake:FILE` with a script."""

NAMED: Final = "agent:"
"""What a name of `[app.agents]` begins with where a file could stand."""


@dataclass(frozen=True, kw_only=True)
class Meant:
    """An agent that is meant. `spec` is what the facade is given."""

    spec: Any
    context_schema: "Mapping[str, JSON]" = field(default_factory=dict[str, Any])
    model: str = ""
    """Which is asked, as far as it is known here."""
    source: str = ""
    written: "Written | None" = None

    def check_left(self) -> None:
        """Raises Usage for an agent whose model is played here alone."""
        from interlock.cli.errors import Usage

        if self.model.startswith(f"{FAKE}:"):
            raise Usage(
                f"no worker plays {self.model}", next_step="Take the turn here, without --later; or name a model."
            )

    @contextmanager
    def placed(self) -> Generator[None]:
        """What a server finds wrong with the spec is told with its lines here. Raises InvalidSpec."""
        from interlock import agents, sdk

        try:
            yield
        except agents.InvalidSpec as error:
            if self.written is None:
                raise
            found = cast("list[dict[str, Any]]", error.details.get("problems", []))
            lined: list[Any] = [{**each, "line": self.written.line(str(each["path"]))} for each in found]
            problems = [sdk.Problem(**each) for each in lined]
            raise agents.InvalidSpec(self.source, sorted(problems, key=lambda each: each.line or 0)) from error


async def meant(desk: "Desk", il: "Facade", file: str, model: str | None) -> Meant:
    """The agent of a file, or by `agent:NAME` one of the settings, with another model if one is given. Raises InvalidSpec,
    FileRefused, AgentNotFound, Usage."""
    from interlock import agents, app

    named = f"{FAKE}:echo" if model == FAKE else model
    if not isinstance(il, app.Interlock):
        return await _there(il, file, named)
    name = file.removeprefix(NAMED)
    spec = (
        il.agents.installed.fetch(name)
        if name != file
        else specs.read(desk, file, complete=True, registry=il.agents.registry)
    )
    spec = spec if named is None else agents.asking(spec, named, source="--model")
    return Meant(spec=spec, context_schema=dict(spec.context_schema or {}), model=spec.model)


async def _there(il: "Facade", file: str, model: str | None) -> Meant:
    """At a server, which looks up what a spec names."""
    from interlock import agents, client
    from interlock.cli import files
    from interlock.cli.errors import Usage

    assert isinstance(il, client.Remote)
    if model is not None and model.startswith(f"{FAKE}:"):
        raise Usage(f"no server plays {model}", next_step="Name a model of the server's; or play one here, without it.")
    if (name := file.removeprefix(NAMED)) != file:
        schema = await il.agents.context_schema(name)
        return Meant(spec=client.Asked(agent=name, model=model), context_schema=schema)
    source = "stdin" if file == "-" else file
    written, document = _document(files.read(file, "spec", limit=agents.LIMITS.max_bytes), source)
    schema: Any = document.get("context_schema")
    asked = client.Asked(spec=document, model=model)
    known: dict[str, Any] = cast("Any", schema) if isinstance(schema, dict) else {}
    return Meant(spec=asked, context_schema=known, source=source, written=written)


def _document(content: bytes, source: str) -> "tuple[Written, dict[str, JSON]]":
    """Raises InvalidSpec."""
    from interlock import agents, kernel, sdk

    try:
        written = kernel.read_written(content, limits=agents.LIMITS, what="spec")
    except ValueError as error:
        raise agents.InvalidSpec(source, [sdk.Problem(path="$", problem=str(error))]) from error
    value: Any = written.value
    if not isinstance(value, dict):
        raise agents.InvalidSpec(source, [sdk.Problem(path="$", problem="it is no object")])
    return written, cast("dict[str, JSON]", value)
