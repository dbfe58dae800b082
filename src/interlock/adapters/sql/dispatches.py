"""Due work in SQL: one row for each run that workers carry out."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    FromClause,
    RowMapping,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from interlock import dispatch
from interlock import runs as domain
from interlock.adapters.sql import rows
from interlock.adapters.sql.columns import Moment
from interlock.adapters.sql.dispatch_tables import DUE, NOT_DUE, pauses, worker_lanes
from interlock.adapters.sql.dispatch_tables import dispatches as table
from interlock.adapters.sql.tables import decisions, owners, runs
from interlock.adapters.sql.transaction import connection, upsert
from interlock.adapters.sql.within import among
from interlock.kernel import PLATFORM_TENANT, Tx, to_micros

_MAX_PAGE = 1000
_PARKED = dispatch.Standing.PARKED.value
_NAMES = ", ".join(column.name for column in table.c)
_FIELDS = ", ".join(f"json_extract(value, '$.{column.name}')" for column in table.c)
# Any number of rows as one parameter: compiling for each how they are put in takes longer than putting them in.
_ADD = {
    "postgresql": f"INSERT INTO dispatches ({_NAMES}) SELECT {_NAMES} FROM json_populate_recordset(NULL::dispatches, %s)",  # noqa: S608 - names of our own
    "sqlite": f"INSERT INTO dispatches ({_NAMES}) SELECT {_FIELDS} FROM json_each(?)",  # noqa: S608 - names of our own
}
_DROP = delete(table).where(table.c.tenant_id == bindparam("tenant"), among(table.c.run_id, "over"))
_HANDED = (
    select(
        *table.c,
        *runs.c,
        decisions.c.facts_json,
        select(pauses.c.subject).where(pauses.c.tenant_id == table.c.tenant_id).exists(),
    )
    .join_from(table, runs, runs.c.run_id == table.c.run_id)
    .outerjoin(decisions, (decisions.c.run_id == runs.c.run_id) & (decisions.c.number == 1))
    .where(among(table.c.run_id, "run_ids"))
)
_DUE_NAMES = [column.name for column in table.c]
_RUN_NAMES = [column.name for column in runs.c]
_PAUSES = (
    select(pauses)
    .where(pauses.c.tenant_id == bindparam("tenant"))
    .order_by(pauses.c.at, pauses.c.scope, pauses.c.subject)
)
_READY = [state.value for state in dispatch.READY]


class DispatchRecords:
    """Implements `dispatch.Records`."""

    def add(self, tx: Tx, dues: Sequence[dispatch.Due]) -> None:
        if dues:
            session = connection(tx)
            lines = orjson.dumps([_line(due) for due in dues]).decode()
            session.exec_driver_sql(_ADD[session.dialect.name], (lines,))

    def save(self, tx: Tx, due: dispatch.Due, *, before: dispatch.Due | None = None) -> bool:
        changed = update(table).where(*_of(due.tenant_id, due.run_id)).values(**_row(due))
        if before is not None:
            changed = changed.where(table.c.number == before.number, table.c.standing == before.standing.value)
        return connection(tx).execute(changed).rowcount == 1

    def find(self, tx: Tx, tenant_id: str, run_id: str) -> dispatch.Due | None:
        found = connection(tx).execute(select(table).where(*_of(tenant_id, run_id))).mappings().first()
        return None if found is None else _due(found)

    def find_handed(self, tx: Tx, keys: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], dispatch.Handed]:
        run_ids = sorted({run_id for _, run_id in keys})
        found = [_handed(row) for row in connection(tx).execute(_HANDED, {"run_ids": run_ids})]
        return {key: each for each in found if (key := (each.due.tenant_id, each.due.run_id)) in keys}

    def list_due(
        self, tx: Tx, *, before: datetime, after: dispatch.Due | None = None, limit: int = 500
    ) -> Sequence[dispatch.Due]:
        chosen = select(table).select_from(_both()).where(DUE, table.c.due_at <= before, runs.c.state.in_(_READY))
        if after is not None:
            last = tuple_(literal(after.due_at, Moment), literal(after.run_id))
            chosen = chosen.where(tuple_(table.c.due_at, table.c.run_id) > last)
        chosen = chosen.order_by(table.c.due_at, table.c.run_id).limit(limit)
        return [_due(record) for record in connection(tx).execute(chosen).mappings()]

    def list_parked(self, tx: Tx, tenant_id: str, why: str, *, limit: int) -> Sequence[dispatch.Due]:
        chosen = (
            select(table)
            .where(NOT_DUE, table.c.tenant_id == tenant_id, table.c.standing == _PARKED, table.c.why == why)
            .order_by(table.c.submitted_at, table.c.run_id)
            .limit(limit)
        )
        return [_due(record) for record in connection(tx).execute(chosen).mappings()]

    def list_waiting(self, tx: Tx, query: dispatch.DueFilter, now: datetime) -> Sequence[dispatch.Waiting]:
        columns = table.c
        due = query.standing is dispatch.Standing.DUE
        moment = columns.due_at if due else columns.submitted_at
        chosen = _waiting(now).where(DUE if due else NOT_DUE, columns.tenant_id == query.tenant_id)
        chosen = chosen.where(columns.standing == query.standing.value)
        for column in (columns.lane, columns.capability, columns.connection_id, columns.why):
            if (wanted := getattr(query, column.name)) is not None:
                chosen = chosen.where(column == wanted)
        if query.since is not None:
            chosen = chosen.where(columns.submitted_at >= query.since)
        if query.until is not None:
            chosen = chosen.where(columns.submitted_at < query.until)
        if (last := query.after) is not None:
            place, after = tuple_(moment, columns.run_id), tuple_(literal(last[0], Moment), literal(last[1]))
            chosen = chosen.where(place > after if due else place < after)
        order = (moment, columns.run_id) if due else (moment.desc(), columns.run_id.desc())
        chosen = chosen.order_by(*order).limit(min(query.limit, _MAX_PAGE))
        return [_told(record) for record in connection(tx).execute(chosen).mappings()]

    def find_waiting(self, tx: Tx, tenant_id: str, run_id: str, now: datetime) -> dispatch.Waiting | None:
        found = connection(tx).execute(_waiting(now).where(*_of(tenant_id, run_id))).mappings().first()
        return None if found is None else _told(found)

    def count(self, tx: Tx, tenant_id: str, now: datetime) -> dispatch.Stats:
        columns, over = table.c, table.c.due_at <= now
        ready = runs.c.state.in_(_READY)
        counted = (
            select(
                columns.standing,
                columns.lane,
                columns.why,
                func.count().label("all"),
                func.sum(case((ready & over, 1), else_=0)).label("overdue"),
                func.sum(case((runs.c.state == "running", 1), else_=0)).label("running"),
                func.min(case((ready & over, columns.due_at))).label("oldest"),
                func.sum(case((_is_served(now), 0), else_=1)).label("unserved"),
            )
            .select_from(_both())
            .where(columns.tenant_id == tenant_id)
            .group_by(columns.standing, columns.lane, columns.why)
        )
        return _stats(connection(tx).execute(counted).mappings().all())

    def note_lanes(self, tx: Tx, owner_id: str, lanes: Collection[str]) -> None:
        session, noted = connection(tx), worker_lanes.c
        alive = select(owners.c.owner_id)
        session.execute(delete(worker_lanes).where(or_(noted.owner_id == owner_id, noted.owner_id.not_in(alive))))
        if lanes:
            session.execute(
                insert(worker_lanes),
                [{"owner_id": owner_id, "lane": lane, "tenant_id": PLATFORM_TENANT} for lane in sorted(lanes)],
            )

    def list_served(self, tx: Tx) -> frozenset[str]:
        alive = worker_lanes.join(owners, owners.c.owner_id == worker_lanes.c.owner_id)
        query = select(worker_lanes.c.lane).distinct().select_from(alive)
        return frozenset(connection(tx).execute(query).scalars())

    def put_pause(self, tx: Tx, pause: dispatch.Pause) -> None:
        values = {
            "tenant_id": pause.tenant_id,
            "scope": pause.scope.value,
            "subject": pause.subject,
            "reason": pause.reason,
            "actor": pause.actor,
            "at": pause.at,
        }
        offered = upsert(tx, pauses).values(**values)
        facts = {name: offered.excluded[name] for name in ("reason", "actor", "at")}
        connection(tx).execute(
            offered.on_conflict_do_update(index_elements=["tenant_id", "scope", "subject"], set_=facts)
        )

    def drop_pause(self, tx: Tx, pause: dispatch.Pause) -> None:
        key = (
            pauses.c.tenant_id == pause.tenant_id,
            pauses.c.scope == pause.scope.value,
            pauses.c.subject == pause.subject,
        )
        connection(tx).execute(delete(pauses).where(*key))

    def list_pauses(self, tx: Tx, tenant_id: str) -> Sequence[dispatch.Pause]:
        return [_pause(record) for record in connection(tx).execute(_PAUSES, {"tenant": tenant_id}).mappings()]

    def list_released(self, tx: Tx, *, limit: int) -> Sequence[tuple[str, str]]:
        there = literal(dispatch.PAUSED) + pauses.c.scope + literal(":") + pauses.c.subject
        still = select(pauses.c.subject).where(pauses.c.tenant_id == table.c.tenant_id, there == table.c.why).exists()
        chosen = (
            select(table.c.tenant_id, table.c.why)
            .where(NOT_DUE, table.c.standing == _PARKED, table.c.why.startswith(dispatch.PAUSED), ~still)
            .distinct()
            .limit(limit)
        )
        return [(row.tenant_id, row.why) for row in connection(tx).execute(chosen)]

    def backlog(self, tx: Tx, now: datetime) -> Sequence[dispatch.Backlog]:
        some = select(table.c.lane, table.c.standing).limit(dispatch.MOST_COUNTED).subquery()
        counted = select(some, func.count().label("found")).group_by(some.c.lane, some.c.standing)
        found = [
            dispatch.Backlog(lane=row.lane, standing=dispatch.Standing(row.standing), count=row.found)
            for row in connection(tx).execute(counted.order_by(some.c.lane, some.c.standing))
        ]
        due = dispatch.Standing.DUE
        return [
            replace(each, oldest_seconds=_oldest(tx, each.lane, now)) if each.standing is due else each
            for each in found
        ]

    def drop(self, tx: Tx, over: Sequence[tuple[str, str]]) -> None:
        tenants: dict[str, list[str]] = {}
        for tenant_id, run_id in over:
            tenants.setdefault(tenant_id, []).append(run_id)
        for tenant_id in sorted(tenants):
            connection(tx).execute(_DROP, {"tenant": tenant_id, "over": sorted(tenants[tenant_id])})


def _oldest(tx: Tx, lane: str, now: datetime) -> float:
    """By the index of what is due, from the longest due on."""
    begun = (table.c.lane == lane, DUE, table.c.due_at <= now, runs.c.state.in_(_READY))
    first = select(table.c.due_at).select_from(_both()).where(*begun).order_by(table.c.due_at, table.c.run_id).limit(1)
    due_at = connection(tx).execute(first).scalar()
    return 0.0 if due_at is None else (now - due_at).total_seconds()


def _both() -> FromClause:
    return table.join(runs, runs.c.run_id == table.c.run_id)


def _is_served(now: datetime) -> ColumnElement[bool]:
    """Whether there is a live worker for the lane of what is due by now; of other work, none is needed."""
    alive = worker_lanes.join(owners, owners.c.owner_id == worker_lanes.c.owner_id)
    served = select(worker_lanes.c.lane).select_from(alive).where(worker_lanes.c.lane == table.c.lane).exists()
    return or_(
        table.c.standing != dispatch.Standing.DUE.value, table.c.due_at > now, runs.c.state.not_in(_READY), served
    )


def _waiting(now: datetime) -> Select[Any]:
    own = (runs.c.state, runs.c.error, runs.c.attempt_count, _is_served(now).label("served"))
    return select(table, *own).select_from(_both())


def _of(tenant_id: str, run_id: str) -> tuple[Any, Any]:
    return table.c.run_id == run_id, table.c.tenant_id == tenant_id


def _row(due: dispatch.Due) -> dict[str, Any]:
    return {
        "run_id": due.run_id,
        "tenant_id": due.tenant_id,
        "lane": due.lane,
        "capability": due.capability,
        "connection_id": due.connection_id,
        "rank": due.rank,
        "priority": int(due.priority),
        "due_at": due.due_at,
        "number": due.number,
        "tries": due.tries,
        "crashes": due.crashes,
        "retry": rows.pack(due.retry.to_json()),
        "standing": due.standing.value,
        "why": due.why,
        "deadline_at": due.deadline_at,
        "submitted_at": due.submitted_at,
    }


def _line(due: dispatch.Due) -> dict[str, Any]:
    """The row with moments as they are stored."""
    row = _row(due)
    return {name: to_micros(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _due(record: rows.Record) -> dispatch.Due:
    values: dict[str, Any] = {
        **record,
        "priority": dispatch.Priority(record["priority"]),
        "retry": dispatch.RetryPolicy(**rows.unpack(record["retry"])),
        "standing": dispatch.Standing(record["standing"]),
    }
    return dispatch.Due(**values)


def _handed(row: Sequence[Any]) -> dispatch.Handed:
    *values, facts_json, paused = row
    return dispatch.Handed(
        due=_due(dict(zip(_DUE_NAMES, values, strict=False))),
        run=rows.run_from(dict(zip(_RUN_NAMES, values[len(_DUE_NAMES) :], strict=True))),
        facts_json=facts_json,
        tenant_pauses=bool(paused),
    )


def _pause(record: rows.Record) -> dispatch.Pause:
    values: dict[str, Any] = {**record, "scope": dispatch.Scope(record["scope"])}
    return dispatch.Pause(**values)


def _told(record: RowMapping) -> dispatch.Waiting:
    own = {column.name: record[column.name] for column in table.columns}
    return dispatch.Waiting(
        due=_due(own),
        state=domain.State(record["state"]),
        error=rows.read_optional(record["error"]),
        attempt_count=record["attempt_count"],
        served=bool(record["served"]),
    )


def _stats(found: Sequence[RowMapping]) -> dispatch.Stats:
    due = [row for row in found if row["standing"] == dispatch.Standing.DUE.value]
    lanes, parked, dead = Counter[str](), Counter[str](), Counter[str]()
    for row in found:
        if row["standing"] == dispatch.Standing.DEAD.value:
            dead[row["why"] or ""] += row["all"]
            continue
        lanes[row["lane"]] += row["all"]
        if row["standing"] == _PARKED:
            parked[row["why"] or ""] += row["all"]
    oldest = min((row["oldest"] for row in due if row["oldest"] is not None), default=None)
    return dispatch.Stats(
        due=sum(row["all"] for row in due),
        overdue=sum(row["overdue"] for row in due),
        running=sum(row["running"] for row in due),
        oldest_due_at=oldest,
        unserved=frozenset(row["lane"] for row in due if row["unserved"]),
        parked=parked,
        dead=dead,
        lanes=lanes,
    )
