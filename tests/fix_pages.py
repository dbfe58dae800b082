"""The connect pages of an Interlock in memory, beside a service that is connected by consent."""

import html
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import token_server
from fix_connector import connector
from interlock import Interlock, sdk, server
from interlock.app import Settings
from interlock.app.settings import ExecutionSettings, OAuthSettings
from interlock.kernel import Caller
from interlock.testing import ManualClock

ORIGIN = "http://127.0.0.1:8412"
ANN = Caller(tenant_id="Ann & <b>Co</b>", actor="ann")


class Hands(ManualClock):
    """Jumps for whoever waits for a device, and stands still for all others."""

    def __init__(self) -> None:
        super().__init__(autojump=False)
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds >= 5:
            self.waits.append(seconds)
            self.advance(seconds)
        await super().sleep(0 if seconds >= 5 else seconds)


@dataclass
class Place:
    """The pages, the service, and Interlock behind them."""

    il: Interlock
    pages: server.ConnectPages
    service: token_server.TokenServer
    clock: Hands
    browsers: list[httpx2.AsyncClient] = field(default_factory=list[httpx2.AsyncClient])

    def browser(self, origin: str = ORIGIN) -> httpx2.AsyncClient:
        """A browser with cookies of its own."""
        self.browsers.append(
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.pages), base_url=origin, follow_redirects=True)
        )
        return self.browsers[-1]

    async def link(self, caller: Caller = ANN, **more: Any) -> str:
        asked: dict[str, Any] = {"profile": "oauth2", **more}
        begun = await self.il.as_caller(caller).connections.installs.begin("acme", **asked)
        return self.pages.address(begun.link)

    async def go(self, browser: httpx2.AsyncClient, link: str) -> str:
        """Begin in this browser; the address that the service sends it back to."""
        left = await browser.post(link)
        assert left.status_code == 200, left.text
        found = re.search(r'url=([^"]*)"', left.text)
        assert found is not None
        async with httpx2.AsyncClient(verify=False) as outside:
            return (await outside.get(html.unescape(found[1]))).headers["location"]

    async def agree(self, browser: httpx2.AsyncClient, back: httpx2.Response, answer: str = "join") -> httpx2.Response:
        proof = re.search(r'name="proof" value="([^"]*)"', back.text)
        assert proof is not None, back.text
        return await browser.post(back.url, data={"proof": proof[1], "answer": answer})

    async def connected(self, caller: Caller = ANN) -> list[str]:
        return [each.name for each in await self.il.as_caller(caller).connections.list()]


@asynccontextmanager
async def opened(
    service: token_server.TokenServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    origin: str = ORIGIN,
    *,
    also: tuple[str, sdk.Draft] | None = None,
) -> AsyncGenerator[Place]:
    """`also`: another profile, at another service."""
    service.begin_anew()
    service.redirect_uri = f"{origin}/oauth/callback"
    monkeypatch.setenv("ACME_SECRET", token_server.CLIENT_SECRET)
    usual: dict[str, Any] = {"base_url": service.url, "probe": sdk.probe("/me", subject="/login"), "scopes": ["repo"]}
    profiles = [
        sdk.oauth2(authorize_url="/authorize", token_url="/token", issuer=service.url, **usual),
        sdk.device(device_url="/device", token_url="/token", **usual),
        *([{**also[1], "base_url": also[0]}] if also else []),
    ]
    hosts = [urlsplit(each).netloc for each in (service.url, *(also or ())[:1])]
    client = OAuthSettings(
        client_id=token_server.CLIENT_ID, client_secret_env="ACME_SECRET", issuer=also[0] if also else None
    )
    settings = Settings(
        store=":memory:",
        folder=folder,
        execution=ExecutionSettings(egress_allow=tuple(hosts)),
        oauth={"acme": client},
    )
    manifest, clock = connector(auth=profiles).manifest, Hands()
    async with Interlock.open(settings=settings, connectors=[manifest], clock=clock, background=False) as il:
        place = Place(il, server.ConnectPages(il, origin=origin), service, clock)
        yield place
        for each in place.browsers:
            await each.aclose()


@pytest.fixture
async def place(
    running_token_server: token_server.TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Place]:
    async with opened(running_token_server, tmp_path, monkeypatch) as made:
        yield made
