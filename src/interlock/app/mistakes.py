"""What is wrong with settings: what is expected instead, and what may have been meant."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, cast

from pydantic import BaseModel

from interlock import policy
from interlock.kernel import ConfigurationError

Path: TypeAlias = tuple[str | int, ...]


class InvalidSettings(ConfigurationError):
    """A setting has a wrong name or value. Names every problem at once; `details["problems"]` has them for programs."""

    code = "invalid_settings"

    def __init__(self, problems: Sequence[policy.Problem]) -> None:
        super().__init__(
            "the settings are not valid:\n" + "\n".join(f"  {problem}" for problem in problems),
            details={"problems": [problem.to_json() for problem in problems]},
        )
        self.problems = tuple(problems)

    def placed(self, place: Callable[[policy.Problem], policy.Problem]) -> "InvalidSettings":
        """The same, each problem with its place."""
        return InvalidSettings([place(problem) for problem in self.problems])


def problems(
    model: type[BaseModel], errors: Iterable[Mapping[str, Any]], *, also: Sequence[str]
) -> list[policy.Problem]:
    """Pydantic's errors on a model in our words. `also` are names beside the model's fields that are no mistake."""
    schema = model.model_json_schema()
    return [_problem(schema, error, also) for error in errors]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one."""
    return next(iter(difflib.get_close_matches(word[:100], known, n=1)), None)


def _problem(schema: Mapping[str, Any], error: Mapping[str, Any], also: Sequence[str]) -> policy.Problem:
    path = tuple(part for part in cast("Path", error["loc"]) if part != "[key]")
    made = policy.Problem(path=path, text="")
    if error["loc"][-1:] == ("[key]",) and error["type"] != "value_error":
        return replace(made, text=f"is no name that can stand here: {str(error['msg']).lower()}")
    if error["type"] == "extra_forbidden":
        return replace(made, text="unknown setting", suggestion=_meant(schema, path, also))
    if error["type"] == "missing":
        return replace(made, text="is missing")
    if error["type"] == "value_error":  # raised by us
        return replace(made, text=str(error["ctx"]["error"]))
    expected, given = _at(schema, path), error["input"]
    near = nearest(given, expected["enum"]) if "enum" in expected and isinstance(given, str) else None
    text = f"must be {_expectation(expected, '.'.join(map(str, path)))}{_instead(given)}"
    return replace(made, text=text, suggestion=near)


def _meant(schema: Mapping[str, Any], path: Path, also: Sequence[str]) -> str | None:
    """The setting that an unknown one was meant to be: the same name in another table, or one like it in this table."""
    word, tables = str(path[-1]), cast("dict[str, Any]", schema["properties"])
    inner = [f"{table}.{name}" for table in tables for name in _at(schema, (table,)).get("properties", {})]
    elsewhere = next((each for each in (*inner, *also) if each.endswith(f".{word}")), None)
    known = [*_at(schema, path[:-1]).get("properties", {}), *(also if len(path) == 1 else ())]
    return elsewhere or nearest(word, known)


def _at(schema: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """What the schema says of a place."""
    node = schema
    for part in path:
        node = node["items"] if isinstance(part, int) else _named(node, part)
        node = next((each for each in node.get("anyOf", ()) if each.get("type") != "null"), node)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _named(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What the schema of a table says of a name in it; the names of some tables are free, or of a form."""
    if "properties" in table:
        return table["properties"][name]
    return next(iter(table.get("patternProperties", {}).values()), None) or table["additionalProperties"]


def _expectation(schema: Mapping[str, Any], name: str) -> str:
    if "enum" in schema:
        return " or ".join(schema["enum"])
    of_texts = schema.get("items", {}).get("type") == "string"
    listed = "a list of texts" if of_texts else f"a list of tables, each under [[{name}]]"
    kind = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "array": listed,
            "object": "a table"}.get(schema["type"], "a text")  # fmt: skip
    low, above, high = (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f"{kind} from {low:.15g} to {high:.15g}"
    return kind if above is None else f"{kind} above {above:.15g} and at most {high:.15g}"


def _instead(given: object) -> str:
    """What was given instead. Of a text nothing is repeated: it may be a secret, or a number that came as a text."""
    if isinstance(given, bool):
        return f", not {str(given).lower()}"
    if isinstance(given, int | float):
        return f", not {given:.15g}"
    kind = "a list" if isinstance(given, list) else "a table" if isinstance(given, dict) else None
    return f", not {kind}" if kind else ""
