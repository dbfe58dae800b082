"""Settings from the environment: `INTERLOCK_` and the setting's name, nested names joined by `__`."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard, cast, get_origin

from pydantic import BaseModel

from interlock import policy
from interlock.app.mistakes import Path
from interlock.kernel import InvalidJson, parse_json

_PREFIX: Final = "INTERLOCK_"
_OTHER_VARIABLES: Final = frozenset(
    {"KEY", "KEY_FILE", "KEY_PREVIOUS", "KEY_PREVIOUS_FILE", "DEBUG", "SERVER", "TOKEN", "TOKEN_FILE"}
)
"""Variables of ours that are no settings."""


@dataclass(slots=True)
class Variables:
    """What the environment says: values, which variable each came from, and what could not be read."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    origins: dict[Path, tuple[str, int]] = field(default_factory=dict[Path, tuple[str, int]])
    """By setting: the variable, and how much of a path in it the variable's own name says."""
    problems: list[policy.Problem] = field(default_factory=list[policy.Problem])

    def found(self, path: Path) -> tuple[policy.Place, Path] | None:
        """The variable that holds the setting at a path, and the path inside its value."""
        origin = next((self.origins[path[:length]] for length in (1, 2) if path[:length] in self.origins), None)
        return None if origin is None else (policy.Place(source=origin[0]), path[origin[1] :])


def joined(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, and where both say something `over`, setting by setting."""
    result = {**under, **over}
    for name in under.keys() & over.keys():
        if isinstance(under[name], dict) and isinstance(over[name], dict):
            result[name] = {**under[name], **over[name]}
    return result


def read(model: type[BaseModel], environ: Mapping[str, str]) -> Variables:
    """The settings of a model among the variables. An empty one counts as not set."""
    found, single = Variables(), dict[str, Any]()
    # A table's own variable goes first: one for a single setting wins over it.
    for variable in sorted(environ, key=lambda each: (each.count("__"), each)):
        given = variable.upper().removeprefix(_PREFIX)
        if not environ[variable] or given == variable.upper():
            continue
        name, _, inner = given.lower().partition("__")
        setting = model.model_fields.get(name)
        if setting is None or bool(inner) > _is_table(setting.annotation):
            if (near := _misspelt(model, given)) is not None:
                found.problems.append(_unreadable(variable, "unknown setting", near))
        elif inner and _is_table(setting.annotation):
            part = setting.annotation.model_fields.get(inner)
            value = _value(variable, environ[variable], None if part is None else part.annotation, found)
            single = joined(single, {name: {inner: value}})
            found.origins[name, inner] = (variable, 2)
        else:
            value = _value(variable, environ[variable], setting.annotation, found)
            found.values[name] = value
            if isinstance(value, dict):
                found.origins.update({(name, key): (variable, 1) for key in cast("dict[str, object]", value)})
            else:
                found.origins[(name,)] = (variable, 1)
    found.values = joined(found.values, single)
    return found


def _value(variable: str, text: str, annotation: object, found: Variables) -> Any:
    """A variable's value: tables and lists are JSON."""
    is_table = _is_table(annotation) or get_origin(annotation) is Mapping
    kind, wanted = (dict, "object") if is_table else (list, "list")
    if kind is list and get_origin(annotation) not in (tuple, frozenset):
        return text
    try:
        value = parse_json(text, what="value", unique=True)
    except InvalidJson as error:
        problem = f"must be a JSON {wanted}; {error.message}"
    else:
        if isinstance(value, kind):
            return value
        problem = f"must be a JSON {wanted}"
    found.problems.append(_unreadable(variable, problem))
    return {} if wanted == "object" else []


def _unreadable(variable: str, text: str, suggestion: str | None = None) -> policy.Problem:
    return policy.Problem(path=(), text=text, suggestion=suggestion, place=policy.Place(source=variable))


def _misspelt(model: type[BaseModel], given: str) -> str | None:
    """Which of our variables somebody may have meant. One that looks like none of them is another program's, or
    Kubernetes' (INTERLOCK_PORT)."""
    known = [*_names(model), *_OTHER_VARIABLES]
    if given in known:
        return None
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.7)
    near += [each for each in known if each.startswith(given) or given.startswith(f"{each}__")]
    near += [each for each in known if each.endswith(f"__{given}") or sorted(each) == sorted(given)]
    return _PREFIX + near[0] if near else None


def _names(model: type[BaseModel]) -> Iterator[str]:
    """The names of all settings as variables, without the prefix."""
    for name, setting in model.model_fields.items():
        if _is_table(setting.annotation):
            yield from (f"{name.upper()}__{inner}" for inner in _names(setting.annotation))
        else:
            yield name.upper()


def _is_table(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
