"""Due work, on every engine."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fix_connections import NOW
from interlock import dispatch
from interlock.adapters import sql

pytestmark = pytest.mark.anyio

RECORDS = sql.DispatchRecords()
DUE = dispatch.Due(
    run_id="run_1",
    tenant_id="t1",
    lane="handler:o'brien",
    capability='handler."ü" 100 %s',
    connection_id="con_1",
    rank=-(2**52),
    priority=dispatch.Priority.HIGH,
    due_at=NOW + timedelta(microseconds=1),
    number=2,
    tries=3,
    crashes=1,
    retry=dispatch.RetryPolicy(max_attempts=7),
    standing=dispatch.Standing.PARKED,
    why="a \\ and a\nline",
    deadline_at=NOW + timedelta(days=40_000),
    submitted_at=NOW,
)
PLAIN = replace(DUE, run_id="run_2", connection_id=None, why=None, deadline_at=None, standing=dispatch.Standing.DUE)
THEIRS = replace(PLAIN, run_id="run_3", tenant_id="t2")


async def test_work_is_kept_as_it_was_entered_until_it_is_struck_off(store: sql.SqlStore):
    await store.write(lambda tx: RECORDS.add(tx, []))
    await store.write(lambda tx: RECORDS.add(tx, [DUE, PLAIN, THEIRS]))
    for due in (DUE, PLAIN, THEIRS):
        assert await store.read(lambda tx, due=due: RECORDS.find(tx, due.tenant_id, due.run_id)) == due
    await store.write(lambda tx: RECORDS.drop(tx, [("t1", "run_1"), ("t1", "run_3"), ("t2", "run_2"), ("t1", "run_9")]))
    kept = [
        await store.read(lambda tx, due=due: RECORDS.find(tx, due.tenant_id, due.run_id))
        for due in (DUE, PLAIN, THEIRS)
    ]
    assert kept == [None, PLAIN, THEIRS]  # a run of another tenant is no run of this one
