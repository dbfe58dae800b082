"""Accounts that are connected through the facade, with the operator's client from the settings."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import token_server
from fix_connector import connector
from fix_installs import BROWSER
from interlock import Interlock, connections, sdk
from interlock.adapters import sql
from interlock.app import Settings, provided
from interlock.app.settings import ExecutionSettings, OAuthSettings
from interlock.connections import State
from interlock.kernel import RequestError
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio


def acme(url: str) -> sdk.Manifest:
    usual: dict[str, Any] = {"base_url": url, "probe": sdk.probe("/me", subject="/login"), "scopes": ["repo"]}
    browser = sdk.oauth2(authorize_url="/authorize", token_url="/token", issuer=url, **usual)
    return connector(auth=[browser, sdk.client_credentials(token_url="/token", **usual)]).manifest


def settings(server: token_server.TokenServer, folder: Path, **client: str) -> Settings:
    return Settings(
        store=":memory:",
        folder=folder,
        execution=ExecutionSettings(egress_allow=(urlsplit(server.url).netloc,)),
        oauth={"acme": OAuthSettings(client_id=token_server.CLIENT_ID, **client)},
    )


async def test_a_person_agrees_in_a_browser(
    running_token_server: token_server.TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server = running_token_server
    server.begin_anew()
    monkeypatch.setenv("ACME_SECRET", token_server.CLIENT_SECRET)
    chosen = settings(server, tmp_path, client_secret_env="ACME_SECRET")
    async with Interlock.open(settings=chosen, connectors=[acme(server.url)]) as il:
        installs = il.connections.installs
        begun = await installs.begin("acme", profile="oauth2", name="work")
        uri = server.redirect_uri
        url = await installs.authorize(begun.install.install_id, browser=BROWSER, redirect_uri=uri)
        async with httpx2.AsyncClient(verify=False) as client:
            answered = await client.get(url)
        query = urlsplit(answered.headers["location"]).query
        proven = await installs.take_callback(query, browser=BROWSER, redirect_uri=uri)
        made = await installs.complete(proven.install_id, browser=BROWSER)
        assert (made.name, made.subject, made.state) == ("work", "octo", State.CONNECTED)
        evidence = repr([each.canonical for each in await il.evidence()])
        assert begun.install.install_id in evidence
        for secret in ("canary", token_server.CLIENT_SECRET):
            assert secret not in evidence


async def test_a_program_connects_by_itself(running_token_server: token_server.TokenServer, tmp_path: Path):
    server = running_token_server
    server.begin_anew()
    given = {"client_id": token_server.CLIENT_ID, "client_secret": token_server.CLIENT_SECRET}
    async with Interlock.open(settings=settings(server, tmp_path), connectors=[acme(server.url)]) as il:
        made = await il.connections.installs.connect("acme", given, profile="client_credentials")
        assert made.subject == "octo"
        with pytest.raises(RequestError, match="oauth2, client_credentials"):
            await il.connections.installs.connect("acme", given)
        with pytest.raises(RequestError, match="by a person"):
            await il.connections.installs.connect("acme", profile="oauth2", name="other")


async def test_what_is_over_is_swept_by_whoever_sweeps(running_token_server: token_server.TokenServer, tmp_path: Path):
    server, clock = running_token_server, ManualClock(autojump=False)
    server.begin_anew()
    async with Interlock.open(
        settings=settings(server, tmp_path), connectors=[acme(server.url)], clock=clock, background=False
    ) as il:
        begun = await il.connections.installs.begin("acme", profile="oauth2")
        clock.advance(600)
        await il._parts.unwanted.tidy()
        found = await il._parts.store.read(
            lambda tx: sql.InstallRecords().find(tx, il.caller.tenant_id, begun.install.install_id)
        )
        assert found is not None
        assert found.reason is connections.Reason.TIME_OVER
        clock.advance(31 * 86_400)
        await il._parts.wiring.sweep(clock.now())
        assert await il.connections.installs.list() == []


def test_the_operators_secret_is_found_or_missed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "secret").write_text("from-a-file-0123\n")
    (tmp_path / "key.pem").write_text("the key")
    monkeypatch.setenv("ACME_SECRET", " ")
    said = {
        "file": OAuthSettings(client_id="a", client_secret_file="secret", private_key_file="key.pem", key_id="k"),
        "empty": OAuthSettings(client_id="a", client_secret_env="ACME_SECRET"),
        "gone": OAuthSettings(client_id="a", client_secret_file="nowhere"),
        "public": OAuthSettings(client_id="a"),
        "shown": OAuthSettings(client_id="a", private_key_file="key.pem", certificate_file="secret"),
    }
    chosen = Settings(folder=tmp_path, oauth=said)
    found = provided.read_client(chosen, "file")
    assert found is not None
    assert found.secret is not None
    assert (found.secret.reveal(), found.key_id, found.key and found.key.reveal()) == (
        "from-a-file-0123",
        "k",
        "the key",
    )
    assert provided.read_client(chosen, "public") == connections.exchange.Client(client_id="a")
    assert provided.read_client(chosen, "unknown") is None
    shown = provided.read_client(chosen, "shown")
    assert shown is not None
    assert [each.reveal() for each in shown.certificate or ()] == ["from-a-file-0123\n", "the key"]
    with pytest.raises(ValueError, match="private_key_file"):
        OAuthSettings(client_id="a", certificate_file="x")
    with pytest.raises(provided.ClientSecretMissing, match="ACME_SECRET"):
        provided.read_client(chosen, "empty")
    with pytest.raises(provided.FileUnreadable):
        provided.read_client(chosen, "gone")
    with pytest.raises(ValueError, match="one place"):
        OAuthSettings(client_id="a", client_secret_file="x", client_secret_env="Y")
    assert "ACME_SECRET" in os.environ
