"""The routes, triggers and deliveries of a server."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import orjson

from interlock import connections, dispatch, sdk, triggers
from interlock.client.link import Link, members, part, reading, rows, value
from interlock.kernel import JSON, Secret

SEALED_THERE: Final = connections.Sealed(key_id="", nonce=b"", ciphertext=b"")
"""In the place of what the server has sealed and tells nobody."""

_TOLD: Final = frozenset(
    {"delivery_id", "tenant_id", "route_id", "connector_id", "external_id", "digest", "state", "reason", "received_at", "size",
     "headers", "body", "base64"}
)  # fmt: skip
"""The members of a delivery that are no facts of what became of it."""


class Routes:
    """As `app.Routes`, but for installs of an app (`join`): whose these are is said where the store is."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def create(
        self,
        connector: str,
        *,
        on: Sequence[triggers.webhooks.Wanted] = (),
        connection: str | None = None,
        secret: Secret | None = None,
        verification: Mapping[str, Any] | None = None,
        unsigned: bool = False,
        dedupe_seconds: int | None = None,
        resolve: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> triggers.webhooks.NewRoute:
        """As `app.Routes.create`. A secret goes to the server, which seals it."""
        asked = {
            "connector": connector,
            "on": [_wanted(each) for each in on],
            "connection": connection,
            "secret": secret,
            "verification": verification,
            "unsigned": unsigned,
            "dedupe_seconds": dedupe_seconds,
            "resolve": resolve,
        }
        return _made(await self._link.post("/routes", asked, key=idempotency_key))

    async def list(
        self, *, connector: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Sequence[triggers.webhooks.Route]:
        """As `app.Routes.list`."""
        told = await self._link.get("/routes", connector=connector, cursor=cursor, limit=limit)
        return [_route(each) for each in rows(told, "routes")]

    async def fetch(self, route_id: str) -> triggers.webhooks.Route:
        """As `app.Routes.fetch`."""
        return _route(await self._link.get(f"/routes/{part(route_id)}"))

    async def rotate(
        self, route_id: str, *, secret: Secret | None = None, overlap: float = 86_400.0
    ) -> triggers.webhooks.NewRoute:
        """As `app.Routes.rotate`."""
        asked = {"secret": secret, "overlap": overlap}
        return _made(await self._link.post(f"/routes/{part(route_id)}/rotate", asked))

    async def disable(self, route_id: str) -> triggers.webhooks.Route:
        """As `app.Routes.disable`."""
        return _route(await self._link.post(f"/routes/{part(route_id)}/disable", {}))

    async def enable(self, route_id: str) -> triggers.webhooks.Route:
        """As `app.Routes.enable`."""
        return _route(await self._link.post(f"/routes/{part(route_id)}/enable", {}))

    async def revoke(self, route_id: str) -> triggers.webhooks.Route:
        """As `app.Routes.revoke`."""
        return _route(await self._link.post(f"/routes/{part(route_id)}/revoke", {}))


class Triggers:
    """As `app.Triggers`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(
        self, *, route_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Sequence[triggers.webhooks.Trigger]:
        """As `app.Triggers.list`."""
        told = await self._link.get("/triggers", route_id=route_id, cursor=cursor, limit=limit)
        return [_trigger(each) for each in rows(told, "triggers")]

    async def fetch(self, trigger_id: str) -> triggers.webhooks.Trigger:
        """As `app.Triggers.fetch`."""
        return _trigger(await self._link.get(f"/triggers/{part(trigger_id)}"))

    async def enable(self, trigger_id: str, *, retry: sdk.Retries | None = None) -> triggers.webhooks.Trigger:
        """As `app.Triggers.enable`."""
        asked = {} if retry is None else {"retry": retry.model_dump(mode="json")}
        return _trigger(await self._link.post(f"/triggers/{part(trigger_id)}/enable", asked))

    async def disable(self, trigger_id: str) -> triggers.webhooks.Trigger:
        """As `app.Triggers.disable`."""
        return _trigger(await self._link.post(f"/triggers/{part(trigger_id)}/disable", {}))

    async def test(
        self, trigger_id: str, content: bytes, *, headers: Mapping[str, str] | None = None
    ) -> Mapping[str, JSON]:
        """As `app.Triggers.test`, for a body that fits into a request."""
        asked = {"base64": b64encode(content).decode(), "headers": headers or {}}
        return members(await self._link.post(f"/triggers/{part(trigger_id)}/test", asked))


class Deliveries:
    """As `app.Deliveries`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(
        self,
        *,
        route_id: str | None = None,
        states: Sequence[triggers.webhooks.DeliveryState] = (),
        cursor: str | None = None,
        limit: int = 50,
    ) -> Sequence[triggers.webhooks.Delivery]:
        """As `app.Deliveries.list`."""
        wanted = tuple(each.value for each in states)
        told = await self._link.get("/deliveries", route_id=route_id, state=wanted, cursor=cursor, limit=limit)
        return [_delivery(each) for each in rows(told, "deliveries")]

    async def fetch(self, delivery_id: str) -> triggers.webhooks.Delivery:
        """As `app.Deliveries.fetch`."""
        return _delivery(await self._link.get(f"/deliveries/{part(delivery_id)}"))

    async def replay(self, delivery_id: str) -> triggers.webhooks.Delivery:
        """As `app.Deliveries.replay`; its body is not told again."""
        return _delivery(await self._link.post(f"/deliveries/{part(delivery_id)}/replay", {}))


def _wanted(wanted: triggers.webhooks.Wanted) -> dict[str, object]:
    priority = dispatch.Priority(wanted.priority).name.lower()
    said: dict[str, object] = {
        "name": wanted.name,
        "handler": wanted.handler,
        "config": dict(wanted.config),
        "priority": priority,
    }
    return said if wanted.retry is None else {**said, "retry": wanted.retry.model_dump(mode="json")}


def _made(told: JSON) -> triggers.webhooks.NewRoute:
    facts = members(told)
    opens = {name: None if facts.get(name) is None else Secret(str(facts[name])) for name in ("address", "secret")}
    return triggers.webhooks.NewRoute(route=_route(told), **opens)


def _route(told: JSON) -> triggers.webhooks.Route:
    """Without the digest of its token, and with nothing of its secret but that there is one. Raises NotInterlock."""
    facts = members(told)
    with reading("route"):
        facts |= {
            "verification": sdk.Verification.model_validate_json(orjson.dumps(facts["verification"])),
            "sealed": SEALED_THERE if facts["has_secret"] else None,
            "token_digest": None,
            "secret_version": 0,
        }
    return value(triggers.webhooks.Route, facts)


def _trigger(told: JSON) -> triggers.webhooks.Trigger:
    """Raises NotInterlock."""
    facts = members(told)
    with reading("trigger"):
        retry = sdk.Retries.model_validate_json(orjson.dumps(facts["retry"]))
    return value(triggers.webhooks.Trigger, {**facts, "enabled": facts.get("state") == "enabled", "retry": retry})


def _delivery(told: JSON) -> triggers.webhooks.Delivery:
    """Raises NotInterlock."""
    facts = members(told)
    rest = {name: each for name, each in facts.items() if name not in _TOLD}
    found = value(triggers.webhooks.Delivery, {**facts, "facts": rest})
    with reading("delivery"):
        if facts.get("base64") is not None:
            return replace(found, body=b64decode(facts["base64"]))
        text = cast("str | None", facts.get("body"))
        return found if text is None else replace(found, body=text.encode())
