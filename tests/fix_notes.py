"""A process with a connection at a strict authorization server, which has a service for notes behind it."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx2
import pytest

import auth_server as auth
from fix_app import Account, Process, World
from interlock import connections, runs, sdk
from interlock.app.settings import OAuthSettings
from interlock.kernel import JSON, Secret

BROWSER, REDIRECT = Secret("cookie-of-this-browser"), "http://127.0.0.1:7777/callback"


class Note(sdk.Input):
    """Write something down."""

    text: str


class Written(sdk.Record):
    number: int


class Looked(sdk.Record):
    login: str
    number: int


async def note_and_look(input: Mapping[str, JSON], http: sdk.Http) -> JSON:  # noqa: A002
    """Write, and then ask who we are."""
    asked = sdk.HttpRequest(method="POST", path="/notes", json_body={"text": str(input["text"])})
    made = await http.request(asked)
    if made.status == 401:
        raise sdk.AuthFailed("refused", effect="none", status=401)
    me = await http.request(sdk.HttpRequest(method="GET", path="/me"))
    if me.status == 401:
        raise sdk.AuthFailed("refused after the fact", effect="none", status=401)
    return {"login": "me", "number": 1}


def manifest(url: str, **revoke: Any) -> sdk.Manifest:
    usual: dict[str, Any] = {"base_url": url, "scopes": ["read"], "probe": sdk.probe("/me", subject="/login")}
    gone = sdk.when(pointer="/error", equals="token_revoked")
    return sdk.Connector(
        "acme",
        version="1.0.0",
        description="Acme's notes.",
        base_url=url,
        auth=[
            sdk.oauth2(
                authorize_url="/authorize",
                token_url="/token",
                refresh={"rotates": "yes"},
                revoke={"exchange": sdk.exchange("/revoke"), **revoke},
                **usual,
            ),
            sdk.token_profile(**usual),
        ],
        errors=[
            sdk.error("2xx", "auth_failed", when=gone, effect="none"),
            sdk.error(409, "auth_failed", when=gone),
        ],
        operations=[
            sdk.get("account.fetch", "/me", input=sdk.Input, output=Account),
            sdk.post("note.create", "/notes", input=Note, output=Written),
            sdk.handler("note.look", f"{__name__}:note_and_look", effect="create", input=Note, output=Looked),
        ],
    ).manifest


class Place:
    """A process with a connection at the server."""

    def __init__(self, process: Process, server: auth.AuthServer, world: World) -> None:
        self.process, self.server, self.world = process, server, world

    async def connect(self, name: str = "acme") -> connections.Connection:
        """The whole way, by a person. What it took is not counted."""
        proven = await self.agree(name)
        made = await self.process.il.connections.installs.complete(proven.install_id, browser=BROWSER)
        self.server.calls.clear()
        return made

    async def agree(self, name: str = "acme") -> connections.Install:
        """All of it but the last step."""
        installs = self.process.il.connections.installs
        begun = await installs.begin("acme", profile="oauth2", name=name)
        url = await installs.authorize(begun.install.install_id, browser=BROWSER, redirect_uri=REDIRECT)
        async with httpx2.AsyncClient(verify=False) as browser:
            told = await browser.get(url)
        query = told.headers["location"].partition("?")[2]
        return await installs.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)

    def end_tokens(self) -> None:
        """The service takes no access token that it has given so far; refresh tokens go on."""
        for token in self.server.books.tokens:
            token.issued_at -= 10_000

    @property
    def refreshes(self) -> int:
        return self.server.calls["token refresh_token"]

    async def whose(self, **more: Any) -> runs.Outcome:
        return await self.process.il.invoke("acme.account.fetch", {}, **more)

    async def note(self, name: str = "note.create") -> runs.Outcome:
        return await self.process.il.invoke(f"acme.{name}", {"text": "hello"})

    async def present(self) -> connections.Connection:
        return await self.process.il.connections.fetch("acme")


@pytest.fixture
async def notes(
    request: pytest.FixtureRequest, file_world: World, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Place]:
    monkeypatch.setenv("ACME_SECRET", str(auth.CLIENT.client_secret))
    ours = OAuthSettings(client_id=auth.CLIENT.client_id, client_secret_env="ACME_SECRET")
    with auth.serving(file_world.clock) as server:
        allowed = (server.url.removeprefix("http://"),)
        server.books.clients["client-1"].redirect_uris = (REDIRECT,)
        file_world.manifest = manifest(server.url, **getattr(request, "param", {}))
        async with file_world.process(execution={"egress_allow": allowed}, oauth={"acme": ours}) as process:
            yield Place(process, server, file_world)
