"""What is over leaves the store, and nothing else does."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import Table, func, insert, select

from fix_ledger import START, Builder
from interlock import budgets, runs
from interlock.adapters import sql
from interlock.adapters.sql import housekeeping, tables
from interlock.kernel import Tx, Uuid7Ids
from interlock.runs import revalidation
from interlock.testing import ManualClock
from interlock.triggers import webhooks

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


def rows(tx: Tx, table: Table, column: str) -> set[Any]:
    return set(sql.connection(tx).execute(select(table.c[column])).scalars())


async def put(store: sql.SqlStore, table: Table, *values: dict[str, Any]) -> None:
    await store.write(lambda tx: sql.connection(tx).execute(insert(table), list(values)) and None)


def key(name: str, expires_at: datetime) -> dict[str, Any]:
    return {"tenant_id": "t", "capability": "c", "key": name, "run_id": f"run_{name}", "expires_at": expires_at}


def validator(name: str, updated_at: datetime, connection_id: str = "con_1") -> runs.Validator:
    return runs.Validator(
        tenant_id="t",
        connection_id=connection_id,
        request_digest=name,
        etag="x",
        headers=[],
        body=b"x",
        updated_at=updated_at,
    )


async def test_keys_go_when_they_expire(store: sql.SqlStore) -> None:
    await put(store, tables.idempotency_keys, key("over", START), key("lasts", START + timedelta(microseconds=1)))
    assert await sql.sweep(store, START) == 1
    assert await store.read(lambda tx: rows(tx, tables.idempotency_keys, "key")) == {"lasts"}


async def test_keys_of_a_scripts_actions_go_long_after_its_end(store: sql.SqlStore, builder: Builder) -> None:
    ended, waits, buried = (builder.admission() for _ in range(3))
    for script in (ended, waits, buried):
        await store.admit(script)
        for seq in (1, 2):
            child = builder.admission(
                key=f"{script.run.run_id}:{seq}", origin=runs.Origin.SCRIPT, parent_run_id=script.run.run_id
            )
            await store.admit(replace(child, key_expires_at=runs.NEVER))
    for script, state in ((ended, runs.State.COMPLETED), (buried, runs.State.DEAD)):
        change = builder.completion(script, state=state)
        await store.apply(change)
    end = START + timedelta(minutes=1) + runs.KEY_LIFE
    assert await sql.sweep(store, START) == 0
    assert await sql.sweep(store, end - timedelta(minutes=2)) == 0
    assert await sql.sweep(store, end) == 2
    left = await store.read(lambda tx: rows(tx, tables.idempotency_keys, "key"))
    # A dead letter may be replayed.
    assert left == {f"{script.run.run_id}:{seq}" for script in (waits, buried) for seq in (1, 2)}


async def test_leases_go_long_after_their_end(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder) -> None:
    lease = await store.write(builder.connect)
    admission = builder.admission(key="k", lease=lease)
    await store.admit(admission)
    end = lease.expires_at + housekeeping.LEASE_KEPT
    assert await sql.sweep(store, end) == 1  # the key
    assert await sql.sweep(store, end + timedelta(microseconds=1)) == 1
    assert await store.read(lambda tx: rows(tx, tables.leases, "lease_id")) == set()
    kept = await store.read(lambda tx: ledger.find_run(tx, "default", admission.run.run_id))
    assert kept == admission.run
    assert await store.read(lambda tx: len(ledger.list_events(tx, "default", admission.run.run_id))) == 4


async def test_validators_go_that_nobody_confirmed(store: sql.SqlStore) -> None:
    records = sql.ValidatorRecords()
    assert housekeeping.VALIDATOR_KEPT == revalidation.LIFE
    for name, age in (("over", 7 * DAY + timedelta(seconds=1)), ("lasts", 7 * DAY)):
        kept = validator(name, START - age)
        await store.write(lambda tx, kept=kept: records.save(tx, kept))
    assert await sql.sweep(store, START) == 1
    assert await store.read(lambda tx: rows(tx, tables.validators, "request_digest")) == {"lasts"}


async def test_sets_of_keys_go_that_count_no_more(store: sql.SqlStore) -> None:
    records = sql.KeySetRecords()
    for name, age in (("over", DAY + timedelta(seconds=1)), ("lasts", DAY)):
        kept = webhooks.KeptSet("{}", START - age)
        await store.write(
            lambda tx, name=name, kept=kept: records.save(tx, "t1", f"https://{name}.dev", kept, latest=START)
        )
    assert await sql.sweep(store, START) == 1
    assert await store.read(lambda tx: records.find(tx, "t1", "https://over.dev")) is None
    assert await store.read(lambda tx: records.find(tx, "t1", "https://lasts.dev")) is not None
    assert await store.read(lambda tx: records.find(tx, "t2", "https://lasts.dev")) is None


async def test_evidence_goes_that_is_old_of_each_tenant(store: sql.SqlStore) -> None:
    for tenant_id in ("t1", "t2"):
        for name, age in (("over", 10 * DAY + timedelta(microseconds=1)), ("lasts", 10 * DAY)):
            facts = {"tenant_id": tenant_id, "digest": f"{name} {tenant_id}", "record_json": "{}"}
            await put(store, tables.evidence, {**facts, "finished_at": START - age})
    assert await sql.sweep(store, START) == 0
    assert await sql.sweep(store, START, evidence_kept=10 * DAY) == 2
    assert await store.read(lambda tx: rows(tx, tables.evidence, "digest")) == {"lasts t1", "lasts t2"}


async def test_budgets_forget_what_no_rule_can_mean(store: sql.SqlStore) -> None:
    clock = ManualClock()
    rule = budgets.Rule(
        name="all",
        per=budgets.Per.CONNECTION,
        concurrency=2,
        rate=budgets.Rate(limit=9, per_seconds=366 * 86_400),
    )
    service = budgets.Budgets(store, sql.BudgetRecords(), clock=clock, rules=(rule,))
    call = budgets.Call(
        tenant_id="t", capability_id="c", connector_id="x", connection_id="con_1", effect="read", environment="dev"
    )
    assert isinstance(await service.reserve(call, holder="run_1"), budgets.Reservation)
    await service.block(call, until=clock.now() + timedelta(seconds=30))
    assert await sql.sweep(store, clock.now()) == 0
    clock.advance(30)
    assert await sql.sweep(store, clock.now()) == 1  # the block
    clock.advance(86_431)
    assert await sql.sweep(store, clock.now()) == 1  # the slot of a dead holder
    assert await service.pressure(call) == {"budget_left": pytest.approx(8 / 9)}
    clock.advance(2 * 366 * 86_400)
    assert await sql.sweep(store, clock.now()) == 1  # the window
    assert await sql.sweep(store, clock.now()) == 0
    assert isinstance(await service.reserve(call, holder="run_2"), budgets.Reservation)


async def test_budgets_of_turns_leave_nothing_for_ever(store: sql.SqlStore) -> None:
    clock, kept = ManualClock(), housekeeping.WINDOW_KEPT
    service = budgets.Budgets(store, sql.BudgetRecords(), clock=clock)
    call = budgets.Call(
        tenant_id="t",
        capability_id="agent.a",
        connector_id="agent",
        connection_id=None,
        effect="execute",
        environment="dev",
    )

    async def hold() -> None:
        key = budgets.Key(tenant_id="t", budget=":turn", subject=Uuid7Ids(clock).new("run"))
        cap = budgets.Cap(key=key, unit="calls", limit=9, since=clock.now())
        hold = {"calls": 1}
        taken = await store.write(lambda tx: service.hold_in(tx, call, holder=key.subject, amounts=hold, caps=[cap]))
        assert taken is None
        await store.write(lambda tx: service.settle_in(tx, tenant_id="t", holder=key.subject, amounts=hold))

    await hold()
    clock.advance(kept.total_seconds() - 60)
    await hold()
    assert await sql.sweep(store, clock.now()) == 0
    clock.advance(61)
    assert await sql.sweep(store, clock.now()) == 2, "what was counted, and the key that it was counted under"
    assert len(await store.read(lambda tx: rows(tx, tables.budget_windows, "subject"))) == 1
    clock.advance(kept.total_seconds())
    await sql.sweep(store, clock.now())
    assert not await store.read(lambda tx: rows(tx, tables.budget_windows, "subject"))


async def test_a_sweep_is_bounded_and_goes_in_small_steps(
    store: sql.SqlStore, monkeypatch: pytest.MonkeyPatch, builder: Builder
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 3)
    monkeypatch.setattr(housekeeping, "MOST_BATCHES", 2)
    await put(store, tables.idempotency_keys, *(key(str(number), START) for number in range(10)))
    late = START + housekeeping.LEASE_KEPT + DAY
    first = await store.write(builder.connect)
    for _ in range(7):
        await store.admit(builder.admission(lease=replace(first, lease_id=builder.id("lse"))))
    assert [await sql.sweep(store, late) for _ in range(3)] == [12, 5, 0]


async def test_two_sweeps_at_once(store_url: str, open_store: Callable[[str], sql.SqlStore]) -> None:
    stores = [open_store(store_url), open_store(store_url)]
    await put(stores[0], tables.idempotency_keys, *(key(str(number), START) for number in range(1200)))
    swept: list[int] = []

    async def one(store: sql.SqlStore) -> None:
        swept.append(await sql.sweep(store, START))

    async with anyio.create_task_group() as group:
        for each in stores:
            group.start_soon(one, each)
    assert sum(swept) == 1200
    count = select(func.count()).select_from(tables.idempotency_keys)
    assert await stores[0].read(lambda tx: sql.connection(tx).execute(count).scalar_one()) == 0


async def test_a_connection_keeps_only_so_many_validators(store: sql.SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.adapters.sql.validators.MOST", 3)
    records = sql.ValidatorRecords()

    def fill(tx: Tx) -> None:
        for number in range(5):
            records.save(tx, validator(f"d{number}", START + timedelta(seconds=number)))
            records.save(tx, validator(f"e{number}", START, connection_id="con_2"))
        records.prune(tx, "t", "con_1", START - DAY)

    await store.write(fill)
    kept = await store.read(lambda tx: rows(tx, tables.validators, "request_digest"))
    assert kept == {"d2", "d3", "d4", "e0", "e1", "e2", "e3", "e4"}
    await store.write(lambda tx: records.prune(tx, "t", "con_1", START + timedelta(seconds=4)))
    assert len(await store.read(lambda tx: rows(tx, tables.validators, "request_digest"))) == 6


async def test_a_delivery_that_is_just_replayed_stays(
    postgres_url: str, open_store: Callable[[str], sql.SqlStore]
) -> None:
    store, other = open_store(postgres_url), open_store(postgres_url)
    facts = dict.fromkeys(("delivery_id", "tenant_id", "route_id", "connector_id", "digest", "state"), "d")
    lines = {"size": 0, "headers_json": "{}", "facts_json": "{}", "received_at": START - 31 * DAY}
    await put(store, tables.deliveries, {**facts, **lines})
    held, go_on = threading.Event(), threading.Event()

    def replay(tx: Tx) -> None:
        session = sql.connection(tx)
        session.execute(select(tables.deliveries.c.facts_json).with_for_update())
        need = {"delivery_id": "d", "run_id": "r", "tenant_id": "d"}
        session.execute(insert(tables.delivery_needs).values(need))
        held.set()
        go_on.wait(4)  # less than the server lets it

    async with anyio.create_task_group() as group:
        group.start_soon(other.write, replay)
        await anyio.to_thread.run_sync(held.wait)
        await sql.sweep(store, START)  # it waits for nobody
        go_on.set()
    assert await store.read(lambda tx: rows(tx, tables.deliveries, "delivery_id")) == {"d"}
