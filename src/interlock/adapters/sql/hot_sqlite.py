"""The hot path on SQLite: many admissions or changes in one transaction, with one statement per table.

What may miss (a key that is taken, a run that has moved on) goes row by row, so that a miss is told from a hit; what
hangs on the hits goes together. Raw SQL on the driver: SQLAlchemy's execution costs more than SQLite's.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from interlock import runs, subscriptions
from interlock.adapters.sql import rows, tables
from interlock.adapters.sql.errors import RowRefused
from interlock.adapters.sql.sqlite_many import Many, inserting
from interlock.kernel import to_micros

_INSERT: Final = {
    table: inserting(table)
    for table in (
        tables.runs,
        tables.attempts,
        tables.sends,
        tables.events,
        tables.artifacts,
        tables.decisions,
        tables.leases,
        tables.outbox,
    )
}
_THERE: Final = Many("SELECT run_id FROM runs WHERE run_id IN ({})", "?")
_LISTENS: Final = "SELECT 1 FROM feeds WHERE tenant_id = ?"
_TOLD: Final = frozenset(subscriptions.RUN_TYPES)
_CLAIM_KEY: Final = """
INSERT INTO idempotency_keys (tenant_id, capability, key, run_id, expires_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET run_id = excluded.run_id, expires_at = excluded.expires_at
WHERE idempotency_keys.expires_at <= ?
"""
_KEY_HOLDER: Final = "SELECT run_id FROM idempotency_keys WHERE tenant_id = ? AND capability = ? AND key = ?"
_MOVE_RUN: Final = f"""
UPDATE runs SET {", ".join(f"{name} = ?" for name in rows.MOVING)}
WHERE run_id = ? AND tenant_id = ? AND fence = ? AND head_seq = ? AND head_hash = ?
"""  # noqa: S608
_EDIT_RUN: Final = f"UPDATE runs SET {', '.join(f'{name} = ?' for name in rows.EDITABLE)} WHERE run_id = ?"  # noqa: S608
_HAS_HEAD: Final = "SELECT 1 FROM runs WHERE run_id = ? AND tenant_id = ? AND head_seq = ? AND head_hash = ?"
_END_ATTEMPT: Final = "UPDATE attempts SET state = ?, finished_at = ?, error = ? WHERE attempt_id = ? AND run_id = ?"
_END_SEND: Final = "UPDATE sends SET delivery = ?, receipt_json = ?, finished_at = ? WHERE send_id = ? AND run_id = ?"


def admit(raw: sqlite3.Connection, admissions: Sequence[runs.Admission]) -> list[runs.Admitted]:
    """Inside the open transaction: write those whose run id and key are free, and say for each which run stands."""
    cursor = raw.cursor()
    answers: list[runs.Admitted] = []
    fresh: list[runs.Admission] = []
    there = {run_id for (run_id,) in _THERE.execute(cursor, [(admission.run.run_id,) for admission in admissions])}
    for admission in admissions:
        run_id = admission.run.run_id
        holder = _claim(cursor, admission)
        if holder == run_id and run_id not in there:
            fresh.append(admission)
            there.add(run_id)
        answers.append(runs.Admitted(run_id=holder, fresh=holder == run_id))
    _INSERT[tables.runs].execute(cursor, [rows.run_row(admission.run) for admission in fresh])
    _insert_dependants(cursor, fresh)
    return answers


def _claim(cursor: sqlite3.Cursor, admission: runs.Admission) -> str:
    """The run that holds the admission's key: its own if the key was free, has expired, or there is none."""
    run = admission.run
    if run.idempotency_key is None or admission.key_expires_at is None:
        return run.run_id
    key = (run.tenant_id, run.capability, run.idempotency_key)
    until = to_micros(admission.key_expires_at)
    if cursor.execute(_CLAIM_KEY, (*key, run.run_id, until, to_micros(run.created_at))).rowcount:
        return run.run_id
    return cursor.execute(_KEY_HOLDER, key).fetchone()[0]


def apply(raw: sqlite3.Connection, changes: Sequence[runs.Change]) -> list[bool]:
    """Inside the open transaction: write those whose run still has the expected fence and head, and say which did.

    A change that is already there (its head is the run's head) counts as written, so that it may be asked for again.
    """
    cursor = raw.cursor()
    answers: list[bool] = []
    matched: list[runs.Change] = []
    for change in changes:
        before, after = change.before, change.after
        expected = (before.run_id, before.tenant_id, before.fence, before.head_seq, before.head_hash)
        hit = cursor.execute(_MOVE_RUN, (*rows.moving_row(after), *expected)).rowcount == 1
        if hit:
            matched.append(change)
        else:
            head = (after.run_id, after.tenant_id, after.head_seq, after.head_hash)
            hit = cursor.execute(_HAS_HEAD, head).fetchone() is not None
        answers.append(hit)
    for change in matched:
        if (edited := rows.editable_row(change)) is not None:
            cursor.execute(_EDIT_RUN, (*edited, change.after.run_id))
    _end(cursor, _END_ATTEMPT, [rows.attempt_end_row(change) for change in matched if change.attempt_end])
    _end(cursor, _END_SEND, [rows.send_end_row(change) for change in matched if change.send_end])
    _insert_dependants(cursor, matched)
    return answers


def _insert_dependants(cursor: sqlite3.Cursor, items: Sequence[runs.Admission | runs.Change]) -> None:
    for table, lines in rows.dependants(items).items():
        _INSERT[table].execute(cursor, lines)
    _tell(cursor, items)


def _tell(cursor: sqlite3.Cursor, items: Sequence[runs.Admission | runs.Change]) -> None:
    """Add to the outbox what the tenants' listeners are to hear of."""
    tenants = {event.tenant_id for item in items for event in item.events[:1]}
    heard = {tenant for tenant in tenants if cursor.execute(_LISTENS, (tenant,)).fetchone()}
    if heard:
        events = (event for item in items for event in item.events if event.tenant_id in heard and event.type in _TOLD)
        _INSERT[tables.outbox].execute(cursor, [(event.run_id, event.seq, event.tenant_id, None) for event in events])


def _end(cursor: sqlite3.Cursor, statement: str, lines: Sequence[rows.SqlRow]) -> None:
    if lines and cursor.executemany(statement, lines).rowcount != len(lines):
        raise RowRefused("a change ends an attempt or a send that its run does not have")
