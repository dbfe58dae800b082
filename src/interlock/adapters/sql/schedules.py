"""Schedules in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, Select, delete, or_, select, update

from interlock import triggers
from interlock.adapters.sql.rows import pack, unpack
from interlock.adapters.sql.timed_tables import DUE
from interlock.adapters.sql.timed_tables import schedules as table
from interlock.adapters.sql.transaction import connection as session
from interlock.adapters.sql.transaction import upsert
from interlock.kernel import Tx

_Schedule = triggers.schedules.Schedule
_NAMED: Final = ["tenant_id", "name"]


class ScheduleRecords:
    """Implements `triggers.schedules.ScheduleRecords`."""

    def insert(self, tx: Tx, schedule: _Schedule) -> bool:
        statement = upsert(tx, table).values(_row(schedule)).on_conflict_do_nothing(index_elements=_NAMED)
        return session(tx).execute(statement.returning(table.c.schedule_id)).first() is not None

    def replace(self, tx: Tx, before: _Schedule, after: _Schedule) -> bool:
        place = (
            table.c.tenant_id == before.tenant_id,
            table.c.schedule_id == before.schedule_id,
            table.c.revision == before.revision,
        )
        return session(tx).execute(update(table).where(*place).values(_row(after))).rowcount == 1

    def find(self, tx: Tx, tenant_id: str, ref: str) -> _Schedule | None:
        named = or_(table.c.schedule_id == ref, table.c.name == ref)
        return next(iter(_all(tx, select(table).where(table.c.tenant_id == tenant_id, named))), None)

    def list_named(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[_Schedule]:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.name > (cursor or ""))
        return _all(tx, query.order_by(table.c.name).limit(limit))

    def delete(self, tx: Tx, schedule: _Schedule) -> bool:
        place = (table.c.tenant_id == schedule.tenant_id, table.c.schedule_id == schedule.schedule_id)
        return session(tx).execute(delete(table).where(*place)).rowcount == 1

    def list_next(self, tx: Tx, *, limit: int) -> Sequence[_Schedule]:
        return _all(tx, select(table).where(DUE).order_by(table.c.next_at, table.c.schedule_id).limit(limit))

    def list_fired_after(self, tx: Tx, moment: datetime, *, limit: int) -> Sequence[_Schedule]:
        query = select(table).where(DUE, table.c.last_fired_at > moment)
        return _all(tx, query.order_by(table.c.schedule_id).limit(limit))


def _row(schedule: _Schedule) -> dict[str, Any]:
    return {column.name: getattr(schedule, column.name, None) for column in table.columns} | {
        "timing_json": pack(triggers.schedules.to_json(schedule.timing)),
        "input_json": pack(dict(schedule.input)),
        "catch_up": schedule.catch_up.value,
        "state": schedule.state.value,
    }


def _all(tx: Tx, query: Select[Any]) -> list[_Schedule]:
    return [_schedule(record) for record in session(tx).execute(query).mappings()]


def _schedule(record: RowMapping) -> _Schedule:
    facts: dict[str, Any] = dict(record)
    facts |= {
        "timing": triggers.schedules.from_json(unpack(facts.pop("timing_json"))),
        "input": unpack(facts.pop("input_json")),
        "catch_up": triggers.schedules.CatchUp(facts["catch_up"]),
        "state": triggers.schedules.State(facts["state"]),
    }
    return _Schedule(**facts)
