"""The tokens of a server."""

from collections.abc import Sequence
from datetime import datetime

from interlock import tokens
from interlock.client.link import Link, members, part, rows, value
from interlock.kernel import Secret


class Tokens:
    """As `app.Tokens`, for who has the role that makes them."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def create(
        self,
        name: str,
        *,
        actor: str,
        roles: Sequence[str] = (),
        capabilities: Sequence[str] | None = None,
        connections: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> tuple[tokens.Token, Secret]:
        """As `app.Tokens.create`."""
        asked = {
            "name": name,
            "actor": actor,
            "roles": roles,
            "capabilities": capabilities,
            "connections": connections,
            "expires_at": expires_at,
        }
        told = members(await self._link.post("/tokens", asked, key=idempotency_key))
        return value(tokens.Token, told), Secret(str(told.get("token")))

    async def list(self, *, cursor: str | None = None, limit: int = 100) -> Sequence[tokens.Token]:
        """As `app.Tokens.list`."""
        told = await self._link.get("/tokens", cursor=cursor, limit=limit)
        return [value(tokens.Token, each) for each in rows(told, "tokens")]

    async def revoke(self, token_id: str) -> tokens.Token:
        """As `app.Tokens.revoke`."""
        return value(tokens.Token, await self._link.post(f"/tokens/{part(token_id)}/revoke", {}))
