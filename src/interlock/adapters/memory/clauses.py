"""`memory.Filter` in SQL: the same conditions for each database, over tables of the same shape."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from interlock import memory
from interlock.kernel import to_micros

Parameter: TypeAlias = str | int | float | bytes | Sequence[str] | None


@dataclass(slots=True)
class Clauses:
    """Conditions that all must hold, and their parameters, in the order in which they stand."""

    mark: str
    """How a parameter is written: `?` or `%s`."""
    conditions: list[str] = field(default_factory=list[str])
    parameters: list[Parameter] = field(default_factory=list[Parameter])

    def add(self, condition: str, *parameters: Parameter) -> None:
        """One more, with `?` where its parameters go."""
        self.conditions.append(condition.replace("?", self.mark))
        self.parameters += parameters

    def add_list(self, condition: str, values: Iterable[str]) -> None:
        """One more, with `(…)` where a list goes."""
        listed = list(values)
        self.add(condition.replace("(…)", f"({', '.join('?' * len(listed))})"), *listed)

    @property
    def text(self) -> str:
        """What follows WHERE."""
        return " AND ".join(self.conditions) or "TRUE"


def within(clauses: Clauses, scope: memory.Scope) -> Clauses:
    """Only what a scope covers."""
    for name, part in zip(memory.DIMENSIONS, scope.parts, strict=True):
        if part is not None:
            clauses.add(f'r."{name}" = ?', part)
    return clauses


def exactly(clauses: Clauses, scope: memory.Scope) -> Clauses:
    """Only what is in exactly this scope."""
    for name, part in zip(memory.DIMENSIONS, scope.parts, strict=True):
        if part is None:
            clauses.add(f'r."{name}" IS NULL')
        else:
            clauses.add(f'r."{name}" = ?', part)
    return clauses


PLACES: Final = ("r.record_id", *(f"coalesce(r.\"{name}\", '')" for name in memory.DIMENSIONS[1:]))
"""What `memory.Key.order` is in SQL, of the keys of one tenant."""

WHOSE: Final = ", ".join(f'r."{name}"' for name in memory.DIMENSIONS)
"""The scope of a revision."""


def place(key: memory.Key) -> tuple[str, ...]:
    """A key as it is compared with PLACES."""
    record_id, _, *parts = key.order
    return (text(record_id), *parts)


def text(asked: str) -> str:
    """Whatever is asked for by, as text that every database takes: what cannot be kept in one is nobody's id."""
    return asked.encode(errors="replace").decode().replace("\0", "?")


def filtered(clauses: Clauses, filter_: memory.Filter) -> Clauses:
    """Only what the filter lets through, apart from tags, metadata and text, which each database keeps in its own way."""
    clauses.add("r.recorded_at IS NOT NULL")
    _in_time(clauses, filter_)
    if filter_.classes:
        clauses.add_list("r.class IN (…)", [each.value for each in filter_.classes])
    if filter_.kinds:
        clauses.add_list("r.kind IN (…)", filter_.kinds)
    if filter_.source is not None:
        clauses.add("r.source = ?", filter_.source)
    if filter_.min_importance is not None:
        clauses.add("r.importance >= ?", filter_.min_importance)
    return clauses


def _in_time(clauses: Clauses, filter_: memory.Filter) -> None:
    if filter_.known_at is None:
        clauses.add("r.superseded_at IS NULL")
    else:
        at = to_micros(filter_.known_at)
        clauses.add("r.recorded_at <= ? AND (r.superseded_at IS NULL OR r.superseded_at > ?)", at, at)
    clauses.add("(r.expires_at IS NULL OR r.expires_at > ?)", to_micros(filter_.now))
    if filter_.as_of is not None:
        at = to_micros(filter_.as_of)
        clauses.add("(r.valid_from IS NULL OR r.valid_from <= ?) AND (r.valid_to IS NULL OR r.valid_to > ?)", at, at)
    if filter_.since is not None:
        clauses.add("r.observed_at >= ?", to_micros(filter_.since))
    if filter_.until is not None:
        clauses.add("r.observed_at <= ?", to_micros(filter_.until))


def micros(moment: datetime | None) -> int | None:
    """As moments are kept."""
    return None if moment is None else to_micros(moment)
