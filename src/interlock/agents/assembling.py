"""From plain data to a spec: the one way that Python and documents both take. All problems are told at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel

from interlock import sdk
from interlock.agents import checking, shapes
from interlock.agents.controls import Controls
from interlock.agents.errors import InvalidSpec
from interlock.agents.functions import FUNCTION
from interlock.agents.operations import Operation, Source
from interlock.agents.registry import Registry
from interlock.agents.shapes import Shape
from interlock.agents.sources import Explaining, Objecting, OperationSource
from interlock.agents.spec import CONTRACT, Spec
from interlock.agents.terms import LIMITS
from interlock.kernel import JSON, InterlockError, InvalidJson, check_json

M = TypeVar("M", bound=BaseModel)

REGISTRY_REF: Final = "registry:"
"""How a `$ref` that is the whole of a schema names one of a registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a spec that does not say so gets written into it when it is built."""

    model: str = "openai:gpt-4o-mini"
    temperature: float = 0
    max_tokens: int = 4096

    def generation(self) -> dict[str, JSON]:
        """As the member of a spec."""
        return {"params": {"temperature": self.temperature, "max_tokens": self.max_tokens}}


def assemble(
    raw: object,
    *,
    source: str,
    registry: Registry | None = None,
    defaults: Defaults | None = None,
    complete: bool = False,
) -> Spec:
    """The spec of plain data. What it leaves out of an operation is taken from its source in the registry; a schema may be
    `{"$ref": "registry:NAME"}`. Model and generation come from `defaults` if they are not given. `complete`: a control or an
    operation that the registry does not know is a problem, too. Raises InvalidSpec with every problem there is."""
    try:
        check_json(raw, limits=LIMITS, what="spec")
    except InvalidJson as error:
        raise InvalidSpec(source, [sdk.Problem(path="$", problem=error.message)]) from error
    if not isinstance(raw, Mapping):
        raise InvalidSpec(source, [sdk.Problem(path="$", problem="a spec is a mapping")])
    assembly = _Assembly(registry or Registry(), source, complete=complete)
    return assembly.spec(dict(cast("Mapping[str, Any]", raw)), defaults or Defaults())


def asking(spec: Spec, model: str, *, source: str) -> Spec:
    """The same agent with another model; what parses its contexts and results stays. Raises InvalidSpec."""
    changed = assemble({**spec.to_json(), "model": model}, source=source)
    shapes.mean_as(changed.fingerprint, spec.fingerprint)
    return changed


class _Assembly:
    def __init__(self, registry: Registry, source: str, *, complete: bool) -> None:
        self._registry = registry
        self._source = source
        self._complete = complete
        self._problems: list[sdk.Problem] = []
        self._named: dict[str, Shape | None] = {}
        """What the registry has for the members that name something of it."""

    def spec(self, data: dict[str, Any], defaults: Defaults) -> Spec:
        data = {"contract": CONTRACT, **{name: value for name, value in data.items() if value is not None}}
        data.setdefault("model", defaults.model)
        data.setdefault("generation", defaults.generation())
        self._resolve(data, "context_schema", shapes.CONTEXT_SCHEMA)
        if isinstance(data.get("result"), Mapping):
            data["result"] = dict(data["result"])
            self._resolve(data["result"], "schema", shapes.RESULT_SCHEMA)
        drafts = data.pop("operations", [])
        operations = self._operations(drafts)
        listed = cast("Sequence[object]", drafts) if isinstance(drafts, Sequence) else ()
        self._problems += checking.draft_problems(data, listed)
        controls = self._part(Controls, data.pop("controls", {}), "controls")
        head = self._part(Spec, data, "")
        self._problems += checking.spec_problems(head, operations, controls)
        if controls is not None:
            self._problems += checking.control_problems(controls, operations, self._registry, complete=self._complete)
        if head is None or controls is None or self._problems:
            raise InvalidSpec(self._source, self._problems)
        spec = head.model_copy(update={"operations": tuple(operations), "controls": controls})
        for member, shape in self._named.items():
            shapes.mean(spec.fingerprint, member, shape)
        return spec

    def _part(self, model: type[M], value: object, path: str) -> M | None:
        return sdk.read_part(model, value, path, self._problems)

    def _problem(self, path: str, problem: str, near: str | None = None) -> None:
        self._problems.append(sdk.Problem(path=path, problem=problem, suggestion=near and f"did you mean {near!r}?"))

    def _resolve(self, holder: dict[str, Any], name: str, path: str) -> None:
        """Puts the registry's schema where one is named."""
        given = holder.get(name)
        if not isinstance(given, Mapping) or len(cast("Mapping[str, Any]", given)) != 1:
            return
        ref = cast("Mapping[str, Any]", given).get("$ref")
        if not isinstance(ref, str) or not ref.startswith(REGISTRY_REF):
            return
        called = ref.removeprefix(REGISTRY_REF)
        found = self._registry.find_schema(called)
        if found is None:
            near = self._registry.nearest("schemas", called)
            self._problem(path, f"the registry has no schema {called[:100]!r}", near)
            holder[name] = {"type": "object"}
        else:
            self._named[path] = self._registry.find_shape(called)
            holder[name] = found

    def _operations(self, value: object) -> list[Operation]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            self._problem("operations", f"a list is expected, not {type(value).__name__}")
            return []
        found: list[Operation] = []
        for index, each in enumerate(cast("Sequence[object]", value)):
            path = f"operations[{index}]"
            if not isinstance(each, Mapping):
                self._problem(path, f"a mapping is expected, not {type(each).__name__}")
                continue
            draft = self._described(dict(cast("Mapping[str, Any]", each)), path)
            for name in ("input", "output"):
                self._resolve(draft, name, f"{path}.{name}")
            if (part := self._part(Operation, draft, path)) is not None:
                found.append(part)
                self._object(part, path)
        return found

    def _described(self, draft: dict[str, Any], path: str) -> dict[str, Any]:
        """The operation with what its source says where it says nothing itself."""
        draft = {name: value for name, value in draft.items() if value is not None}
        draft.setdefault("source", {"kind": FUNCTION, "ref": draft.get("name", "")})
        told: list[sdk.Problem] = []
        source = sdk.read_part(Source, draft["source"], f"{path}.source", told)
        if source is None:  # what is wrong with it is told where the operation is read
            return {"idempotency": "pure", **draft}
        resolver = self._registry.find_source(source.kind)
        known = None if resolver is None else self._known(resolver, source, path)
        if known is None and (self._complete or "idempotency" not in draft):
            where, problem, near = _unresolved(path, source, self._registry, known_kind=resolver is not None)
            problem = (resolver.unknown(source) if isinstance(resolver, Explaining) else None) or problem
            must = "" if "idempotency" in draft else ", so the operation must say all itself"
            self._problem(where, f"{problem}{must}", near)
            return {"idempotency": "pure", **draft}
        known = known or {}
        if draft.get("pinned", known.get("pinned")) != known.get("pinned", draft.get("pinned")):
            changed = f"the {source.kind} {source.ref} is another by now than when this was written"
            hint = "leave out `pinned`, and what else was taken from it, to take it as it is now"
            self._problems.append(sdk.Problem(path=f"{path}.pinned", problem=changed, suggestion=hint))
        return {**known, **draft}

    def _object(self, operation: Operation, path: str) -> None:
        source = self._registry.find_source(operation.kind)
        if not isinstance(source, Objecting):
            return
        try:
            for member, why in source.objections(operation):
                self._problem(f"{path}.{member}", why)
        except InterlockError:
            pass  # told where it was described

    def _known(self, resolver: OperationSource, source: Source, path: str) -> Mapping[str, JSON] | None:
        try:
            return resolver.describe(source)
        except InterlockError as error:
            self._problem(f"{path}.source", error.message)
            return {"idempotency": "pure"}


def _unresolved(path: str, source: Source, registry: Registry, *, known_kind: bool) -> tuple[str, str, str | None]:
    if not known_kind:
        near = registry.nearest("kinds", source.kind)
        return (
            f"{path}.source.kind",
            f"nobody resolves the kind {source.kind!r}",
            near,
        )
    problem = f"there is no {source.kind} {source.ref!r}"
    return f"{path}.source.ref", problem, registry.nearest(f"{source.kind}s", source.ref)
