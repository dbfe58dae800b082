"""Every grant, from a profile as data through the plane to a strict authorization server of another make, and back."""

import base64
import hashlib
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import auth_server as auth
from auth_server import faults
from fix_app import Process, World
from interlock import connections, plane, sdk, testing
from interlock.connections import answer, exchange
from interlock.kernel import Secret, canonical

pytestmark = pytest.mark.anyio

REDIRECT, VERIFIER = "http://127.0.0.1:7777/callback", "v" * 43
CLIENT = exchange.Client(client_id="client-1", secret=Secret(str(auth.CLIENT.client_secret)))
PUBLIC = exchange.Client(client_id=auth.PUBLIC.client_id)


@pytest.fixture(scope="module")
def keys() -> tuple[Secret, str]:
    """A private key and its public one (PEM)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()), public.decode()


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
        async with httpx2.AsyncClient() as browser:
            told = await browser.get(url)
        found = dict(parse_qsl(urlsplit(told.headers["location"]).query))
        assert found["iss"] == self.server.url
        self.values |= {"code": Secret(found["code"]), "code_verifier": Secret(VERIFIER), "redirect_uri": REDIRECT}

    async def opens(self, tokens: answer.Tokens, path: str = "/me") -> str | None:
        """Whose account the token shows."""
        shown = {"authorization": f"Bearer {tokens.access_token.reveal()}"}
        async with httpx2.AsyncClient() as service:
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


@pytest.mark.parametrize("way", ["basic", "post", "none", "private_key_jwt"])
async def test_a_client_shows_itself_in_each_way(flow: Flow, way: Any, keys: tuple[Secret, str]):
    private, public = keys
    registered = flow.server.books.clients["client-1"]
    registered.auth_method = {"none": way, "private_key_jwt": way}.get(way, f"client_secret_{way}")
    registered.public_key = public
    if way == "none":
        registered.client_secret = None
    flow.client = exchange.Client(
        client_id="client-1", secret=CLIENT.secret if way in ("basic", "post") else None, key=private
    )
    assert await flow.opens(await agreed(flow, client_auth=way)) == auth.PERSON


async def test_a_refresh_token_that_was_used_is_refused_as_such(flow: Flow):
    tokens = await agreed(flow)
    assert tokens.refresh_token is not None
    flow.values["refresh_token"] = tokens.refresh_token
    await flow.step("refresh")
    assert await refused(flow, "refresh") == "invalid_grant"


async def test_a_client_acts_for_itself(flow: Flow):
    flow.declare(sdk.client_credentials(token_url="/token"))
    assert await flow.opens(await flow.step()) == "client-1"
    flow.client = exchange.Client(client_id="client-1", secret=Secret("wrong"))
    assert await refused(flow) == "invalid_client"


async def test_a_device_waits_for_its_person(flow: Flow):
    flow.client = PUBLIC
    profile = flow.declare(sdk.device(device_url="/device", token_url="/token"))
    assert isinstance(profile.grant, sdk.grants.Device)
    codes = answer.read_codes(profile.grant, await flow.send(sdk.grants.exchanges(profile.grant)["start"]))
    flow.values["device_code"] = codes.device_code
    assert [await refused(flow), await refused(flow)] == ["authorization_pending", "slow_down"]
    flow.server.books.answer_device(codes.user_code, allowed=True)
    assert await flow.opens(await flow.step()) == auth.PERSON


async def test_a_signed_assertion_becomes_a_token(flow: Flow, keys: tuple[Secret, str]):
    flow.client = None
    flow.values = {"client_id": "client-1", "private_key": keys[0]}
    flow.server.books.clients["client-1"].public_key = keys[1]
    flow.declare(sdk.jwt_bearer(token_url="/token", assertion={"subject": auth.PERSON}))
    assert await flow.opens(await flow.step()) == auth.PERSON
    assert await flow.opens(await flow.step()) == auth.PERSON  # another assertion
    flow.declare(sdk.jwt_bearer(token_url="/token", assertion={"audience": "https://elsewhere"}))
    assert await refused(flow) == "invalid_grant"


async def test_an_app_opens_its_installation(flow: Flow, keys: tuple[Secret, str]):
    flow.client = exchange.Client(client_id=auth.APP_ID, key=keys[0])
    flow.values = {"installation_id": auth.INSTALLATION}
    flow.declare(sdk.github_app())
    assert await refused(flow) == "invalid_client"
    flow.server.books.app_key = keys[1]
    tokens = await flow.step()
    assert tokens.expires_at == flow.process.parts.wiring.clock.now().replace(microsecond=0) + timedelta(hours=1)
    assert await flow.opens(tokens) == f"app-{auth.APP_ID}"


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


ODD: list[tuple[auth.Fault, sdk.Draft]] = [
    (faults.AS_FORM, {}),
    (faults.EXPIRY_AS_TEXT, {}),
    (faults.WITHOUT_EXPIRY, {}),
    (faults.WITHOUT_REFRESH_TOKEN, {}),
    (faults.NESTED, {"access_token": "/authed_user/access_token", "scope": "/authed_user/scope"}),
]


@pytest.mark.parametrize(("fault", "rule"), ODD)
async def test_odd_answers_are_data(flow: Flow, fault: auth.Fault, rule: sdk.Draft):
    flow.server.fail("token", fault)
    tokens = await agreed(flow, answer=rule)
    assert tokens.scopes == {"read"}
    assert await flow.opens(tokens) == auth.PERSON


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
