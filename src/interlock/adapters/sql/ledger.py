"""The ledger over SQL: the hot path goes to the store's batches, reads go through SQLAlchemy."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, Table, delete, func, literal, select, tuple_

from interlock import runs
from interlock.adapters.sql import rows, tables
from interlock.adapters.sql.archive_tables import archived_runs
from interlock.adapters.sql.columns import Moment
from interlock.adapters.sql.store import SqlStore
from interlock.adapters.sql.tables import artifacts, attempts, decisions, events, idempotency_keys, owners, sends
from interlock.adapters.sql.tables import runs as run_table
from interlock.adapters.sql.transaction import connection, upsert
from interlock.adapters.sql.within import within
from interlock.kernel import PLATFORM_TENANT, Clock, Counts, SystemClock, Tx

_MAX_PAGE = 1000
_LISTED: Final = tuple(column for column in run_table.c if column.name != "input_json")


class SqlLedger:
    """`runs.Ledger` on a store of this package."""

    def __init__(self, store: SqlStore, *, counts: Counts | None = None, clock: Clock | None = None) -> None:
        """What is written is counted; within a caller's transaction, whatever becomes of that."""
        self._store = store
        self._counts = counts or Counts()
        self._clock = clock or SystemClock()

    async def admit(self, admission: runs.Admission) -> runs.Admitted:
        begun = self._clock.monotonic()
        admitted = await self._store.admit(admission)
        self._counts.time("store_commit", self._clock.monotonic() - begun, written="admission")
        return self._admitted(admission, admitted)

    async def apply(self, change: runs.Change) -> None:
        begun = self._clock.monotonic()
        if not await self._store.apply(change):
            raise _stale(change)
        self._counts.time("store_commit", self._clock.monotonic() - begun, written="change")
        self._changed(change)

    def admit_in(self, tx: Tx, admission: runs.Admission) -> runs.Admitted:
        return self.admit_all_in(tx, [admission])[0]

    def admit_all_in(self, tx: Tx, admissions: Sequence[runs.Admission]) -> Sequence[runs.Admitted]:
        answers = self._store.admit_in(tx, admissions)
        return [self._admitted(*each) for each in zip(admissions, answers, strict=True)]

    def apply_in(self, tx: Tx, change: runs.Change) -> None:
        if not self.apply_all_in(tx, [change])[0]:
            raise _stale(change)

    def apply_all_in(self, tx: Tx, changes: Sequence[runs.Change]) -> Sequence[bool]:
        hits = self._store.apply_in(tx, changes)
        for change, hit in zip(changes, hits, strict=True):
            if hit:
                self._changed(change)
        return hits

    def _admitted(self, admission: runs.Admission, admitted: runs.Admitted) -> runs.Admitted:
        if admitted.fresh:
            self._came_to(admission.run)
            if admission.lease is not None:
                self._counts.add("leases")
        return admitted

    def _changed(self, change: runs.Change) -> None:
        if change.after.state is not change.before.state:
            self._came_to(change.after)
        if change.attempt_end is not None:
            self._counts.add("attempts", state=change.attempt_end.state.value)
        if change.send_end is not None:
            self._counts.add("sends", delivery=change.send_end.delivery.value)
        if change.lease is not None:
            self._counts.add("leases")

    def _came_to(self, run: runs.Run) -> None:
        kind, state = run.kind.value, run.state.value
        self._counts.add("run_states", kind=kind, state=state)
        if run.finished_at is not None:
            self._counts.time("run", (run.finished_at - run.created_at).total_seconds(), kind=kind, state=state)

    def find_run(self, tx: Tx, tenant_id: str, run_id: str) -> runs.Run | None:
        found = _first(tx, select(run_table).where(run_table.c.tenant_id == tenant_id, run_table.c.run_id == run_id))
        return None if found is None else rows.run_from(found)

    def find_archived(self, tx: Tx, tenant_id: str, run_id: str) -> runs.Archived | None:
        table = archived_runs.c
        found = _first(tx, select(archived_runs).where(table.tenant_id == tenant_id, table.run_id == run_id))
        return None if found is None else runs.Archived(**found)

    def find_key(self, tx: Tx, tenant_id: str, capability: str, key: str, now: datetime) -> str | None:
        table = idempotency_keys.c
        query = select(table.run_id).where(
            table.tenant_id == tenant_id, table.capability == capability, table.key == key, table.expires_at > now
        )
        return connection(tx).execute(query).scalar()

    def has_more(self, tx: Tx, count: int) -> bool:
        # No further than to that one.
        return connection(tx).execute(select(run_table.c.run_id).offset(count).limit(1)).first() is not None

    def list_runs(self, tx: Tx, query: runs.RunFilter) -> Sequence[runs.Listed]:
        table = run_table.c
        chosen = select(*_LISTED).where(table.tenant_id == query.tenant_id)
        equal = {
            table.kind: None if query.kind is None else query.kind.value,
            table.capability: query.capability,
            table.connection_id: query.connection_id,
            table.input_digest: query.input_digest,
            table.actor: query.actor,
            table.parent_run_id: query.parent_run_id,
        }
        for column, wanted in equal.items():
            if wanted is not None:
                chosen = chosen.where(column == wanted)
        if query.trace_id is not None:
            # The run that begins a trace gives it its id, and is not in the index.
            later = select(table.run_id).where(tables.TRACED, table.trace_id == query.trace_id).correlate(None)
            members = later.union_all(select(literal(query.trace_id)))
            chosen = chosen.where(table.trace_id == query.trace_id, table.run_id.in_(members))
        if query.seen_by is not None:
            chosen = chosen.where(*within(query.seen_by, table.capability, table.connection_id))
        if query.states:
            chosen = chosen.where(table.state.in_([state.value for state in query.states]))
            if runs.State.COMPLETED not in query.states:
                chosen = chosen.where(tables.NOT_COMPLETED)
        if query.since is not None:
            chosen = chosen.where(table.created_at >= query.since)
        if query.until is not None:
            chosen = chosen.where(table.created_at < query.until)
        if query.cursor is not None:
            gone = select(archived_runs.c.created_at).where(archived_runs.c.run_id == query.cursor)
            there = select(table.created_at).where(table.run_id == query.cursor).correlate(None)
            last = func.coalesce(there.scalar_subquery(), gone.scalar_subquery(), type_=Moment())
            chosen = chosen.where(tuple_(table.created_at, table.run_id) < tuple_(last, query.cursor))
        # In the order of the indexes, so that a page takes no longer the more runs there are before it.
        chosen = chosen.order_by(table.created_at.desc(), table.run_id.desc()).limit(min(query.limit, _MAX_PAGE))
        return [rows.listed_from(record) for record in _all(tx, chosen)]

    def list_attempts(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[runs.Attempt]:
        chosen = _of_run(attempts, tenant_id, run_id).order_by(attempts.c.number)
        return [rows.attempt_from(record) for record in _all(tx, chosen)]

    def list_sends(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[runs.Send]:
        chosen = _of_run(sends, tenant_id, run_id).order_by(sends.c.started_at, sends.c.send_id)
        return [rows.send_from(record) for record in _all(tx, chosen)]

    def list_events(
        self, tx: Tx, tenant_id: str, run_id: str, after_seq: int = 0, limit: int = _MAX_PAGE
    ) -> Sequence[runs.Event]:
        chosen = _of_run(events, tenant_id, run_id).where(events.c.seq > after_seq).order_by(events.c.seq).limit(limit)
        return [rows.event_from(record) for record in connection(tx).execute(chosen)]

    def list_told(
        self, tx: Tx, tenant_id: str, run_ids: Collection[str], types: Collection[str]
    ) -> Sequence[runs.Event]:
        chosen = select(events).where(
            events.c.tenant_id == tenant_id, events.c.run_id.in_(run_ids), events.c.type.in_(types)
        )
        ordered = chosen.order_by(events.c.run_id, events.c.seq)
        return [rows.event_from(record) for record in connection(tx).execute(ordered)] if run_ids else []

    def list_told_below(
        self, tx: Tx, tenant_id: str, parent_run_id: str, kind: runs.Kind, told: str
    ) -> Sequence[runs.Event]:
        run = run_table.c
        below = select(run.run_id).where(
            run.tenant_id == tenant_id,
            run.parent_run_id == parent_run_id,
            run.kind == kind.value,
            run.state == runs.State.COMPLETED.value,
        )
        chosen = select(events).where(events.c.run_id.in_(below), events.c.type == told)
        return [rows.event_from(record) for record in connection(tx).execute(chosen)]

    def find_cancelled(self, tx: Tx, run_ids: Collection[str]) -> frozenset[str]:
        asked = select(events.c.run_id).where(events.c.run_id.in_(run_ids), events.c.type == runs.CANCEL_REQUESTED)
        return frozenset(connection(tx).execute(asked).scalars())

    def list_artifacts(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[runs.Artifact]:
        chosen = _of_run(artifacts, tenant_id, run_id).order_by(artifacts.c.created_at, artifacts.c.artifact_id)
        return [rows.artifact_from(record) for record in _all(tx, chosen)]

    def find_in_blobs(self, tx: Tx) -> runs.Artifact | None:
        found = _first(tx, select(artifacts).where(artifacts.c.blob_key.is_not(None)).limit(1))
        return None if found is None else rows.artifact_from(found)

    def find_artifact(self, tx: Tx, tenant_id: str, artifact_id: str) -> runs.Artifact | None:
        table = artifacts.c
        found = _first(tx, select(artifacts).where(table.tenant_id == tenant_id, table.artifact_id == artifact_id))
        return None if found is None else rows.artifact_from(found)

    def list_decisions(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[runs.Decision]:
        chosen = _of_run(decisions, tenant_id, run_id).order_by(decisions.c.number)
        return [rows.decision_from(record) for record in _all(tx, chosen)]

    def renew_owner(self, tx: Tx, owner: runs.Owner) -> None:
        offered = upsert(tx, owners).values(
            owner_id=owner.owner_id,
            tenant_id=PLATFORM_TENANT,
            host=owner.host,
            process=owner.process,
            started_at=owner.started_at,
            beat=owner.beat,
            lease_us=owner.lease // timedelta(microseconds=1),
        )
        connection(tx).execute(
            offered.on_conflict_do_update(index_elements=["owner_id"], set_={"beat": offered.excluded.beat})
        )

    def drop_owner(self, tx: Tx, owner_id: str) -> None:
        connection(tx).execute(delete(owners).where(owners.c.owner_id == owner_id))

    def list_owners(self, tx: Tx) -> Sequence[runs.Owner]:
        return [
            runs.Owner(
                owner_id=row["owner_id"],
                host=row["host"],
                process=row["process"],
                started_at=row["started_at"],
                beat=row["beat"],
                lease=timedelta(microseconds=row["lease_us"]),
            )
            for row in _all(tx, select(owners))
        ]

    def list_busy(self, tx: Tx) -> frozenset[str]:
        running = select(attempts.c.owner_id).where(tables.RUNNING).distinct()
        return frozenset(connection(tx).execute(running).scalars())

    def list_open(self, tx: Tx, owner_ids: Collection[str], limit: int) -> Sequence[runs.Attempt]:
        chosen = (
            select(attempts)
            .where(tables.RUNNING, attempts.c.owner_id.in_(owner_ids))
            .order_by(attempts.c.started_at.desc(), attempts.c.attempt_id.desc())
            .limit(limit)
        )
        return [rows.attempt_from(record) for record in _all(tx, chosen)]


def _stale(change: runs.Change) -> runs.StaleRun:
    before = change.before
    return runs.StaleRun(
        f"run {before.run_id} is no longer at event {before.head_seq} under fence {before.fence}", run_id=before.run_id
    )


def _of_run(table: Table, tenant_id: str, run_id: str) -> Select[Any]:
    return select(table).where(table.c.run_id == run_id, table.c.tenant_id == tenant_id)


def _all(tx: Tx, query: Select[Any]) -> Sequence[rows.Record]:
    return connection(tx).execute(query).mappings().all()


def _first(tx: Tx, query: Select[Any]) -> rows.Record | None:
    return connection(tx).execute(query).mappings().first()
