"""One rule: what it matches and what it says then."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, TypeAlias, cast

from interlock.kernel import JSON
from interlock.policy.errors import InvalidPolicy, Place, Problem
from interlock.policy.model import EFFECTS, ORIGINS, PRESSURES, RUNTIME_CLASSES, SANDBOXES, Effect

MATCHERS = (
    "capability", "connector", "effect", "runtime_class", "tenant", "actor", "role", "environment", "connection",
    "origin", "model",
)  # fmt: skip
"""The matchers of a rule that compare text, by their names in a file."""

_VOCABULARIES = {"effect": EFFECTS, "runtime_class": RUNTIME_CLASSES, "origin": ORIGINS}
_RULE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CONDITION = re.compile(r"(<=|>=|<|>)\s*(\d{1,15}(?:\.\d{1,9})?)")
_MAX_PATTERNS = 200
_MAX_TEXT = 200
_MAX_EXPIRY_S = 90 * 86_400

Flaw: TypeAlias = tuple[tuple[str | int, ...], str, str | None]
"""Path inside the rule, what is wrong, the nearest right word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Says `then` of every call that all its matchers match; a matcher that is empty matches everything.

    Text matchers are globs (`*` and `?`, case matters), of which one must match. `role` matches any of the actor's
    roles, `connection` the connection's id or name. `pressure` maps a reading to a condition such as `"<0.1"`; a
    reading that nobody feeds fails its condition. `sandbox` is the least level at which a call that matches is carried
    out (None: the rule demands none); a rule that refuses has none. For `ask`, `reviewer` is the role that must approve
    and `expires_after_s` the seconds that it has; None leaves either to the policy. `ahead` says that
    the rule is there before what it names, which is not installed yet; else a name that is nearly one of a connector's
    refuses that connector's calls. Raises InvalidPolicy.
    """

    rule_id: str
    then: Effect
    capability: tuple[str, ...] = ()
    connector: tuple[str, ...] = ()
    effect: tuple[str, ...] = ()
    runtime_class: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()
    actor: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    connection: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    pressure: Mapping[str, str] = field(default_factory=dict[str, str])
    sandbox: str | None = None
    reason: str | None = None
    reviewer: str | None = None
    expires_after_s: int | None = None
    ahead: bool = False
    places: Mapping[str, Place] = field(default_factory=dict[str, Place], compare=False, repr=False)
    """Where its matchers stand, if it is from a file."""

    def __post_init__(self) -> None:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        if flaws := list(find_flaws(values)):
            place = Place(source=f"rule {str(self.rule_id)[:64]!r}")
            raise InvalidPolicy(
                [Problem(path=path, text=text, suggestion=hint, place=place) for path, text, hint in flaws]
            )

    def conditions(self) -> tuple[tuple[str, str, float], ...]:
        """The pressure conditions, taken apart: reading, operator, threshold."""
        split = ((name, _split(condition)) for name, condition in self.pressure.items())
        return tuple((name, *parts) for name, parts in split if parts)

    def to_json(self) -> dict[str, JSON]:
        """The rule as its file form; what is empty is left out."""
        shape: dict[str, JSON] = {"id": self.rule_id, "then": self.then.value}
        for name in MATCHERS:
            if patterns := cast("tuple[str, ...]", getattr(self, name)):
                shape[name] = list(patterns)
        if self.pressure:
            shape["pressure"] = dict(self.pressure)
        for name in ("sandbox", "reason", "reviewer", "expires_after_s"):
            if (value := getattr(self, name)) is not None:
                shape[name] = value
        if self.ahead:
            shape["ahead"] = True
        return shape

    def text(self) -> str:
        """The rule as a reason: its own words, or what it matches."""
        if self.reason:
            return self.reason
        parts = [f"{name} is {' or '.join(getattr(self, name))}" for name in MATCHERS if getattr(self, name)]
        parts += [f"{name} {condition}" for name, condition in self.pressure.items()]
        return f"{self.then.value} when {' and '.join(parts)}" if parts else f"{self.then.value} always"


def _split(condition: object) -> tuple[str, float] | None:
    """`"<0.1"` as operator and threshold, or None if it is no condition."""
    found = _CONDITION.fullmatch(condition.strip()) if isinstance(condition, str) else None
    return found and (found[1], float(found[2]))


def nearest(word: object, options: tuple[str, ...]) -> str | None:
    """The option that is probably meant."""
    import difflib  # here, because only mistakes need it

    return next(iter(difflib.get_close_matches(str(word)[:_MAX_TEXT].lower(), options, n=1)), None)


def is_role(value: object) -> bool:
    """Whether it can be the name of a role."""
    return _is_text(value)


def find_flaws(values: Mapping[str, Any]) -> Iterator[Flaw]:
    """Everything that is wrong with a rule's values, whatever their types."""
    rule_id = values.get("rule_id")
    if not isinstance(rule_id, str) or not _RULE_ID.fullmatch(rule_id) or rule_id == "default":
        yield ("id",), f"{rule_id!r} is not an id: 1 to 64 letters, digits, '_', '-', '.'; not 'default'", None
    then = values.get("then")
    if not isinstance(then, str) or then not in tuple(Effect):
        options = tuple(effect.value for effect in Effect)
        yield ("then",), f"{then!r} is none of {', '.join(options)}", nearest(then, options)
    elif not isinstance(then, Effect):  # of Python: a file's word has become one
        yield ("then",), f"{then!r} is no Effect, such as Effect.{then.upper()}", None
    for name in MATCHERS:
        yield from _pattern_flaws(name, values.get(name, ()))
    yield from _pressure_flaws(values.get("pressure", {}))
    yield from _sandbox_flaws(values)
    yield from _ask_flaws(values)
    if not isinstance(ahead := values.get("ahead", False), bool):
        yield ("ahead",), f"{repr(ahead)[:50]} is not true or false", None


def repeated_ids(rule_ids: Sequence[object]) -> Iterator[Problem]:
    """A problem for every rule, by its place in the list, that has the id of an earlier one."""
    first: dict[str, int] = {}
    for index, rule_id in enumerate(rule_ids):
        if isinstance(rule_id, str) and first.setdefault(rule_id, index) != index:
            text = f"{rule_id!r} is also the id of rule {first[rule_id]}"
            yield Problem(path=("rules", index, "id"), text=text)


def _pattern_flaws(name: str, patterns: object) -> Iterator[Flaw]:
    if not isinstance(patterns, tuple):
        shown = repr(patterns)[:50]
        if isinstance(patterns, str | list):  # of Python: a file's text or list has become a tuple
            yield (name,), f"{shown} is not a list of texts (in Python a tuple, such as ('read',))", None
        else:
            yield (name,), f"{shown} is neither a text nor a list of texts", None
        return
    patterns = cast("tuple[object, ...]", patterns)
    if len(patterns) > _MAX_PATTERNS:
        yield (name,), f"{len(patterns)} patterns; the limit is {_MAX_PATTERNS}", None
        return
    for pattern in patterns:
        if not isinstance(pattern, str) or not _is_text(pattern):
            yield (name,), f"{str(pattern)[:50]!r} is not 1 to {_MAX_TEXT} printable characters", None
        elif (words := _VOCABULARIES.get(name)) and not any(fnmatchcase(word, pattern) for word in words):
            yield (name,), f"{pattern!r} is none of {', '.join(words)}", nearest(pattern, words)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable()


def _pressure_flaws(pressure: object) -> Iterator[Flaw]:
    if not isinstance(pressure, Mapping):
        yield ("pressure",), f"{pressure!r} is not a table such as {{ budget_left = '<0.1' }}", None
        return
    for name, condition in cast("Mapping[object, object]", pressure).items():
        if name not in PRESSURES:
            yield (
                ("pressure", str(name)),
                f"no such reading; there are {', '.join(PRESSURES)}",
                nearest(name, PRESSURES),
            )
        elif _split(condition) is None:
            yield ("pressure", name), f"{condition!r} is not a comparison such as '<0.1' or '>=30'", None


def _sandbox_flaws(values: Mapping[str, Any]) -> Iterator[Flaw]:
    level = values.get("sandbox")
    if level is None:
        return
    if level not in SANDBOXES:
        yield ("sandbox",), f"{str(level)[:50]!r} is none of {', '.join(SANDBOXES)}", nearest(level, SANDBOXES)
    if values.get("then") in (Effect.SHED, Effect.DENY):
        yield ("sandbox",), "only a rule that allows or asks has this", None


def _ask_flaws(values: Mapping[str, Any]) -> Iterator[Flaw]:
    for name in ("reason", "reviewer"):
        value = values.get(name)
        if value is not None and not _is_text(value):
            yield (name,), f"{str(value)[:50]!r} is not 1 to {_MAX_TEXT} printable characters", None
    seconds = values.get("expires_after_s")
    whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if seconds is not None and not (whole and 0 < seconds <= _MAX_EXPIRY_S):
        yield ("expires_after_s",), f"{seconds!r} is not a number of seconds from 1 to {_MAX_EXPIRY_S} (90 days)", None
    for name in ("reviewer", "expires_after_s"):
        if values.get(name) is not None and values.get("then") != Effect.ASK:
            yield (name,), "only a rule that asks has this", None
