"""The port: where sessions are kept. Synchronous, inside the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from interlock.agents.sessions.model import Exchange, Session, Size, Summary
from interlock.kernel import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which sessions of a tenant to list, the newest first: those of some agents (None: of all), after `cursor`."""

    tenant_id: str
    agent_ids: frozenset[str] | None = None
    cursor: str | None = None
    limit: int = 50


class Records(Protocol):
    """They are kept as they were written, and always asked for together with their tenant."""

    def insert(self, tx: Tx, session: Session) -> None:
        """Write a new session."""
        ...

    def replace(self, tx: Tx, before: Session, after: Session) -> bool:
        """Compare and set: write `after` if the row still has the revision of `before`. Whether it had."""
        ...

    def find(self, tx: Tx, tenant_id: str, session_id: str) -> Session | None:
        """The session, if this tenant has it."""
        ...

    def list_sessions(self, tx: Tx, query: Query) -> Sequence[Session]:
        """Sessions, newest first."""
        ...

    def delete(self, tx: Tx, session: Session) -> bool:
        """Keep it no more, nor what its turns left. False if it is not there, or was changed meanwhile."""
        ...

    def add_exchange(self, tx: Tx, exchange: Exchange) -> None:
        """Write what a turn left."""
        ...

    def list_exchanges(self, tx: Tx, tenant_id: str, session_id: str, *, after: int, upto: int) -> Sequence[Exchange]:
        """Those with numbers above `after`, up to and with `upto`, in order."""
        ...

    def list_sizes(
        self, tx: Tx, tenant_id: str, session_id: str, *, after: int, upto: int, limit: int
    ) -> Sequence[Size]:
        """How large those are, the newest first."""
        ...

    def copy(self, tx: Tx, session: Session, into: Session) -> None:
        """Write into another session what its first `into.head` turns left, and the summaries up to there."""
        ...

    def add_summary(self, tx: Tx, summary: Summary) -> bool:
        """Write a summary. False if there is one up to there already."""
        ...

    def find_summary(self, tx: Tx, tenant_id: str, session_id: str, upto: int) -> Summary | None:
        """The summary up to that turn."""
        ...
