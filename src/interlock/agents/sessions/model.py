"""What a session is, and what its turns leave in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from interlock import inference
from interlock.kernel import JSON

MAX_TURNS: Final = 10_000
"""Turns of one session."""


class Fate(StrEnum):
    """What has become of the turn that holds a session."""

    OPEN = "open"
    ENDED = "ended"
    """It has left nothing in the session yet if that still names it."""
    GONE = "gone"
    """Nobody knows it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A conversation with one agent. `head` counts the turns that have ended; `fingerprint` is the spec's of the last one that
    began, and `open_turn` its run while it is not over. `summed_up` is the last turn that a summary covers, 0 without one."""

    session_id: str
    tenant_id: str
    agent_id: str
    fingerprint: str
    title: str | None
    metadata: Mapping[str, JSON]
    head: int = 0
    summed_up: int = 0
    open_turn: str | None = None
    revision: int = 0
    forked_from: str | None = None
    forked_at: int | None = None
    created_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What an ended turn left: its number in the session, from 1 on, and all that was said in it, every call with its outcome.
    `failure` is the code of one that did not come to its end, `tokens` about how much it takes to tell it again."""

    session_id: str
    tenant_id: str
    number: int
    turn_id: str
    fingerprint: str
    failure: str | None
    said: tuple[inference.Message, ...]
    tokens: int
    at: datetime

    def to_json(self) -> dict[str, JSON]:
        """As a document."""
        return {
            "number": self.number,
            "turn_id": self.turn_id,
            "failure": self.failure,
            "tokens": self.tokens,
            "said": [each.model_dump(mode="json") for each in self.said],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much it takes to tell an exchange again."""

    number: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a model made of all turns up to one. `run_id` is its model call's."""

    session_id: str
    tenant_id: str
    upto: int
    text: str
    run_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a session a turn stands: after how many others, and with which summary of the earlier ones (0: none). What is
    told there never changes, so that a turn's journal holds this and no copy of the conversation."""

    session_id: str
    head: int
    summed_up: int = 0

    def to_json(self) -> dict[str, JSON]:
        """As a document."""
        return {"session_id": self.session_id, "head": self.head, "summed_up": self.summed_up}
