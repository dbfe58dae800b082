"""Routes as this process knows them, ready for use. What is known may be old: the transaction that admits looks again."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from interlock.kernel import Caller, Clock, Redactor, Secret, Store, Tx
from interlock.triggers.webhooks import signals
from interlock.triggers.webhooks.model import Route, RouteState, Trigger, resolution_digest
from interlock.triggers.webhooks.records import Records
from interlock.triggers.webhooks.routes import Manifests, Routes
from interlock.triggers.webhooks.verifying import Verifier
from interlock.triggers.webhooks.wanting import MOST_TRIGGERS

MOST_KNOWN: Final = 2_000

KNOWN_FOR: Final = timedelta(minutes=1)
"""So long a route is known without a look at what its connector declares."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A route with its secrets read and its enabled triggers found. `key` is what it is known by; `secrets` may be shown to those
    whose requests hold them, and to nobody else. What follows from it is worked out once."""

    key: str
    route: Route
    verifier: Verifier
    secrets: Sequence[Secret] = field(repr=False)
    triggers: Sequence[tuple[Trigger, signals.Declared]]
    until: datetime

    @property
    def is_app(self) -> bool:
        """Whether its deliveries are for installs of it."""
        return self.route.has_address and bool(self.route.resolution)

    @cached_property
    def source(self) -> str:
        """Where its events come from, as signals say it."""
        return f"interlock://route/{self.route.route_id}"

    @cached_property
    def caller(self) -> Caller:
        """As whom its work is done."""
        return Caller(tenant_id=self.route.tenant_id, actor=f"route:{self.route.route_id}")

    @cached_property
    def redactor(self) -> Redactor:
        """Of secrets that stand in requests as they are."""
        return Redactor(() if self.route.verification.is_signed else self.secrets)

    @cached_property
    def telling(self) -> frozenset[str]:
        """The headers that tell what an event is and how it was signed, in lower case, and none that is a secret itself."""
        proof = self.route.verification
        names = {"content-type", "user-agent"}
        if proof.is_signed:
            names |= {(proof.header or "").lower()}
            names |= {each.removeprefix("header:").lower() for each in proof.holes}
            names |= {(proof.timestamp.header or "").lower() if proof.timestamp else ""}
        if proof.delivery_id is not None:
            names.add((proof.delivery_id.header or "").lower())
        for _, declared in self.triggers:
            if declared.trigger.event is not None:
                names.add((declared.trigger.event.header or "").lower())
        return frozenset(names - ({""} if proof.is_signed else {"", (proof.header or "").lower()}))


class Book:
    """The routes that were used last. One that takes nothing is read each time: another process may enable it."""

    def __init__(self, store: Store, records: Records, routes: Routes, manifests: Manifests, clock: Clock) -> None:
        self._store = store
        self._records = records
        self._routes = routes
        self._manifests = manifests
        self._clock = clock
        self._known = OrderedDict[str, Known]()

    async def find(self, token_digest: str) -> tuple[Known | None, bool]:
        """The route at an address, and whether it was read just now."""
        return await self._find(token_digest, lambda tx: self._records.find_by_token(tx, token_digest))

    def remembered(self, token_digest: str) -> Known | None:
        """The route at an address, if it is one of these: to speak of it, and not to judge by."""
        return self._known.get(token_digest)

    async def find_install(self, app: Known, values: Mapping[str, str | None]) -> Known | None:
        """The install of an app in whose deliveries these values stand. That there is none is not remembered."""
        app_id, digest = app.route.route_id, resolution_digest(values)
        return (await self._find(f"{app_id}:{digest}", lambda tx: self._records.find_install(tx, app_id, digest)))[0]

    async def is_current(self, known: Known) -> bool:
        """Whether the route is still as it is known."""
        route = known.route
        stands = await self._store.read(lambda tx: self._records.stands(tx, [route.route_id]))
        return stands.get(route.route_id) == (route.revision, route.state)

    def forget(self, known: Known) -> None:
        """Read it again when it is next asked for."""
        self._known.pop(known.key, None)

    async def read_proven(self, route: Route) -> Known:
        """A route, made ready for what was proven before: nothing is to be proven, so its secrets are not read."""
        return await self._ready(route, "", [])

    async def declared(self, tenant_id: str, connector_id: str) -> Mapping[str, signals.Declared]:
        """What a connector reports by webhooks. Raises as the catalogue."""
        manifest = await self._manifests(tenant_id, connector_id)
        webhooks = (each for each in manifest.triggers if each.delivery == "webhook")
        return {each.trigger_id: signals.Declared.of(each) for each in webhooks}

    async def _find(self, key: str, look: Callable[[Tx], Route | None]) -> tuple[Known | None, bool]:
        known = self._known.get(key)
        if known is not None and known.until > self._clock.now():
            self._known.move_to_end(key)
            return known, False
        if (route := await self._store.read(look)) is None:
            return None, True
        known = await self._ready(route, key, await self._routes.secrets.read(route))
        if route.state is not RouteState.ACTIVE:
            return known, True
        self._known[key] = known
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return known, True

    async def _ready(self, route: Route, key: str, secrets: Sequence[Secret]) -> Known:
        declared = await self.declared(route.tenant_id, route.connector_id)
        found = await self._store.read(
            lambda tx: self._records.list_triggers(
                tx, route.tenant_id, route_id=route.route_id, cursor=None, limit=MOST_TRIGGERS
            )
        )
        now, former_until = self._clock.now(), route.former_until
        again = now + KNOWN_FOR
        return Known(
            key=key,
            route=route,
            verifier=Verifier(route.verification, secrets),
            secrets=secrets,
            triggers=[(each, declared[each.declared]) for each in found if each.enabled and each.declared in declared],
            until=again if former_until is None or former_until <= now else min(former_until, again),
        )
