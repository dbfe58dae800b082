"""What became of a document on its way from one form into another."""

from dataclasses import dataclass
from enum import StrEnum

from interlock.kernel import JSON


class Fate(StrEnum):
    """What became of a part that the other form has no place for."""

    ASIDE = "aside"
    """It is kept in the metadata, where we find it again and others do not look."""

    LOST = "lost"
    ASSUMED = "assumed"
    """It was not said, and was filled in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One part that did not translate as it is."""

    path: str
    fate: Fate
    text: str

    def to_json(self) -> dict[str, JSON]:
        """The note for programs."""
        return {"path": self.path, "fate": self.fate.value, "text": self.text}


class Report:
    """All notes of one translation, in the order in which they were made."""

    def __init__(self) -> None:
        self._notes: list[Note] = []

    @property
    def notes(self) -> tuple[Note, ...]:
        """What did not translate as it is."""
        return tuple(self._notes)

    def aside(self, path: str, text: str) -> None:
        """It is kept aside."""
        self._notes.append(Note(path=path, fate=Fate.ASIDE, text=text))

    def lost(self, path: str, text: str) -> None:
        """It is lost."""
        self._notes.append(Note(path=path, fate=Fate.LOST, text=text))

    def assumed(self, path: str, text: str) -> None:
        """It was filled in."""
        self._notes.append(Note(path=path, fate=Fate.ASSUMED, text=text))
