"""Approvals in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, insert, or_, select, update

from interlock import approvals
from interlock.adapters.sql.rows import pack, unpack
from interlock.adapters.sql.tables import approvals as table
from interlock.adapters.sql.tables import runs
from interlock.adapters.sql.transaction import connection
from interlock.adapters.sql.within import within
from interlock.kernel import Tx

_OPEN = tuple(state.value for state, after in approvals.ALLOWED.items() if approvals.State.EXPIRED in after)
"""The states that end by themselves when the time is over."""


class ApprovalRecords:
    """Implements `approvals.Records`."""

    def insert(self, tx: Tx, approval: approvals.Approval) -> None:
        connection(tx).execute(insert(table).values(_row(approval)))

    def replace(self, tx: Tx, before: approvals.Approval, after: approvals.Approval) -> bool:
        changed = connection(tx).execute(
            update(table)
            .where(
                table.c.tenant_id == before.tenant_id,
                table.c.approval_id == before.approval_id,
                table.c.state == before.state.value,
                table.c.binding_digest == before.binding_digest,
            )
            .values(_row(after))
        )
        return changed.rowcount == 1

    def find(self, tx: Tx, tenant_id: str, approval_id: str) -> approvals.Approval | None:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.approval_id == approval_id)
        return next(iter(_all(tx, query)), None)

    def find_approved(self, tx: Tx, tenant_id: str, binding_digest: str, now: datetime) -> approvals.Approval | None:
        query = (
            select(table)
            .where(
                table.c.tenant_id == tenant_id,
                table.c.binding_digest == binding_digest,
                table.c.state == approvals.State.APPROVED.value,
                table.c.expires_at > now,
            )
            .order_by(table.c.approval_id)
            .limit(1)
        )
        return next(iter(_all(tx, query)), None)

    def list_approvals(self, tx: Tx, query: approvals.Query) -> Sequence[approvals.Approval]:
        wanted = select(table).where(table.c.tenant_id == query.tenant_id)
        if query.states:
            wanted = wanted.where(or_(false(), *(_stands(state, query.now) for state in query.states)))
        if query.seen_by is not None:
            seen = within(query.seen_by, runs.c.capability, runs.c.connection_id)
            wanted = wanted.where(select(runs.c.run_id).where(runs.c.run_id == table.c.run_id, *seen).exists())
        if query.cursor is not None:
            wanted = wanted.where(table.c.approval_id < query.cursor)
        return _all(tx, wanted.order_by(table.c.approval_id.desc()).limit(query.limit))

    def list_for_run(self, tx: Tx, tenant_id: str, run_id: str) -> Sequence[approvals.Approval]:
        wanted = select(table).where(table.c.tenant_id == tenant_id, table.c.run_id == run_id)
        return _all(tx, wanted.order_by(table.c.approval_id))

    def list_over(self, tx: Tx, now: datetime, limit: int) -> Sequence[approvals.Approval]:
        wanted = select(table).where(table.c.state.in_(_OPEN), table.c.expires_at <= now)
        return _all(tx, wanted.order_by(table.c.expires_at, table.c.approval_id).limit(limit))


def read_approvals(tx: Tx, condition: ColumnElement[bool]) -> Sequence[approvals.Approval]:
    """Those for which that holds, oldest first."""
    return _all(tx, select(table).where(condition).order_by(table.c.approval_id))


def _stands(state: approvals.State, now: datetime) -> ColumnElement[bool]:
    """Rows that stand in a state now, though nobody may have recorded yet that they expired."""
    recorded = table.c.state == state.value
    if state.value in _OPEN:
        return and_(recorded, table.c.expires_at > now)
    if state is approvals.State.EXPIRED:
        return or_(recorded, and_(table.c.state.in_(_OPEN), table.c.expires_at <= now))
    return recorded


def _row(approval: approvals.Approval) -> dict[str, Any]:
    edited = approval.edited_input
    return {column.name: getattr(approval, column.name) for column in table.columns} | {
        "binding": pack(approval.binding.to_json()),
        "summary": pack(approval.summary),
        "state": approval.state.value,
        "edited_input": None if edited is None else pack(edited),
    }


def _all(tx: Tx, query: Select[Any]) -> list[approvals.Approval]:
    return [_approval(dict(record)) for record in connection(tx).execute(query).mappings()]


def _approval(record: dict[str, Any]) -> approvals.Approval:
    del record["binding_digest"]  # the binding has it
    binding: dict[str, Any] = unpack(record["binding"])
    binding["targets"] = tuple(binding["targets"])
    record["binding"] = approvals.Binding(**binding)
    record["summary"] = unpack(record["summary"])
    record["state"] = approvals.State(record["state"])
    if record["edited_input"] is not None:
        record["edited_input"] = unpack(record["edited_input"])
    return approvals.Approval(**record)
