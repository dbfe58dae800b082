"""What crosses the border between a script and its host: JSON within bounds, that fits what was declared."""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, cast

from interlock import plane
from interlock.kernel import JSON, InvalidJson, JsonLimits, canonical, check_json

MAX_VALUES: Final = 100_000
"""Values in one result or in the arguments of one action. A script can build a tree whose branches are the same list over
and over, which is small in its memory and endless when it is written out."""

_MOST: Final = 5


class Misfit(Exception):
    """A value that cannot cross, or does not fit. The message holds no part of it."""


def as_json(value: object, *, what: str, max_bytes: int) -> bytes:
    """The canonical text of what a script handed out. Raises Misfit."""
    _count(value, what)
    try:
        check_json(value, limits=JsonLimits(max_bytes=max_bytes, max_nodes=MAX_VALUES), what=what)
        text = canonical(value)
    except InvalidJson as error:
        raise Misfit(error.message) from error
    except ValueError as error:
        raise Misfit(f"the {what} has no canonical JSON") from error
    if len(text) > max_bytes:
        raise Misfit(f"the {what} is larger than {max_bytes} bytes")
    return text


def _count(value: object, what: str) -> None:
    """Refuses a value that is too large to look at closely, before anything of its size is made."""
    stack, left = [value], MAX_VALUES
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            item = cast("dict[object, object]", item).values()
        elif not isinstance(item, list | tuple):
            continue
        children = cast("Collection[object]", item)
        left -= len(children)
        if left < 0:
            raise Misfit(f"the {what} has more than {MAX_VALUES} values")
        stack.extend(children)


class Schemas:
    """The declared schemas, compiled."""

    def __init__(self, actions: Iterable[plane.ScriptAction]) -> None:
        """Raises LaneFailure (`script_invalid`) for one that is no schema."""
        self._arguments: dict[str, Callable[[JSON], list[str]]] = {}
        self._answers: dict[str, Callable[[JSON], list[str]]] = {}
        for action in actions:
            for schemas, schema in ((self._arguments, action.arguments), (self._answers, action.answer)):
                if schema is not None:
                    schemas[action.name] = _compiled(schema, action.name)

    def check_arguments(self, action: str, value: JSON) -> None:
        """Raises Misfit, saying where."""
        _check(self._arguments, action, value, "arguments")

    def check_answer(self, action: str, value: JSON) -> None:
        """Raises Misfit, saying where."""
        _check(self._answers, action, value, "answer")


def _check(schemas: dict[str, Callable[[JSON], list[str]]], action: str, value: JSON, what: str) -> None:
    if action in schemas and (wrong := schemas[action](value)):
        raise Misfit(f"the {what} of {action} do not fit: {'; '.join(wrong)}")


def _compiled(schema: dict[str, Any], action: str) -> Callable[[JSON], list[str]]:
    import jsonschema_rs  # here, so that those who run no scripts do not wait for it

    try:
        validator = jsonschema_rs.Draft202012Validator(schema, mask="the value", offline=True)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        message = f"a schema of the action {action} is not a JSON Schema"
        raise plane.LaneFailure(plane.FailureClass.SCRIPT_INVALID, message, code="schema_invalid") from error

    def wrong(value: JSON) -> list[str]:
        found: list[str] = []
        for error in validator.iter_errors(value):
            path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
            found.append(f"{path[:100]}: {error.message[:200]}")
            if len(found) == _MOST:
                break
        return found

    return wrong
