"""Where routes, triggers and deliveries are kept. Every method runs in the caller's transaction."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from interlock.kernel import JSON, Tx
from interlock.triggers.webhooks.model import Delivery, DeliveryState, Route, RouteState, Trigger

MOST_REPLAYS: Final = 20
"""Told of one delivery; of earlier ones their number."""


class Stand(NamedTuple):
    """How a route stands now."""

    revision: int
    state: RouteState


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That nothing with this key came to the route, until it `expires_at`. `way`: the routes that it came by, each at the
    revision at which it was judged."""

    tenant_id: str
    route_id: str
    key: str
    delivery_id: str
    expires_at: datetime
    way: Mapping[str, int] = field(default_factory=dict[str, int])


class Need(NamedTuple):
    """That a run has no data of its own but finds it with the delivery."""

    tenant_id: str
    delivery_id: str
    run_id: str


class Records(Protocol):
    """The port of this room's records."""

    def insert(self, tx: Tx, route: Route) -> bool:
        """Add a route. False, and nothing written, if its app's route has an install with the same resolution."""
        ...

    def replace(self, tx: Tx, before: Route, after: Route) -> bool:
        """Change a route that still is `before`: its revision, and the key that its secrets are sealed under."""
        ...

    def find(self, tx: Tx, tenant_id: str, route_id: str) -> Route | None:
        """The tenant's route."""
        ...

    def find_by_token(self, tx: Tx, token_digest: str) -> Route | None:
        """The route at that address, of whatever tenant."""
        ...

    def find_install(self, tx: Tx, app_route_id: str, resolution_digest: str) -> Route | None:
        """The install of an app, of whatever tenant."""
        ...

    def stands(self, tx: Tx, route_ids: Collection[str]) -> Mapping[str, Stand]:
        """How routes stand, by their ids; those that are there."""
        ...

    def list_routes(
        self, tx: Tx, tenant_id: str, *, connector_id: str | None, cursor: str | None, limit: int
    ) -> Sequence[Route]:
        """The tenant's routes, newest first, after the route id `cursor`."""
        ...

    def insert_trigger(self, tx: Tx, trigger: Trigger, *, route_id: str) -> None:
        """Add a trigger to a route of its tenant."""
        ...

    def save_trigger(self, tx: Tx, trigger: Trigger) -> None:
        """Change a trigger; every route that it is on has a new revision."""
        ...

    def find_trigger(self, tx: Tx, tenant_id: str, trigger_id: str) -> Trigger | None:
        """The tenant's trigger."""
        ...

    def list_triggers(
        self, tx: Tx, tenant_id: str, *, route_id: str | None, cursor: str | None, limit: int
    ) -> Sequence[Trigger]:
        """The tenant's triggers, or those of a route, in the order of their ids, after `cursor`."""
        ...

    def list_places(self, tx: Tx, tenant_id: str, trigger_id: str) -> Sequence[str]:
        """The ids of the routes that a trigger is on."""
        ...

    def claim(self, tx: Tx, claims: Sequence[Claim], *, now: datetime) -> Sequence[str | None]:
        """Take deliveries for new, one after the other: for each the id of the one that has its key, which is its own unless it
        repeats another; None, and nothing written, if a route on its way is not active any more, or at another revision."""
        ...

    def add_deliveries(self, tx: Tx, many: Sequence[Delivery]) -> None:
        """Keep deliveries."""
        ...

    def need(self, tx: Tx, needs: Sequence[Need]) -> None:
        """Keep deliveries for as long as work of theirs may be carried out."""
        ...

    def note_replay(self, tx: Tx, delivery: Delivery, replay: Mapping[str, JSON]) -> Delivery:
        """Add to a delivery that it was handed on once more, whoever else does so at that moment: the last `MOST_REPLAYS` times
        stand there, and how many there were before. Raises DeliveryNotFound."""
        ...

    def find_delivery(self, tx: Tx, tenant_id: str, delivery_id: str) -> Delivery | None:
        """The tenant's delivery."""
        ...

    def list_deliveries(
        self,
        tx: Tx,
        tenant_id: str,
        *,
        route_id: str | None,
        states: Sequence[DeliveryState],
        cursor: str | None,
        limit: int,
    ) -> Sequence[Delivery]:
        """The tenant's deliveries, newest first, after the delivery id `cursor`, without their bodies."""
        ...

    def trim(self, tx: Tx, route_id: str, state: DeliveryState, *, keep: int) -> int:
        """Delete a route's deliveries of that state but for the newest; how many went."""
        ...
