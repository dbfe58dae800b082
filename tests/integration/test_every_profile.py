"""Every kind of profile, from what is given to a connection that opens the service, and on when its token has ended: through the
desk, against an authorization server of another make.

MCP servers have a module of their own, `test_mcp_installs.py`; what a lane does with a client certificate is in
`test_http_lane_tls.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import auth_server as auth
from auth_server import faults
from fix_installs import ANN, BROWSER
from fix_service import CLIENT, PUBLIC, REDIRECT, Hands, Service
from fix_tls import believed, certificate, digest_of, private_key, server_side
from interlock import connections, sdk, testing
from interlock.adapters import sql
from interlock.connections import ManagementMode, Reason, State, exchange
from interlock.kernel import Secret

pytestmark = [pytest.mark.anyio, pytest.mark.faults]  # starts servers or kills commands

_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEY = Secret(_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
PUBLIC_KEY = _KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SIGNS = exchange.Client(client_id=auth.CLIENT.client_id, key=KEY)
APP = exchange.Client(client_id=auth.APP_ID, key=KEY)
PASSWORD = "pw-canary-correct-horse"
LOGIN: Mapping[str, str | Secret] = {"username": auth.PERSON, "password": Secret(PASSWORD)}
MACHINE: Mapping[str, str | Secret] = {
    "client_id": auth.CLIENT.client_id,
    "client_secret": Secret(str(auth.CLIENT.client_secret)),
}
SIGNER: Mapping[str, str | Secret] = {"client_id": auth.CLIENT.client_id, "private_key": KEY}


def oauth2(**more: Any) -> sdk.Draft:
    return sdk.oauth2(authorize_url="/authorize", token_url="/token", scopes=["read"], **more)


TWO_STEPS = sdk.token_exchange(
    fields=[sdk.field("username"), sdk.field("password", secret=True)],
    steps=[
        sdk.exchange(
            "/login",
            body_format="json",
            client_auth="none",
            params={"/auth/user": "{username}", "/auth/password": "{password}"},
            answer={"access_token": "/none", "error": "/error/code", "error_codes": {"BAD_LOGIN": "invalid_grant"},
                    "extra": {"ticket": "/data/ticket"}},
        ),
        sdk.exchange(
            "/exchange",
            body_format="none",
            client_auth="none",
            headers={"X-Ticket": "{step1.ticket}"},
            answer={"access_token": "/data/session/token", "expires_at": "/data/session/validUntil",
                    "expires_at_format": "epoch_ms"},
        ),
    ],
)  # fmt: skip
SESSION = sdk.session_token(
    login=sdk.exchange(
        "/session",
        client_auth="none",
        params={"username": "{username}", "password": "{password}"},
        answer={"access_token": "/SessionId", "lifetime_seconds": 3600},
    )
)


@dataclass(frozen=True)
class Case:
    """A profile, what is given for it, who we are to the service, and how the client is registered there."""

    draft: sdk.Draft
    given: Mapping[str, str | Secret] = field(default_factory=dict[str, Any])
    client: exchange.Client | None = None
    registered: Mapping[str, Any] = field(default_factory=dict[str, Any])
    subject: str = auth.PERSON
    mode: ManagementMode = ManagementMode.MANUAL
    probe: str = "/me"


HOSTED = ManagementMode.HOSTED
CASES = {
    "authorization_code_basic": Case(oauth2(), client=CLIENT, mode=HOSTED),
    "authorization_code_post": Case(
        oauth2(client_auth="post"), client=CLIENT, registered={"auth_method": "client_secret_post"}, mode=HOSTED
    ),
    "authorization_code_public": Case(oauth2(client_auth="none"), client=PUBLIC, mode=HOSTED),
    "authorization_code_signed": Case(
        oauth2(client_auth="private_key_jwt"),
        client=SIGNS,
        registered={"auth_method": "private_key_jwt", "public_key": PUBLIC_KEY},
        mode=HOSTED,
    ),
    "device_public": Case(sdk.device(device_url="/device", token_url="/token"), client=PUBLIC, mode=HOSTED),
    "device_basic": Case(
        sdk.device(device_url="/device", token_url="/token", client_auth="basic"), client=CLIENT, mode=HOSTED
    ),
    "client_credentials_basic": Case(
        sdk.client_credentials(token_url="/token"), given=MACHINE, subject=auth.CLIENT.client_id
    ),
    "client_credentials_post": Case(
        sdk.client_credentials(token_url="/token", client_auth="post"),
        given=MACHINE,
        registered={"auth_method": "client_secret_post"},
        subject=auth.CLIENT.client_id,
    ),
    "client_credentials_signed": Case(
        {
            **sdk.client_credentials(token_url="/token", client_auth="private_key_jwt"),
            "fields": [sdk.field("client_id"), sdk.field("private_key", secret=True)],
        },
        given=SIGNER,
        registered={"auth_method": "private_key_jwt", "public_key": PUBLIC_KEY},
        subject=auth.CLIENT.client_id,
    ),
    "jwt_bearer": Case(
        sdk.jwt_bearer(token_url="/token", assertion={"subject": auth.PERSON}),
        given=SIGNER,
        registered={"public_key": PUBLIC_KEY},
    ),
    "jwt_as_the_token": Case(
        sdk.jwt_bearer(token_url=None),
        given={"client_id": auth.APP_ID, "private_key": KEY},
        subject=f"app-{auth.APP_ID}",
        probe="/app",
    ),
    "github_app": Case(
        sdk.github_app(),
        given={"installation_id": auth.INSTALLATION},
        client=APP,
        subject=f"app-{auth.APP_ID}",
        mode=ManagementMode.PROVIDER_APP,
    ),
    "github_app_in_a_browser": Case(
        sdk.github_app(install_url="/apps/acme/installations/new", user_token_url="/login/oauth/access_token"),
        client=replace(APP, secret=Secret("app-secret-canary")),
        subject=f"app-{auth.APP_ID}",
        mode=ManagementMode.PROVIDER_APP,
    ),
    "token_exchange": Case(TWO_STEPS, given=LOGIN),
    "session": Case(SESSION, given=LOGIN),
}


async def test_a_client_shows_its_certificate(memory_store: sql.SqlStore, tmp_path: Path):
    """RFC 8705: where tokens are asked for, and at the service."""
    ours, theirs = (tmp_path / name for name in ("ours", "theirs"))
    ours.mkdir()
    theirs.mkdir()
    client, host = certificate(ours, "client.example"), certificate(theirs, "127.0.0.1")
    clock = testing.ManualClock()
    with auth.serving(clock, server_side(host, clients=client)) as server:
        provider = Service(
            url=server.url, server=server, store=memory_store, clock=clock, client=None, authorities=believed(host)
        )
        draft = sdk.client_credentials(token_url="/token", client_auth="tls")
        secrets = [sdk.field(name, secret=True) for name in ("certificate", "private_key")]
        shown = [*draft["apply"], sdk.by_certificate()]
        provider.declare({**draft, "fields": [sdk.field("client_id"), *secrets], "apply": shown})
        provider.of(auth_method="self_signed_tls_client_auth", certificate=digest_of(client))
        given = {"client_id": auth.CLIENT.client_id}
        pair = {"certificate": Secret(believed(client)), "private_key": Secret(private_key(client))}
        made = await provider.connect({**given, **pair})
        assert made.subject == auth.CLIENT.client_id
        before = (await provider.secrets())["access_token"]
        await provider.renewed()
        assert (await provider.secrets())["access_token"] != before
        provider.of(certificate="sha256:another")
        with pytest.raises(connections.InstallFailed, match="does not know our client"):
            await provider.connect({**given, **pair}, name="other")
        await provider.errands.aclose()


def prepared(provider: Service, case: Case) -> sdk.AuthProfile:
    provider.of(**case.registered)
    provider.server.books.app_key = PUBLIC_KEY
    provider.server.books.clients[auth.APP_ID] = auth.Client(auth.APP_ID, "app-secret-canary")
    provider.client = case.client
    return provider.declare(case.draft, probe=case.probe)


@pytest.mark.parametrize("name", CASES)
async def test_a_profile_leads_to_a_connection_that_lasts(provider: Service, name: str):
    case = CASES[name]
    profile = prepared(provider, case)
    made = await provider.connect(case.given)
    assert (made.state, made.subject, made.management_mode) == (State.CONNECTED, case.subject, case.mode)
    assert await provider.opens(case.probe) == case.subject
    first = (await provider.secrets())["access_token"]
    renewed = await provider.renewed()
    assert (renewed.state, renewed.refreshed_at) == (State.CONNECTED, provider.clock.now())
    after = await provider.secrets()
    assert after["access_token"] != first
    assert await provider.opens(case.probe) == case.subject
    assert ("refresh_token" in after) is (profile.renewal == "refresh")


SIGNED = ["authorization_code_signed", "client_credentials_signed", "jwt_bearer"]


@pytest.mark.parametrize(("ahead", "names"), [(-100, SIGNED), (-55, ["github_app"]), (100, [*SIGNED, "github_app"])])
async def test_what_is_signed_by_a_clock_that_is_off_is_believed(
    provider: Service, running_auth_server: tuple[auth.AuthServer, Hands], ahead: int, names: list[str]
):
    """The service allows a minute, as we do; GitHub also wants to see no end beyond ten minutes."""
    running_auth_server[1].shown = testing.ManualClock(provider.clock.now() + timedelta(seconds=ahead))
    for name in names:
        case = CASES[name]
        prepared(provider, case)
        assert (await provider.connect(case.given, name=name.replace("_", "-"))).subject == case.subject


WRONG: Mapping[str, tuple[Callable[[Case], Case], Reason]] = {
    "authorization_code_basic": (lambda case: replace(case, client=wrong(CLIENT)), Reason.INVALID_CLIENT),
    "authorization_code_post": (lambda case: replace(case, registered={}), Reason.INVALID_CLIENT),
    "authorization_code_signed": (lambda case: replace(case, client=CLIENT), Reason.MISCONFIGURED),
    "device_basic": (lambda case: replace(case, client=wrong(CLIENT)), Reason.INVALID_CLIENT),
    "client_credentials_basic": (
        lambda case: replace(case, given={**MACHINE, "client_secret": "wrong-secret"}), Reason.INVALID_CLIENT),
    "client_credentials_signed": (
        lambda case: replace(case, registered={"auth_method": "private_key_jwt"}), Reason.INVALID_CLIENT),
    "jwt_bearer": (
        lambda case: replace(case, draft=sdk.jwt_bearer(token_url="/token", assertion={"audience": "https://x.dev"})),
        Reason.INVALID_GRANT),
    "jwt_as_the_token": (lambda case: replace(case, given={**SIGNER}), Reason.PROBE_FAILED),
    "github_app": (lambda case: replace(case, given={"installation_id": "1"}), Reason.MISCONFIGURED),
    "github_app_in_a_browser": (
        lambda case: replace(case, client=replace(APP, secret=Secret("wrong-secret"))), Reason.INVALID_CLIENT),
    "token_exchange": (
        lambda case: replace(case, given={**LOGIN, "password": "wrong-password"}), Reason.INVALID_GRANT),
    "session": (lambda case: replace(case, given={**LOGIN, "password": "wrong-password"}), Reason.INVALID_GRANT),
}  # fmt: skip


def wrong(client: exchange.Client) -> exchange.Client:
    return replace(client, secret=Secret("wrong-secret"))


@pytest.mark.parametrize("name", WRONG)
async def test_what_does_not_fit_makes_no_connection_and_says_why(provider: Service, name: str):
    change, reason = WRONG[name]
    case = change(CASES[name])
    prepared(provider, case)
    with pytest.raises(connections.InstallFailed) as caught:
        await provider.connect(case.given)
    assert caught.value.details == {"reason": reason.value}
    [found] = await provider.desk.list_installs(ANN)
    assert (found.reason, found.sealed) == (reason, None)
    assert await provider.connection() is None


async def brought(provider: Service, **changes: str | None) -> connections.Install:
    """An app is installed, and what the browser brings is changed on the way."""
    query = dict(parse_qsl(await provider.visit(await provider.begin())))
    changed = {name: value for name, value in {**query, **changes}.items() if value is not None}
    return await provider.desk.take_callback(urlencode(changed), browser=BROWSER, redirect_uri=REDIRECT)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"installation_id": "1002"}, Reason.ACCESS_DENIED),  # of somebody else
        ({"installation_id": "1002/../1001"}, Reason.NOT_INSTALLED),
        ({"installation_id": None}, Reason.NOT_INSTALLED),
        ({"code": None}, Reason.MISCONFIGURED),
        ({"code": "made-up"}, Reason.INVALID_GRANT),
        ({"code": None, "error": "access_denied"}, Reason.ACCESS_DENIED),
    ],
)
async def test_an_installation_has_to_be_the_persons_own(
    provider: Service, changes: dict[str, str | None], reason: Reason
):
    prepared(provider, CASES["github_app_in_a_browser"])
    with pytest.raises(connections.InstallFailed) as caught:
        await brought(provider, **changes)
    assert caught.value.details == {"reason": reason.value}
    assert not [each for each in provider.server.books.issued if each.startswith("ghs")]


async def test_an_installation_that_an_owner_has_to_allow_is_none_yet(provider: Service):
    prepared(provider, CASES["github_app_in_a_browser"])
    provider.server.books.installs_at = None
    with pytest.raises(connections.InstallFailed, match="is not installed"):
        await provider.connect()


async def test_an_installation_belongs_to_the_browser_that_began(provider: Service):
    prepared(provider, CASES["github_app_in_a_browser"])
    query = await provider.visit(await provider.begin())
    with pytest.raises(connections.CallbackRefused):
        await provider.desk.take_callback(query, browser=Secret("cookie-of-another"), redirect_uri=REDIRECT)
    assert provider.sent("/login/oauth/access_token") == []
    proven = await provider.desk.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
    assert proven.params == {"installation_id": auth.INSTALLATION}


NESTED = {"access_token": "/authed_user/access_token", "scope": "/authed_user/scope",
          "refresh_token": "/authed_user/refresh_token", "expires_in": "/authed_user/expires_in"}  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "answer", "lives"),
    [
        (faults.AS_FORM, None, 3600),
        (faults.EXPIRY_AS_TEXT, None, 3600),
        (faults.WITHOUT_EXPIRY, None, None),
        (faults.WITHOUT_EXPIRY, {"lifetime_seconds": 900}, 900),
        (faults.NESTED, NESTED, 3600),
    ],
)
async def test_an_answer_in_an_odd_shape_is_read(
    provider: Service, fault: auth.Fault, answer: sdk.Draft | None, lives: int | None
):
    provider.declare(oauth2(answer=answer))
    provider.server.keep_failing("token", fault)
    made = await provider.connect()
    assert (made.subject, made.scopes) == (auth.PERSON, {"read"})
    ends = None if lives is None else provider.clock.now() + timedelta(seconds=lives)
    assert made.credential_expires_at == ends
    if ends is not None:
        before = await provider.secrets()
        await provider.renewed()
        after = await provider.secrets()
        assert after["refresh_token"] != before["refresh_token"]
    assert await provider.opens() == auth.PERSON


async def test_a_refresh_without_a_refresh_token_keeps_the_one_there_is(provider: Service):
    provider.server.books.rotates = False
    provider.declare(oauth2())
    await provider.connect()
    before = await provider.secrets()
    for _ in range(2):
        assert (await provider.renewed()).state is State.CONNECTED
    after = await provider.secrets()
    assert after["refresh_token"] == before["refresh_token"]
    assert after["access_token"] != before["access_token"]


IDLE = sdk.session_token(
    login=sdk.exchange(
        "/session",
        client_auth="none",
        params={"username": "{username}", "password": "{password}"},
        answer={"access_token": "/SessionId"},
    ),
    logout=sdk.exchange(
        "/session",
        method="DELETE",
        body_format="none",
        client_auth="none",
        headers={"Authorization": "Bearer {access_token}"},
    ),
    idle_seconds=1200,
)


@pytest.mark.parametrize("used", [True, False])
async def test_a_session_is_begun_anew_before_it_is_idle_and_the_one_before_is_ended(provider: Service, used: bool):
    provider.declare(IDLE)
    provider.server.books.lifetime = 1200
    made = await provider.connect(LOGIN)
    assert made.credential_expires_at == provider.clock.now() + timedelta(seconds=1200)
    assert made.refresh.due_at is not None
    provider.clock.advance((made.refresh.due_at - provider.clock.now()).total_seconds())
    await provider.accounts.resolve(ANN, connector_id="acme", scopes=set())
    before, present = provider.server.books.tokens
    assert (await provider.secrets())["access_token"] == present.access_token
    before.lifetime += 300 * used
    provider.clock.advance(300)
    await connections.Unwanted(provider.means).tidy()
    assert (before.revoked, present.revoked) == (used, False)
    assert await provider.opens() == auth.PERSON
    assert [event.type.value for event in provider.heard] == ["connected", "refreshed", "provider_revoked"]


async def test_an_answer_without_a_refresh_token_is_a_connection_that_ends(provider: Service):
    provider.declare(oauth2())
    provider.server.fail("token", faults.WITHOUT_REFRESH_TOKEN)
    made = await provider.connect()
    assert made.refresh.due_at is None
    provider.clock.advance(3601)
    with pytest.raises(connections.ConnectionExpired):
        await provider.accounts.resolve(ANN, connector_id="acme", scopes=set())


async def test_a_refusal_that_calls_itself_a_success_is_one(provider: Service):
    provider.declare(oauth2())
    provider.client = wrong(CLIENT)
    provider.server.fail("token", faults.ERROR_AS_200)
    with pytest.raises(connections.InstallFailed, match="does not know our client"):
        await provider.connect()


async def test_a_redirect_uri_is_a_parameter_of_its_own_step_only(provider: Service):
    """What stands in an exchange is asked for by each step that has it: a refresh is not led back anywhere."""
    provider.declare(oauth2(params={"redirect_uri": REDIRECT, "audience": "https://api.provider.dev"}))
    await provider.connect()
    await provider.renewed()
    redeemed, refreshed = provider.sent("/token")
    assert (redeemed["redirect_uri"], redeemed["audience"]) == (REDIRECT, "https://api.provider.dev")
    assert "redirect_uri" not in refreshed
    assert refreshed["audience"] == "https://api.provider.dev"
    assert BROWSER.reveal() not in repr(provider.server.heard)
