"""Routes are made, changed and looked up."""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

from interlock import connections, sdk
from interlock.kernel import Caller, Clock, IdSource, RequestError, Secret, Store, Tx
from interlock.triggers import retrying
from interlock.triggers.webhooks import wanting
from interlock.triggers.webhooks.errors import (
    AmbiguousRoute,
    InvalidRoute,
    RouteChanged,
    RouteNotFound,
    TriggerNotFound,
)
from interlock.triggers.webhooks.model import Route, RouteState, Topology, Trigger
from interlock.triggers.webhooks.records import Records
from interlock.triggers.webhooks.route_secrets import RouteSecrets

MAX_PAGE: Final = 500
OVERLAP_SECONDS: Final = 86_400.0
"""So long a secret that was replaced counts as well, unless somebody says otherwise."""

MAX_OVERLAP: Final = 30 * 86_400.0
_FRESH_SECONDS: Final = 86_400
_UNDATED_SECONDS: Final = 30 * 86_400
_MOST_SECONDS: Final = 90 * 86_400
_TRIES: Final = 5

Manifests = Callable[[str, str], Awaitable[sdk.Manifest]]
"""Finds a connector's manifest by the tenant and its id. Raises as the catalogue."""


class Made(NamedTuple):
    """A route, the token of its address and its secret, if it was made here: neither is shown again."""

    route: Route
    token: Secret | None
    secret: Secret | None


class Routes:
    """Everything raises StoreError besides what it names."""

    def __init__(
        self,
        store: Store,
        records: Records,
        secrets: RouteSecrets,
        *,
        manifests: Manifests,
        clock: Clock,
        ids: IdSource,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._records = records
        self.secrets = secrets
        self._manifests = manifests
        self._clock = clock
        self._ids = ids
        self._random_bytes = random_bytes

    async def create(
        self,
        caller: Caller,
        connector_id: str,
        *,
        on: Sequence[wanting.Wanted] = (),
        connection_id: str | None = None,
        secret: Secret | None = None,
        verification: Mapping[str, Any] | None = None,
        allow_unsigned: bool = False,
        dedupe_seconds: int | None = None,
        resolve: Sequence[str] = (),
        beside: Callable[[Tx, str], None] | None = None,
    ) -> Made:
        """An address for a connector's webhooks. `resolve`: it is an app's, whose deliveries tell installs apart by what stands
        at these places (JSON pointers). `verification` takes the place of the connector's own; without a `secret` one is made,
        or awaited from the service. `beside` is told its id in the transaction that makes it. Raises InvalidRoute,
        UnreadableKey, UnknownConnector."""
        manifest = await self._manifests(caller.tenant_id, connector_id)
        proof = wanting.proof_of(manifest, on, verification)
        problems = [
            *wanting.wanted_problems(manifest, on),
            *wanting.proof_problems(proof, allow_unsigned=allow_unsigned),
        ]
        problems += self.secrets.problems(proof, secret)
        if resolve and on:
            problems.append("the triggers of an app's address stand on its installs: `routes join`")
        if dedupe_seconds is not None and not 60 <= dedupe_seconds <= _MOST_SECONDS:
            problems.append(f"dedupe_seconds must be 60 to {_MOST_SECONDS}, not {dedupe_seconds}")
        if problems:
            raise InvalidRoute(connector_id, problems)
        token = Secret(base64.urlsafe_b64encode(self._random_bytes(16)).rstrip(b"=").decode())
        made = secret or self.secrets.make(proof)
        route = self._draw(
            caller,
            connector_id,
            topology=Topology.PER_APP if resolve else Topology.PER_INSTALL,
            connection_id=connection_id,
            token_digest=connections.token_digest(token),
            resolution=dict.fromkeys(resolve),
            verification=proof,
            dedupe_seconds=dedupe_seconds or (_FRESH_SECONDS if proof.is_fresh else _UNDATED_SECONDS),
        )
        route = await self.secrets.seal(route, [] if made is None else [made])
        triggers = wanting.settled(manifest, on)

        def write(tx: Tx) -> None:
            if beside is not None:
                beside(tx, route.route_id)
            self._insert(tx, caller, route, triggers)

        await self._store.write(write)
        return Made(route, token, made if secret is None else None)

    async def join(
        self,
        caller: Caller,
        app_route: Route,
        *,
        on: Sequence[wanting.Wanted],
        resolution: Mapping[str, str],
        connection_id: str | None = None,
    ) -> Route:
        """An install of an app, for the caller's tenant: deliveries to the app's address in which these values stand are its own.
        Whoever asks is the operator: a tenant's word does not say which install is theirs. Raises InvalidRoute,
        AmbiguousRoute."""
        manifest = await self._manifests(caller.tenant_id, app_route.connector_id)
        problems = wanting.wanted_problems(manifest, on)
        if app_route.topology is not Topology.PER_APP or not app_route.has_address:
            problems.append(f"{app_route.route_id} is no app's address")
        elif resolution.keys() != app_route.resolution.keys():
            problems.append(f"the resolution has values for {', '.join(sorted(app_route.resolution))}")
        if any(not 0 < len(each) <= 200 for each in resolution.values()):
            problems.append("a value of the resolution has 1 to 200 characters")
        if problems:
            raise InvalidRoute(app_route.connector_id, problems)
        route = self._draw(
            caller,
            app_route.connector_id,
            topology=Topology.PER_APP,
            app_route_id=app_route.route_id,
            connection_id=connection_id,
            resolution=dict(resolution),
            verification=app_route.verification,
            dedupe_seconds=app_route.dedupe_seconds,
        )
        triggers = wanting.settled(manifest, on)
        await self._store.write(lambda tx: self._insert(tx, caller, route, triggers))
        return route

    async def fetch(self, caller: Caller, route_id: str) -> Route:
        """One route. Raises RouteNotFound."""
        found = await self._store.read(lambda tx: self._records.find(tx, caller.tenant_id, route_id))
        if found is None:
            raise RouteNotFound(f"no route {route_id[:60]!r} in this tenant")
        return found

    async def list_routes(
        self, caller: Caller, *, connector_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Sequence[Route]:
        """Newest first; go on with `cursor` = the last route id. Raises RequestError."""
        check_limit(limit)
        return await self._store.read(
            lambda tx: self._records.list_routes(
                tx, caller.tenant_id, connector_id=connector_id, cursor=cursor, limit=limit
            )
        )

    async def rotate(
        self, caller: Caller, route_id: str, *, secret: Secret | None = None, overlap_seconds: float = OVERLAP_SECONDS
    ) -> Made:
        """Give a route another secret; the present one counts as well for so long. Raises RouteNotFound, InvalidRoute,
        UnreadableKey, RouteChanged."""
        if not 0 <= overlap_seconds <= MAX_OVERLAP:
            raise RequestError(f"an overlap is 0 to {MAX_OVERLAP:.0f} seconds, not {overlap_seconds}")
        for _ in range(_TRIES):
            route = await self.fetch(caller, route_id)
            problems = [] if route.has_address else ["an install of an app has no secret of its own"]
            problems += wanting.secret_problems(route.verification, secret)
            if route.state is RouteState.REVOKED:
                problems.append("it is revoked")
            if route.verification.algorithm == "unsigned":
                problems.append("its deliveries are not signed")
            if problems:
                raise InvalidRoute(route.connector_id, problems)
            made = secret or self.secrets.make(route.verification)
            changed = await self.secrets.renewed(route, made, overlap=timedelta(seconds=overlap_seconds))
            if await self._replace(route, changed):
                return Made(changed, None, made if secret is None else None)
        raise RouteChanged(f"others kept changing the route {route_id}")

    async def set_state(self, caller: Caller, route_id: str, state: RouteState) -> Route:
        """Take deliveries again, or none; what is revoked stays so, and its secret is erased. Raises RouteNotFound,
        InvalidRoute, RouteChanged."""
        for _ in range(_TRIES):
            route = await self.fetch(caller, route_id)
            if route.state is state:
                return route
            if route.state is RouteState.REVOKED:
                raise InvalidRoute(route.connector_id, ["it is revoked"])
            changed = replace(route, state=state, revision=route.revision + 1, updated_at=self._clock.now())
            if state is RouteState.REVOKED:
                changed = replace(changed, sealed=None, former_until=None, awaiting_until=None)
            if await self._replace(route, changed):
                return changed
        raise RouteChanged(f"others kept changing the route {route_id}")

    async def _replace(self, before: Route, after: Route) -> bool:
        return await self._store.write(lambda tx: self._records.replace(tx, before, after))

    # -- triggers

    async def fetch_trigger(self, caller: Caller, trigger_id: str) -> Trigger:
        """One trigger. Raises TriggerNotFound."""
        found = await self._store.read(lambda tx: self._records.find_trigger(tx, caller.tenant_id, trigger_id))
        if found is None:
            raise TriggerNotFound(f"no trigger {trigger_id[:60]!r} in this tenant")
        return found

    async def list_triggers(
        self, caller: Caller, *, route_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Sequence[Trigger]:
        """In the order of their ids; go on with `cursor` = the last one. Raises RequestError."""
        check_limit(limit)
        return await self._store.read(
            lambda tx: self._records.list_triggers(tx, caller.tenant_id, route_id=route_id, cursor=cursor, limit=limit)
        )

    async def enable(
        self, caller: Caller, trigger_id: str, *, enabled: bool, retry: sdk.Retries | None = None
    ) -> Trigger:
        """Have events handled, or not; `retry`: and their work tried so often from now on. Raises TriggerNotFound,
        RequestError."""
        now = self._clock.now()
        if retry is not None:
            retrying.policy(retry)

        def change(tx: Tx) -> Trigger | None:
            found = self._records.find_trigger(tx, caller.tenant_id, trigger_id)
            if found is None or (found.enabled is enabled and retry in (None, found.retry)):
                return found
            changed = replace(found, enabled=enabled, retry=retry or found.retry, updated_at=now)
            self._records.save_trigger(tx, changed)
            return changed

        done = await self._store.write(change)
        if done is None:
            raise TriggerNotFound(f"no trigger {trigger_id[:60]!r} in this tenant")
        return done

    # -- parts

    def _draw(self, caller: Caller, connector_id: str, **said: Any) -> Route:
        now = self._clock.now()
        given: dict[str, Any] = {"app_route_id": None, "token_digest": None, **said}
        return Route(
            route_id=self._ids.new("rte"),
            tenant_id=caller.tenant_id,
            connector_id=connector_id,
            sealed=None,
            secret_version=1,
            former_until=None,
            awaiting_until=None,
            state=RouteState.ACTIVE,
            revision=1,
            created_by=caller.actor,
            created_at=now,
            updated_at=now,
            **given,
        )

    def _insert(self, tx: Tx, caller: Caller, route: Route, on: Sequence[wanting.Wanted]) -> None:
        if not self._records.insert(tx, route):
            raise AmbiguousRoute(f"another route has these values at {route.app_route_id}")
        for each in on:
            self._records.insert_trigger(tx, self._trigger(caller, route, each), route_id=route.route_id)

    def _trigger(self, caller: Caller, route: Route, wanted: wanting.Wanted) -> Trigger:
        return Trigger(
            trigger_id=self._ids.new("trg"),
            tenant_id=route.tenant_id,
            connector_id=route.connector_id,
            name=f"{route.connector_id}.{wanted.name}",
            connection_id=route.connection_id,
            handler=wanted.handler,
            config=wanted.config,
            enabled=True,
            priority=wanted.priority,
            retry=wanted.retry or sdk.Retries(),
            created_by=caller.actor,
            created_at=route.created_at,
            updated_at=route.created_at,
        )


def check_limit(limit: int) -> None:
    """Raises RequestError."""
    if not 1 <= limit <= MAX_PAGE:
        raise RequestError(f"limit must be 1 to {MAX_PAGE}, not {limit}")
