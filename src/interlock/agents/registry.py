"""What the names in a spec stand for: a spec is data, and only a registry says which code, schema or service is meant."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, Final, cast

from pydantic import BaseModel

from interlock import sdk
from interlock.agents.builtin import BUILT_IN
from interlock.agents.errors import InvalidSpec
from interlock.agents.functions import MARK, Functions, Marked
from interlock.agents.rulings import Check
from interlock.agents.shapes import SHAPE_MARK, Shape, schema_of
from interlock.agents.sources import SOURCE_MARK, OperationSource

CONTROL_MARK: Final = "__interlock_control__"


class Registry:
    """The operations, schemas and controls that specs may name. Nothing else is ever looked up: no module is imported and no
    class is found by what stands in a document."""

    def __init__(
        self,
        operations: Iterable[Callable[..., Any]] = (),
        *,
        controls: Iterable[Callable[..., Any]] = (),
        schemas: Mapping[str, Shape] | None = None,
        sources: Iterable[OperationSource] = (),
        modules: Iterable[ModuleType] = (),
    ) -> None:
        """Of `modules`, all functions that are marked as operations or controls, all models that are marked as schemas, and all
        sources of marked classes; the controls that are built in are always there. Raises InvalidSpec if a name has two."""
        listed = [each for module in modules for each in vars(module).values() if callable(each)]
        marked = [_marked(each) for each in operations]
        marked += [found for each in listed if isinstance(found := getattr(each, MARK, None), Marked)]
        checks = [*BUILT_IN, *(_check(each) for each in controls)]
        checks += [found for each in listed if isinstance(found := getattr(each, CONTROL_MARK, None), Check)]
        self._functions = Functions(_each_once(marked, "operations"))
        self._controls = {each.name: each for each in _each_once(checks, "controls")}
        self._shapes = _named_once([*(schemas or {}).items(), *_marked_shapes(listed)])
        self._schemas = {name: schema_of(each) for name, each in self._shapes.items()}
        self._sources = _sources([self._functions, *sources, *_marked_sources(modules)])

    def find_source(self, kind: str) -> OperationSource | None:
        """Who resolves the operations of that kind."""
        return self._sources.get(kind)

    def find_function(self, name: str) -> Marked | None:
        """The function of that name."""
        return self._functions.find(name)

    def find_control(self, name: str) -> Check | None:
        """The control of that name."""
        return self._controls.get(name)

    def find_schema(self, name: str) -> sdk.Schema | None:
        """The JSON Schema of that name."""
        return self._schemas.get(name)

    def find_shape(self, name: str) -> Shape | None:
        """The same as it was given: a model, or a JSON Schema."""
        return self._shapes.get(name)

    def nearest(self, what: str, name: str) -> str | None:
        """What of `controls`, `schemas`, `kinds` or the references of a kind is probably meant by a name."""
        known: dict[str, Iterable[str]] = {
            "controls": self._controls,
            "schemas": self._schemas,
            "kinds": self._sources,
            **{f"{kind}s": source.names() for kind, source in self._sources.items()},
        }
        near = difflib.get_close_matches(name[:300], list(known.get(what, ())), n=1, cutoff=0.5)
        return near[0] if near else None


def _marked_shapes(listed: Iterable[Any]) -> list[tuple[str, Shape]]:
    models = [each for each in listed if isinstance(each, type) and issubclass(each, BaseModel)]
    return [(str(vars(each)[SHAPE_MARK]), each) for each in models if SHAPE_MARK in vars(each)]


def _named_once(given: Iterable[tuple[str, Shape]]) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for name, each in given:
        if found.setdefault(name, each) is not each:
            problem = "two schemas both have this name"
            raise InvalidSpec("the registry", [sdk.Problem(path=f"schemas.{name}", problem=problem)])
    return found


def _marked_sources(modules: Iterable[ModuleType]) -> list[OperationSource]:
    values: list[Any] = [each for module in modules for each in vars(module).values()]
    return [each for each in values if hasattr(cast("type[object]", type(each)), SOURCE_MARK)]


def _sources(given: Iterable[OperationSource]) -> dict[str, OperationSource]:
    found: dict[str, OperationSource] = {}
    for each in given:
        if found.setdefault(each.kind, each) is not each:
            problem = f"{type(found[each.kind]).__name__} and {type(each).__name__} both have this kind"
            raise InvalidSpec("the registry", [sdk.Problem(path=f"sources.{each.kind}", problem=problem)])
    return found


def _marked(function: Callable[..., Any]) -> Marked:
    if isinstance(found := getattr(function, MARK, None), Marked):
        return found
    raise _unmarked(function, "operation")


def _check(function: Callable[..., Any]) -> Check:
    if isinstance(found := getattr(function, CONTROL_MARK, None), Check):
        return found
    raise _unmarked(function, "control")


def _unmarked(function: Callable[..., Any], what: str) -> InvalidSpec:
    name = getattr(function, "__qualname__", repr(function))
    problem = sdk.Problem(path=name, problem=f"it is not marked by agents.{what}")
    return InvalidSpec("the registry", [problem])


def _each_once(found: Iterable[Any], what: str) -> list[Any]:
    kept: dict[str, Any] = {}
    problems: list[sdk.Problem] = []
    for each in found:
        known = kept.setdefault(each.name, each)
        if known.function is not each.function:
            here, there = (one.function.__qualname__ for one in (known, each))
            problems.append(sdk.Problem(path=f"{what}.{each.name}", problem=f"{here} and {there} both have this name"))
    if problems:
        raise InvalidSpec("the registry", problems)
    return list(kept.values())
