"""A desk over real parts: a store on each engine, sealed by a keyring, and a service over HTTP that can be asked through the
plane."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import token_server
from interlock import connections, plane, sdk, testing
from interlock.adapters import keys, lanes, sql
from interlock.connections import Connections, Desk, Means, exchange
from interlock.connections.safe import Safe
from interlock.kernel import Caller, InterlockError, Secret, canonical

ANN = Caller(tenant_id="t1", actor="ann")
BOB = Caller(tenant_id="t2", actor="bob")
BROWSER = Secret("cookie-of-this-browser")
CLIENT = exchange.Client(client_id=token_server.CLIENT_ID, secret=Secret(token_server.CLIENT_SECRET))


def profiles(url: str) -> dict[str, sdk.AuthProfile]:
    """A profile of each kind of flow, at that service."""
    usual: dict[str, Any] = {
        "base_url": url,
        "probe": sdk.probe("/me", subject="/login"),
        "scopes": ["read", "write"],
    }
    declared = [
        sdk.oauth2(authorize_url="/authorize", token_url="/token", issuer=url, iss_required=True, **usual),
        sdk.client_credentials(token_url="/token", **usual),
        sdk.device(device_url="/device", token_url="/token", **usual),
        sdk.token_profile(**usual),
    ]
    return {
        each.profile_id: each for each in (sdk.AuthProfile.model_validate_json(canonical(draft)) for draft in declared)
    }


class Watched(connections.Errands):
    """Keeps what was sent; `interrupt` comes after an answer, before anybody has it."""

    sent: tuple[exchange.Errand, ...] = ()
    interrupt: Callable[[], None] | None = None
    fails: InterlockError | None = None
    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def send(
        self, errand: exchange.Errand, *, tenant_id: str, subject_id: str | None = None
    ) -> connections.Answer:
        self.sent = (*self.sent, errand)
        if self.fails is not None:
            raise self.fails
        answer = await super().send(errand, tenant_id=tenant_id, subject_id=subject_id)
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.interrupt is not None:
            self.interrupt()
        return answer


@dataclass(kw_only=True)
class Office:
    """A desk, and everything around it that a test may want to look at or to change."""

    url: str
    store: sql.SqlStore
    clock: testing.ManualClock
    client: exchange.Client | None = CLIENT
    authorities: str | None = None
    ids: testing.SequentialIds = field(default_factory=testing.SequentialIds)
    heard: list[connections.ConnectionEvent] = field(default_factory=list[connections.ConnectionEvent])
    profiles: dict[str, sdk.AuthProfile] = field(default_factory=dict[str, sdk.AuthProfile])

    def __post_init__(self) -> None:
        root = keys.RootKey(bytes(range(32)), source="test")
        self.ring = ring = keys.Keyring(root, sql.KeyRecords(), self.store, clock=self.clock, ids=self.ids)
        self.accounts = Connections(
            self.store, sql.ConnectionRecords(), ring, clock=self.clock, ids=self.ids, listener=self.heard.extend
        )
        self.safe = Safe(ring)
        pending = connections.Pending(self.accounts)
        host = urlsplit(self.url).netloc
        egress = lanes.Egress(addresses=plane.AddressPolicy(allow=[host]), authorities=self.authorities)
        lane = lanes.HttpLane(credentials=pending, egress=egress)
        authorizer = plane.Authorizer(clock=self.clock)
        here = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="http", clock=self.clock)
        node = plane.Node("node", lanes=[lane], targets=[here], verifier=authorizer.verifier(), clock=self.clock)
        self.errands = Watched(pending, node, authorizer, clock=self.clock, ids=self.ids)
        self.means = Means(
            store=self.store,
            records=sql.ConnectionRecords(),
            installs=sql.InstallRecords(),
            clients=sql.ClientRecords(),
            cipher=ring,
            changing=self.accounts.changing,
            profile=self.find_profile,
            client=lambda _: self.client,
            program=lambda _connector, _tenant: None,
            errands=self.errands,
            clock=self.clock,
            ids=self.ids,
            random_bytes=self.chance,
        )
        self.desk = Desk(self.means)
        self.accounts.renewer = self.refreshing = connections.Refreshing(self.means)
        self._drawn = 0

    async def find_profile(self, _tenant: str, _connector: str, profile_id: str) -> sdk.AuthProfile:
        return self.profiles[profile_id]

    def chance(self, size: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(size, "big")

    async def secrets(self, name: str = "acme") -> dict[str, str]:
        """What the connection holds now."""
        resolved = await self.accounts.resolve(ANN, connector_id="acme", scopes=set(), connection=name)
        opened = await self.safe.open(resolved.credential)
        return {field: secret.reveal() for field, secret in opened.items()}

    async def connection(self) -> connections.Connection | None:
        found = await self.accounts.list_connections(ANN)
        return found[0] if found else None


@dataclass(kw_only=True)
class Counter(Office):
    """The desk of a service with a few kinds of profiles."""

    server: token_server.TokenServer

    def __post_init__(self) -> None:
        super().__post_init__()
        self.profiles |= profiles(self.server.url)

    async def expire_over(self) -> int:
        return await connections.Unwanted(self.means).tidy()

    async def begin(self, profile_id: str = "oauth2", caller: Caller = ANN, **more: Any) -> connections.Install:
        if profile_id == "client_credentials":
            more["given"] = {"client_id": token_server.CLIENT_ID, "client_secret": token_server.CLIENT_SECRET}
        begun = await self.desk.begin(caller, connector_id="acme", profile_id=profile_id, **more)
        assert await self.desk.find_by_link(begun.link) == begun.install
        return begun.install

    async def visit(self, install: connections.Install, browser: Secret = BROWSER) -> str:
        """What a person does in the browser; the query that it comes back with."""
        url = await self.desk.authorize(install, browser=browser, redirect_uri=self.server.redirect_uri)
        async with httpx2.AsyncClient(verify=False) as client:
            told = await client.get(url)
        assert told.status_code == 302, told.text
        return urlsplit(told.headers["location"]).query

    async def come_back(
        self, query: str, browser: Secret | None = BROWSER, uri: str | None = None
    ) -> connections.Install:
        return await self.desk.take_callback(query, browser=browser, redirect_uri=uri or self.server.redirect_uri)

    async def connect(self, **more: Any) -> connections.Connection:
        """The whole way."""
        proven = await self.come_back(await self.visit(await self.begin(**more)))
        return await self.desk.complete(proven, browser=BROWSER)


@pytest.fixture(scope="session")
def running_token_server() -> Iterator[token_server.TokenServer]:
    with token_server.serving() as server:
        yield server


@pytest.fixture
async def counter(store: sql.SqlStore, running_token_server: token_server.TokenServer) -> AsyncGenerator[Counter]:
    """The desk, on each engine."""
    running_token_server.begin_anew()
    made = Counter(url=running_token_server.url, server=running_token_server, store=store, clock=testing.ManualClock())
    yield made
    await made.errands.aclose()
