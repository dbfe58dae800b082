"""Routes of a connector that reports, on every store, and requests that are signed as its service does."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from interlock import sdk, testing
from interlock.adapters import keys, sql
from interlock.kernel import JSON, Caller, Secret, Tx, Uuid7Ids
from interlock.triggers import webhooks

ANN = Caller(tenant_id="t1", actor="ann")
BOB = Caller(tenant_id="t2", actor="bob")
ROOT = keys.RootKey(bytes(range(32)), source="test")
SECRET = "s3cret-of-the-route"


class Issue(sdk.Record):
    number: int


class Opened(sdk.Record):
    action: str
    issue: Issue


class Pushed(sdk.Record):
    ref: str = sdk.at("/ref")


class Config(sdk.Input):
    """What a trigger is for."""

    repo: str | None = None
    actions: list[str] | None = None


HUB = sdk.Connector(
    "hub",
    version="1.0.0",
    description="Reports issues and pushes.",
    base_url="https://api.hub.dev",
    auth=[sdk.no_auth()],
    triggers=[
        sdk.trigger(
            "issues",
            "webhook",
            signal=Opened,
            config=Config,
            about="An issue changed.",
            event={"header": "X-Hub-Event", "values": ["issues"]},
            filters={"repo": "/repository", "actions": "/action"},
            verification={"scheme": "github", "header": "X-Hub-Signature"},
        ),
        sdk.trigger(
            "push",
            "webhook",
            signal=Pushed,
            about="Commits came.",
            retry={"max_attempts": 2, "deadline_seconds": 3600},
            event={"header": "X-Hub-Event", "values": ["push"]},
            verification={"scheme": "github", "header": "X-Hub-Signature"},
        ),
    ],
).manifest
APP = sdk.Connector(
    "chat",
    version="1.0.0",
    description="Reports messages.",
    base_url="https://api.chat.dev",
    auth=[sdk.no_auth()],
    triggers=[
        sdk.trigger(
            "message",
            "webhook",
            signal={"type": "object", "properties": {"text": {"type": "string"}}},
            about="Somebody spoke.",
            verification={"scheme": "slack"},
        )
    ],
).manifest
HOOKED = sdk.Connector(
    "tasks",
    version="1.0.0",
    description="Says itself what the secret is.",
    base_url="https://api.tasks.dev",
    auth=[sdk.no_auth()],
    triggers=[
        sdk.trigger(
            "changed",
            "webhook",
            signal={"type": "object", "properties": {"events": {"type": "array"}}},
            about="Tasks changed.",
            verification={"scheme": "asana"},
        )
    ],
).manifest
MANIFESTS = {each.connector_id: each for each in (HUB, APP, HOOKED)}
ISSUES = webhooks.Wanted(name="issues", handler="triage")
BODY: dict[str, JSON] = {"action": "opened", "issue": {"number": 7}, "repository": "octo/hello"}


async def manifests(tenant_id: str, connector_id: str) -> sdk.Manifest:
    return MANIFESTS[connector_id]


def signed(
    body: JSON = BODY, *, secret: str = SECRET, event: str = "issues", delivery: str = "d-1", raw: bytes | None = None
) -> webhooks.Incoming:
    """A delivery of the hub."""
    content = json.dumps(body).encode() if raw is None else raw
    signature = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json",
        "x-hub-event": event,
        "x-github-delivery": delivery,
        "x-hub-signature": f"sha256={signature}",
    }
    return webhooks.Incoming(
        method="POST", url="https://hooks.acme.dev/hooks/x", headers=(*headers.items(),), body=content
    )


@dataclass
class Post:
    """What one process has of its own: routes, an intake, and the list of what was admitted in transactions that lasted."""

    store: sql.SqlStore
    clock: testing.ManualClock
    admitted: list[webhooks.Event] = field(default_factory=list[webhooks.Event])
    fail: Exception | None = None

    def __post_init__(self) -> None:
        self.ids = Uuid7Ids(self.clock)
        self.records = sql.WebhookRecords()
        self.ring = keys.Keyring(ROOT, sql.KeyRecords(), self.store, clock=self.clock, ids=self.ids)
        self.routes = webhooks.Routes(
            self.store,
            self.records,
            webhooks.RouteSecrets(self.ring, clock=self.clock, random_bytes=self.ring.random_bytes),
            manifests=manifests,
            clock=self.clock,
            ids=self.ids,
            random_bytes=self.ring.random_bytes,
        )
        self.intake = webhooks.Intake(
            self.store,
            self.records,
            self.routes,
            works=self,
            manifests=manifests,
            clock=self.clock,
            ids=self.ids,
        )
        self.deliveries = webhooks.Deliveries(
            self.store, self.records, self.routes, works=self, manifests=manifests, clock=self.clock
        )

    def draw(self, caller: Caller, event: webhooks.Event) -> webhooks.Event:
        return event

    def admit(self, tx: Tx, drawn: Sequence[webhooks.Event]) -> Sequence[str]:
        assert tx.is_open
        self.admitted += drawn
        if self.fail is not None:
            raise self.fail
        return self.ids.several("run", len(drawn))

    async def make(
        self,
        *on: webhooks.Wanted,
        secret: str | None = SECRET,
        connector: str = "hub",
        caller: Caller = ANN,
        **more: object,
    ) -> webhooks.Made:
        given = {"on": on or (ISSUES,), "secret": None if secret is None else Secret(secret), **more}
        return await self.routes.create(caller, connector, **given)  # pyright: ignore[reportArgumentType] - a test's

    async def send(self, made: webhooks.Made, request: webhooks.Incoming | None = None) -> webhooks.Outcome:
        assert made.token is not None
        return await self.intake.take(made.token.reveal(), request or signed())

    async def kept(self, *states: webhooks.DeliveryState, caller: Caller = ANN) -> Sequence[webhooks.Delivery]:
        return await self.deliveries.list_deliveries(caller, states=states)

    def later(self, **time: float) -> None:
        self.clock.advance(timedelta(**time).total_seconds())


@pytest.fixture
def post(store: sql.SqlStore) -> Post:
    return Post(store, testing.ManualClock())
