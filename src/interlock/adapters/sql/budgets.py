"""Budget counters in SQL.

A key has one row in `budget_windows` at the window 1970 that stands for itself: transactions take it as their lock, and it
says until when the key is blocked. The counters `<budget>:<counter>` stand in rows of their own, one per window. What is
long over goes in `housekeeping`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, case, delete, func, select, update

from interlock import budgets
from interlock.adapters.sql.tables import budget_holds as holds
from interlock.adapters.sql.tables import budget_slots as slots
from interlock.adapters.sql.tables import budget_windows as windows
from interlock.adapters.sql.transaction import connection, upsert
from interlock.kernel import Tx

_ITSELF = datetime(1970, 1, 1, tzinfo=UTC)
_WINDOW_KEY = ["tenant_id", "budget", "subject", "window_start"]
_SLOT_KEY = ["tenant_id", "budget", "subject", "holder"]


class BudgetRecords:
    """Implements `budgets.Records`."""

    def lock(self, tx: Tx, keys: Iterable[budgets.Key]) -> None:
        # Setting a column to itself takes the row's lock, also when this statement is the one that inserts it; it takes one row
        # after the other, as they are listed.
        if places := [{"used": 0, **_window(key, key.budget, _ITSELF)} for key in sorted(set(keys))]:
            held = upsert(tx, windows).values(places)
            connection(tx).execute(
                held.on_conflict_do_update(index_elements=_WINDOW_KEY, set_={"used": windows.c.used})
            )

    def block(self, tx: Tx, key: budgets.Key, until: datetime) -> None:
        offered = upsert(tx, windows).values(used=0, blocked_until=until, **_window(key, key.budget, _ITSELF))
        later = offered.excluded.blocked_until
        current = windows.c.blocked_until
        longest = case((current.is_(None), later), (current < later, later), else_=current)
        connection(tx).execute(
            offered.on_conflict_do_update(index_elements=_WINDOW_KEY, set_={"blocked_until": longest})
        )

    def find_blocked(self, tx: Tx, key: budgets.Key) -> datetime | None:
        query = select(windows.c.blocked_until).where(_at(windows, key), windows.c.window_start == _ITSELF)
        return connection(tx).execute(query).scalar_one_or_none()

    def used(self, tx: Tx, key: budgets.Key, counter: str, window_start: datetime) -> int:
        place = _window(key, _counter(key, counter), window_start)
        query = select(windows.c.used).where(*(windows.c[name] == value for name, value in place.items()))
        return connection(tx).execute(query).scalar_one_or_none() or 0

    def add(self, tx: Tx, key: budgets.Key, counter: str, window_start: datetime, amount: int) -> None:
        place = _window(key, _counter(key, counter), window_start)
        fresh = upsert(tx, windows).values(used=amount, **place)
        connection(tx).execute(
            fresh.on_conflict_do_update(index_elements=_WINDOW_KEY, set_={"used": windows.c.used + amount})
        )
        older = [windows.c[name] == place[name] for name in ("tenant_id", "budget", "subject")]
        older.append(windows.c.window_start < window_start)
        # The one before stays: a clock that has jumped ahead, and is put back, finds what was used.
        last = (
            select(func.max(windows.c.window_start)).where(*older, windows.c.window_start > _ITSELF).scalar_subquery()
        )
        connection(tx).execute(delete(windows).where(*older, windows.c.window_start < last))

    def list_slots(self, tx: Tx, key: budgets.Key, now: datetime) -> dict[str, datetime]:
        query = select(slots.c.holder, slots.c.expires_at).where(_at(slots, key), slots.c.expires_at > now)
        return {row.holder: row.expires_at for row in connection(tx).execute(query)}

    def take_slot(self, tx: Tx, key: budgets.Key, reservation: budgets.Reservation, now: datetime) -> None:
        self._put_slot(tx, key, reservation, now)

    def renew_slot(self, tx: Tx, key: budgets.Key, reservation: budgets.Reservation, now: datetime) -> None:
        self._put_slot(tx, key, reservation, now, where=slots.c.reservation_id == reservation.reservation_id)

    def _put_slot(
        self,
        tx: Tx,
        key: budgets.Key,
        reservation: budgets.Reservation,
        now: datetime,
        *,
        where: ColumnElement[bool] | None = None,
    ) -> None:
        connection(tx).execute(delete(slots).where(_at(slots, key), slots.c.expires_at <= now))
        place = {"tenant_id": key.tenant_id, "budget": key.budget, "subject": key.subject, "holder": reservation.holder}
        facts = {"reservation_id": reservation.reservation_id, "expires_at": reservation.expires_at}
        fresh = upsert(tx, slots).values(**place, **facts)
        connection(tx).execute(fresh.on_conflict_do_update(index_elements=_SLOT_KEY, set_=facts, where=where))

    def drop_slot(self, tx: Tx, key: budgets.Key, reservation: budgets.Reservation) -> None:
        connection(tx).execute(
            delete(slots).where(
                _at(slots, key),
                slots.c.holder == reservation.holder,
                slots.c.reservation_id == reservation.reservation_id,
            )
        )

    def list_holds(self, tx: Tx, tenant_id: str, holders: Iterable[str]) -> Sequence[budgets.Hold]:
        if not (known := list(holders)):
            return []
        mine = and_(holds.c.tenant_id == tenant_id, holds.c.holder.in_(known))
        query = select(holds).where(mine).order_by(holds.c.budget, holds.c.subject, holds.c.counter)
        return [
            budgets.Hold(
                holder=row.holder,
                key=budgets.Key(tenant_id=row.tenant_id, budget=row.budget, subject=row.subject),
                counter=row.counter,
                unit=row.unit,
                window_start=row.window_start,
                amount=row.amount,
            )
            for row in connection(tx).execute(query)
        ]

    def put_hold(self, tx: Tx, hold: budgets.Hold, now: datetime) -> None:
        key = hold.key
        place = {"tenant_id": key.tenant_id, "holder": hold.holder, "budget": key.budget, "subject": key.subject}
        facts = {"unit": hold.unit, "window_start": hold.window_start, "amount": hold.amount, "created_at": now}
        fresh = upsert(tx, holds).values(counter=hold.counter, **place, **facts)
        connection(tx).execute(fresh.on_conflict_do_update(index_elements=[*place, "counter"], set_=facts))

    def drop_holds(self, tx: Tx, tenant_id: str, holder: str) -> None:
        connection(tx).execute(delete(holds).where(holds.c.tenant_id == tenant_id, holds.c.holder == holder))

    def change(self, tx: Tx, hold: budgets.Hold, amount: int) -> None:
        place = _window(hold.key, _counter(hold.key, hold.counter), hold.window_start)
        here = [windows.c[name] == value for name, value in place.items()]
        connection(tx).execute(update(windows).where(*here).values(used=windows.c.used + amount))


def _counter(key: budgets.Key, counter: str) -> str:
    return f"{key.budget}:{counter}"  # a budget's name holds no colon


def _window(key: budgets.Key, budget: str, window_start: datetime) -> dict[str, Any]:
    return {"tenant_id": key.tenant_id, "budget": budget, "subject": key.subject, "window_start": window_start}


def _at(table: Table, key: budgets.Key) -> ColumnElement[bool]:
    here = (table.c.tenant_id == key.tenant_id, table.c.budget == key.budget, table.c.subject == key.subject)
    return and_(*here)
