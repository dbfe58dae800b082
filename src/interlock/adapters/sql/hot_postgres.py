"""The hot path on Postgres: many admissions or changes in one statement, so one round trip and one commit.

Rows travel as arrays of row types (`composites`). Whatever hangs on a run joins the runs that were really inserted or
updated; a run that is missing from the answer missed: its key or its id was taken, or it has moved on.
"""

from collections.abc import Callable, Sequence
from typing import Final, cast

from sqlalchemy import Table

from interlock import runs, subscriptions
from interlock.adapters.sql import rows, tables
from interlock.adapters.sql.composites import int8, int8_array, text_array
from interlock.adapters.sql.errors import StoreBusy
from interlock.adapters.sql.hot_session import HotSession
from interlock.kernel import to_micros

_DEPENDANTS: Final = (
    tables.leases,
    tables.attempts,
    tables.sends,
    tables.events,
    tables.decisions,
    tables.artifacts,
)


_RETURNING: Final = {tables.events: "RETURNING run_id, seq, tenant_id, type"}
_TOLD: Final = ", ".join(f"'{each}'" for each in subscriptions.RUN_TYPES)


def _inserts(first: int, source: str) -> str:
    """One insert per dependent table, of the rows whose run is in the CTE `source`; parameters count from `first`. Of the
    events, those that somebody listens to go to the outbox, too."""
    inserts = "".join(
        f", new_{table.name} AS (\n"  # noqa: S608 - names of our own tables
        f"  INSERT INTO {table.name} SELECT y.* FROM unnest(${number}::{table.name}[]) y JOIN {source} USING (run_id)\n"
        f"  {_RETURNING.get(table, '')}\n)"
        for number, table in enumerate(_DEPENDANTS, first)
    )
    told = f""", told AS (
  INSERT INTO outbox (subject_id, seq, tenant_id)
  SELECT e.run_id, e.seq, e.tenant_id FROM new_events e
  WHERE e.type IN ({_TOLD}) AND EXISTS (SELECT FROM feeds f WHERE f.tenant_id = e.tenant_id)
)"""  # noqa: S608 - words of our own
    return inserts + told


_ADMIT: Final = f"""
WITH claimed AS (
  INSERT INTO idempotency_keys AS t SELECT * FROM unnest($1::idempotency_keys[])
  ON CONFLICT (tenant_id, capability, key)
  DO UPDATE SET run_id = excluded.run_id, expires_at = excluded.expires_at WHERE t.expires_at <= $2::int8
  RETURNING run_id
), fresh AS (
  INSERT INTO runs
  SELECT x.* FROM unnest($3::runs[]) x
  WHERE x.run_id <> ALL ($4::text[]) OR x.run_id IN (SELECT run_id FROM claimed)
  ON CONFLICT (run_id) DO NOTHING
  RETURNING run_id
){_inserts(5, "fresh")}
SELECT run_id FROM fresh
"""  # noqa: S608 - names of our own tables

_HOLDERS: Final = """
SELECT x.run_id, t.run_id
FROM unnest($1::idempotency_keys[]) x JOIN idempotency_keys t USING (tenant_id, capability, key)
"""

_SET: Final = ", ".join(
    [f"{name} = x.{name}" for name in rows.MOVING]
    # Sent only when the change touches one of them, so that a large input need not travel; the input is never empty.
    + [f"{name} = CASE WHEN x.input_json IS NULL THEN t.{name} ELSE x.{name} END" for name in rows.EDITABLE]
)

# `= ANY` makes the planner use the index even for a plan that was made while the tables were empty. The division fails
# the statement when an attempt or a send to be ended is not there; then the members are sent again one by one.
_APPLY: Final = f"""
WITH moved AS (
  UPDATE runs t SET {_SET}
  FROM unnest($1::runs[]) x
    JOIN unnest($2::text[], $3::text[], $4::int8[], $5::int8[], $6::text[]) b (run_id, tenant_id, fence, head_seq, head_hash)
    USING (run_id)
  WHERE t.run_id = ANY ($2::text[]) AND t.run_id = x.run_id AND t.tenant_id = b.tenant_id AND t.fence = b.fence
    AND t.head_seq = b.head_seq AND t.head_hash = b.head_hash
  RETURNING t.run_id
), attempt_ends AS (
  SELECT y.* FROM unnest($7::attempts[]) y JOIN moved USING (run_id)
), ended_attempts AS (
  UPDATE attempts t SET state = y.state, finished_at = y.finished_at, error = y.error
  FROM attempt_ends y WHERE t.attempt_id = ANY ($8::text[]) AND t.attempt_id = y.attempt_id AND t.run_id = y.run_id
  RETURNING 1
), send_ends AS (
  SELECT y.* FROM unnest($9::sends[]) y JOIN moved USING (run_id)
), ended_sends AS (
  UPDATE sends t SET delivery = y.delivery, receipt_json = y.receipt_json, finished_at = y.finished_at
  FROM send_ends y WHERE t.send_id = ANY ($10::text[]) AND t.send_id = y.send_id AND t.run_id = y.run_id
  RETURNING 1
){_inserts(11, "moved")}
SELECT run_id, 1 / (
  (SELECT count(*) FROM attempt_ends) = (SELECT count(*) FROM ended_attempts)
  AND (SELECT count(*) FROM send_ends) = (SELECT count(*) FROM ended_sends)
)::int FROM moved
"""  # noqa: S608 - names of our own tables

_HAVE_HEAD: Final = """
SELECT t.run_id FROM unnest($1::runs[]) x JOIN runs t USING (run_id)
WHERE t.run_id = ANY ($2::text[]) AND t.tenant_id = x.tenant_id
  AND t.head_seq = x.head_seq AND t.head_hash = x.head_hash
"""


def admit(hot: HotSession, admissions: Sequence[runs.Admission]) -> list[runs.Admitted]:
    """Write those whose run id and key are free, and say for each which run stands.

    No two of them may have the same run id or the same key. Raises psycopg.Error, or StoreBusy in a race with a purge.
    """
    keys = [_key_row(admission) for admission in admissions if admission.key_expires_at is not None]
    earliest = min(to_micros(admission.run.created_at) for admission in admissions)
    claims = hot.array(tables.idempotency_keys, keys)
    answer = hot.execute(
        _ADMIT,
        [
            claims,
            int8(earliest),
            hot.array(tables.runs, [rows.run_row(admission.run) for admission in admissions]),
            text_array([cast("str", key[3]) for key in keys]),
            *_dependants(hot, admissions),
        ],
    )
    fresh = {run_id for (run_id,) in answer}
    if len(fresh) == len(admissions):
        return [runs.Admitted(run_id=admission.run.run_id, fresh=True) for admission in admissions]
    holders = dict(cast("list[tuple[str, str]]", hot.execute(_HOLDERS, [claims])))
    return [_standing(admission, fresh, holders) for admission in admissions]


def _key_row(admission: runs.Admission) -> rows.SqlRow:
    run, until = admission.run, admission.key_expires_at
    assert until is not None
    return (run.tenant_id, run.capability, run.idempotency_key, run.run_id, to_micros(until))


def _standing(admission: runs.Admission, fresh: set[str], holders: dict[str, str]) -> runs.Admitted:
    run_id = admission.run.run_id
    if run_id in fresh or admission.key_expires_at is None:  # without a key, only the run itself can be in the way
        return runs.Admitted(run_id=run_id, fresh=True)
    if (holder := holders.get(run_id)) is None:
        raise StoreBusy(f"the idempotency key of run {run_id} expired at this very moment", run_id=run_id)
    return runs.Admitted(run_id=holder, fresh=holder == run_id)


def apply(hot: HotSession, changes: Sequence[runs.Change]) -> list[bool]:
    """Write those whose run still has the expected fence and head, and say which are there now.

    A change that was there before (its head is the run's head) counts, so that it may be asked for again. No two of
    them may be of the same run. Raises psycopg.Error.
    """
    before = [change.before for change in changes]
    ids = text_array([run.run_id for run in before])
    after = hot.array(tables.runs, [_moved(change) for change in changes])
    attempt_ends = [_attempt_end(rows.attempt_end_row(change)) for change in changes if change.attempt_end]
    send_ends = [_send_end(rows.send_end_row(change)) for change in changes if change.send_end]
    answer = hot.execute(
        _APPLY,
        [
            after,
            ids,
            text_array([run.tenant_id for run in before]),
            int8_array([run.fence for run in before]),
            int8_array([run.head_seq for run in before]),
            text_array([run.head_hash for run in before]),
            hot.array(tables.attempts, attempt_ends),
            text_array([cast("str", end[0]) for end in attempt_ends]),
            hot.array(tables.sends, send_ends),
            text_array([cast("str", end[0]) for end in send_ends]),
            *_dependants(hot, changes),
        ],
    )
    there = {run_id for run_id, _ in answer}
    if len(there) < len(changes):
        there |= {run_id for (run_id,) in hot.execute(_HAVE_HEAD, [after, ids])}
    return [change.before.run_id in there for change in changes]


def _partial(table: Table, *names: str) -> Callable[[rows.SqlRow], rows.SqlRow]:
    """Makes rows of a table out of the values of some columns, or of the first few of those."""
    columns = [column.name for column in table.columns]
    places = [columns.index(name) for name in names]

    def row(values: rows.SqlRow) -> rows.SqlRow:
        line: list[str | int | bytes | bool | None] = [None] * len(columns)
        for place, value in zip(places, values, strict=False):
            line[place] = value
        return tuple(line)

    return row


_moved_run = _partial(tables.runs, "run_id", "tenant_id", *rows.MOVING, *rows.EDITABLE)
_attempt_end = _partial(tables.attempts, "state", "finished_at", "error", "attempt_id", "run_id")
_send_end = _partial(tables.sends, "delivery", "receipt_json", "finished_at", "send_id", "run_id")


def _moved(change: runs.Change) -> rows.SqlRow:
    run = change.after
    return _moved_run((run.run_id, run.tenant_id, *rows.moving_row(run), *(rows.editable_row(change) or ())))


def _dependants(hot: HotSession, items: Sequence[runs.Admission | runs.Change]) -> list[bytes]:
    found = rows.dependants(items)
    return [hot.array(table, found.get(table, ())) for table in _DEPENDANTS]
