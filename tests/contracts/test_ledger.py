"""What every ledger promises: values come back as they went in, admissions and changes happen once or not at all."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from fix_ledger import START, Builder
from interlock import runs
from interlock.adapters import sql
from interlock.adapters.sql.rows import lease_from
from interlock.adapters.sql.tables import leases
from interlock.kernel import Tx

pytestmark = pytest.mark.anyio


async def run_of(store: sql.SqlStore, ledger: runs.Ledger, run: runs.Run) -> runs.Run | None:
    return await store.read(lambda tx: ledger.find_run(tx, run.tenant_id, run.run_id))


async def test_an_admission_comes_back_whole(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    lease = await store.write(builder.connect)
    offered = builder.admission(
        key="k1", lease=lease, reason="näher 🚪", deadline_at=START + timedelta(microseconds=1), error={"code": "x"}
    )
    run, tenant = offered.run, offered.run.tenant_id
    assert await ledger.admit(offered) == runs.Admitted(run_id=run.run_id, fresh=True)

    def check(tx: Tx) -> None:
        assert ledger.find_run(tx, tenant, run.run_id) == run
        assert ledger.list_attempts(tx, tenant, run.run_id) == [offered.attempt]
        assert ledger.list_sends(tx, tenant, run.run_id) == [offered.send]
        assert ledger.list_events(tx, tenant, run.run_id) == list(offered.events)
        assert ledger.list_decisions(tx, tenant, run.run_id) == list(offered.decisions)
        assert ledger.find_key(tx, tenant, run.capability, "k1", START) == run.run_id
        stored = sql.connection(tx).execute(leases.select()).mappings().one()
        assert lease_from(stored) == offered.lease

    await store.read(check)


async def test_a_change_comes_back_whole(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    admission = builder.admission()
    change = builder.completion(admission, signature="c2ln", signing_key_id="key_1")
    run, tenant = admission.run, admission.run.tenant_id
    await ledger.admit(admission)
    await ledger.apply(change)

    def check(tx: Tx) -> None:
        assert ledger.find_run(tx, tenant, run.run_id) == change.after
        (attempt,) = ledger.list_attempts(tx, tenant, run.run_id)
        assert (attempt.state, attempt.finished_at) == (runs.AttemptState.COMPLETED, change.after.finished_at)
        (send,) = ledger.list_sends(tx, tenant, run.run_id)
        assert change.send_end is not None
        assert send.receipt_json == change.send_end.receipt_json
        assert send.delivery is runs.Delivery.RESPONDED
        assert [event.seq for event in ledger.list_events(tx, tenant, run.run_id)] == [1, 2, 3, 4, 5, 6, 7]
        assert ledger.list_events(tx, tenant, run.run_id, after_seq=4) == list(change.events)
        assert ledger.list_events(tx, tenant, run.run_id, after_seq=5, limit=1) == [change.events[1]]
        types = {change.events[0].type, change.events[-1].type}
        told = [each for each in ledger.list_events(tx, tenant, run.run_id) if each.type in types]
        assert ledger.list_told(tx, tenant, [run.run_id, "run_none"], types) == told
        assert ledger.list_told(tx, "another", [run.run_id], types) == []
        assert ledger.list_artifacts(tx, tenant, run.run_id) == list(change.artifacts)
        assert ledger.find_artifact(tx, tenant, change.artifacts[0].artifact_id) == change.artifacts[0]

    await store.read(check)


async def test_every_mutable_column_follows_the_change(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
) -> None:
    admission = builder.admission()
    await ledger.admit(admission)
    change = builder.note(
        admission.run,
        connector_version="2.0.0",
        manifest_digest="sha256:2",
        connection_id="con_2",
        targets=("sandbox", "local"),
        input_json='{"edited":true}',
        input_digest="sha256:3",
        state=runs.State.HELD,
        reason="approval",
        fence=2,
        attempt_count=2,
        approval_id="apr_1",
        error=[1, {"a": None}],
        signature="s",
        signing_key_id="k",
        updated_at=START + timedelta(days=1),
        finished_at=START + timedelta(days=2),
        deadline_at=START + timedelta(days=3),
    )
    fixed = {
        "run_id", "tenant_id", "kind", "origin", "parent_run_id", "capability", "connector_id", "actor", "environment",
        "trace_id", "idempotency_key", "created_at", "traceparent",
    }  # fmt: skip
    for field in fields(runs.Run):
        same = getattr(change.before, field.name) == getattr(change.after, field.name)
        assert same == (field.name in fixed), field.name
    await ledger.apply(change)
    assert await run_of(store, ledger, admission.run) == change.after
    emptied = builder.note(
        change.after, connector_version=None, manifest_digest=None, connection_id=None, reason=None, error=None
    )
    await ledger.apply(emptied)
    assert await run_of(store, ledger, admission.run) == emptied.after


async def test_a_later_attempt_with_its_send_and_lease(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
) -> None:
    admission = builder.admission()
    await ledger.admit(admission)
    lease = replace(await store.write(builder.connect), run_id=admission.run.run_id)
    change = builder.note(admission.run, fence=2, attempt_count=2)
    attempt = builder.attempt(change.after, lease_id=lease.lease_id)
    send = builder.send(attempt, purpose=runs.Purpose.RECONCILE)
    decision = builder.decision(change.after, number=2, effect="ask")
    await ledger.apply(replace(change, attempt=attempt, send=send, lease=lease, decisions=(decision,)))

    def check(tx: Tx) -> None:
        tenant, run_id = admission.run.tenant_id, admission.run.run_id
        assert ledger.list_attempts(tx, tenant, run_id) == [admission.attempt, attempt]
        assert ledger.list_sends(tx, tenant, run_id) == [admission.send, send]
        assert ledger.list_decisions(tx, tenant, run_id) == [*admission.decisions, decision]
        assert lease_from(sql.connection(tx).execute(leases.select()).mappings().one()) == lease

    await store.read(check)


async def test_asking_again_with_the_same_run_id_writes_once(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
) -> None:
    for admission in (builder.admission(), builder.admission(key="k1")):
        for _ in range(2):
            assert await ledger.admit(admission) == runs.Admitted(run_id=admission.run.run_id, fresh=True)
        await ledger.apply(builder.completion(admission))
        assert (await ledger.admit(admission)).fresh
        stored = await run_of(store, ledger, admission.run)
        assert stored is not None
        assert stored.state is runs.State.COMPLETED


async def test_a_taken_key_answers_with_its_run_and_writes_nothing(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
) -> None:
    first, second = builder.admission(key="k1"), builder.admission(key="k1")
    await ledger.admit(first)
    assert await ledger.admit(second) == runs.Admitted(run_id=first.run.run_id, fresh=False)
    assert await run_of(store, ledger, second.run) is None
    # Another capability and another tenant have keys of their own.
    assert (await ledger.admit(builder.admission(key="k1", capability="github.issue.get"))).fresh
    assert (await ledger.admit(Builder("other", prefix=1).admission(key="k1"))).fresh


async def test_an_expired_key_is_free(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    first = builder.admission(key="k1", key_days=1)
    later = first.run.created_at + timedelta(days=1)
    await ledger.admit(first)
    early = builder.admission(key="k1", created_at=later - timedelta(microseconds=1))
    assert await ledger.admit(early) == runs.Admitted(run_id=first.run.run_id, fresh=False)
    second = builder.admission(key="k1", created_at=later)
    assert await ledger.admit(second) == runs.Admitted(run_id=second.run.run_id, fresh=True)

    async def find(now: datetime) -> str | None:
        return await store.read(lambda tx: ledger.find_key(tx, "default", second.run.capability, "k1", now))

    assert await find(later) == second.run.run_id
    assert await find(later + timedelta(days=30)) is None


@pytest.mark.parametrize(
    "wrong",
    [{"fence": 7}, {"head_seq": 3}, {"head_hash": "f" * 64}, {"tenant_id": "other"}, {"run_id": "run_unknown"}],
)
async def test_a_change_from_another_state_is_stale_and_writes_nothing(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder, wrong: dict[str, Any]
) -> None:
    admission = builder.admission()
    await ledger.admit(admission)
    change = builder.completion(admission)
    with pytest.raises(runs.StaleRun) as caught:
        await ledger.apply(replace(change, before=replace(change.before, **wrong)))
    assert caught.value.run_id is not None

    def check(tx: Tx) -> None:
        tenant, run_id = admission.run.tenant_id, admission.run.run_id
        assert ledger.find_run(tx, tenant, run_id) == admission.run
        assert len(ledger.list_events(tx, tenant, run_id)) == 4
        assert ledger.list_artifacts(tx, tenant, run_id) == []
        assert ledger.list_attempts(tx, tenant, run_id) == [admission.attempt]

    await store.read(check)


async def test_a_change_may_be_asked_for_again(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    admission = builder.admission()
    change = builder.completion(admission)
    await ledger.admit(admission)
    await ledger.apply(change)
    await ledger.apply(change)
    rival = builder.completion(admission)
    with pytest.raises(runs.StaleRun):
        await ledger.apply(rival)
    assert await run_of(store, ledger, admission.run) == change.after


@pytest.mark.parametrize("what", ["attempt_end", "send_end"])
async def test_ending_what_the_run_does_not_have_fails_whole(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder, what: str
) -> None:
    ours, other = builder.admission(), builder.admission()
    await ledger.admit(ours)
    await ledger.admit(other)
    foreign = getattr(builder.completion(other), what)
    with pytest.raises(sql.RowRefused):
        await ledger.apply(replace(builder.completion(ours), **{what: foreign}))
    assert await run_of(store, ledger, ours.run) == ours.run
    await ledger.apply(builder.completion(ours))


async def test_in_the_callers_transaction(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    admission, rival = builder.admission(key="k1"), builder.admission(key="k1")
    change = builder.completion(admission)

    def fn(tx: Tx) -> tuple[runs.Admitted, runs.Admitted]:
        first = ledger.admit_in(tx, admission)
        second = ledger.admit_in(tx, rival)
        ledger.apply_in(tx, change)
        with pytest.raises(runs.StaleRun):
            ledger.apply_in(tx, builder.completion(admission))
        assert ledger.find_run(tx, "default", admission.run.run_id) == change.after
        return first, second

    first, second = await store.write(fn)
    assert (first.fresh, second.fresh, second.run_id) == (True, False, admission.run.run_id)
    assert await run_of(store, ledger, admission.run) == change.after


async def test_the_callers_rollback_takes_the_admission_with_it(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
) -> None:
    admission = builder.admission(key="k1")

    def fn(tx: Tx) -> None:
        ledger.admit_in(tx, admission)
        raise KeyError("changed my mind")

    with pytest.raises(KeyError):
        await store.write(fn)
    assert await run_of(store, ledger, admission.run) is None
    assert (await ledger.admit(builder.admission(key="k1"))).fresh


async def test_one_tenant_never_sees_anothers(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    admission = builder.admission(key="k1")
    change = builder.completion(admission)
    await ledger.admit(admission)
    await ledger.apply(change)

    def check(tx: Tx) -> None:
        run_id = admission.run.run_id
        assert ledger.find_run(tx, "other", run_id) is None
        assert ledger.find_key(tx, "other", admission.run.capability, "k1", START) is None
        assert ledger.find_artifact(tx, "other", change.artifacts[0].artifact_id) is None
        for listing in (ledger.list_attempts, ledger.list_sends, ledger.list_events, ledger.list_artifacts):
            assert listing(tx, "other", run_id) == []
        assert ledger.list_decisions(tx, "other", run_id) == []
        assert ledger.list_runs(tx, runs.RunFilter(tenant_id="other")) == []

    await store.read(check)


async def test_filters_and_pages(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    made = [
        builder.admission(
            capability="a" if number % 2 else "b",
            actor=f"actor{number % 3}",
            state=runs.State.FAILED if number % 4 == 0 else runs.State.RUNNING,
            parent_run_id="run_parent" if number < 4 else None,
            connection_id="con_1" if number > 5 else None,
            trace_id=f"trace{number // 5}",
        ).run
        for number in range(10)
    ]
    for run in made:
        await ledger.admit(builder_admission(builder, run))

    async def numbers(**wanted: Any) -> list[int]:
        query = runs.RunFilter(tenant_id="default", **wanted)
        known = [run.run_id for run in made]
        return [known.index(run.run_id) for run in await store.read(lambda tx: ledger.list_runs(tx, query))]

    assert await numbers() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert await numbers(limit=3) == [9, 8, 7]
    assert await numbers(limit=3, cursor=made[7].run_id) == [6, 5, 4]
    assert await numbers(capability="a") == [9, 7, 5, 3, 1]
    assert await numbers(actor="actor0", capability="a") == [9, 3]
    assert await numbers(states=(runs.State.FAILED, runs.State.HELD)) == [8, 4, 0]
    assert await numbers(parent_run_id="run_parent") == [3, 2, 1, 0]
    assert await numbers(connection_id="con_1") == [9, 8, 7, 6]
    assert await numbers(trace_id="trace0") == [4, 3, 2, 1, 0]
    assert await numbers(trace_id=made[9].run_id) == []
    first = builder.run()
    made.append(replace(first, trace_id=first.run_id))
    await ledger.admit(builder_admission(builder, made[-1]))
    made.append(builder.run(trace_id=first.run_id))
    await ledger.admit(builder_admission(builder, made[-1]))
    assert await numbers(trace_id=first.run_id) == [11, 10]
    assert await numbers(since=made[3].created_at, until=made[6].created_at) == [5, 4, 3]
    later = builder.run(created_at=made[2].created_at)  # a clock that was set back, and the same moment twice
    made.append(later)
    await ledger.admit(builder_admission(builder, later))
    assert (await numbers())[-4:] == [12, 2, 1, 0]
    assert await numbers(cursor=later.run_id) == [2, 1, 0]
    assert await numbers(cursor=made[2].run_id) == [1, 0]


async def test_a_list_leaves_inputs_where_they_are(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
) -> None:
    run = builder.run()
    await ledger.admit(builder_admission(builder, run))
    [listed] = await store.read(lambda tx: ledger.list_runs(tx, runs.RunFilter(tenant_id="default")))
    assert vars(run) == vars(listed) | {"input_json": run.input_json}


def builder_admission(builder: Builder, run: runs.Run) -> runs.Admission:
    """The barest admission of a run: no event but its first."""
    moved, events = builder.chain(replace(run, head_seq=0), "run.accepted")
    return runs.Admission(run=replace(moved, head_seq=run.head_seq, head_hash=run.head_hash), events=events)


async def test_owners_and_their_open_attempts(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    def owner(name: str, beat: int) -> runs.Owner:
        lease = timedelta(seconds=2.5)
        return runs.Owner(owner_id=name, host="h", process="1", started_at=START, beat=beat, lease=lease)

    made: dict[str, runs.Admission] = {}
    for name in ("own_live", "own_late", "own_gone", "own_done"):
        admission = builder.admission()
        assert admission.attempt is not None
        made[name] = replace(admission, attempt=replace(admission.attempt, owner_id=name))
        await ledger.admit(made[name])
    await ledger.apply(builder.completion(made["own_done"]))
    for one in (owner("own_live", 1), owner("own_late", 1), owner("own_late", 7), owner("own_gone", 1)):
        await store.write(lambda tx, one=one: ledger.renew_owner(tx, one))
    await store.write(lambda tx: ledger.drop_owner(tx, "own_gone"))

    known = await store.read(ledger.list_owners)
    assert sorted(known, key=lambda each: each.owner_id) == [owner("own_late", 7), owner("own_live", 1)]
    assert await store.read(ledger.list_busy) == {"own_live", "own_late", "own_gone"}

    def open_of(*names: str, limit: int = 10) -> Callable[[Tx], list[str]]:
        return lambda tx: [attempt.owner_id for attempt in ledger.list_open(tx, names, limit)]

    assert await store.read(open_of("own_gone", "own_late", "own_done")) == ["own_gone", "own_late"]
    assert await store.read(open_of("own_gone", "own_late", limit=1)) == ["own_gone"]
    assert await store.read(open_of()) == []


async def test_sqlite_finds_by_index_what_is_asked_for_often(memory_store: sql.SqlStore) -> None:
    """An index over some rows serves only a query that says so in the index's own words."""
    ledger, accounts, credentials = sql.SqlLedger(memory_store), sql.ConnectionRecords(), sql.HOLDINGS[0]
    asked: list[tuple[str, Any]] = []

    def note(_session: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    def plans(tx: Tx) -> list[str]:
        session = sql.connection(tx)
        event.listen(session, "before_cursor_execute", note)
        ledger.list_runs(tx, runs.RunFilter(tenant_id="default", states=(runs.State.HELD,)))
        ledger.list_runs(tx, runs.RunFilter(tenant_id="default", trace_id="trace"))
        ledger.list_runs(tx, runs.RunFilter(tenant_id="default", since=START, until=START + timedelta(hours=1)))
        ledger.list_runs(tx, runs.RunFilter(tenant_id="default", cursor="run_1"))
        ledger.list_runs(tx, runs.RunFilter(tenant_id="default", capability="a", until=START))
        ledger.list_busy(tx)
        ledger.list_open(tx, ["own_1"], 10)
        accounts.list_due(tx, START, limit=9)
        accounts.list_superseded(tx, START, limit=9)
        credentials.list_sealed(tx, "default", but="key_1", after="crd_1", limit=9)
        credentials.count(tx, "default")
        event.remove(session, "before_cursor_execute", note)
        found = [session.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", each) for statement, each in list(asked)]
        return [" ".join(str(row[3]) for row in rows) for rows in found]

    states, trace, window, following, capability, busy, held, *secrets = await memory_store.read(plans)
    assert "ix_runs_tenant_id_state_created_at_run_id" in states
    assert "ix_runs_tenant_id_created_at_run_id (tenant_id=? AND created_at>? AND created_at<?)" in window
    assert "ix_runs_tenant_id_created_at_run_id (tenant_id=? AND " in following
    assert (
        "ix_runs_tenant_id_capability_created_at_run_id (tenant_id=? AND capability=? AND created_at<?)" in capability
    )
    assert all("TEMP B-TREE" not in plan for plan in (states, window, following, capability))
    assert "ix_runs_trace_id" in trace
    assert "ix_attempts_owner_id" in busy
    assert "ix_attempts_owner_id" in held
    due, superseded, sealed, counted = secrets
    assert "ix_connections_refresh_due_at" in due
    assert "ix_credentials_overlap_until (overlap_until>? AND overlap_until<?)" in superseded
    assert "ix_credentials_tenant_id_credential_id (tenant_id=? AND credential_id>?)" in sealed
    assert "ix_credentials_tenant_id_credential_id (tenant_id=?)" in counted
