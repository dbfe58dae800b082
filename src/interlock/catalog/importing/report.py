"""What became of the entries of a catalogue: taken over whole, in part, or not at all, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from interlock import sdk
from interlock.kernel import JSON

Format: TypeAlias = Literal["interlock", "nango", "grant"]


class Coverage(StrEnum):
    """How much of an entry's facts about authentication and requests was taken over."""

    FULL = "full"
    PARTIAL = "partial"
    REFUSED = "refused"


class Refused(Exception):
    """Why an entry cannot be taken over. It never leaves the importers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry. `missing` is what was left out of a partial one, and why a refused one was; each begins with what it is
    about and a colon. `open_host`: whoever connects says the whole host, and not a part of a fixed one."""

    entry_id: str
    provider: sdk.Provider | None
    missing: tuple[str, ...] = ()
    open_host: bool = False

    @property
    def coverage(self) -> Coverage:
        if self.provider is None:
            return Coverage.REFUSED
        return Coverage.PARTIAL if self.missing else Coverage.FULL

    def to_json(self) -> dict[str, JSON]:
        return {
            "entry": self.entry_id,
            "provider_id": None if self.provider is None else self.provider.provider_id,
            "coverage": self.coverage.value,
            "missing": list(self.missing),
            "open_host": self.open_host,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What so many entries of a coverage lack, or were refused for; `alone` of them for nothing else."""

    coverage: Coverage
    what: str
    entries: int
    alone: int
    example: str

    def to_json(self) -> dict[str, JSON]:
        return {
            "coverage": self.coverage.value,
            "what": self.what,
            "entries": self.entries,
            "alone": self.alone,
            "example": self.example,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A catalogue as it was read. `digest` is that of the file."""

    format: Format
    source: str
    digest: str
    entries: tuple[Entry, ...]

    @property
    def totals(self) -> Mapping[Coverage, int]:
        """How many entries there are of each."""
        counted = Counter(each.coverage for each in self.entries)
        return {coverage: counted[coverage] for coverage in Coverage}

    @property
    def causes(self) -> Sequence[Cause]:
        """Why entries are partial or refused, those of most entries first."""
        found: dict[tuple[Coverage, str], list[tuple[Entry, str]]] = {}
        for each in self.entries:
            for what, text in {text.partition(":")[0]: text for text in reversed(each.missing)}.items():
                found.setdefault((each.coverage, what), []).append((each, text))
        made = [
            Cause(
                coverage=coverage,
                what=what,
                entries=len(those),
                alone=sum(len(entry.missing) == 1 for entry, _ in those),
                example=f"{those[0][0].entry_id}: {those[0][1].partition(':')[2].strip()}",
            )
            for (coverage, what), those in found.items()
        ]
        return sorted(made, key=lambda each: (each.coverage, -each.entries, each.what))

    def only(self, names: Sequence[str]) -> "Imported":
        """The entries of these names, theirs or ours. Raises InvalidProvider for one that is not there."""
        there = {name for each in self.entries for name in _names(each)}
        if absent := [name for name in names if name not in there]:
            raise sdk.InvalidProvider(
                self.source, [sdk.Problem(path="$", problem=f"there is no entry {absent[0][:60]!r}")]
            )
        kept = tuple(each for each in self.entries if set(names) & _names(each))
        return Imported(format=self.format, source=self.source, digest=self.digest, entries=kept)


def _names(entry: Entry) -> set[str]:
    return {entry.entry_id} | (set() if entry.provider is None else {entry.provider.provider_id})
