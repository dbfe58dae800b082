"""MCP servers, connected from nothing but their address: who gives tokens is found, and a client is registered there."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

import auth_server as auth
from auth_server import PERSON, faults
from fix_installs import ANN, BROWSER
from fix_service import CLIENT, REDIRECT, Service
from interlock import connections, sdk
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.connections import InstallState, Reason
from interlock.kernel import Secret, Tx

pytestmark = [pytest.mark.anyio, pytest.mark.faults]  # starts servers or kills commands

ANOTHER = "http://127.0.0.1:7778/callback"


@pytest.fixture
def mcp(provider: Service) -> Service:
    provider.client = None
    provider.declare(sdk.mcp_oauth(resource="/mcp"), probe="/mcp")
    return provider


async def test_a_server_is_connected_by_its_address_alone(mcp: Service):
    made = await mcp.connect()
    assert (made.subject, made.scopes) == (PERSON, {"read", "write"})
    [asked], [redeemed] = mcp.sent("/authorize"), mcp.sent("/token")
    resource = f"{mcp.server.url}/mcp"
    assert (asked["resource"], redeemed["resource"]) == (resource, resource)
    assert asked["code_challenge_method"] == "S256"
    assert await mcp.opens("/mcp") == PERSON
    assert await mcp.opens("/me") is None  # it is for that resource alone
    found = await mcp.desk.list_installs(ANN)
    assert found[0].issuer == mcp.server.url


async def test_its_tokens_are_renewed_where_they_came_from(mcp: Service):
    await mcp.connect()
    before = await mcp.secrets()
    calls = mcp.server.calls["register"], mcp.server.calls[".well-known/oauth-authorization-server"]
    made = await mcp.renewed()
    assert made.state is connections.State.CONNECTED
    after = await mcp.secrets()
    assert after["refresh_token"] != before["refresh_token"]
    assert mcp.sent("/token")[-1]["resource"] == f"{mcp.server.url}/mcp"
    assert (mcp.server.calls["register"], mcp.server.calls[".well-known/oauth-authorization-server"]) == calls
    assert await mcp.opens("/mcp") == PERSON


async def test_a_client_is_registered_once_for_each_address_it_is_led_back_to(mcp: Service):
    await mcp.connect(name="one")
    await mcp.connect(name="two")
    assert mcp.server.calls["register"] == 1
    await mcp.connect(name="three", uri=ANOTHER)
    assert mcp.server.calls["register"] == 2
    mcp.clock.advance(3601)  # the first one's client is another by now
    for name in ("one", "three"):
        renewed = await mcp.accounts.resolve(ANN, connector_id="acme", scopes=set(), connection=name)
        assert renewed.connection.state is connections.State.CONNECTED


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_clients_secret_is_sealed_and_used(mcp: Service, method: str):
    mcp.server.books.client_auths = [method]
    await mcp.connect(name="one")
    await mcp.connect()
    assert mcp.server.calls["register"] == 1
    await mcp.renewed()
    [secret] = [each for each in mcp.server.books.issued if each.startswith("cs-")]
    assert (await mcp.secrets())["client_secret"] == secret

    def dump(tx: Tx) -> str:
        return repr([[*sql.connection(tx).execute(select(each))] for each in tables.metadata.sorted_tables])

    assert secret not in await mcp.store.read(dump)


async def test_a_client_that_the_server_has_forgotten_is_registered_anew(mcp: Service):
    install = await mcp.begin()
    query = await mcp.visit(install)
    mcp.server.books.clients.clear()
    with pytest.raises(connections.InstallFailed, match="does not know our client"):
        await mcp.desk.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
    await mcp.connect()
    assert mcp.server.calls["register"] == 2


@pytest.mark.parametrize("ends", ["cancelled", "expired"])
async def test_a_client_that_led_nobody_back_is_not_used_again(mcp: Service, ends: str):
    """A server that has forgotten it tells the person, on a page of its own, and not us."""
    await mcp.connect(name="one")
    mcp.server.books.clients.clear()
    install = await mcp.begin(name="two")
    url = await mcp.desk.authorize(install, browser=BROWSER, redirect_uri=REDIRECT)
    async with httpx2.AsyncClient() as browser:
        assert (await browser.get(url)).status_code in (400, 401)
    if ends == "cancelled":
        await mcp.desk.cancel(await mcp.desk.fetch(ANN, install.install_id))
    mcp.clock.advance(600)
    for _ in range(2):
        assert (await mcp.connect(name="two")).state is connections.State.CONNECTED
    assert mcp.server.calls["register"] == 2


async def test_people_who_connect_at_the_same_time_share_a_client(mcp: Service):
    await mcp.connect(name="one")
    queries = [await mcp.visit(await mcp.begin(name=name)) for name in ("two", "three")]
    for query in queries:
        await mcp.desk.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
    assert mcp.server.calls["register"] == 1


async def test_a_client_that_a_refresh_shows_to_be_forgotten_is_not_used_again(mcp: Service):
    await mcp.connect()
    mcp.server.books.clients.clear()
    mcp.clock.advance(mcp.server.books.lifetime)
    after = await mcp.refreshing.refresh(ANN, "acme")
    assert (after.state, after.reason) == (connections.State.REAUTH_REQUIRED, "refresh_invalid_client")
    assert (await mcp.connect()).state is connections.State.CONNECTED
    assert mcp.server.calls["register"] == 2


async def test_a_clients_secret_that_ends_is_not_used_again(mcp: Service):
    mcp.server.books.client_auths = ["client_secret_basic"]
    mcp.server.books.client_secrets_live = 900
    await mcp.connect(name="one")
    mcp.clock.advance(301)
    await mcp.connect(name="two")
    assert mcp.server.calls["register"] == 2


async def test_the_operators_client_is_preferred(mcp: Service):
    mcp.client = replace(CLIENT, issuer=mcp.server.url)
    await mcp.connect()
    assert mcp.server.calls["register"] == 0
    assert (await mcp.renewed()).state is connections.State.CONNECTED
    assert "client_secret" not in await mcp.secrets()


@pytest.mark.parametrize("confirmed", [None, "https://auth.acme.dev", "{url}/"])
async def test_the_operators_client_is_shown_to_nobody_but_its_own_server(mcp: Service, confirmed: str | None):
    """The MCP server could name anybody, and names another one than it did."""
    issuer = None if confirmed is None else confirmed.format(url=mcp.server.url)
    mcp.client = replace(CLIENT, issuer=issuer)
    install = await mcp.begin()
    with pytest.raises(
        connections.InstallFailed, match=f"names an authorization server.*: {mcp.server.url}$"
    ) as caught:
        await mcp.visit(install)
    assert caught.value.details == {"reason": "unconfirmed_issuer", "issuer": mcp.server.url}
    assert "`issuer` under [oauth.acme]" in caught.value.next_step
    assert (await mcp.desk.fetch(ANN, install.install_id)).issuer == mcp.server.url
    assert mcp.server.calls["authorize"] == mcp.server.calls["token"] == mcp.server.calls["register"] == 0


async def test_another_client_of_the_operators_is_not_shown_where_tokens_came_from(mcp: Service):
    mcp.client = replace(CLIENT, issuer=mcp.server.url)
    await mcp.connect()
    mcp.client = replace(CLIENT, issuer="https://auth.acme.dev", secret=Secret("of-another-server"))
    mcp.clock.advance(3500)
    await _not_renewed(mcp)
    await mcp.accounts.revoke(ANN, "acme", "done")
    assert (mcp.server.calls["token"], mcp.server.calls["revoke"]) == (1, 0)


async def test_what_an_older_setting_lacks_is_named_and_its_tokens_renewed_once_it_is_there(mcp: Service):
    """Even if they have ended by then."""
    mcp.client = replace(CLIENT, issuer=mcp.server.url)
    await mcp.connect()
    mcp.client = CLIENT
    mcp.clock.advance(3700)
    await _not_renewed(mcp)
    mcp.client = replace(CLIENT, issuer=mcp.server.url)
    assert (await mcp.refreshing.refresh(ANN, "acme")).state is connections.State.CONNECTED


async def test_a_client_that_is_no_longer_for_that_server_gets_no_code_redeemed(mcp: Service):
    mcp.client = replace(CLIENT, issuer=mcp.server.url)
    query = await mcp.visit(await mcp.begin())
    mcp.client = CLIENT
    with pytest.raises(connections.InstallFailed) as caught:
        await mcp.desk.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
    assert caught.value.details == {"reason": "unconfirmed_issuer", "issuer": mcp.server.url}
    assert mcp.server.calls["token"] == 0


async def _not_renewed(mcp: Service) -> None:
    after = await mcp.refreshing.refresh(ANN, "acme")
    assert (after.state, after.reason) == (connections.State.DEGRADED, "refresh_unconfirmed_issuer")
    told = f'write `issuer = "{mcp.server.url}"` under [oauth.acme] in the settings'
    assert told in connections.NotRenewed(after).next_step
    assert told in connections.next_step(after)


async def test_a_client_of_the_persons_own_goes_where_the_person_does(mcp: Service):
    fields = [sdk.field("client_id"), sdk.field("client_secret", secret=True)]
    mcp.declare({**sdk.mcp_oauth(resource="/mcp"), "fields": fields}, probe="/mcp")
    assert CLIENT.secret is not None
    await mcp.connect({"client_id": CLIENT.client_id, "client_secret": CLIENT.secret})
    assert mcp.server.calls["register"] == 0


@pytest.mark.parametrize(
    ("place", "document"),
    [
        ("mcp", {}),  # no challenge: the well-known place
        (".well-known/oauth-authorization-server", {}),  # OpenID's document instead
    ],
)
async def test_documents_are_looked_for_where_they_may_be(mcp: Service, place: str, document: dict[str, Any]):
    mcp.server.fail(place, faults.says(404, document))
    assert (await mcp.connect()).subject == PERSON


async def test_a_scope_that_the_challenge_names_is_all_that_is_asked_for(mcp: Service):
    mcp.server.books.challenge_scope = "read"
    assert (await mcp.connect()).scopes == {"read"}


SERVER, RESOURCE = ".well-known/oauth-authorization-server", ".well-known/oauth-protected-resource/mcp"


@pytest.mark.parametrize(
    ("place", "fault", "reason"),
    [
        (RESOURCE, faults.says(200, {"resource": "https://evil.dev", "authorization_servers": ["https://evil.dev"]}),
         Reason.MISCONFIGURED),
        (RESOURCE, faults.HTML, Reason.UNREADABLE_ANSWER),
        (RESOURCE, faults.CUT, Reason.SERVICE_FAILED),
        (RESOURCE, faults.HUGE, Reason.SERVICE_FAILED),
        (RESOURCE, faults.says(302, {}, Location="https://evil.dev/mcp"), Reason.SERVICE_FAILED),
        (RESOURCE, faults.shaped(lambda told: {**told, "authorization_servers": ["https://10.1.2.3"]}),
         Reason.ADDRESS_REFUSED),
        (SERVER, faults.HUGE, Reason.SERVICE_FAILED),
        (SERVER, faults.says(302, {}, Location="http://169.254.169.254/latest"), Reason.SERVICE_FAILED),
        (SERVER, faults.shaped(lambda told: {**told, "issuer": f"{told['issuer']}/"}), Reason.MISCONFIGURED),
        (SERVER, faults.shaped(lambda told: {**told, "token_endpoint": "http://evil.dev/token"}), Reason.MISCONFIGURED),
        (SERVER, faults.shaped(lambda told: {**told, "authorization_endpoint": "javascript:alert(1)//"}),
         Reason.MISCONFIGURED),
        ("register", faults.says(307, {}, Location="https://evil.dev/register"), Reason.SERVICE_FAILED),
        ("register", faults.HUGE, Reason.SERVICE_FAILED),
        (SERVER, faults.says(200, {"issuer": "https://evil.dev"}), Reason.MISCONFIGURED),
        (SERVER, faults.UNAVAILABLE, Reason.TEMPORARILY_UNAVAILABLE),
        (SERVER, faults.shaped(lambda told: {**told, "code_challenge_methods_supported": ["plain"]}),
         Reason.UNSUPPORTED),
        (SERVER, faults.shaped(lambda told: {**told, "registration_endpoint": None}), Reason.UNSUPPORTED),
        ("register", faults.says(400, {"error": "invalid_redirect_uri"}), Reason.MISCONFIGURED),
        ("register", faults.HTML, Reason.UNREADABLE_ANSWER),
    ],
)  # fmt: skip
async def test_what_cannot_be_trusted_ends_it(mcp: Service, place: str, fault: Any, reason: Reason):
    mcp.server.keep_failing(place, fault)
    if place == SERVER:
        mcp.server.keep_failing(".well-known/openid-configuration", faults.says(404, {}))
    install = await mcp.begin()
    with pytest.raises(connections.InstallFailed):
        await mcp.visit(install)
    found = await mcp.desk.fetch(ANN, install.install_id)
    assert (found.state, found.reason) == (InstallState.FAILED, reason)
    assert mcp.server.calls["token"] == 0


@pytest.mark.parametrize("place", [RESOURCE, SERVER, "register"])
@pytest.mark.parametrize("fault", [faults.HANG, faults.TRICKLE])
async def test_what_keeps_us_waiting_ends_it(mcp: Service, place: str, fault: auth.Fault):
    mcp.server.keep_failing(place, fault)
    mcp.errands.limit = timedelta(milliseconds=100)
    install = await mcp.begin()
    with pytest.raises(connections.InstallFailed):
        await mcp.visit(install)
    assert (await mcp.desk.fetch(ANN, install.install_id)).reason is Reason.SERVICE_FAILED


async def test_a_door_that_says_nothing_is_passed_by(mcp: Service):
    """What it would say stands in a well-known place, too."""
    mcp.server.fail("mcp", faults.CUT)
    assert (await mcp.connect()).subject == PERSON


async def test_another_issuer_at_the_callback_gets_no_code(mcp: Service):
    query = await mcp.visit(await mcp.begin())
    forged = query.replace("iss=http%3A%2F%2F127.0.0.1", "iss=http%3A%2F%2Fevil.dev")
    assert forged != query
    with pytest.raises(connections.InstallFailed, match="from somebody else"):
        await mcp.desk.take_callback(forged, browser=BROWSER, redirect_uri=REDIRECT)
    assert mcp.server.calls["token"] == 0


async def test_nothing_is_asked_for_an_install_that_was_begun(mcp: Service):
    install = await mcp.begin()
    await mcp.visit(install)
    calls = mcp.server.calls.total()
    with pytest.raises(connections.InstallUsed):
        await mcp.visit(await mcp.desk.fetch(ANN, install.install_id))
    assert mcp.server.calls.total() == calls


async def test_a_profile_that_is_another_when_the_browser_comes_back_ends_it(mcp: Service):
    query = await mcp.visit(await mcp.begin())
    mcp.declare(sdk.token_profile("mcp"))
    with pytest.raises(connections.InstallFailed, match="profile was changed"):
        await mcp.desk.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
    assert mcp.server.calls["token"] == 0
