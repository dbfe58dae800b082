"""Accounts at a service that people connect in a browser, for the processes that are killed while they look after them."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import httpx2

import auth_server as auth
from fault_world import BROWSER, POLICY, REDIRECT, service, settings
from fix_faults import Case
from interlock import Interlock
from interlock.kernel import Clock


@dataclass(frozen=True, slots=True)
class Accounts:
    """A case whose flow is about that service."""

    case: Case
    server: auth.AuthServer

    @classmethod
    def at(cls, server: auth.AuthServer, case: Case) -> "Accounts":
        return cls(replace(case, service_url=server.url), server)

    def open(self, clock: Clock | None = None) -> AbstractAsyncContextManager[Interlock]:
        """An Interlock on the store, in this process."""
        url = self.server.url
        there = settings(self.case.url, url)
        return Interlock.open(settings=there, policy=POLICY, connectors=[service(url)], clock=clock, background=False)

    async def agree(self, il: Interlock, name: str) -> tuple[str, str]:
        """Begin, and agree at the service: the install, and the query that the browser comes back with."""
        installs = il.connections.installs
        begun = await installs.begin("lamps", name=name)
        where = await installs.authorize(begun.install.install_id, browser=BROWSER, redirect_uri=REDIRECT)
        async with httpx2.AsyncClient(verify=False) as browser:
            told = await browser.get(where)
        return begun.install.install_id, urlsplit(told.headers["location"]).query

    async def connect(self, *names: str) -> None:
        """The whole way."""
        async with self.open() as il:
            for name in names:
                install_id, query = await self.agree(il, name)
                await il.connections.installs.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
                await il.connections.installs.complete(install_id, browser=BROWSER)
        self.server.calls.clear()
