"""What is kept of deliveries: all that was accepted, and of the rest as much as nobody can fill a disk with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from interlock.kernel import JSON, Clock, Store, Tx
from interlock.triggers.webhooks.incoming import Incoming
from interlock.triggers.webhooks.known import Known
from interlock.triggers.webhooks.model import Delivery, DeliveryState
from interlock.triggers.webhooks.records import Records

MOST_KEPT: Final = 100
"""Refused deliveries of a route, and as many repeated ones: the newest."""

_BURST: Final = 20
_PER_SECOND: Final = 1.0
_MOST_ROUTES: Final = 5_000
_HEADER_LENGTH: Final = 500


def drawn(
    known: Known,
    request: Incoming,
    *,
    delivery_id: str,
    at: datetime,
    state: DeliveryState,
    reason: StrEnum | None = None,
    external_id: str | None = None,
    digest: str | None = None,
    facts: Mapping[str, JSON] | None = None,
) -> Delivery:
    """The delivery as it is kept; with its body and what its handlers may ask for, if it was accepted."""
    route, redactor, kept = known.route, known.redactor, state is DeliveryState.ACCEPTED
    return Delivery(
        delivery_id=delivery_id,
        tenant_id=route.tenant_id,
        route_id=route.route_id,
        connector_id=route.connector_id,
        external_id=None if external_id is None else redactor.text(external_id),
        digest=digest,
        state=state,
        reason=None if reason is None else reason.value,
        received_at=at,
        size=len(request.body),
        body=redactor.data(request.body) if kept else None,
        headers=_headers(known, request) if kept else {},
        facts=facts or {},
    )


def _headers(known: Known, request: Incoming) -> dict[str, str]:
    redactor, telling = known.redactor, known.telling
    held = {name: redactor.text(value)[:_HEADER_LENGTH] for name, value in request.headers if name in telling}
    return {name: value for name, value in held.items() if value.isprintable()}


@dataclass(slots=True)
class _Allowance:
    left: float
    at: float
    skipped: int


class Recording:
    """Keeps what was refused, and what was repeated: a burst of each route's, then one a second. How many were left out stands on
    the next one that is kept. Raises StoreError."""

    def __init__(self, store: Store, records: Records, clock: Clock) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._allowances: dict[tuple[str, DeliveryState], _Allowance] = {}

    async def keep(self, delivery: Delivery) -> None:
        """Keep a delivery that was not accepted, if there is room."""
        skipped = self._spend((delivery.route_id, delivery.state))
        if skipped is None:
            return
        if skipped:
            delivery = replace(delivery, facts={**delivery.facts, "not_recorded": skipped})

        def write(tx: Tx) -> None:
            self._records.add_deliveries(tx, [delivery])
            self._records.trim(tx, delivery.route_id, delivery.state, keep=MOST_KEPT)

        await self._store.write(write)

    def _spend(self, key: tuple[str, DeliveryState]) -> int | None:
        """How many were left out before this one; None: it is left out, too."""
        now = self._clock.monotonic()
        held = self._allowances.get(key)
        if held is None:
            if len(self._allowances) >= _MOST_ROUTES:
                self._allowances.clear()
            held = self._allowances[key] = _Allowance(_BURST, now, 0)
        held.left = min(_BURST, held.left + (now - held.at) * _PER_SECOND)
        held.at = now
        if held.left < 1:
            held.skipped += 1
            return None
        held.left -= 1
        skipped, held.skipped = held.skipped, 0
        return skipped
