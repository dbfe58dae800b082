"""Open Agent Specification (Oracle's): agents there and back, as documents of its version 26.1.2.

What it has no place for is kept aside in its metadata under `interlock`, so that a spec that comes back is the one that left;
whoever else reads the document is told by the report what it does not say.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from interlock import agents, inference
from interlock.bridges.errors import ForeignSpec
from interlock.bridges.report import Report
from interlock.kernel import JSON, InvalidJson, check_json, parse_yaml

_ASIDE: Final = "interlock"
_VERSION: Final = "26.1.2"
_PLACEHOLDER: Final = re.compile(r"{{\s*(\w+)\s*}}")
_PROVIDERS: Final = {"llm": "openai", "openaicompatible": "openai", "ocigenai": "oci"}
_SHARED: Final = ("max_tokens", "temperature", "top_p")
"""The parameters that both have."""


def to_open_agent_spec(spec: agents.Spec) -> tuple[str, Report]:
    """The spec as a YAML document of the Open Agent Specification, and what does not translate."""
    report = Report()
    full = cast("dict[str, Any]", spec.to_json())
    aside: dict[str, Any] = {}
    for name in (
        "context_schema",
        "memory",
        "controls",
        "runtime_defaults",
        "metadata",
        "result",
        "generation",
        "model",
    ):
        if name in full:
            aside[name] = full[name]
    for name in ("context_schema", "memory", "controls"):
        if name in full:
            report.aside(name, "there is no place for it there")
    provider, _, model = spec.model.partition(":")
    params = spec.generation.params.model_dump(exclude_none=True, exclude_defaults=True)
    if others := sorted(set(params) - {*_SHARED}):
        report.aside("generation.params", f"others may not know {', '.join(others)}")
    inputs = sorted({*_PLACEHOLDER.findall(spec.instructions)})
    if inputs:
        report.lost(
            "instructions", f"{', '.join(inputs)} in double braces stands for an input there, and is a text here"
        )
    document: dict[str, Any] = {
        **_component("Agent", "agent", spec.id),
        "metadata": {_ASIDE: {"contract": agents.CONTRACT, **aside}},
        "inputs": [{"title": each, "type": "string"} for each in inputs],
        "outputs": [] if spec.result is None else _properties(full["result"]["schema"], "result.schema", report),
        "llm_config": {
            **_component("LlmConfig", "model", spec.model),
            "model_id": model,
            "provider": provider,
            "default_generation_parameters": params,
        },
        "system_prompt": spec.instructions,
        "tools": [_tool(each, report) for each in spec.operations],
        "toolboxes": [],
        "human_in_the_loop": True,
        "agentspec_version": _VERSION,
    }
    return agents.write_document(document), report


def _component(kind: str, called: str, name: str) -> dict[str, Any]:
    return {"component_type": kind, "id": called, "name": name, "description": None, "metadata": {}}


def _tool(operation: agents.Operation, report: Report) -> dict[str, Any]:
    full = operation.model_dump(mode="json", exclude_none=True)
    path = f"operations[{operation.name}]"
    report.aside(
        f"{path}.idempotency", f"{operation.idempotency.value}: others cannot know what a second call would mean"
    )
    if operation.source.kind != "function":
        report.aside(f"{path}.source", f"a {operation.kind} is a tool that the program has to bring")
    if operation.approval is not None:
        report.aside(f"{path}.approval", "others know only that somebody has to confirm")
    kept = {
        name: full[name]
        for name in ("idempotency", "source", "approval", "metadata", "input", "output")
        if name in full
    }
    return {
        **_component("ServerTool", f"tool_{operation.name}", operation.name),
        "description": operation.description,
        "metadata": {_ASIDE: kept},
        "inputs": _properties(full["input"], f"{path}.input", report),
        "outputs": _properties(full.get("output", {}), f"{path}.output", report),
        "requires_confirmation": operation.approval is not None,
    }


def _properties(schema: Mapping[str, Any], path: str, report: Report) -> list[dict[str, Any]]:
    known = {"type", "properties", "required", "additionalProperties", "description", "title"}
    if others := sorted(set(schema) - known):
        report.aside(path, f"{', '.join(others)} of the whole object say nothing there")
    needed = {*schema.get("required", ())}
    made: list[dict[str, Any]] = []
    for name, part in cast("Mapping[str, Any]", schema.get("properties", {})).items():
        told = {**cast("Mapping[str, Any]", part), "title": name} if isinstance(part, Mapping) else {"title": name}
        if name not in needed and "default" not in told:
            report.aside(f"{path}.properties.{name}", "that it may be left out")
        made.append(cast("dict[str, Any]", told))
    return made


def from_open_agent_spec(text: str | bytes) -> tuple[agents.Spec, Report]:
    """The spec of an agent's document, YAML or JSON, and what was lost or assumed. A tool of which nobody says what a second
    call would mean is `unsafe_once`, behind an approval. Raises ForeignSpec, InvalidSpec."""
    report = Report()
    document = _read(text)
    agent = _Component(document, document, "")
    kept = agent.kept
    name = agent.text("name")
    data: dict[str, Any] = {"id": _name(name, report), "instructions": agent.text("system_prompt")}
    data |= {each: kept[each] for each in ("context_schema", "memory", "controls", "runtime_defaults") if each in kept}
    data["metadata"] = {**cast("dict[str, Any]", kept.get("metadata", {})), **agent.metadata}
    data["model"], data["generation"] = _model(agent.component("llm_config"), kept, report)
    data["operations"] = [_operation(each, report) for each in agent.components("tools")]
    if toolboxes := agent.components("toolboxes"):
        report.lost("toolboxes", f"{len(toolboxes)}: name the tools of each as operations")
    if "result" in kept:
        data["result"] = kept["result"]
    elif outputs := agent.properties("outputs"):
        data["result"] = {"schema": _schema(outputs)}
    if (inputs := agent.properties("inputs")) and not kept:
        told = ", ".join(str(each["title"]) for each in inputs)
        report.lost("instructions", f"{told} would be put in there; here the text stays as it is written")
        data["context_schema"] = _schema(inputs)
    return agents.assemble(data, source=f"the agent {name[:100]!r}"), report


def _read(text: str | bytes) -> dict[str, Any]:
    raw = text if isinstance(text, bytes) else text.encode()
    if len(raw) > agents.LIMITS.max_bytes:
        raise ForeignSpec(f"the document is larger than {agents.LIMITS.max_bytes} bytes")
    try:
        document = parse_yaml(raw.decode(), limits=agents.LIMITS, what="document")
        check_json(document, limits=agents.LIMITS, what="document")
    except (ValueError, InvalidJson) as error:
        raise ForeignSpec(f"this is no document of the Open Agent Specification: {error}") from error
    if not isinstance(document, dict) or cast("dict[str, Any]", document).get("component_type") != "Agent":
        raise ForeignSpec("the document holds no Agent: its component_type says what it holds")
    return cast("dict[str, Any]", document)


class _Component:
    """A component of the document, read with care: each member is what the specification says, or the document is refused."""

    def __init__(self, whole: dict[str, Any], told: object, path: str) -> None:
        self._whole = whole
        self._path = path
        if isinstance(told, dict) and isinstance(ref := cast("dict[str, Any]", told).get("$component_ref"), str):
            told = cast("dict[str, Any]", whole.get("$referenced_components") or {}).get(ref)
        if not isinstance(told, dict):
            raise ForeignSpec(f"{path or 'the document'} is no component")
        self._told = cast("dict[str, Any]", told)

    @property
    def kind(self) -> str:
        """Which component it is."""
        return self.text("component_type")

    @property
    def kept(self) -> dict[str, Any]:
        """What we kept aside when it left."""
        found = self._mapping("metadata").get(_ASIDE)
        return dict(cast("dict[str, Any]", found)) if isinstance(found, dict) else {}

    @property
    def metadata(self) -> dict[str, Any]:
        """What others keep there."""
        return {name: value for name, value in self._mapping("metadata").items() if name != _ASIDE}

    def text(self, name: str) -> str:
        """A member that is a text; absent, it is empty."""
        value = self._told.get(name)
        if not isinstance(value, str | None):
            raise self._wrong(name, "a text")
        return value or ""

    def component(self, name: str) -> "_Component":
        """A member that is a component."""
        return _Component(self._whole, self._told.get(name), self._place(name))

    def components(self, name: str) -> "list[_Component]":
        """A member that is a list of components."""
        return [
            _Component(self._whole, each, f"{self._place(name)}[{index}]")
            for index, each in enumerate(self._list(name))
        ]

    def properties(self, name: str) -> list[dict[str, Any]]:
        """A member that is a list of properties: JSON Schemas with titles."""
        for each in self._list(name):
            if not isinstance(each, dict) or not isinstance(cast("dict[str, Any]", each).get("title"), str):
                raise self._wrong(name, "a list of properties, each with a title")
        return cast("list[dict[str, Any]]", self._list(name))

    def parameters(self) -> dict[str, Any]:
        """How a model is asked."""
        return self._mapping("default_generation_parameters")

    def _mapping(self, name: str) -> dict[str, Any]:
        value: object = self._told.get(name) or {}
        if not isinstance(value, dict):
            raise self._wrong(name, "a mapping")
        return cast("dict[str, Any]", value)

    def _list(self, name: str) -> list[object]:
        value: object = self._told.get(name) or []
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return cast("list[object]", value)

    def _place(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _wrong(self, name: str, expected: str) -> ForeignSpec:
        return ForeignSpec(f"{self._place(name)} must be {expected}")


def _model(config: _Component, kept: Mapping[str, Any], report: Report) -> tuple[str, JSON]:
    model = config.text("model_id")
    if str(kept.get("model", "")).partition(":")[2] == model:
        return str(kept["model"]), kept.get("generation", {})
    kind = config.kind.removesuffix("Config").lower()
    provider = config.text("provider") or config.text("api_provider") or _PROVIDERS.get(kind, kind)
    if url := config.text("url"):
        report.lost("llm_config.url", f"{url}: say in the settings where models are served")
    given = config.parameters()
    known = {name: value for name, value in given.items() if name in agents.Params.model_fields}
    provider = re.sub(r"[^a-z0-9_-]", "_", provider.lower())
    rest: dict[str, JSON] = {}
    for name, value in given.items():
        if name in known:
            continue
        if wrong := next(inference.flaws_of({name: value}, provider=provider), None):
            instead = f"; {wrong.suggestion}" if wrong.suggestion else ""
            report.lost(f"llm_config.default_generation_parameters.{wrong.path}", f"it {wrong.problem}{instead}")
        else:
            rest[name] = value
    return f"{provider}:{model}", {"params": known, "provider_options": rest}


def _operation(tool: _Component, report: Report) -> dict[str, Any]:
    kept, name = tool.kept, tool.text("name")
    if kind := {"RemoteTool": "its request", "BuiltinTool": "what it is built into"}.get(tool.kind):
        report.lost(f"tools[{name}]", f"{kind}: bring a function of that name, or name another source")
    made: dict[str, Any] = {
        "name": _name(name, report, allowed="A-Za-z0-9_-"),
        "description": tool.text("description"),
        "input": kept.get("input") or {**_schema(tool.properties("inputs")), "additionalProperties": False},
        "source": kept.get("source") or {"kind": "function", "ref": re.sub(r"\s", "_", name) or "tool"},
        "metadata": {**cast("dict[str, Any]", kept.get("metadata", {})), **tool.metadata},
        "output": kept.get("output"),
    }
    if "idempotency" in kept:
        return {**made, "idempotency": kept["idempotency"], "approval": kept.get("approval")}
    text = "unsafe_once, behind an approval: nobody says what a second call would mean"
    report.assumed(f"tools[{name}].idempotency", text)
    return {**made, "idempotency": "unsafe_once", "approval": {}}


def _schema(properties: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    parts = {
        str(each["title"]): {name: value for name, value in each.items() if name != "title"} for each in properties
    }
    needed = [name for name, part in parts.items() if "default" not in part]
    return {"type": "object", "properties": parts, "required": needed}


def _name(name: str, report: Report, *, allowed: str = "a-z0-9_") -> str:
    """A name that we allow."""
    made = re.sub(rf"[^{allowed}]", "_", name if "A-Z" in allowed else name.lower())[:62]
    made = made if re.match(r"[A-Za-z]", made) else f"a{made}"
    if made != name:
        report.assumed("name", f"{made!r}: {name[:100]!r} is not allowed here")
    return made
