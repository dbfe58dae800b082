"""Grants, from a profile as data through the plane to a strict authorization server of another make, and back: what
`test_every_profile.py` does not come to."""

import base64
import hashlib
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

import auth_server as auth
from auth_server import faults
from fix_app import Process, World
from interlock import connections, plane, sdk, testing
from interlock.connections import answer, exchange
from interlock.kernel import Secret, canonical

pytestmark = pytest.mark.anyio

REDIRECT, VERIFIER = "http://127.0.0.1:7777/callback", "v" * 43
CLIENT = exchange.Client(client_id="client-1", secret=Secret(str(auth.CLIENT.client_secret)))


class Flow:
    """A profile, on its way through the steps of its grant."""

    def __init__(self, process: Process, server: auth.AuthServer) -> None:
        self.process = process
        self.server = server
        self.values: dict[str, str | Secret] = {}
        self.client: exchange.Client | None = CLIENT
        self.nonces = iter(f"nonce-{number}" for number in range(100))

    def declare(self, draft: sdk.Draft) -> sdk.AuthProfile:
        self.profile = sdk.AuthProfile.model_validate_json(canonical({**draft, "base_url": self.server.url}))
        return self.profile

    async def send(self, asked: sdk.grants.Exchange) -> answer.Answer:
        now = self.process.parts.wiring.clock.now()
        known = exchange.known(
            self.profile, self.values, base_url=self.server.url, client=self.client, at=now, nonce=next(self.nonces)
        )
        errand = exchange.build(asked, known, client=self.client)
        return await self.process.parts.errands.send(errand, tenant_id="default")

    async def step(self, step: sdk.grants.Step = "token") -> answer.Tokens:
        asked = sdk.grants.exchanges(self.profile.grant)[step]
        return answer.read(asked.answer, await self.send(asked))

    async def agree(self, grant: sdk.grants.AuthorizationCode, **values: str) -> None:
        """What a person does in a browser; the code is known then."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
        assert self.client is not None
        given = {"client_id": self.client.client_id, "redirect_uri": REDIRECT, "state": "s", "scope": "read", **values}
        url = exchange.authorization_url(grant, {**given, "code_challenge": challenge, "base_url": self.server.url})
        async with httpx2.AsyncClient(verify=False) as browser:
            told = await browser.get(url)
        found = dict(parse_qsl(urlsplit(told.headers["location"]).query))
        assert found["iss"] == self.server.url
        self.values |= {"code": Secret(found["code"]), "code_verifier": Secret(VERIFIER), "redirect_uri": REDIRECT}

    async def opens(self, tokens: answer.Tokens, path: str = "/me") -> str | None:
        """Whose account the token shows."""
        shown = {"authorization": f"Bearer {tokens.access_token.reveal()}"}
        async with httpx2.AsyncClient(verify=False) as service:
            return (await service.get(f"{self.server.url}{path}", headers=shown)).json().get("login")


@pytest.fixture
def server(file_world: World) -> Iterator[auth.AuthServer]:
    with auth.serving(file_world.clock) as running:
        yield running


@pytest.fixture
async def flow(file_world: World, server: auth.AuthServer) -> AsyncGenerator[Flow]:
    host = server.url.removeprefix("http://")
    async with file_world.process(execution={"egress_allow": (host,)}) as process:
        yield Flow(process, server)


def oauth2(**more: Any) -> sdk.Draft:
    revoke = {"exchange": sdk.exchange("/revoke")}
    return sdk.oauth2(authorize_url="/authorize", token_url="/token", revoke=revoke, **more)


async def agreed(flow: Flow, **more: Any) -> answer.Tokens:
    profile = flow.declare(oauth2(**more))
    assert isinstance(profile.grant, sdk.grants.AuthorizationCode)
    await flow.agree(profile.grant)
    return await flow.step()


async def refused(flow: Flow, step: sdk.grants.Step = "token") -> str:
    with pytest.raises(connections.GrantRefused) as caught:
        await flow.step(step)
    return caught.value.reason


async def test_a_code_is_redeemed_refreshed_and_revoked(flow: Flow):
    tokens = await agreed(flow)
    assert tokens.scopes == {"read"}
    assert tokens.refresh_token is not None
    flow.values["refresh_token"] = tokens.refresh_token
    renewed = await flow.step("refresh")
    assert renewed.refresh_token not in (None, tokens.refresh_token)
    assert renewed.refresh_token is not None
    flow.values["refresh_token"] = renewed.refresh_token
    assert await flow.opens(renewed) == auth.PERSON
    assert (await flow.send(sdk.grants.exchanges(flow.profile.grant)["revoke"])).status == 200
    assert await flow.opens(renewed) is None
    assert list(flow.server.books.families_ended.values()) == ["revoked"]


async def test_a_refresh_token_that_was_used_is_refused_as_such(flow: Flow):
    tokens = await agreed(flow)
    assert tokens.refresh_token is not None
    flow.values["refresh_token"] = tokens.refresh_token
    await flow.step("refresh")
    assert await refused(flow, "refresh") == "invalid_grant"


async def test_two_steps_lead_to_a_token_in_an_odd_shape(flow: Flow):
    flow.client = None
    flow.values = {"username": auth.PERSON, "password": Secret(flow.server.books.password)}
    first = sdk.exchange(
        "/login",
        body_format="json",
        client_auth="none",
        params={"/auth/user": "{username}", "/auth/password": "{password}"},
        answer={"access_token": "/none", "error": "/error/code", "error_codes": {"BAD_LOGIN": "invalid_grant"},
                "extra": {"ticket": "/data/ticket"}},
    )  # fmt: skip
    second = sdk.exchange(
        "/exchange",
        body_format="none",
        client_auth="none",
        headers={"X-Ticket": "{step1.ticket}"},
        answer={"access_token": "/data/session/token", "expires_at": "/data/session/validUntil",
                "expires_at_format": "epoch_ms"},
    )  # fmt: skip
    fields = [sdk.field("username"), sdk.field("password", secret=True)]
    profile = flow.declare(sdk.token_exchange(steps=[first, second], fields=fields))
    assert isinstance(profile.grant, sdk.grants.TokenExchange)
    one, two = profile.grant.steps
    now = flow.server.clock.now()
    flow.server.clock = testing.ManualClock(now + timedelta(hours=5))  # a clock that is wrong
    flow.values |= answer.read_step(one.answer, await flow.send(one), number=1)
    tokens = answer.read(two.answer, await flow.send(two))
    assert tokens.expires_at == now + timedelta(hours=1)
    assert await flow.opens(tokens) == auth.PERSON
    flow.values["password"] = Secret("wrong-password")
    with pytest.raises(connections.GrantRefused, match="wrong, used, revoked"):
        answer.read_step(one.answer, await flow.send(one), number=1)


async def test_a_session_begins_and_ends(flow: Flow):
    flow.client = None
    flow.values = {"username": auth.PERSON, "password": Secret(flow.server.books.password)}
    login = sdk.exchange(
        "/session",
        client_auth="none",
        params={"username": "{username}", "password": "{password}"},
        answer={"access_token": "/SessionId"},
    )
    logout = sdk.exchange(
        "/session",
        method="DELETE",
        body_format="none",
        client_auth="none",
        headers={"Authorization": "Bearer {access_token}"},
    )
    flow.declare(sdk.session_token(login=login, logout=logout))
    tokens = await flow.step()
    assert await flow.opens(tokens) == auth.PERSON
    flow.values["access_token"] = tokens.access_token
    assert (await flow.send(sdk.grants.exchanges(flow.profile.grant)["revoke"])).status == 204
    assert await flow.opens(tokens) is None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.HTML, "unreadable_answer"),
        (faults.CRASH, "temporarily_unavailable"),
        (faults.UNAVAILABLE, "temporarily_unavailable"),
        (faults.ERROR_AS_200, "invalid_client"),
        (faults.says(400, {"error": "its_own_words"}), "misconfigured"),
    ],
)
async def test_a_bad_answer_is_no_token(flow: Flow, fault: auth.Fault, reason: str):
    flow.declare(sdk.client_credentials(token_url="/token"))
    flow.server.fail("token", fault)
    flow.client = exchange.Client(client_id="client-1", secret=Secret("wrong"))
    assert await refused(flow) == reason


@pytest.mark.parametrize("fault", [faults.CUT, faults.CUT_WHEN_DONE, faults.CUT_HALF_WAY, faults.HUGE])
async def test_without_an_answer_nobody_knows(flow: Flow, fault: auth.Fault):
    flow.declare(sdk.client_credentials(token_url="/token"))
    flow.server.fail("token", fault)
    with pytest.raises(connections.ErrandFailed) as raised:
        await flow.step()
    assert raised.value.delivery == plane.Delivery.UNKNOWN
    assert len(flow.server.books.tokens) == fault.done
