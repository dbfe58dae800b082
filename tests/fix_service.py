"""A desk at an authorization server of another make, with the service behind it: every profile, from what is given to what is
opened."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

import auth_server as auth
from fix_installs import ANN, BROWSER, Office
from interlock import connections, sdk, testing
from interlock.adapters import sql
from interlock.connections import Flow, exchange
from interlock.kernel import Secret

REDIRECT = "http://127.0.0.1:7777/callback"
CLIENT = exchange.Client(client_id=auth.CLIENT.client_id, secret=Secret(str(auth.CLIENT.client_secret)))
PUBLIC = exchange.Client(client_id=auth.PUBLIC.client_id)


@dataclass(kw_only=True)
class Service(Office):
    """Connecting this service by whatever profile a test declares."""

    server: auth.AuthServer

    def declare(self, draft: sdk.Draft, *, probe: str | None = "/me") -> sdk.AuthProfile:
        """The profile that is connected from now on."""
        proof = None if probe is None else sdk.probe(probe, subject="/login")
        said = {"base_url": self.server.url, "probe": proof, **draft}
        checked = sdk.Connector(
            "acme",
            version="1.0.0",
            description="Acme.",
            base_url=self.server.url,
            auth=[{name: value for name, value in said.items() if value is not None}],
            operations=[sdk.get("account.fetch", "/me", input=sdk.Input, output=Account)],
        ).manifest
        [profile] = checked.auth
        self.profile = self.profiles[profile.profile_id] = profile
        return profile

    async def begin(self, given: Mapping[str, str | Secret] | None = None, **more: Any) -> connections.Install:
        begun = await self.desk.begin(ANN, connector_id="acme", profile_id=self.profile.profile_id, given=given, **more)
        return begun.install

    async def visit(self, install: connections.Install, uri: str = REDIRECT) -> str:
        """What a person does in the browser; the query that it comes back with."""
        url = await self.desk.authorize(install, browser=BROWSER, redirect_uri=uri)
        async with httpx2.AsyncClient(verify=False) as browser:
            told = await browser.get(url)
        assert told.status_code == 302, told.text
        assert told.headers["location"].startswith(f"{uri}?")
        return urlsplit(told.headers["location"]).query

    async def proven(
        self, given: Mapping[str, str | Secret] | None = None, uri: str = REDIRECT, **more: Any
    ) -> connections.Install:
        """The install, carried on in its own way until its credential is proven."""
        install = await self.begin(given, **more)
        match install.flow:
            case Flow.AUTOMATIC:
                return await self.desk.obtain(install)
            case Flow.DEVICE:
                codes = await self.desk.start_device(install)
                await self.desk.poll_device(ANN, install.install_id)
                self.server.books.answer_device(codes.user_code, allowed=True)
                self.clock.advance(codes.interval)
                return await self.desk.poll_device(ANN, install.install_id)
            case Flow.AUTHORIZATION_CODE:
                query = await self.visit(install, uri)
                return await self.desk.take_callback(query, browser=BROWSER, redirect_uri=uri)

    async def connect(self, given: Mapping[str, str | Secret] | None = None, **more: Any) -> connections.Connection:
        """The whole way."""
        return await self.desk.complete(await self.proven(given, **more), browser=BROWSER)

    async def opens(self, path: str = "/me") -> str | None:
        """Whose account the connection's token opens at the service now."""
        token = (await self.secrets())["access_token"]
        async with httpx2.AsyncClient(verify=False) as service:
            told = await service.get(f"{self.server.url}{path}", headers={"authorization": f"Bearer {token}"})
        return told.json().get("login")

    async def renewed(self, name: str = "acme") -> connections.Connection:
        """The connection, after its token has ended and was asked for all the same."""
        self.clock.advance(self.server.books.lifetime + 1)
        await self.accounts.resolve(ANN, connector_id="acme", scopes=set(), connection=name)
        return await self.accounts.fetch_connection(ANN, name)

    def sent(self, path: str) -> list[dict[str, str]]:
        """The parameters of what the server was asked at that path."""
        heard = [each for each in self.server.heard if each.path == path]
        return [dict(parse_qsl(each.body.decode() or each.query)) for each in heard]

    def of(self, **changes: Any) -> None:
        """Change how the client is registered."""
        known = self.server.books.clients
        known[auth.CLIENT.client_id] = replace(known[auth.CLIENT.client_id], **changes)


class Account(sdk.Record):
    login: str


@pytest.fixture(scope="session")
def running_auth_server() -> Iterator[tuple[auth.AuthServer, "Hands"]]:
    clock = Hands()
    with auth.serving(clock) as running:
        yield running, clock


class Hands(testing.ManualClock):
    """The service's clock shows the time of the test that is running."""

    shown = testing.ManualClock()

    def now(self) -> Any:
        return self.shown.now()


@pytest.fixture
async def provider(
    memory_store: sql.SqlStore, running_auth_server: tuple[auth.AuthServer, Hands]
) -> AsyncGenerator[Service]:
    """A desk of that service, which knows nobody yet."""
    server, hands = running_auth_server
    hands.shown = testing.ManualClock()
    server.begin_anew()
    made = Service(url=server.url, server=server, store=memory_store, clock=hands.shown, client=CLIENT)
    yield made
    await made.errands.aclose()
