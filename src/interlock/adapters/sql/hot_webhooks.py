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
from interlock.adapters.sql.sqlite_many import Many, inserting
from interlock.adapters.sql.transaction import sql_tx
from interlock.adapters.sql.webhook_tables import dedupe_keys, deliveries
from interlock.kernel import Tx, to_micros

if TYPE_CHECKING:
    from interlock.adapters.sql.hot_session import HotSession

_ACTIVE: Final = triggers.webhooks.RouteState.ACTIVE.value
_GIVES_WAY: Final = """
ON CONFLICT (route_id, key) DO UPDATE
SET tenant_id = excluded.tenant_id, delivery_id = excluded.delivery_id, expires_at = excluded.expires_at
"""
"""What a key does that is over, whether or not it was swept away by now."""

_STANDS: Final = Many("SELECT route_id, revision FROM routes WHERE state = ? AND route_id IN ({})", "?")
_HOLDERS: Final = Many(
    "SELECT key, delivery_id FROM dedupe_keys WHERE route_id = ? AND expires_at > ? AND key IN ({})", "?"
)
_CLAIM: Final = inserting(dedupe_keys, at_conflict=_GIVES_WAY)
_ADD: Final = inserting(deliveries)

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
  {_GIVES_WAY} WHERE t.expires_at <= $5::int8
  RETURNING delivery_id
)
SELECT delivery_id, 'claimed' FROM claimed UNION ALL SELECT delivery_id, 'moved' FROM moved
"""  # noqa: S608 - words of our own
_ALL_HOLDERS: Final = """
SELECT x.delivery_id, t.delivery_id FROM unnest($1::dedupe_keys[]) x JOIN dedupe_keys t USING (route_id, key)
WHERE t.route_id = ANY ($2::text[]) AND t.key = ANY ($3::text[]) AND t.expires_at > $4::int8
"""
_ADD_ALL: Final = "INSERT INTO deliveries SELECT * FROM unnest($1::deliveries[])"


def claim(tx: Tx, claims: Sequence[triggers.webhooks.Claim], *, now: datetime) -> list[str | None]:
    """As `triggers.webhooks.Records.claim`, of at least one."""
    if (hot := sql_tx(tx).hot) is not None:
        return _claim_all(hot, claims, now)
    return _claim_alone(sql_tx(tx).driver_connection, claims, now)


def add(tx: Tx, many: Sequence[triggers.webhooks.Delivery]) -> None:
    """Keep deliveries, at least one."""
    lines = [_delivery_row(each) for each in many]
    if (hot := sql_tx(tx).hot) is not None:
        hot.execute(_ADD_ALL, [hot.array(deliveries, lines)])
    else:
        _ADD.execute(sql_tx(tx).driver_connection.cursor(), lines)


def _claim_alone(raw: sqlite3.Connection, claims: Sequence[triggers.webhooks.Claim], now: datetime) -> list[str | None]:
    """On SQLite, where nobody else writes meanwhile."""
    cursor, moment = raw.cursor(), to_micros(now)
    passed = {(route_id,) for claim in claims for route_id in claim.way}
    stands = set(_STANDS.execute(cursor, sorted(passed), _ACTIVE))
    valid = [claim for claim in claims if claim.way.items() <= stands]
    holders: dict[tuple[str, str], str] = {}
    for route_id in sorted({claim.route_id for claim in valid}):
        keys = {(claim.key,) for claim in valid if claim.route_id == route_id}
        held = _HOLDERS.execute(cursor, sorted(keys), route_id, moment)
        holders |= {(route_id, key): delivery_id for key, delivery_id in held}
    new: list[triggers.webhooks.Claim] = []
    for claim in valid:
        if (place := (claim.route_id, claim.key)) not in holders:
            holders[place] = claim.delivery_id
            new.append(claim)
    _CLAIM.execute(cursor, [_claim_row(claim) for claim in new])
    return [holders[claim.route_id, claim.key] if claim.way.items() <= stands else None for claim in claims]


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
        held = hot.execute(_ALL_HOLDERS, [lines, *wanted, int8(to_micros(now))])
        holders |= cast("list[tuple[str, str]]", held)
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
