"""The port to where due work is kept. Synchronous, in the caller's transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from interlock import runs
from interlock.dispatch.model import Backlog, Due, DueFilter, Pause, Stats, Waiting
from interlock.kernel import Tx


class Handed(NamedTuple):
    """All that a worker needs to know of work that it is handed."""

    due: Due
    run: runs.Run
    facts_json: str | None
    """What policy first judged of the run."""
    tenant_pauses: bool
    """Whether anything of the tenant is paused."""


class Records(Protocol):
    """Due work, one row a run, from its admission to its end; and pauses."""

    def add(self, tx: Tx, dues: Sequence[Due]) -> None:
        """New rows."""
        ...

    def save(self, tx: Tx, due: Due, *, before: Due | None = None) -> bool:
        """The row as it is from now on; False, and nothing, if it is gone or its number and standing are not as `before`."""
        ...

    def find(self, tx: Tx, tenant_id: str, run_id: str) -> Due | None:
        """The row of a run, if workers have to do with it."""
        ...

    def find_handed(self, tx: Tx, keys: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Handed]:
        """Work by tenant and run, as far as it is there."""
        ...

    def drop(self, tx: Tx, over: Sequence[tuple[str, str]]) -> None:
        """Remove the rows of runs, by tenant and id, as far as they are there."""
        ...

    def list_due(self, tx: Tx, *, before: datetime, after: Due | None = None, limit: int = 500) -> Sequence[Due]:
        """What was due by that moment and waits to be begun, of every tenant, the longest due first; go on after the last."""
        ...

    def list_parked(self, tx: Tx, tenant_id: str, why: str, *, limit: int) -> Sequence[Due]:
        """What waits for that reason, the oldest first."""
        ...

    def list_waiting(self, tx: Tx, query: DueFilter, now: datetime) -> Sequence[Waiting]:
        """Work of one standing: what is due by its moment, else newest first."""
        ...

    def find_waiting(self, tx: Tx, tenant_id: str, run_id: str, now: datetime) -> Waiting | None:
        """The work of a run, if workers have to do with it."""
        ...

    def count(self, tx: Tx, tenant_id: str, now: datetime) -> Stats:
        """How much there is to do."""
        ...

    def backlog(self, tx: Tx, now: datetime) -> Sequence[Backlog]:
        """How much there is to do for all tenants together, by lane and standing. What is read for it grows with the work that is
        there, up to `MOST_COUNTED`, and not with the runs that have ended."""
        ...

    def note_lanes(self, tx: Tx, owner_id: str, lanes: Collection[str]) -> None:
        """That process serves these lanes from now on, and no others; and what dead ones served is forgotten."""
        ...

    def list_served(self, tx: Tx) -> frozenset[str]:
        """The lanes that living processes serve."""
        ...

    def put_pause(self, tx: Tx, pause: Pause) -> None:
        """Write it, instead of one about the same."""
        ...

    def drop_pause(self, tx: Tx, pause: Pause) -> None:
        """Remove it, if it is there."""
        ...

    def list_pauses(self, tx: Tx, tenant_id: str) -> Sequence[Pause]:
        """All pauses of a tenant, the oldest first."""
        ...

    def list_released(self, tx: Tx, *, limit: int) -> Sequence[tuple[str, str]]:
        """Tenant and reason of work that waits for pauses which are over."""
        ...
