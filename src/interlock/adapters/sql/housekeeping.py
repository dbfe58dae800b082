"""What is over leaves the store: a little at a time, so that no caller waits behind it.

Nothing that a run's record consists of is ever touched: what its events say of a lease stays, the lease itself may go.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Delete,
    Table,
    Update,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
    update,
)

from interlock import runs, subscriptions, triggers
from interlock.adapters.sql.tables import (
    agent_exchanges,
    agent_sessions,
    agent_summaries,
    dedupe_keys,
    deliveries,
    delivery_needs,
    dispatches,
    evidence,
    feed_events,
    feeds,
    installs,
    key_sets,
    leases,
    messages,
    validators,
)
from interlock.adapters.sql.tables import budget_holds as holds
from interlock.adapters.sql.tables import budget_slots as slots
from interlock.adapters.sql.tables import budget_windows as windows
from interlock.adapters.sql.tables import idempotency_keys as keys
from interlock.adapters.sql.tables import runs as run_rows
from interlock.adapters.sql.tables import subscriptions as subscribed
from interlock.adapters.sql.transaction import connection
from interlock.kernel import Store, Tx, to_micros

BATCH = 500
"""Rows in one transaction."""

MOST_BATCHES = 20
"""Transactions per table in one sweep; what is left waits for the next."""

LEASE_KEPT = timedelta(days=30)
"""How long a lease outlives its end, for people who look into an incident."""

INSTALL_KEPT = timedelta(days=30)
"""How long an install outlives its end, for people who ask what became of it. What it held is erased when it ends."""

VALIDATOR_KEPT = timedelta(days=7)
"""As long as `runs` keeps one that no read has confirmed. It drops only those of connections in use."""

DELIVERY_KEPT = timedelta(days=30)
"""How long deliveries are kept, for people who look into what came, and have it handled once more. One with data that a run could
not hold stays until the run is over, dead letters included."""

EVIDENCE_KEPT = timedelta(days=90)
"""How long the evidence of what was carried out outside of runs is kept, unless the settings say otherwise."""

SESSIONS = 20
"""Agents' sessions in one transaction: what each turn left goes with them."""

SLOT_KEPT = timedelta(days=1)
"""A slot that ended comes back when its holder renews it, late; after a day no holder will."""

WINDOW_KEPT = timedelta(days=366)
"""The longest window that a budget can have."""

ACTION_KEPT_US = runs.KEY_LIFE // timedelta(microseconds=1)
"""How long the keys of a script's actions outlive the script's run: any process that still holds it has lost it by then."""

_NO_WINDOW = datetime(1970, 1, 1, tzinfo=UTC)
"""Here a budget's key stands for itself: transactions take that row as their lock. It stays; blocks that are over go, and the
rows of turns and sessions, of which there are ever more: by their ids these are older than any window, and who still needs one
makes it again."""


async def sweep(
    store: Store,
    now: datetime,
    *,
    evidence_kept: timedelta = EVIDENCE_KEPT,
    sessions_kept: timedelta | None = None,
) -> int:
    """Delete what is over by that moment, in small transactions, and say how many rows went. `sessions_kept` is how long agents'
    sessions are kept in which nothing happens; None: for ever.

    Safe at any time and from any number of processes. At most BATCH x MOST_BATCHES rows of a table go at once. Raises
    StoreError.
    """
    await _repeat(store, _end_action_keys())
    # Evidence is in the order of its tenants.
    proven = [_evidence(each, now - evidence_kept) for each in await store.read(lambda tx: list_tenants(tx, evidence))]
    swept = sum([await _repeat(store, statement) for statement in (*_statements(now), *proven)])
    if sessions_kept is not None:
        before = now - sessions_kept
        swept += await _repeat(store, lambda tx: _drop_sessions(tx, before), full=SESSIONS)
    return swept + await _repeat(store, lambda tx: _drop_deliveries(tx, now))


def list_tenants(tx: Tx, table: Table) -> Sequence[str]:
    """Those that have rows in a table, by steps through an index that begins with them: as many as there are tenants, however
    many rows they have."""
    found: list[str] = []
    column = table.c.tenant_id
    while True:
        following = select(func.min(column)).where(column > (found[-1] if found else ""))
        if (tenant_id := connection(tx).execute(following).scalar()) is None:
            return found
        found.append(tenant_id)


async def _repeat(store: Store, step: Delete | Update | Callable[[Tx], int], *, full: int | None = None) -> int:
    """Until a step is not `full`, or for this sweep enough. How many rows it touched."""
    touched = 0
    for _ in range(MOST_BATCHES):
        rows = await store.write(lambda tx: step(tx) if callable(step) else _count(tx, step))
        touched += rows
        if rows < (full or BATCH):
            break
    return touched


def _count(tx: Tx, statement: Delete | Update) -> int:
    return connection(tx).execute(statement).rowcount


def _end_action_keys() -> Update:
    """Give the keys of a script's actions an end, once the script's run has one and can be run no more. Those without an
    end stay few, and are found by the index that finds what is over."""
    action, script = run_rows.alias("action"), run_rows.alias("script")
    both = action.join(script, script.c.run_id == action.c.parent_run_id)
    over = and_(script.c.finished_at.is_not(None), script.c.state != runs.State.DEAD.value)
    chosen = (
        select(*keys.primary_key)
        .join_from(keys, both, action.c.run_id == keys.c.run_id)
        .where(keys.c.expires_at == runs.NEVER, over)
        .limit(BATCH)
    )
    end = select(type_coerce(script.c.finished_at, BigInteger) + ACTION_KEPT_US).select_from(both)
    return (
        update(keys)
        .values(expires_at=end.where(action.c.run_id == keys.c.run_id).scalar_subquery())
        .where(tuple_(*keys.primary_key).in_(chosen))
    )


def _statements(now: datetime) -> Sequence[Delete]:
    window_over = and_(windows.c.window_start > _NO_WINDOW, windows.c.window_start < now - WINDOW_KEPT)
    of_old = or_(*(_is_older(windows.c.subject, prefix, now - WINDOW_KEPT) for prefix in ("run_", "ags_")))
    key_over = and_(windows.c.window_start == _NO_WINDOW, windows.c.blocked_until.is_(None), of_old)
    hears = exists().where(
        subscribed.c.tenant_id == feeds.c.tenant_id, subscribed.c.state != subscriptions.State.DISABLED.value
    )
    return (
        _first(keys.c.expires_at, keys.c.expires_at <= now),
        # A lease's id tells its age. So the oldest are found without an index that every call would have to write.
        _first(leases.c.lease_id, leases.c.expires_at < now - LEASE_KEPT, among=true()),
        _first(installs.c.expires_at, installs.c.expires_at < now - INSTALL_KEPT),
        _first(validators.c.updated_at, validators.c.updated_at < now - VALIDATOR_KEPT),
        _first(key_sets.c.fetched_at, key_sets.c.fetched_at < now - triggers.webhooks.KEYS_LAST),
        _first(dedupe_keys.c.expires_at, dedupe_keys.c.expires_at <= now),
        _first(delivery_needs.c.delivery_id, ~exists().where(dispatches.c.run_id == delivery_needs.c.run_id)),
        _first(slots.c.expires_at, slots.c.expires_at < now - SLOT_KEPT),
        _first(holds.c.created_at, holds.c.created_at < now - WINDOW_KEPT),
        _first(windows.c.window_start, or_(window_over, key_over, windows.c.blocked_until <= now)),
        _first(messages.c.message_id, messages.c.created_at < now - subscriptions.KEPT, among=true()),
        # The last one stays: the next one's place comes after it.
        _first(
            feed_events.c.position,
            and_(
                feed_events.c.at < now - subscriptions.KEPT,
                feed_events.c.position < select(func.max(feed_events.c.position)).correlate(None).scalar_subquery(),
            ),
            among=true(),
        ),
        _first(feeds.c.tenant_id, and_(feeds.c.until < now, ~hears)),
    )


def _drop_deliveries(tx: Tx, now: datetime) -> int:
    """In two statements: one that waited for a replay would not see, on Postgres, that the delivery is needed by now. As with
    leases, an id tells its age."""
    place = deliveries.c.delivery_id
    needless = ~exists().where(delivery_needs.c.delivery_id == place)
    first = select(place).where(needless).order_by(place).limit(BATCH)
    over = select(place).where(place.in_(first), deliveries.c.received_at < now - DELIVERY_KEPT)
    held = connection(tx).execute(over.with_for_update(skip_locked=True)).scalars().all()
    return connection(tx).execute(delete(deliveries).where(place.in_(held), needless)).rowcount if held else 0


def _drop_sessions(tx: Tx, before: datetime) -> int:
    """The sessions, with all that their turns left. One with a turn that has not ended stays."""
    at_work = exists().where(run_rows.c.run_id == agent_sessions.c.open_turn, run_rows.c.finished_at.is_(None))
    over = select(agent_sessions.c.session_id).where(agent_sessions.c.updated_at < before, ~at_work)
    first = over.order_by(agent_sessions.c.updated_at).limit(SESSIONS).with_for_update(skip_locked=True)
    held = connection(tx).execute(first).scalars().all()
    for table in (agent_exchanges, agent_summaries, agent_sessions):
        connection(tx).execute(delete(table).where(table.c.session_id.in_(held)))
    return len(held)


def _evidence(tenant_id: str, before: datetime) -> Delete:
    over = and_(evidence.c.tenant_id == tenant_id, evidence.c.finished_at < before)
    chosen = select(*evidence.primary_key).where(over).order_by(evidence.c.finished_at).limit(BATCH)
    return delete(evidence).where(over, tuple_(*evidence.primary_key).in_(chosen))


def _is_older(ids: Column[Any], prefix: str, moment: datetime) -> ColumnElement[bool]:
    """Whether it is an id that was made before a moment, which its first 48 bits tell."""
    made = max(0, to_micros(moment) // 1000)
    return and_(ids.startswith(prefix, autoescape=True), ids < f"{prefix}{made:012x}")


def _first(order: Column[Any], over: ColumnElement[bool], *, among: ColumnElement[bool] | None = None) -> Delete:
    """Delete the first BATCH rows that are over, in the order of an indexed column; or those that are over of the first BATCH
    `among` which they are sought, and look no further."""
    table = order.table
    chosen = select(*table.primary_key).where(over if among is None else among).order_by(order).limit(BATCH)
    # The condition again: on Postgres a row may have been renewed since it was chosen.
    return delete(table).where(over, tuple_(*table.primary_key).in_(chosen))
