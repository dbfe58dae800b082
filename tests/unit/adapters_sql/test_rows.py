from dataclasses import replace

from fix_ledger import Builder
from interlock import runs
from interlock.adapters.sql import rows, tables


def test_rows_follow_the_order_of_their_tables() -> None:
    builder = Builder()
    admission = builder.admission(key="k")
    change = builder.completion(admission)
    found = rows.dependants([admission, change])
    assert {table.name: len(lines) for table, lines in found.items()} == {
        "attempts": 1,
        "sends": 1,
        "events": 7,
        "decisions": 1,
        "artifacts": 1,
    }
    for table, lines in found.items():
        for line in lines:
            assert len(line) == len(table.columns)
            named = dict(zip((column.name for column in table.columns), line, strict=True))
            assert named["run_id"] == admission.run.run_id
            assert named["tenant_id"] == "default"
    run = dict(zip((column.name for column in tables.runs.columns), rows.run_row(admission.run), strict=True))
    assert run["idempotency_key"] == "k"
    assert run["deadline_at"] is None


def test_parents_come_before_their_children() -> None:
    builder = Builder()
    names = [table.name for table in rows.dependants([builder.admission()])]
    assert names.index("attempts") < names.index("sends")


def test_the_seldom_columns_travel_only_when_they_change() -> None:
    builder = Builder()
    admission = builder.admission()
    change = builder.note(admission.run, state=runs.State.WAITING)
    assert rows.editable_row(change) is None
    edited = replace(change, after=replace(change.after, input_json="{}"))
    assert "{}" in (rows.editable_row(edited) or ())


def test_moving_and_editable_columns_cover_a_run_but_for_what_never_changes() -> None:
    fixed = {
        "run_id", "tenant_id", "kind", "origin", "parent_run_id", "capability", "connector_id", "actor", "environment",
        "trace_id", "idempotency_key", "created_at", "traceparent",
    }  # fmt: skip
    assert {*rows.MOVING, *rows.EDITABLE} | fixed == {column.name for column in tables.runs.columns}
