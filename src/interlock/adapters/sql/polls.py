"""Polls, and what they have met, in SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import RowMapping, Select, delete, insert, or_, select, update

from interlock import sdk, triggers
from interlock.adapters.sql.rows import optional, pack, read_optional, unpack
from interlock.adapters.sql.timed_tables import DUE
from interlock.adapters.sql.timed_tables import polled_items as known_items
from interlock.adapters.sql.timed_tables import polls as table
from interlock.adapters.sql.transaction import connection as session
from interlock.adapters.sql.transaction import upsert
from interlock.kernel import Tx

_Poll = triggers.polling.Poll
_MICROSECOND: Final = timedelta(microseconds=1)
_AT_ONCE: Final = 500
_NAMED: Final = ["tenant_id", "name"]


class PollRecords:
    """Implements `triggers.polling.PollRecords`."""

    def insert(self, tx: Tx, poll: _Poll) -> bool:
        statement = upsert(tx, table).values(_row(poll)).on_conflict_do_nothing(index_elements=_NAMED)
        return session(tx).execute(statement.returning(table.c.trigger_id)).first() is not None

    def replace(self, tx: Tx, before: _Poll, after: _Poll) -> bool:
        place = (
            table.c.tenant_id == before.tenant_id,
            table.c.trigger_id == before.trigger_id,
            table.c.revision == before.revision,
        )
        return session(tx).execute(update(table).where(*place).values(_row(after))).rowcount == 1

    def find(self, tx: Tx, tenant_id: str, ref: str) -> _Poll | None:
        named = or_(table.c.trigger_id == ref, table.c.name == ref)
        return next(iter(_all(tx, select(table).where(table.c.tenant_id == tenant_id, named))), None)

    def list_named(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[_Poll]:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.name > (cursor or ""))
        return _all(tx, query.order_by(table.c.name).limit(limit))

    def list_made(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[_Poll]:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.trigger_id > (cursor or ""))
        return _all(tx, query.order_by(table.c.trigger_id).limit(limit))

    def delete(self, tx: Tx, poll: _Poll) -> bool:
        session(tx).execute(delete(known_items).where(*_met_by(poll)))
        place = (table.c.tenant_id == poll.tenant_id, table.c.trigger_id == poll.trigger_id)
        return session(tx).execute(delete(table).where(*place)).rowcount == 1

    def list_next(self, tx: Tx, *, limit: int) -> Sequence[_Poll]:
        return _all(tx, select(table).where(DUE).order_by(table.c.next_at, table.c.trigger_id).limit(limit))

    def known(self, tx: Tx, poll: _Poll, keys: Collection[str]) -> Collection[str]:
        asked, found = list(keys), set[str]()
        for start in range(0, len(asked), _AT_ONCE):
            query = select(known_items.c.key).where(
                *_met_by(poll), known_items.c.key.in_(asked[start : start + _AT_ONCE])
            )
            found.update(session(tx).execute(query).scalars())
        return found

    def meet(self, tx: Tx, poll: _Poll, items: Sequence[triggers.polling.Item], now: datetime) -> None:
        place = {"tenant_id": poll.tenant_id, "trigger_id": poll.trigger_id}
        if items:
            session(tx).execute(
                insert(known_items), [{**place, "key": each.key, "at": each.at or now} for each in items]
            )

    def forget(self, tx: Tx, poll: _Poll, before: datetime) -> None:
        session(tx).execute(delete(known_items).where(*_met_by(poll), known_items.c.at < before))


def _met_by(poll: _Poll) -> tuple[Any, ...]:
    return (known_items.c.tenant_id == poll.tenant_id, known_items.c.trigger_id == poll.trigger_id)


def _row(poll: _Poll) -> dict[str, Any]:
    return {column.name: getattr(poll, column.name, None) for column in table.columns} | {
        "config_json": pack(dict(poll.config)),
        "mark_json": optional(poll.mark),
        "interval_us": poll.interval // _MICROSECOND,
        "pace_us": poll.pace // _MICROSECOND,
        "state": poll.state.value,
        "retry_json": poll.retry.model_dump_json(exclude_defaults=True),
    }


def _all(tx: Tx, query: Select[Any]) -> list[_Poll]:
    return [_poll(record) for record in session(tx).execute(query).mappings()]


def _poll(record: RowMapping) -> _Poll:
    facts: dict[str, Any] = dict(record)
    facts |= {
        "config": unpack(facts.pop("config_json")),
        "mark": read_optional(facts.pop("mark_json")),
        "interval": facts.pop("interval_us") * _MICROSECOND,
        "pace": facts.pop("pace_us") * _MICROSECOND,
        "state": triggers.polling.State(facts["state"]),
        "retry": sdk.Retries.model_validate_json(facts.pop("retry_json") or "{}"),
    }
    return _Poll(**facts)
