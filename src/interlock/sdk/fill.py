"""Templates of auth profiles: `{token}`, `{step1.id}`, `{scope?}` (left out with its parameter where there is no value), and
formulas: `base64({username}:{password})`. What is filled with a secret is a secret."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias
from urllib.parse import quote

from interlock.kernel import Secret

Value: TypeAlias = str | Secret
Values: TypeAlias = Mapping[str, Value]

_BRACED: Final = re.compile(r"\{([^{}]*)\}")
_HOLE: Final = re.compile(r"([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)(\??)")
_CALL: Final = re.compile(r"([a-z0-9_]+)\((.*)\)", re.DOTALL)

FUNCTIONS: Final[Mapping[str, Callable[[str], str]]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "sha256_base64": lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
    "sha256_hex": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "urlencode": lambda text: quote(text, safe=""),
}
"""What a formula may do with a text; they nest."""


class Unfilled(ValueError):
    """A template names something that has no value."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{{{name}}} has no value")
        self.name = name


def holes(template: str) -> list[str]:
    """What a template or a formula names, in order."""
    return [inner.removesuffix("?") for inner in _BRACED.findall(template)]


def problem_with(template: str, names: AbstractSet[str]) -> str | None:
    """Why the template cannot be filled with values of these names, or None."""
    for inner in _BRACED.findall(template):
        match = _HOLE.fullmatch(inner)
        if match is None:
            return f"{{{inner[:60]}}} is no name in braces, such as {{token}} or {{scope?}}"
        if match[1] not in names:
            return f"{{{match[1]}}} has no value here; there are {', '.join(sorted(names)) or 'none'}"
    if set("{}") & set(_BRACED.sub("", template)):
        return "a brace stands alone"
    return None


def formula_problem(formula: str, names: AbstractSet[str]) -> str | None:
    """As `problem_with`, for a template that may stand in functions."""
    functions, template = _parsed(formula)
    unknown = [name for name in functions if name not in FUNCTIONS]
    if unknown:
        return f"there is no function {unknown[0]!r}; there are {', '.join(FUNCTIONS)}"
    return problem_with(template, names)


def fill(template: str, values: Values, *, escape: Callable[[str], str] = str) -> Value | None:
    """The template with its values, each escaped; a Secret if any of them is one. None if a hole that may stay empty has no
    value, or an empty one. Raises Unfilled for another one."""
    secret = False

    def put(match: re.Match[str]) -> str:
        nonlocal secret
        name = match[1].removesuffix("?")
        value = values.get(name)
        if value is None:
            raise Unfilled(name)
        secret |= isinstance(value, Secret)
        return escape(value.reveal() if isinstance(value, Secret) else value)

    for inner in _BRACED.findall(template):
        if inner.endswith("?") and not values.get(inner[:-1]):
            return None
    text = _BRACED.sub(put, template)
    return Secret(text) if secret else text


def evaluate(formula: str, values: Values) -> Value:
    """The formula's value; a Secret if any of its values is one. Raises Unfilled."""
    functions, template = _parsed(formula)
    filled = fill(template, values)
    if filled is None:
        raise Unfilled(holes(template)[0])
    text = filled.reveal() if isinstance(filled, Secret) else filled
    for name in reversed(functions):
        text = FUNCTIONS[name](text)
    return Secret(text) if isinstance(filled, Secret) else text


def _parsed(formula: str) -> tuple[list[str], str]:
    """The functions, outermost first, and the template inside them."""
    functions: list[str] = []
    while match := _CALL.fullmatch(formula):
        functions.append(match[1])
        formula = match[2]
    return functions, formula
