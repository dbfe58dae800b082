"""What has left the ledger for archives, in SQL."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from interlock import approvals, runs
from interlock.adapters.sql import rows
from interlock.adapters.sql.approvals import read_approvals
from interlock.adapters.sql.archive_tables import OPEN, archived_runs
from interlock.adapters.sql.archive_tables import archives as table
from interlock.adapters.sql.columns import Moment
from interlock.adapters.sql.housekeeping import list_tenants
from interlock.adapters.sql.tables import approvals as approval_rows
from interlock.adapters.sql.tables import artifacts, attempts, decisions, events, outbox, sends
from interlock.adapters.sql.tables import idempotency_keys as keys
from interlock.adapters.sql.tables import runs as run_rows
from interlock.adapters.sql.transaction import connection, upsert
from interlock.kernel import Tx

T = TypeVar("T")

LOOKED_AT: Final = 1000
"""Runs that one look takes in, whether they may leave or not."""

_ENDED: Final = tuple(
    state.value for state in (
        runs.State.COMPLETED, runs.State.FAILED, runs.State.CANCELLED, runs.State.DENIED, runs.State.SHED
    )
)  # fmt: skip
"""The states that a run never leaves: a dead letter may be replayed."""

_HANGING: Final = (sends, artifacts, decisions, events, attempts)
"""What goes along with a run."""


class ArchiveRecords:
    """Implements `runs.Archives`."""

    def list_tenants(self, tx: Tx) -> Sequence[str]:
        return list_tenants(tx, run_rows)

    def plan(self, tx: Tx, tenant_id: str, *, before: datetime, now: datetime) -> runs.Plan:
        counted = select(func.count(), func.min(run_rows.c.created_at), func.max(run_rows.c.created_at))
        old = and_(run_rows.c.tenant_id == tenant_id, run_rows.c.created_at < before)
        count, oldest, newest = connection(tx).execute(counted.where(old, _may_leave(before, now))).one()
        return runs.Plan(runs=count, oldest=oldest, newest=newest)

    def list_over(
        self, tx: Tx, tenant_id: str, *, before: datetime, now: datetime, after: tuple[datetime, str] | None
    ) -> runs.Page:
        place = (run_rows.c.created_at, run_rows.c.run_id)
        query = select(run_rows, _may_leave(before, now).label("may_leave")).where(
            run_rows.c.tenant_id == tenant_id, run_rows.c.created_at < before
        )
        if after is not None:
            query = query.where(tuple_(*place) > tuple_(literal(after[0], Moment), literal(after[1])))
        found = connection(tx).execute(query.order_by(*place).limit(LOOKED_AT)).mappings().all()
        leaving, unreadable = list[runs.Run](), list[str]()
        for record in found:
            row = dict(record)
            if not row.pop("may_leave"):
                continue
            try:
                leaving.append(rows.run_from(row))
            except Exception:  # noqa: BLE001 - whatever is in it: the others can be read
                unreadable.append(row["run_id"])
        last = (found[-1]["created_at"], found[-1]["run_id"]) if len(found) == LOOKED_AT else None
        return runs.Page(runs=leaving, unreadable=unreadable, last=last)

    def gather(self, tx: Tx, tenant_id: str, chosen: Sequence[runs.Run]) -> Sequence[runs.packet.Material]:
        ids = [run.run_id for run in chosen]

        def of(
            source: Table, order: Sequence[ColumnElement[Any]], read: Callable[[rows.Record], T]
        ) -> dict[str, list[T]]:
            query = select(source).where(source.c.run_id.in_(ids), source.c.tenant_id == tenant_id).order_by(*order)
            found: defaultdict[str, list[T]] = defaultdict(list)
            for record in connection(tx).execute(query).mappings():
                found[record["run_id"]].append(read(record))
            return found

        tried = of(attempts, (attempts.c.number,), rows.attempt_from)
        sent = of(sends, (sends.c.started_at, sends.c.send_id), rows.send_from)
        told = _events(tx, tenant_id, ids)
        left = of(artifacts, (artifacts.c.created_at, artifacts.c.artifact_id), rows.artifact_from)
        decided = of(decisions, (decisions.c.number,), rows.decision_from)
        asked = _approvals(tx, tenant_id, chosen)
        return [
            runs.packet.Material(
                run=run,
                attempts=tried.get(run.run_id, ()),
                sends=sent.get(run.run_id, ()),
                events=told.get(run.run_id, ()),
                artifacts=left.get(run.run_id, ()),
                decisions=decided.get(run.run_id, ()),
                approvals=asked.get(run.run_id, ()),
            )
            for run in chosen
        ]

    def find_open(self, tx: Tx, tenant_id: str) -> runs.Archive | None:
        return next(iter(_all(tx, select(table).where(table.c.tenant_id == tenant_id, OPEN))), None)

    def begin(self, tx: Tx, archive: runs.Archive) -> runs.Archive | None:
        mine = table.c.tenant_id == archive.tenant_id
        last = connection(tx).execute(
            select(table.c.number, table.c.head).where(mine).order_by(table.c.number.desc()).limit(1)
        ).first()  # fmt: skip
        number, head = (0, runs.genesis(archive.tenant_id)) if last is None else last
        values: dict[str, Any] = {**asdict(archive), "number": number + 1, "after": head, "head": head}
        statement = upsert(tx, table).values(values).on_conflict_do_nothing().returning(table.c.archive_id)
        return None if connection(tx).execute(statement).first() is None else runs.Archive(**values)

    def replace(self, tx: Tx, before: runs.Archive, after: runs.Archive) -> bool:
        return connection(tx).execute(update(table).where(*_as(before)).values(asdict(after))).rowcount == 1

    def take(self, tx: Tx, tenant_id: str, entries: Sequence[runs.Archived]) -> bool:
        ids, session = [each.run_id for each in entries], connection(tx)
        asked = list(
            session.execute(select(approval_rows.c.approval_id).where(_of_approvals(tenant_id, ids))).scalars()
        )
        for each in _HANGING:
            session.execute(delete(each).where(each.c.run_id.in_(ids), each.c.tenant_id == tenant_id))
        gone = session.execute(
            delete(run_rows).where(
                run_rows.c.run_id.in_(ids), run_rows.c.tenant_id == tenant_id, run_rows.c.state.in_(_ENDED)
            )
        )
        if asked:
            # One that a run asked for and another one spent stays as long as either of them.
            both = (approval_rows.c.run_id, approval_rows.c.spent_by)
            needed = exists().where(or_(*(run_rows.c.run_id == each for each in both)))
            session.execute(delete(approval_rows).where(approval_rows.c.approval_id.in_(asked), ~needed))
        session.execute(insert(archived_runs), [asdict(each) for each in entries])
        return gone.rowcount == len(ids)

    def drop(self, tx: Tx, archive: runs.Archive) -> None:
        connection(tx).execute(delete(table).where(*_as(archive)))

    def find(self, tx: Tx, tenant_id: str, archive_id: str) -> runs.Archive | None:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.archive_id == archive_id)
        return next(iter(_all(tx, query)), None)

    def list_archives(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[runs.Archive]:
        query = select(table).where(table.c.tenant_id == tenant_id)
        if cursor is not None:
            last = select(table.c.number).where(table.c.archive_id == cursor, table.c.tenant_id == tenant_id)
            query = query.where(table.c.number < last.scalar_subquery())
        return _all(tx, query.order_by(table.c.number.desc()).limit(limit))


def _may_leave(before: datetime, now: datetime) -> ColumnElement[bool]:
    parent = run_rows.alias("parent")
    key_holds = exists().where(
        keys.c.tenant_id == run_rows.c.tenant_id,
        keys.c.capability == run_rows.c.capability,
        keys.c.key == run_rows.c.idempotency_key,
        keys.c.run_id == run_rows.c.run_id,
        keys.c.expires_at > now,
    )
    needed = exists().where(
        parent.c.run_id == run_rows.c.parent_run_id,
        or_(parent.c.finished_at.is_(None), parent.c.state.not_in(_ENDED)),
    )
    untold = exists().where(outbox.c.subject_id == run_rows.c.run_id)
    return and_(run_rows.c.state.in_(_ENDED), run_rows.c.finished_at < before, ~key_holds, ~needed, ~untold)


def _events(tx: Tx, tenant_id: str, ids: Sequence[str]) -> dict[str, list[runs.Event]]:
    query = select(events).where(events.c.run_id.in_(ids), events.c.tenant_id == tenant_id)
    found: defaultdict[str, list[runs.Event]] = defaultdict(list)
    for record in connection(tx).execute(query.order_by(events.c.run_id, events.c.seq)):
        found[record[0]].append(rows.event_from(record))
    return found


def _approvals(tx: Tx, tenant_id: str, chosen: Sequence[runs.Run]) -> dict[str, list[approvals.Approval]]:
    """Those that each asked for, and after them the one that it spent although another had asked for it."""
    ids = [run.run_id for run in chosen]
    known = {each.approval_id: each for each in read_approvals(tx, _of_approvals(tenant_id, ids))}
    found: defaultdict[str, list[approvals.Approval]] = defaultdict(list)
    for each in known.values():
        found[each.run_id or ""].append(each)
    for run in chosen:
        spent = known.get(run.approval_id or "")
        if spent is not None and spent.run_id != run.run_id:
            found[run.run_id].append(spent)
    return found


def _of_approvals(tenant_id: str, ids: Sequence[str]) -> ColumnElement[bool]:
    spent = select(run_rows.c.approval_id).where(run_rows.c.run_id.in_(ids), run_rows.c.approval_id.is_not(None))
    column = approval_rows.c
    return and_(column.tenant_id == tenant_id, or_(column.run_id.in_(ids), column.approval_id.in_(spent)))


def _as(archive: runs.Archive) -> Sequence[ColumnElement[bool]]:
    """The archive's row, if nobody else has touched it."""
    return (
        table.c.tenant_id == archive.tenant_id,
        table.c.archive_id == archive.archive_id,
        table.c.closed_at.is_(None),
        table.c.size == archive.size,
        table.c.claimed_until == archive.claimed_until,
    )


def _all(tx: Tx, query: Select[Any]) -> list[runs.Archive]:
    return [runs.Archive(**record) for record in connection(tx).execute(query).mappings()]
