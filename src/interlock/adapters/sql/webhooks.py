"""Routes, triggers and deliveries in SQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, Select, bindparam, delete, exists, insert, select, update

from interlock import connections, sdk, triggers
from interlock.adapters.sql import hot_webhooks
from interlock.adapters.sql.rows import pack, unpack
from interlock.adapters.sql.transaction import connection as session
from interlock.adapters.sql.transaction import lock
from interlock.adapters.sql.webhook_tables import deliveries, delivery_needs, route_triggers
from interlock.adapters.sql.webhook_tables import routes as table
from interlock.adapters.sql.webhook_tables import triggers as trigger_rows
from interlock.kernel import JSON, Tx

_STANDS: Final = select(table.c.route_id, table.c.revision, table.c.state).where(
    table.c.route_id.in_(bindparam("wanted", expanding=True))
)
_LISTED: Final = [column for column in deliveries.columns if column is not deliveries.c.body]


class WebhookRecords:
    """Implements `triggers.webhooks.Records`."""

    def insert(self, tx: Tx, route: triggers.webhooks.Route) -> bool:
        if route.app_route_id is not None:
            lock(tx, f"route:{route.app_route_id}")
            if self.find_install(tx, route.app_route_id, route.resolution_digest or "") is not None:
                return False
        session(tx).execute(insert(table).values(_row(route)))
        return True

    def replace(self, tx: Tx, before: triggers.webhooks.Route, after: triggers.webhooks.Route) -> bool:
        fence = (
            table.c.tenant_id == before.tenant_id,
            table.c.route_id == before.route_id,
            table.c.revision == before.revision,
            # A rotation of keys may have sealed it anew meanwhile.
            table.c.key_id.is_not_distinct_from(None if before.sealed is None else before.sealed.key_id),
        )
        return session(tx).execute(update(table).where(*fence).values(_row(after))).rowcount == 1

    def find(self, tx: Tx, tenant_id: str, route_id: str) -> triggers.webhooks.Route | None:
        return _route(tx, select(table).where(table.c.tenant_id == tenant_id, table.c.route_id == route_id))

    def find_by_token(self, tx: Tx, token_digest: str) -> triggers.webhooks.Route | None:
        return _route(tx, select(table).where(table.c.token_digest == token_digest))

    def find_install(self, tx: Tx, app_route_id: str, resolution_digest: str) -> triggers.webhooks.Route | None:
        return _route(
            tx,
            select(table).where(table.c.app_route_id == app_route_id, table.c.resolution_digest == resolution_digest),
        )

    def stands(self, tx: Tx, route_ids: Collection[str]) -> Mapping[str, triggers.webhooks.Stand]:
        found = session(tx).execute(_STANDS, {"wanted": [*route_ids]})
        return {
            row.route_id: triggers.webhooks.Stand(row.revision, triggers.webhooks.RouteState(row.state))
            for row in found
        }

    def list_routes(
        self, tx: Tx, tenant_id: str, *, connector_id: str | None, cursor: str | None, limit: int
    ) -> Sequence[triggers.webhooks.Route]:
        query = select(table).where(table.c.tenant_id == tenant_id)
        if connector_id is not None:
            query = query.where(table.c.connector_id == connector_id)
        if cursor is not None:
            query = query.where(table.c.route_id < cursor)
        found = session(tx).execute(query.order_by(table.c.route_id.desc()).limit(limit)).mappings()
        return [route_from(row) for row in found]

    # -- triggers

    def insert_trigger(self, tx: Tx, trigger: triggers.webhooks.Trigger, *, route_id: str) -> None:
        session(tx).execute(insert(trigger_rows).values(_trigger_row(trigger)))
        place = {"route_id": route_id, "trigger_id": trigger.trigger_id, "tenant_id": trigger.tenant_id}
        session(tx).execute(insert(route_triggers).values(place))

    def save_trigger(self, tx: Tx, trigger: triggers.webhooks.Trigger) -> None:
        mine = (trigger_rows.c.tenant_id == trigger.tenant_id, trigger_rows.c.trigger_id == trigger.trigger_id)
        session(tx).execute(update(trigger_rows).where(*mine).values(_trigger_row(trigger)))
        places = select(route_triggers.c.route_id).where(route_triggers.c.trigger_id == trigger.trigger_id)
        changed = {"revision": table.c.revision + 1, "updated_at": trigger.updated_at}
        session(tx).execute(
            update(table).where(table.c.tenant_id == trigger.tenant_id, table.c.route_id.in_(places)).values(changed)
        )

    def find_trigger(self, tx: Tx, tenant_id: str, trigger_id: str) -> triggers.webhooks.Trigger | None:
        query = select(trigger_rows).where(
            trigger_rows.c.tenant_id == tenant_id, trigger_rows.c.trigger_id == trigger_id
        )
        row = session(tx).execute(query).mappings().first()
        return None if row is None else _trigger(row)

    def list_triggers(
        self, tx: Tx, tenant_id: str, *, route_id: str | None, cursor: str | None, limit: int
    ) -> Sequence[triggers.webhooks.Trigger]:
        query = select(trigger_rows).where(trigger_rows.c.tenant_id == tenant_id)
        if route_id is not None:
            there = exists().where(
                route_triggers.c.route_id == route_id, route_triggers.c.trigger_id == trigger_rows.c.trigger_id
            )
            query = query.where(there)
        if cursor is not None:
            query = query.where(trigger_rows.c.trigger_id > cursor)
        found = session(tx).execute(query.order_by(trigger_rows.c.trigger_id).limit(limit)).mappings()
        return [_trigger(row) for row in found]

    def list_places(self, tx: Tx, tenant_id: str, trigger_id: str) -> Sequence[str]:
        query = select(route_triggers.c.route_id).where(
            route_triggers.c.tenant_id == tenant_id, route_triggers.c.trigger_id == trigger_id
        )
        return session(tx).execute(query.order_by(route_triggers.c.route_id)).scalars().all()

    # -- deliveries

    def claim(self, tx: Tx, claims: Sequence[triggers.webhooks.Claim], *, now: datetime) -> Sequence[str | None]:
        return hot_webhooks.claim(tx, claims, now=now) if claims else []

    def add_deliveries(self, tx: Tx, many: Sequence[triggers.webhooks.Delivery]) -> None:
        if many:
            hot_webhooks.add(tx, many)

    def need(self, tx: Tx, needs: Sequence[triggers.webhooks.Need]) -> None:
        if needs:
            session(tx).execute(insert(delivery_needs), [each._asdict() for each in needs])

    def note_replay(
        self, tx: Tx, delivery: triggers.webhooks.Delivery, replay: Mapping[str, JSON]
    ) -> triggers.webhooks.Delivery:
        mine = (deliveries.c.tenant_id == delivery.tenant_id, deliveries.c.delivery_id == delivery.delivery_id)
        held = session(tx).execute(select(deliveries.c.facts_json).where(*mine).with_for_update()).scalar()
        if held is None:
            raise triggers.webhooks.DeliveryNotFound(f"{delivery.delivery_id} is not kept any more")
        facts: dict[str, Any] = unpack(held)
        told = [*facts.get("replays", ()), dict(replay)]
        over = max(0, len(told) - triggers.webhooks.MOST_REPLAYS)
        facts["replays"] = told[over:]
        if over:
            facts["replays_before"] = facts.get("replays_before", 0) + over
        session(tx).execute(update(deliveries).where(*mine).values(facts_json=pack(facts)))
        return replace(delivery, facts=facts)

    def find_delivery(self, tx: Tx, tenant_id: str, delivery_id: str) -> triggers.webhooks.Delivery | None:
        query = select(deliveries).where(deliveries.c.tenant_id == tenant_id, deliveries.c.delivery_id == delivery_id)
        row = session(tx).execute(query).mappings().first()
        return None if row is None else _delivery(row)

    def list_deliveries(
        self,
        tx: Tx,
        tenant_id: str,
        *,
        route_id: str | None,
        states: Sequence[triggers.webhooks.DeliveryState],
        cursor: str | None,
        limit: int,
    ) -> Sequence[triggers.webhooks.Delivery]:
        query = select(*_LISTED).where(deliveries.c.tenant_id == tenant_id)
        if route_id is not None:
            query = query.where(deliveries.c.route_id == route_id)
        if states:
            query = query.where(deliveries.c.state.in_([each.value for each in states]))
        if cursor is not None:
            query = query.where(deliveries.c.delivery_id < cursor)
        found = session(tx).execute(query.order_by(deliveries.c.delivery_id.desc()).limit(limit)).mappings()
        return [_delivery(row) for row in found]

    def trim(self, tx: Tx, route_id: str, state: triggers.webhooks.DeliveryState, *, keep: int) -> int:
        mine = (deliveries.c.route_id == route_id, deliveries.c.state == state.value)
        newest = select(deliveries.c.delivery_id).where(*mine).order_by(deliveries.c.delivery_id.desc())
        last = newest.offset(keep - 1).limit(1).scalar_subquery()
        return session(tx).execute(delete(deliveries).where(*mine, deliveries.c.delivery_id < last)).rowcount


def _row(route: triggers.webhooks.Route) -> dict[str, Any]:
    sealed = route.sealed
    return {column.name: getattr(route, column.name, None) for column in table.columns} | {
        "topology": route.topology.value,
        "state": route.state.value,
        "resolution_json": pack(dict(route.resolution)),
        "verification_json": pack(route.verification.model_dump(mode="json", exclude_defaults=True)),
        "key_id": None if sealed is None else sealed.key_id,
        "nonce": None if sealed is None else sealed.nonce,
        "ciphertext": None if sealed is None else sealed.ciphertext,
    }


def _route(tx: Tx, query: Select[Any]) -> triggers.webhooks.Route | None:
    row = session(tx).execute(query).mappings().first()
    return None if row is None else route_from(row)


def route_from(row: RowMapping) -> triggers.webhooks.Route:
    facts: dict[str, Any] = dict(row)
    del facts["resolution_digest"]
    key_id, nonce, ciphertext = (facts.pop(name) for name in ("key_id", "nonce", "ciphertext"))
    facts |= {
        "topology": triggers.webhooks.Topology(facts["topology"]),
        "state": triggers.webhooks.RouteState(facts["state"]),
        "resolution": unpack(facts.pop("resolution_json")),
        "verification": sdk.Verification.model_validate_json(facts.pop("verification_json")),
    }
    sealed = None if key_id is None else connections.Sealed(key_id=key_id, nonce=nonce, ciphertext=ciphertext)
    return triggers.webhooks.Route(sealed=sealed, **facts)


def _trigger_row(trigger: triggers.webhooks.Trigger) -> dict[str, Any]:
    values = {column.name: getattr(trigger, column.name, None) for column in trigger_rows.columns}
    return {
        **values,
        "config_json": pack(dict(trigger.config)),
        "retry_json": trigger.retry.model_dump_json(exclude_defaults=True),
    }


def _trigger(row: RowMapping) -> triggers.webhooks.Trigger:
    facts: dict[str, Any] = dict(row)
    retry = sdk.Retries.model_validate_json(facts.pop("retry_json") or "{}")
    return triggers.webhooks.Trigger(config=unpack(facts.pop("config_json")), retry=retry, **facts)


def _delivery(row: RowMapping) -> triggers.webhooks.Delivery:
    facts: dict[str, Any] = {"body": None, **dict(row)}
    facts |= {
        "state": triggers.webhooks.DeliveryState(facts["state"]),
        "headers": unpack(facts.pop("headers_json")),
        "facts": unpack(facts.pop("facts_json")),
    }
    return triggers.webhooks.Delivery(**facts)
