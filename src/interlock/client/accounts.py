"""The connections of a server."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from interlock import connections
from interlock.client.link import Link, members, part, reading, rows, value
from interlock.kernel import Secret, from_rfc3339

CHECKING = 300.0
"""Seconds for what the server asks a service meanwhile."""


class Connections:
    """As `app.Connections`, but for places of secrets, which are of the machine that has them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.leases = Leases(link)
        self.installs = Installs(link)

    async def connect_token(
        self,
        connector: str,
        token: str | Secret | Mapping[str, str | Secret],
        *,
        profile: str | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        overlap: float = 0,
    ) -> connections.Connection:
        """As `app.Connections.connect_token`. The token goes to the server, which seals it."""
        asked = {
            "connector": connector,
            "token": token,
            "profile": profile,
            "name": name,
            "base_url": base_url,
            "scopes": scopes,
            "expires_at": expires_at,
            "overlap": overlap,
        }
        return value(connections.Connection, await self._link.post("/connections", asked, seconds=CHECKING))

    async def list(
        self, *, connector: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Sequence[connections.Connection]:
        """As `app.Connections.list`."""
        told = await self._link.get("/connections", connector=connector, cursor=cursor, limit=limit)
        return [value(connections.Connection, each) for each in rows(told, "connections")]

    async def fetch(self, ref: str) -> connections.Connection:
        """As `app.Connections.fetch`."""
        return value(connections.Connection, await self._link.get(f"/connections/{part(ref)}"))

    async def revoke(self, ref: str, *, reason: str = "", at_provider: bool = True) -> connections.Connection:
        """As `app.Connections.revoke`."""
        asked = {"reason": reason, "at_provider": at_provider}
        return value(
            connections.Connection, await self._link.post(f"/connections/{part(ref)}/revoke", asked, seconds=CHECKING)
        )

    async def refresh(self, ref: str) -> connections.Connection:
        """As `app.Connections.refresh`."""
        told = await self._link.post(f"/connections/{part(ref)}/refresh", {}, seconds=CHECKING)
        return value(connections.Connection, told)

    async def check(self, ref: str) -> connections.Checked:
        """As `app.Connections.check`."""
        return value(
            connections.Checked, await self._link.post(f"/connections/{part(ref)}/check", {}, seconds=CHECKING)
        )

    async def check_all(self) -> Sequence[connections.Checked]:
        """As `app.Connections.check_all`."""
        found, cursor = list[connections.Connection](), None
        while page := await self.list(cursor=cursor):
            found += page
            cursor = page[-1].connection_id
        return [await self.check(each.connection_id) for each in found]

    async def events(self, ref: str, *, after_seq: int = 0, limit: int = 500) -> Sequence[connections.ConnectionEvent]:
        """As `app.Connections.events`."""
        told = await self._link.get(f"/connections/{part(ref)}/events", after_seq=after_seq, limit=limit)
        return [value(connections.ConnectionEvent, each) for each in rows(told, "events")]


class Leases:
    """As `app.Leases`, for people: programs use a lease where the store is."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(self, ref: str, *, cursor: str | None = None, limit: int = 100) -> Sequence[connections.Lease]:
        """As `app.Leases.list`."""
        told = await self._link.get(f"/connections/{part(ref)}/leases", cursor=cursor, limit=limit)
        return [value(connections.Lease, each) for each in rows(told, "leases")]

    async def revoke(self, lease_id: str, *, reason: str = "") -> connections.Lease:
        """As `app.Leases.revoke`."""
        return value(connections.Lease, await self._link.post(f"/leases/{part(lease_id)}/revoke", {"reason": reason}))


class Installs:
    """As `app.Installs`, for accounts that somebody connects at a page of the server."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def invite(
        self,
        connector: str,
        given: Mapping[str, str | Secret] | None = None,
        *,
        profile: str | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> connections.Invitation:
        """As `app.Installs.invite`. What is given goes to the server, which seals it."""
        asked = {
            "connector": connector,
            "given": given,
            "profile": profile,
            "name": name,
            "base_url": base_url,
            "scopes": scopes,
        }
        told = members(await self._link.post("/installs", asked))
        with reading("install"):
            ends = from_rfc3339(told["expires_at"])
            return connections.Invitation(str(told["install_id"]), Secret(str(told["link"])), ends)
