"""The options of a source, read strictly, and what keeps an operation to what it was."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from interlock import sdk
from interlock.agents.errors import InvalidOptions, OperationChanged
from interlock.agents.operations import Operation, Source
from interlock.agents.terms import thawed

M = TypeVar("M", bound=BaseModel)


def read_options(model: type[M], source: Source) -> M:
    """The options of a source. Raises InvalidOptions with all that is wrong with them."""
    problems: list[sdk.Problem] = []
    found = sdk.read_part(model, thawed(source.options), "options", problems)
    if found is None:
        told = "; ".join(map(str, problems[:10]))
        raise InvalidOptions(f"{source.kind} {source.ref}: {told}")
    return found


def check_pinned(operation: Operation, now: str | None) -> None:
    """Raises OperationChanged if what the operation comes from is another than when its spec was made."""
    if operation.pinned is not None and operation.pinned != now:
        raise OperationChanged(
            f"the {operation.kind} {operation.source.ref} of the operation {operation.name} is another by now than when the "
            "spec was made"
        )


def without_annotations(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without what is for programs alone (`x-…`): a model reads it."""
    return cast("dict[str, Any]", _without(thawed(schema), named=False))


def _without(value: object, *, named: bool) -> object:
    if isinstance(value, list):
        return [_without(each, named=False) for each in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    members = cast("dict[str, object]", value)
    return {
        name: _without(each, named=name in _NAMED and not named)
        for name, each in members.items()
        if named or not name.startswith("x-")
    }


_NAMED = frozenset({"properties", "$defs", "patternProperties", "dependentSchemas"})
"""Members whose own members are named by whoever wrote the schema."""
