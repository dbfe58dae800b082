"""Webhooks that are signed as JWTs by keys which their issuer shows at an address, and changes."""

import json
import threading
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import pytest
from joserfc import jwk, jwt

from fix_app import Process, World
from fix_parrot import Answer, Heard, Parrot
from interlock import sdk
from interlock.kernel import Secret
from interlock.triggers import webhooks
from interlock.triggers.webhooks import Came

pytestmark = pytest.mark.anyio

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@dataclass
class Issuer:
    """Shows its keys, and signs with the last of them."""

    parrot: Parrot
    keys: list[jwk.ECKey] = field(default_factory=list[jwk.ECKey])
    works: bool = True

    def __post_init__(self) -> None:
        self.parrot.say = lambda _: Answer(self.shown) if self.works else Answer(b"no", 500)
        self.rotate()

    @property
    def shown(self) -> bytes:
        return json.dumps({"keys": [each.as_dict(private=False) for each in self.keys]}).encode()

    @property
    def asked(self) -> int:
        return len(self.parrot.heard)

    def rotate(self) -> None:
        self.keys = [jwk.ECKey.generate_key("P-256", {"kid": f"k{time.monotonic_ns()}"})]

    def delivery(self, world: World, number: int, key: jwk.ECKey | None = None) -> webhooks.Incoming:
        key = key or self.keys[-1]
        claims = {"iss": "https://issuer.dev", "aud": "us", "exp": int(world.clock.now().timestamp()) + 300}
        token = jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key, algorithms=["ES256"])
        headers = (("authorization", f"Bearer {token}"), ("content-type", "application/json"))
        body = json.dumps({"n": number}).encode()
        return webhooks.Incoming(method="POST", url="https://x.dev/hooks/x", headers=headers, body=body)


def reporter(url: str) -> sdk.Manifest:
    claims = {"issuers": ["https://issuer.dev"], "audience": "us", "algorithms": ["ES256"], "keys_url": f"{url}/keys"}
    proof = {"algorithm": "jwt", "header": "Authorization", "prefix": "Bearer ", "key": "jwks", "claims": claims}
    trigger = sdk.trigger(
        "changed",
        "webhook",
        signal={"type": "object", "properties": {"n": {"type": "integer"}}},
        about="Something changed.",
        verification=proof,
    )
    return sdk.Connector(
        "tasks",
        version="1.0.0",
        description="Reports.",
        base_url="https://api.tasks.dev",
        auth=[sdk.no_auth()],
        triggers=[trigger],
    ).manifest


@pytest.fixture
def issuer(parrot: Parrot) -> Issuer:
    return Issuer(parrot)


@dataclass
class Here:
    """A route, and its intake in one process; `restarted` has it in another one, which knows only what the store knows."""

    world: World
    settings: Mapping[str, Any]
    process: Process
    token: str

    async def take(self, request: webhooks.Incoming) -> Came:
        return (await self.process.parts.webhooks.intake.take(self.token, request)).came

    @asynccontextmanager
    async def restarted(self) -> AsyncGenerator["Here"]:
        async with self.world.process(**self.settings) as process:
            yield replace(self, process=process)


@pytest.fixture
async def here(file_world: World, issuer: Issuer) -> AsyncGenerator[Here]:
    file_world.manifest = reporter(issuer.parrot.url)
    host = issuer.parrot.host
    settings: dict[str, Any] = {"execution": {"egress_allow": (host,)}, "webhooks": {"keys_from": (host,)}}
    async with file_world.process(**settings) as process:
        made = await process.il.routes.create("tasks", on=[webhooks.Wanted(name="changed", handler="sync")])
        assert made.secret is None
        assert made.address is not None
        yield Here(file_world, settings, process, made.address.reveal().rpartition("/")[2])


async def test_keys_are_fetched_once_and_again_when_another_one_signs(here: Here, issuer: Issuer):
    for number in range(3):
        assert await here.take(issuer.delivery(here.world, number)) is Came.ACCEPTED
    assert issuer.asked == 1
    before = issuer.keys[-1]
    issuer.rotate()
    here.world.advance(MINUTE)
    assert await here.take(issuer.delivery(here.world, 3)) is Came.ACCEPTED
    assert issuer.asked == 2
    assert await here.take(issuer.delivery(here.world, 4, before)) is Came.REFUSED
    here.world.advance(HOUR)
    assert await here.take(issuer.delivery(here.world, 5)) is Came.ACCEPTED
    assert issuer.asked == 3


async def test_all_routes_of_an_issuer_know_its_new_keys_at_once(here: Here, issuer: Issuer):
    made = await here.process.il.routes.create("tasks", on=[webhooks.Wanted(name="changed", handler="sync")])
    assert made.address is not None
    other = replace(here, token=made.address.reveal().rpartition("/")[2])
    for number in range(2):
        here.world.advance(MINUTE)
        for route in (here, other):
            assert await route.take(issuer.delivery(here.world, number)) is Came.ACCEPTED
    issuer.rotate()
    for route in (here, other):
        assert await route.take(issuer.delivery(here.world, 2)) is Came.ACCEPTED
    assert issuer.asked == 2


async def test_strangers_have_them_fetched_once_a_minute(here: Here, issuer: Issuer):
    assert await here.take(issuer.delivery(here.world, 0)) is Came.ACCEPTED
    here.world.advance(MINUTE)
    stranger = jwk.ECKey.generate_key("P-256", {"kid": "stranger"})
    for number in range(5):
        assert await here.take(issuer.delivery(here.world, number, stranger)) is Came.REFUSED
    assert issuer.asked == 2
    [rejected, *_] = await here.process.il.deliveries.list(states=[webhooks.DeliveryState.REJECTED])
    assert rejected.reason == "unknown_key"
    same = jwk.ECKey.generate_key("P-256", {"kid": str(issuer.keys[-1].kid)})
    here.world.advance(MINUTE)
    assert await here.take(issuer.delivery(here.world, 9, same)) is Came.REFUSED
    assert issuer.asked == 2, "it is no unknown one"


async def test_an_issuer_that_is_away_is_done_without_for_a_day_and_then_nothing_is_taken(here: Here, issuer: Issuer):
    assert await here.take(issuer.delivery(here.world, 0)) is Came.ACCEPTED
    issuer.works = False
    here.world.advance(DAY - HOUR)
    assert await here.take(issuer.delivery(here.world, 1)) is Came.ACCEPTED
    here.world.advance(2 * HOUR)
    with pytest.raises(webhooks.IssuerKeysUnavailable):
        await here.take(issuer.delivery(here.world, 2))
    issuer.works = True
    here.world.advance(MINUTE)
    assert await here.take(issuer.delivery(here.world, 2)) is Came.ACCEPTED


async def test_a_restart_while_the_issuer_is_away_loses_nothing(here: Here, issuer: Issuer):
    assert await here.take(issuer.delivery(here.world, 0)) is Came.ACCEPTED
    issuer.works = False
    here.world.advance(DAY - HOUR)
    async with here.restarted() as again:
        assert await again.take(issuer.delivery(here.world, 1)) is Came.ACCEPTED
        here.world.advance(2 * HOUR)
        with pytest.raises(webhooks.IssuerKeysUnavailable):
            await again.take(issuer.delivery(here.world, 2))
    async with here.restarted() as again:
        with pytest.raises(webhooks.IssuerKeysUnavailable):
            await again.take(issuer.delivery(here.world, 2))


async def test_what_another_process_fetched_within_the_hour_is_not_fetched_again(here: Here, issuer: Issuer):
    assert await here.take(issuer.delivery(here.world, 0)) is Came.ACCEPTED
    async with here.restarted() as again:
        assert await again.take(issuer.delivery(here.world, 1)) is Came.ACCEPTED
        assert issuer.asked == 1
        issuer.rotate()
        assert await again.take(issuer.delivery(here.world, 2)) is Came.ACCEPTED
        assert issuer.asked == 2
    async with here.restarted() as again:
        assert await again.take(issuer.delivery(here.world, 3)) is Came.ACCEPTED
        assert issuer.asked == 2
        here.world.advance(HOUR)
        assert await again.take(issuer.delivery(here.world, 4)) is Came.ACCEPTED
        assert issuer.asked == 3


async def test_what_was_proven_is_replayed_though_the_issuer_is_away(here: Here, issuer: Issuer):
    assert await here.take(issuer.delivery(here.world, 0)) is Came.ACCEPTED
    [accepted] = await here.process.il.deliveries.list()
    issuer.works = False
    here.world.advance(2 * DAY)
    replayed = await here.process.il.deliveries.replay(accepted.delivery_id)
    assert len(cast("list[Any]", replayed.facts["replays"])) == 1


@pytest.mark.parametrize("shown", [b"{}", b"\xff", b"x" * 70_000, b'{"keys": 7}'])
async def test_what_is_no_key_set_proves_nothing(here: Here, issuer: Issuer, shown: bytes):
    issuer.parrot.say = lambda _: Answer(shown)
    with pytest.raises(webhooks.IssuerKeysUnavailable):
        await here.take(issuer.delivery(here.world, 0))


async def test_an_issuer_that_does_not_answer_is_waited_for_only_so_long(
    here: Here, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("interlock.app.reporting.KEYS_WITHIN", timedelta(milliseconds=100))
    refused = threading.Event()

    def say(_: Heard) -> Answer:
        refused.wait(10)
        return Answer(issuer.shown)

    issuer.parrot.say = say
    with pytest.raises(webhooks.IssuerKeysUnavailable):
        await here.take(issuer.delivery(here.world, 0))
    refused.set()


@pytest.mark.parametrize("seen", [True, False])
async def test_a_set_that_is_given_counts_instead_though_the_issuer_is_away(here: Here, issuer: Issuer, seen: bool):
    before, given = issuer.keys[-1], jwk.ECKey.generate_key("P-256", {"kid": "given"})
    if seen:
        assert await here.take(issuer.delivery(here.world, 0)) is Came.ACCEPTED
    issuer.works = False
    asked = issuer.asked
    [route] = await here.process.il.routes.list()
    secret = Secret(json.dumps({"keys": [given.as_dict(private=False)]}))
    changed = (await here.process.il.routes.rotate(route.route_id, secret=secret)).route
    assert changed.former_until is None
    assert await here.take(issuer.delivery(here.world, 1, given)) is Came.ACCEPTED
    here.world.advance(MINUTE)
    assert await here.take(issuer.delivery(here.world, 2, before)) is Came.REFUSED
    assert issuer.asked == asked


async def test_a_route_that_takes_nothing_asks_for_no_keys(here: Here, issuer: Issuer):
    issuer.works = False
    [route] = await here.process.il.routes.list()
    for close in (here.process.il.routes.disable, here.process.il.routes.revoke):
        await close(route.route_id)
        assert not await here.process.parts.webhooks.intake.expects(here.token)
        assert await here.take(issuer.delivery(here.world, 0)) is Came.REFUSED
    assert issuer.asked == 0


async def test_keys_come_only_from_hosts_that_the_settings_name(file_world: World, issuer: Issuer):
    file_world.manifest = reporter(issuer.parrot.url)
    async with file_world.process(execution={"egress_allow": (issuer.parrot.host,)}) as process:
        on = [webhooks.Wanted(name="changed", handler="sync")]
        with pytest.raises(webhooks.InvalidRoute, match=f"{issuer.parrot.host}: name that in webhooks.keys_from"):
            await process.il.routes.create("tasks", on=on)
    assert issuer.asked == 0
