"""What comes by webhook, written as the hot path writes: by the driver, on Postgres in one statement for all that come at once.

SQLAlchemy would cost more than the database.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

from interlock import triggers
from interlock.adapters.sql import rows
from interlock.adapters.sql.composites import int8, int8_array, text_array
from interlock.adapters.sql.hot_sqlite import insert_into
from interlock.adapters.sql.transaction import sql_tx
from interlock.adapters.sql.webhook_tables import dedupe_keys, deliveries
from interlock.kernel import Tx, to_micros

if TYPE_CHECKING:
    from interlock.adapters.sql.hot_session import HotSession

_ACTIVE: Final = triggers.webhooks.RouteState.ACTIVE.value
_OVER: Final = """
ON CONFLICT (route_id, key) DO UPDATE
SET tenant_id = excluded.tenant_id, delivery_id = excluded.delivery_id, expires_at = excluded.expires_at
WHERE t.expires_at <= """
"""One that is over gives way, whether or not it was swept away by now."""

_STANDS: Final = "SELECT revision, state FROM routes WHERE route_id = ?"
_CLAIM: Final = insert_into(dedupe_keys).replace("dedupe_keys", "dedupe_keys AS t", 1) + _OVER + "?"
_HOLDER: Final = "SELECT delivery_id FROM dedupe_keys WHERE route_id = ? AND key = ?"
_ADD: Final = insert_into(deliveries)

# `= ANY` makes the planner use the index even for a plan that was made while the tables were empty.
_CLAIM_ALL: Final = f"""
WITH moved AS (
  SELECT w.delivery_id FROM unnest($1::text[], $2::text[], $3::int8[]) w (delivery_id, route_id, revision)
  WHERE NOT EXISTS (
    SELECT FROM routes r
    WHERE r.route_id = ANY ($2::text[]) AND r.route_id = w.route_id AND r.revision = w.revision AND r.state = '{_ACTIVE}'
  )
), claimed AS (
  INSERT INTO dedupe_keys AS t
  SELECT x.* FROM unnest($4::dedupe_keys[]) x WHERE x.delivery_id NOT IN (SELECT delivery_id FROM moved)
  {_OVER}$5::int8
  RETURNING delivery_id
)
SELECT delivery_id, 'claimed' FROM claimed UNION ALL SELECT delivery_id, 'moved' FROM moved
"""  # noqa: S608 - words of our own
_HOLDERS: Final = """
SELECT x.delivery_id, t.delivery_id FROM unnest($1::dedupe_keys[]) x JOIN dedupe_keys t USING (route_id, key)
WHERE t.route_id = ANY ($2::text[]) AND t.key = ANY ($3::text[])
"""
_ADD_ALL: Final = "INSERT INTO deliveries SELECT * FROM unnest($1::deliveries[])"


def claim(tx: Tx, claims: Sequence[triggers.webhooks.Claim], *, now: datetime) -> list[str | None]:
    """As `triggers.webhooks.Records.claim`, of at least one."""
    if (hot := sql_tx(tx).hot) is not None:
        return _claim_all(hot, claims, now)
    return _claim_each(sql_tx(tx).driver_connection, claims, now)


def add(tx: Tx, many: Sequence[triggers.webhooks.Delivery]) -> None:
    """Keep deliveries, at least one."""
    lines = [_delivery_row(each) for each in many]
    if (hot := sql_tx(tx).hot) is not None:
        hot.execute(_ADD_ALL, [hot.array(deliveries, lines)])
    else:
        sql_tx(tx).driver_connection.executemany(_ADD, lines)


def _claim_each(raw: sqlite3.Connection, claims: Sequence[triggers.webhooks.Claim], now: datetime) -> list[str | None]:
    cursor, moment = raw.cursor(), to_micros(now)
    ways = {(route_id, revision) for claim in claims for route_id, revision in claim.way.items()}
    there = {
        (route_id, revision): cursor.execute(_STANDS, (route_id,)).fetchone() == (revision, _ACTIVE)
        for route_id, revision in ways
    }
    answers: list[str | None] = []
    for claim in claims:
        if not all(there[step] for step in claim.way.items()):
            answers.append(None)
        elif cursor.execute(_CLAIM, (*_claim_row(claim), moment)).rowcount:
            answers.append(claim.delivery_id)
        else:
            answers.append(cursor.execute(_HOLDER, (claim.route_id, claim.key)).fetchone()[0])
    return answers


def _claim_all(hot: "HotSession", claims: Sequence[triggers.webhooks.Claim], now: datetime) -> list[str | None]:
    first: dict[tuple[str, str], triggers.webhooks.Claim] = {}
    for claim in claims:
        first.setdefault((claim.route_id, claim.key), claim)
    # In one order everywhere, so that two transactions with the same keys cannot block each other.
    places = sorted(first)
    steps = [(claim.delivery_id, *step) for claim in claims for step in claim.way.items()]
    lines = hot.array(dedupe_keys, [_claim_row(first[place]) for place in places])
    told = hot.execute(
        _CLAIM_ALL,
        [
            text_array([step[0] for step in steps]),
            text_array([step[1] for step in steps]),
            int8_array([step[2] for step in steps]),
            lines,
            int8(to_micros(now)),
        ],
    )
    moved = {delivery_id for delivery_id, what in told if what == "moved"}
    holders = {delivery_id: delivery_id for delivery_id, what in told if what == "claimed"}
    if len(holders) < len(first):
        wanted = [text_array([place[0] for place in places]), text_array([place[1] for place in places])]
        holders |= cast("list[tuple[str, str]]", hot.execute(_HOLDERS, [lines, *wanted]))
    return [
        None if claim.delivery_id in moved else holders.get(first[claim.route_id, claim.key].delivery_id)
        for claim in claims
    ]


def _claim_row(claim: triggers.webhooks.Claim) -> rows.SqlRow:
    return (claim.route_id, claim.key, claim.tenant_id, claim.delivery_id, to_micros(claim.expires_at))


def _delivery_row(delivery: triggers.webhooks.Delivery) -> rows.SqlRow:
    return (
        delivery.delivery_id,
        delivery.tenant_id,
        delivery.route_id,
        delivery.connector_id,
        delivery.external_id,
        delivery.digest,
        delivery.state.value,
        delivery.reason,
        to_micros(delivery.received_at),
        delivery.size,
        delivery.body,
        rows.pack(dict(delivery.headers)),
        rows.pack(dict(delivery.facts)),
    )
