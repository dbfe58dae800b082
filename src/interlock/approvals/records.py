"""The room's port: where approvals are kept. Synchronous, inside the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from interlock.approvals.model import Approval, State
from interlock.kernel import Caller, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which approvals of a tenant to list; `cursor` is the id to continue after, states are meant as of `now`. `seen_by` leaves
    out what a limited caller does not see, and approvals that no run has."""

    tenant_id: str
    now: datetime
    states: tuple[State, ...] = ()
    cursor: str | None = None
    limit: int = 50
    seen_by: Caller | None = None


class Records(Protocol):
    """Kept as they were written: nothing here looks at the time unless it is given."""

    def insert(self, tx: Tx, approval: Approval) -> None:
        """Write a new approval."""
        ...

    def replace(self, tx: Tx, before: Approval, after: Approval) -> bool:
        """Compare and set: write `after` if the row still has the state and the binding of `before`. Whether it had."""
        ...

    def find(self, tx: Tx, tenant_id: str, approval_id: str) -> Approval | None:
        """The approval, if this tenant has it."""
        ...

    def find_approved(self, tx: Tx, tenant_id: str, binding_digest: str, now: datetime) -> Approval | None:
        """The oldest approved, unexpired, unspent approval of a binding."""
        ...

    def list_approvals(self, tx: Tx, query: Query) -> Sequence[Approval]:
        """Approvals, newest first, at most `query.limit`."""
        ...

    def list_for_run(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[Approval]:
        """A run's approvals, oldest first."""
        ...

    def list_over(self, tx: Tx, now: datetime, limit: int) -> Sequence[Approval]:
        """Pending and approved ones whose time is over, of every tenant, the longest over first."""
        ...
