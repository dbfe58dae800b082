"""Subscriptions, the feed and messages in SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, and_, bindparam, case, delete, exists, func, insert, or_, select, update

from interlock import connections, subscriptions
from interlock.adapters.sql.rows import Record, pack, unpack
from interlock.adapters.sql.tables import (
    PENDING,
    connection_events,
    events,
    feed_events,
    feeds,
    messages,
    outbox,
    runs,
)
from interlock.adapters.sql.tables import connections as accounts
from interlock.adapters.sql.tables import subscriptions as table
from interlock.adapters.sql.transaction import connection as session
from interlock.adapters.sql.transaction import lock, upsert
from interlock.kernel import JSON, Tx, from_rfc3339, to_rfc3339

_ABOUT_RUNS: Final = (
    "run_id", "kind", "origin", "capability", "connector_id", "connection_id", "actor", "environment", "trace_id",
    "parent_run_id",
)  # fmt: skip
_ABOUT_CONNECTIONS: Final = ("connection_id", "connector_id", "name")
_ERROR: Final = ("code", "message", "retry", "fault", "next_step")
"""What is told of an error; its details are in the run."""

_UNTOLD: Final = (
    select(
        outbox,
        events.c.body.label("run_event"),
        connection_events.c.body.label("connection_event"),
        *(runs.c[name].label(f"run_{name}") for name in _ABOUT_RUNS),
        *(accounts.c[name].label(f"connection_{name}") for name in _ABOUT_CONNECTIONS),
    )
    .outerjoin(events, and_(events.c.run_id == outbox.c.subject_id, events.c.seq == outbox.c.seq))
    .outerjoin(runs, runs.c.run_id == events.c.run_id)
    .outerjoin(
        connection_events,
        and_(connection_events.c.connection_id == outbox.c.subject_id, connection_events.c.seq == outbox.c.seq),
    )
    .outerjoin(accounts, accounts.c.connection_id == connection_events.c.connection_id)
    .order_by(outbox.c.subject_id, outbox.c.seq)
)
_TAKE: Final = delete(outbox).where(outbox.c.subject_id == bindparam("subject"), outbox.c.seq == bindparam("number"))
_ADD: Final = insert(messages)
_LISTENS: Final = exists().where(feeds.c.tenant_id == bindparam("tenant"))


class SubscriptionRecords:
    """Implements `subscriptions.Records`."""

    def insert(self, tx: Tx, subscription: subscriptions.Subscription) -> None:
        session(tx).execute(insert(table).values(_row(subscription)))

    def replace(self, tx: Tx, before: subscriptions.Subscription, after: subscriptions.Subscription) -> bool:
        fence = (
            table.c.tenant_id == before.tenant_id,
            table.c.subscription_id == before.subscription_id,
            table.c.revision == before.revision,
            table.c.key_id == before.sealed.key_id,  # a rotation of keys may have sealed it anew meanwhile
        )
        return session(tx).execute(update(table).where(*fence).values(_row(after))).rowcount == 1

    def delete(self, tx: Tx, tenant_id: str, subscription_id: str) -> bool:
        mine = (table.c.tenant_id == tenant_id, table.c.subscription_id == subscription_id)
        if session(tx).execute(delete(table).where(*mine)).rowcount == 0:
            return False
        session(tx).execute(
            delete(messages).where(messages.c.subscription_id == subscription_id, messages.c.state == PENDING)
        )
        return True

    def note_failing(self, tx: Tx, subscription_id: str, since: datetime | None) -> None:
        first = table.c.failing_since.is_(None) if since is not None else table.c.failing_since.is_not(None)
        mine = (table.c.subscription_id == subscription_id, first)
        session(tx).execute(update(table).where(*mine).values(failing_since=since))

    def find(self, tx: Tx, tenant_id: str, subscription_id: str) -> subscriptions.Subscription | None:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.subscription_id == subscription_id)
        return next(iter(_all(tx, query)), None)

    def list_subscriptions(
        self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int
    ) -> Sequence[subscriptions.Subscription]:
        query = select(table).where(table.c.tenant_id == tenant_id)
        if cursor is not None:
            query = query.where(table.c.subscription_id < cursor)
        return _all(tx, query.order_by(table.c.subscription_id.desc()).limit(limit))

    def list_hearing(self, tx: Tx, tenant_ids: Collection[str]) -> Sequence[subscriptions.Subscription]:
        hearing = (table.c.tenant_id.in_(tenant_ids), table.c.state != subscriptions.State.DISABLED.value)
        return _all(tx, select(table).where(*hearing).order_by(table.c.subscription_id))

    def list_disabled(self, tx: Tx, *, limit: int) -> Sequence[subscriptions.Subscription]:
        query = select(table).where(table.c.state == subscriptions.State.DISABLED.value)
        return _all(tx, query.order_by(table.c.updated_at.desc()).limit(limit))

    def listen(self, tx: Tx, tenant_id: str, *, until: datetime) -> None:
        offered = upsert(tx, feeds).values(tenant_id=tenant_id, until=until, kept_after=self.head(tx))
        longer = {"until": offered.excluded.until}
        session(tx).execute(
            offered.on_conflict_do_update(
                index_elements=["tenant_id"], set_=longer, where=feeds.c.until < offered.excluded.until
            )
        )

    def is_untold(self, tx: Tx) -> bool:
        return session(tx).execute(select(outbox.c.seq).limit(1)).first() is not None

    def take_untold(self, tx: Tx, *, limit: int) -> Sequence[subscriptions.Untold]:
        lock(tx, "feed")
        found = session(tx).execute(_UNTOLD.limit(limit)).mappings().all()
        if found:
            session(tx).execute(_TAKE, [{"subject": row["subject_id"], "number": row["seq"]} for row in found])
        return sorted((_untold(row) for row in found), key=lambda each: (each.at, each.subject_id, each.seq))

    def tell(self, tx: Tx, untold: subscriptions.Untold) -> None:
        own = {
            "type": untold.type,
            "event_id": untold.event_id,
            "at": to_rfc3339(untold.at),
            "data": untold.data,
        }
        tell(tx, untold.tenant_id, [(untold.subject_id, untold.seq)], own=pack(own))

    def head(self, tx: Tx) -> int:
        return session(tx).execute(select(func.max(feed_events.c.position))).scalar() or 0

    def add_events(self, tx: Tx, events: Sequence[subscriptions.Event]) -> None:
        names = ("position", "tenant_id", "event_id", "type", "at", "capability", "connection_id")
        rows = [{name: getattr(each, name) for name in names} | {"data_json": pack(each.data)} for each in events]
        session(tx).execute(insert(feed_events), rows)

    def span(self, tx: Tx, tenant_id: str) -> subscriptions.Span:
        first = session(tx).execute(select(func.min(feed_events.c.position))).scalar() or 1
        kept = session(tx).execute(select(feeds.c.kept_after).where(feeds.c.tenant_id == tenant_id)).scalar() or 0
        return subscriptions.Span(kept_after=max(first - 1, kept), head=self.head(tx))

    def list_events(self, tx: Tx, tenant_id: str, *, after: int, limit: int) -> Sequence[subscriptions.Event]:
        mine = (feed_events.c.tenant_id == tenant_id, feed_events.c.position > after)
        query = select(feed_events).where(*mine).order_by(feed_events.c.position).limit(limit)
        return [_event(row) for row in session(tx).execute(query).mappings()]

    def find_event(self, tx: Tx, tenant_id: str, position: int) -> subscriptions.Event | None:
        mine = (feed_events.c.position == position, feed_events.c.tenant_id == tenant_id)
        row = session(tx).execute(select(feed_events).where(*mine)).mappings().first()
        return None if row is None else _event(row)

    def add_messages(self, tx: Tx, messages: Sequence[subscriptions.Message]) -> None:
        session(tx).execute(_ADD, [_message_row(each) for each in messages])

    def claim(self, tx: Tx, message: subscriptions.Message, *, at: datetime, until: datetime) -> bool:
        free = or_(messages.c.claimed_until.is_(None), messages.c.claimed_until <= at)
        mine = (
            messages.c.message_id == message.message_id,
            messages.c.tenant_id == message.tenant_id,
            messages.c.state == subscriptions.MessageState.PENDING.value,
            messages.c.tries == message.tries,
            messages.c.due_at <= at,
            free,
        )
        return session(tx).execute(update(messages).where(*mine).values(claimed_until=until)).rowcount == 1

    def settle(self, tx: Tx, claimed: subscriptions.Message, after: subscriptions.Message) -> bool:
        mine = (
            messages.c.message_id == claimed.message_id,
            messages.c.tenant_id == claimed.tenant_id,
            messages.c.claimed_until == claimed.claimed_until,
        )
        return session(tx).execute(update(messages).where(*mine).values(_message_row(after))).rowcount == 1

    def again(self, tx: Tx, message: subscriptions.Message, *, at: datetime) -> bool:
        pending = subscriptions.MessageState.PENDING.value
        mine = (messages.c.message_id == message.message_id, messages.c.tenant_id == message.tenant_id)
        sooner = (*mine, messages.c.state == pending, messages.c.due_at > at)
        untried = case((messages.c.tries > 0, messages.c.tries - 1), else_=0)
        if session(tx).execute(update(messages).where(*sooner).values(due_at=at, tries=untried)).rowcount:
            return True
        values = {"state": pending, "tries": 0, "due_at": at, "finished_at": None}
        return (
            session(tx).execute(update(messages).where(*mine, messages.c.state != pending).values(values)).rowcount == 1
        )

    def find_message(self, tx: Tx, tenant_id: str, message_id: str) -> subscriptions.Message | None:
        query = select(messages).where(messages.c.message_id == message_id, messages.c.tenant_id == tenant_id)
        return next(iter(_messages(tx, query)), None)

    def list_messages(
        self,
        tx: Tx,
        tenant_id: str,
        subscription_id: str,
        *,
        state: subscriptions.MessageState | None,
        cursor: str | None,
        limit: int,
    ) -> Sequence[subscriptions.Message]:
        query = select(messages).where(messages.c.tenant_id == tenant_id, messages.c.subscription_id == subscription_id)
        if state is not None:
            query = query.where(messages.c.state == state.value)
        if cursor is not None:
            query = query.where(messages.c.message_id < cursor)
        return _messages(tx, query.order_by(messages.c.message_id.desc()).limit(limit))

    def list_due(
        self, tx: Tx, now: datetime, *, each: int, limit: int, subscription_id: str | None = None
    ) -> Sequence[subscriptions.Message]:
        # Those that are being sent have been due for longest, and so count.
        first = messages.alias()
        firsts = (
            select(first.c.message_id)
            .where(first.c.subscription_id == table.c.subscription_id, first.c.state == PENDING, first.c.due_at <= now)
            .order_by(first.c.due_at, first.c.message_id)
            .limit(each)
            .correlate(table)
        )
        free = or_(messages.c.claimed_until.is_(None), messages.c.claimed_until <= now)
        query = (
            select(messages)
            .join_from(table, messages, messages.c.message_id.in_(firsts))
            .where(table.c.state == subscriptions.State.ACTIVE.value, free)
            .order_by(messages.c.due_at, messages.c.message_id)
            .limit(limit)
        )
        if subscription_id is not None:
            query = query.where(table.c.subscription_id == subscription_id)
        return _messages(tx, query)


def tell(tx: Tx, tenant_id: str, happened: Sequence[tuple[str, int]], *, own: str | None = None) -> None:
    """Add to the outbox what happened, by its subject and its number there, if anybody listens to that tenant."""
    if session(tx).execute(select(_LISTENS), {"tenant": tenant_id}).scalar():
        rows = [
            {"subject_id": subject, "seq": seq, "tenant_id": tenant_id, "own_json": own} for subject, seq in happened
        ]
        session(tx).execute(insert(outbox), rows)


def _untold(row: Record) -> subscriptions.Untold:
    if row["run_event"] is not None:
        body = unpack(row["run_event"])
        said, about = body["data"], {name: row[f"run_{name}"] for name in _ABOUT_RUNS}
        error = said.get("error")
        told: dict[str, JSON] = {
            **about,
            "reason": said.get("reason"),
            "approval_id": said.get("approval_id"),
            "error": None if error is None else {name: error.get(name) for name in _ERROR},
        }
        kind = body["type"]
    elif row["connection_event"] is not None:
        body = unpack(row["connection_event"])
        about = {name: row[f"connection_{name}"] for name in _ABOUT_CONNECTIONS}
        told = {**about, "actor": body["actor"], "reason": body["reason"], "details": body["data"]}
        kind = f"connection.{body['type']}"
    else:
        body = unpack(row["own_json"])
        told, kind = body["data"], body["type"]
    return subscriptions.Untold(
        subject_id=row["subject_id"],
        seq=row["seq"],
        tenant_id=row["tenant_id"],
        type=kind,
        event_id=body["event_id"],
        at=from_rfc3339(body["at"]),
        capability=row["run_capability"],
        connection_id=row["run_connection_id"] or row["connection_connection_id"],
        data=told,
    )


def _row(subscription: subscriptions.Subscription) -> dict[str, Any]:
    wish, sealed = subscription.wish, subscription.sealed
    return {column.name: getattr(subscription, column.name, None) for column in table.columns} | {
        "types": pack(list(wish.types)),
        "capabilities": pack(list(wish.capabilities)),
        "connections": pack(list(wish.connections)),
        "scheme": subscription.scheme.value,
        "state": subscription.state.value,
        "key_id": sealed.key_id,
        "nonce": sealed.nonce,
        "ciphertext": sealed.ciphertext,
        "public_keys": pack(list(subscription.public_keys)),
    }


def _all(tx: Tx, query: Select[Any]) -> list[subscriptions.Subscription]:
    return [_subscription(dict(row)) for row in session(tx).execute(query).mappings()]


def _subscription(facts: dict[str, Any]) -> subscriptions.Subscription:
    wish = {name: tuple(unpack(facts.pop(name))) for name in ("types", "capabilities", "connections")}
    sealed = {name: facts.pop(name) for name in ("key_id", "nonce", "ciphertext")}
    facts |= {
        "scheme": subscriptions.Scheme(facts["scheme"]),
        "state": subscriptions.State(facts["state"]),
        "public_keys": tuple(unpack(facts["public_keys"])),
    }
    return subscriptions.Subscription(wish=subscriptions.Wish(**wish), sealed=connections.Sealed(**sealed), **facts)


def _event(row: Record) -> subscriptions.Event:
    facts: dict[str, Any] = dict(row)
    return subscriptions.Event(data=unpack(facts.pop("data_json")), **facts)


def _message_row(message: subscriptions.Message) -> dict[str, Any]:
    return {column.name: getattr(message, column.name) for column in messages.columns} | {"state": message.state.value}


def _messages(tx: Tx, query: Select[Any]) -> list[subscriptions.Message]:
    return [
        subscriptions.Message(**{**row, "state": subscriptions.MessageState(row["state"])})  # pyright: ignore[reportArgumentType]
        for row in session(tx).execute(query).mappings()
    ]
