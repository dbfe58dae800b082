"""The ledger's port: admissions and changes as values, which the SQL adapter applies in batches."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from interlock import connections
from interlock.kernel import JSON, Caller, Tx
from interlock.runs.model import (
    Archived,
    Artifact,
    Attempt,
    AttemptState,
    Decision,
    Delivery,
    Event,
    Kind,
    Listed,
    Owner,
    Run,
    Send,
    State,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A new run with all that is known when it is admitted. Commits whole or not at all.

    With `key_expires_at` set, the run's idempotency key is claimed in the same transaction.
    """

    run: Run
    events: tuple[Event, ...]
    decisions: tuple[Decision, ...] = ()
    attempt: Attempt | None = None
    send: Send | None = None
    lease: connections.Lease | None = None
    key_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The answer to an admission: the run that stands under this run id or key, and whether it is the one offered."""

    run_id: str
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """How an attempt ended."""

    attempt_id: str
    state: AttemptState
    finished_at: datetime
    error: JSON = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendEnd:
    """What became known of a send."""

    send_id: str
    delivery: Delivery
    receipt_json: str | None
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A compare-and-set on one run with its dependants.

    Applies only if the run still has the fence and the chain head of `before`; `after` is the run as it will be, and
    its head covers `events` (at least one). Else nothing is written and StaleRun is raised.
    """

    before: Run
    after: Run
    events: tuple[Event, ...]
    attempt: Attempt | None = None
    attempt_end: AttemptEnd | None = None
    send: Send | None = None
    send_end: SendEnd | None = None
    decisions: tuple[Decision, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    lease: connections.Lease | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs to list. `cursor` is the run id to continue after, newest first. `seen_by` leaves out what a limited caller
    does not see."""

    tenant_id: str
    states: tuple[State, ...] = ()
    kind: Kind | None = None
    capability: str | None = None
    connection_id: str | None = None
    input_digest: str | None = None
    actor: str | None = None
    parent_run_id: str | None = None
    trace_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cursor: str | None = None
    limit: int = 50
    seen_by: Caller | None = None


WRITTEN: Final = "written"
"""The detail of a StoreError that is "unknown" if the answer to a commit was lost, so that what was being written may be there
all the same, or may yet come."""


class Ledger(Protocol):
    """Where runs are kept. Async methods are the hot path: many callers' values go into one commit."""

    async def admit(self, admission: Admission) -> Admitted:
        """Write a new run. Safe to ask again with the same run id: a run that is already there is answered, not
        written twice. A claimed key answers with the run that holds it (`fresh=False`) and writes nothing."""
        ...

    async def apply(self, change: Change) -> None:
        """Apply a change. Raises StaleRun if the run has moved on."""
        ...

    def admit_in(self, tx: Tx, admission: Admission) -> Admitted:
        """As `admit`, inside the caller's transaction."""
        ...

    def admit_all_in(self, tx: Tx, admissions: Sequence[Admission]) -> Sequence[Admitted]:
        """As `admit_in` one after the other: an answer for each."""
        ...

    def apply_in(self, tx: Tx, change: Change) -> None:
        """As `apply`, inside the caller's transaction."""
        ...

    def apply_all_in(self, tx: Tx, changes: Sequence[Change]) -> Sequence[bool]:
        """As `apply_in` one after the other: of each, whether it is written. False: its run has moved on."""
        ...

    def find_run(self, tx: Tx, tenant_id: str, run_id: str) -> Run | None:
        """The run, if this tenant has it."""
        ...

    def find_archived(self, tx: Tx, tenant_id: str, run_id: str) -> Archived | None:
        """What stays of a run that was archived, if this tenant had it."""
        ...

    def find_key(self, tx: Tx, tenant_id: str, capability: str, key: str, now: datetime) -> str | None:
        """The run id that holds an idempotency key which has not expired."""
        ...

    def find_in_blobs(self, tx: Tx) -> Artifact | None:
        """Some artifact whose content was put into the blob store, in any tenant, if there is any."""
        ...

    def has_more(self, tx: Tx, count: int) -> bool:
        """Whether there are more runs than that, of all tenants."""
        ...

    def list_runs(self, tx: Tx, query: RunFilter) -> Sequence[Listed]:
        """Runs, newest first, at most `query.limit`."""
        ...

    def list_attempts(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[Attempt]:
        """A run's attempts by number."""
        ...

    def list_sends(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[Send]:
        """A run's sends, oldest first."""
        ...

    def list_events(
        self, tx: Tx, tenant_id: str, run_id: str, after_seq: int = 0, limit: int = 1000
    ) -> Sequence[Event]:
        """A run's events after a sequence number, in order."""
        ...

    def list_told(self, tx: Tx, tenant_id: str, run_ids: Collection[str], types: Collection[str]) -> Sequence[Event]:
        """The events of these types in the chains of these runs, each chain's in order."""
        ...

    def list_told_below(self, tx: Tx, tenant_id: str, parent_run_id: str, kind: Kind, told: str) -> Sequence[Event]:
        """The events of that type in the chains of all completed runs of that kind that a run has asked for."""
        ...

    def find_cancelled(self, tx: Tx, run_ids: Collection[str]) -> frozenset[str]:
        """Those of these runs, of every tenant, that somebody asked to stop."""
        ...

    def list_artifacts(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[Artifact]:
        """A run's artifacts, oldest first, with inline content."""
        ...

    def find_artifact(self, tx: Tx, tenant_id: str, artifact_id: str) -> Artifact | None:
        """One artifact with inline content."""
        ...

    def list_decisions(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[Decision]:
        """A run's policy decisions in order."""
        ...

    def renew_owner(self, tx: Tx, owner: Owner) -> None:
        """Insert the owner, or set its beat."""
        ...

    def drop_owner(self, tx: Tx, owner_id: str) -> None:
        """Remove an owner that ends in good order."""
        ...

    def list_owners(self, tx: Tx) -> Sequence[Owner]:
        """Every owner that has not ended in good order."""
        ...

    def list_busy(self, tx: Tx) -> frozenset[str]:
        """The ids of the owners of all running attempts, of every tenant, also of owners that are gone."""
        ...

    def list_open(self, tx: Tx, owner_ids: Collection[str], limit: int) -> Sequence[Attempt]:
        """Running attempts of these owners, of every tenant; newest first, so that what others wait for is there before
        them."""
        ...
