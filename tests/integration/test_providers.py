"""Providers that were imported are connected like any service."""

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2
import orjson
import pytest

import token_server
from fix_installs import BROWSER
from interlock import Interlock, catalog, policy, runs, sdk
from interlock.app import Settings
from interlock.app.settings import ExecutionSettings, OAuthSettings
from interlock.connections import ProbeFailed, State
from interlock.kernel import Caller, RequestError

pytestmark = pytest.mark.anyio


LETS_GETS = policy.Policy(rules=(policy.Rule(rule_id="gets", then=policy.Effect.ALLOW, capability=("*.proxy.get",)),))


def catalogue(url: str) -> bytes:
    """As Nango writes one. The basic way of showing the client is the server's only one."""
    usual: dict[str, Any] = {
        "token_url": f"{url}/token",
        "token_request_auth_method": "basic",
        "proxy": {"base_url": url, "verification": {"method": "GET", "endpoints": ["/me?limit=1"]}},
    }
    keyed = {**usual["proxy"], "headers": {"authorization": "Bearer ${apiKey}"}}
    return orjson.dumps(
        {
            "acme-oauth": {"auth_mode": "OAUTH2", "authorization_url": f"{url}/authorize", **usual},
            "acme-program": {"auth_mode": "OAUTH2_CC", **usual},
            "acme-key": {"auth_mode": "API_KEY", "proxy": keyed},
            "acme-shown": {"auth_mode": "API_KEY", "proxy": {"base_url": url, "headers": {"x-key": "${apiKey}"}}},
        }
    )


@pytest.fixture
def server(running_token_server: token_server.TokenServer) -> token_server.TokenServer:
    running_token_server.begin_anew()
    return running_token_server


def settings(server: token_server.TokenServer, folder: Path) -> Settings:
    (folder / "secret").write_text(token_server.CLIENT_SECRET)
    client = OAuthSettings(client_id=token_server.CLIENT_ID, client_secret_file="secret")
    return Settings(
        store=":memory:",
        folder=folder,
        execution=ExecutionSettings(egress_allow=(urlsplit(server.url).netloc,)),
        oauth={"provider_acme_oauth": client},
    )


async def test_every_way_of_an_imported_provider_connects(server: token_server.TokenServer, tmp_path: Path):
    given = {"client_id": token_server.CLIENT_ID, "client_secret": token_server.CLIENT_SECRET}
    async with Interlock.open(settings=settings(server, tmp_path), policy=LETS_GETS) as il:
        found = await il.providers.import_catalogue(catalogue(server.url), form="nango")
        assert found.totals[catalog.Coverage.FULL] == 4
        installs, uri = il.connections.installs, server.redirect_uri
        begun = await installs.begin("provider_acme_oauth", name="by browser")
        url = await installs.authorize(begun.install.install_id, browser=BROWSER, redirect_uri=uri)
        async with httpx2.AsyncClient(verify=False) as client:
            answered = await client.get(url)
        proven = await installs.take_callback(
            urlsplit(answered.headers["location"]).query, browser=BROWSER, redirect_uri=uri
        )
        made = await installs.complete(proven.install_id, browser=BROWSER)
        assert (made.connector_id, made.state) == ("provider_acme_oauth", State.CONNECTED)
        assert (await il.connections.refresh(made.name)).refresh.failures == 0
        lease = await il.connections.leases.request(made.name)
        token = await il.connections.leases.redeem(lease.lease_id, "access_token", host=next(iter(lease.hosts)))
        program = await installs.connect("provider_acme_program", given)
        assert program.state is State.CONNECTED
        key = await il.connections.connect_token("provider_acme_key", token)
        assert (key.profile_id, key.subject) == ("api_key", None)
        outcome = await il.proxy(made.name, "GET", "/me")
        assert outcome.output == {
            "status": 200,
            "headers": {"content-type": "application/json"},
            "body": {"login": "octo"},
        }
        run = await il.runs.fetch(outcome.run_id)
        assert (run.kind, run.capability) == (runs.Kind.PROXY, "provider_acme_oauth.proxy.get")
        packet = json.dumps(orjson.loads(await il.runs.packet(outcome.run_id)))
        assert "canary" not in packet
        assert (await il.runs.outcome(outcome.run_id)).output == outcome.output
        server.rejects_tokens = True
        with pytest.raises(sdk.AuthFailed):
            await il.proxy(key.name, "GET", "/me")
        with pytest.raises(ProbeFailed):
            await il.connections.connect_token("provider_acme_key", "a-key-that-is-none", name="other")


async def test_what_a_request_says_besides_its_credential(server: token_server.TokenServer, tmp_path: Path):
    async with Interlock.open(settings=settings(server, tmp_path), policy=LETS_GETS) as il:
        await il.providers.import_catalogue(catalogue(server.url), form="nango")
        given = {"client_id": token_server.CLIENT_ID, "client_secret": token_server.CLIENT_SECRET}
        made = await il.connections.installs.connect("provider_acme_program", given)
        with pytest.raises(RequestError, match="method must be one of"):
            await il.proxy(made.name, "TRACE", "/me")
        with pytest.raises(sdk.InvalidPathValue, match="climbs"):
            await il.proxy(made.name, "GET", "/a/../me")
        with pytest.raises(sdk.InvalidArgument, match="one body"):
            await il.proxy(made.name, "POST", "/me", body={}, text="both")
        await il.connections.connect_token("provider_acme_shown", "a-key-that-is-shown", name="shown")
        held = await il.proxy(made.name, "POST", "/device", body={})
        assert (held.state, held.approval_id is not None) == (runs.State.HELD, True)
        with pytest.raises(sdk.InvalidArgument, match="x-key"):
            await il.invoke(
                "provider_acme_shown.proxy.get", {"path": "/me", "headers": {"x-key": "mine"}}, connection="shown"
            )


@pytest.mark.parametrize("meanwhile", ["moved", "removed", "the same"])
async def test_a_provider_that_changes_while_it_is_connected(
    server: token_server.TokenServer, tmp_path: Path, meanwhile: str
):
    """What was shown to one address is not kept for another."""
    ours = catalogue(server.url)
    theirs = catalogue(f"{server.url}/elsewhere") if meanwhile == "moved" else ours
    given = {"client_id": token_server.CLIENT_ID, "client_secret": token_server.CLIENT_SECRET}
    async with Interlock.open(settings=settings(server, tmp_path), policy=LETS_GETS) as il:
        await il.providers.import_catalogue(ours, form="nango", only=["acme-program", "acme-key"])
        program = await il.connections.installs.connect("provider_acme_program", given)
        lease = await il.connections.leases.request(program.name)
        token = await il.connections.leases.redeem(lease.lease_id, "access_token", host=next(iter(lease.hosts)))
        refused: list[catalog.ProviderChanged] = []

        async def connect() -> None:
            try:
                await il.connections.connect_token("provider_acme_key", token)
            except catalog.ProviderChanged as error:
                refused.append(error)

        asked, go = server.holds = (threading.Event(), threading.Event())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connect)
            try:
                assert await anyio.to_thread.run_sync(asked.wait, 60)
                if meanwhile == "removed":
                    await il.providers.remove("acme_key")
                else:
                    await il.providers.import_catalogue(theirs, form="nango", only=["acme-key"])
            finally:
                go.set()
        made = [each.name for each in await il.connections.list()]
        assert made == (["provider_acme_key"] if meanwhile == "the same" else []) + ["provider_acme_program"]
        assert [each.next_step for each in refused] == (
            []
            if meanwhile == "the same"
            else ["Look at it with `interlock providers show acme_key`, and connect again."]
        )


async def test_a_provider_is_its_tenants(server: token_server.TokenServer, tmp_path: Path):
    async with Interlock.open(settings=settings(server, tmp_path), policy=LETS_GETS) as il:
        await il.providers.import_catalogue(catalogue(server.url), form="nango", only=["acme_key"])
        other = il.as_caller(Caller(tenant_id="other", actor="somebody"))
        with pytest.raises(RequestError, match="by whoever opened Interlock"):
            await other.providers.import_catalogue(catalogue(server.url), form="nango")
        with pytest.raises(catalog.UnknownProvider):
            await other.connections.connect_token("provider_acme_key", "a-key-of-somebody")
        with pytest.raises(catalog.UnknownProvider, match="did you mean acme_key"):
            await il.connections.connect_token("provider_acme_keys", "a-key-of-somebody")


async def test_a_rule_for_another_provider_is_no_typo(server: token_server.TokenServer, tmp_path: Path):
    deny = policy.Rule(rule_id="not", then=policy.Effect.DENY, capability=("provider_acme_shown.*",))
    other = policy.Rule(rule_id="b", then=policy.Effect.DENY, capability=("provider_acme_showns.*",), tenant=("b",))
    strict = policy.Policy(rules=(*LETS_GETS.rules, deny, other))
    twin = catalogue(server.url).replace(b"acme-shown", b"acme-shows")
    async with Interlock.open(settings=settings(server, tmp_path), policy=strict) as il:
        await il.providers.import_catalogue(twin, form="nango", only=["acme-shows"])
        key = await il.connections.connect_token("provider_acme_shows", "a-key-of-somebody", name="key")
        with pytest.raises(policy.RuleAstray, match="did you mean"):
            await il.proxy(key.name, "GET", "/nothing")
        await il.providers.import_catalogue(catalogue(server.url), form="nango")
        with pytest.raises(sdk.OperationFailed):  # and so with a rule that is for another tenant
            await il.proxy(key.name, "GET", "/nothing")
