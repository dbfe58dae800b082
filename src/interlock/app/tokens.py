"""`il.tokens`: by what requests from elsewhere show whose they are."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from interlock.app.arguments import checked
from interlock.app.once import once
from interlock.kernel import Caller, RequestError, Secret

if TYPE_CHECKING:
    from interlock import tokens
    from interlock.app.assembly import Parts


class Tokens:
    """API tokens of this tenant. They are made, and ended, where the store is, or by who has the role `token-admin`; a token with
    that role is made only where the store is."""

    def __init__(self, parts: "Parts", caller: Caller, *, operator: bool) -> None:
        self._parts = parts
        self._caller = caller
        self._operator = operator

    @checked
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
    ) -> "tuple[tokens.Token, Secret]":
        """A token for `actor`, and what shows it, which is told once. `capabilities` (ids, or all below a name: `github.issue.*`)
        and `connections` (ids or names) are all that it may use; without `expires_at` it lasts until it is revoked. Nothing is
        made twice under an `idempotency_key`. Raises AlreadyMade, IdempotencyConflict, InvalidToken, ConnectionNotFound, and
        RequestError for somebody that Interlock acts for."""
        from interlock import tokens

        self._may_change()
        if tokens.ADMIN in roles and not self._operator:
            raise tokens.InvalidToken(f"a token with the role {tokens.ADMIN} is made where the store is")
        known = self._parts.wiring.connections
        asked = {
            "name": name,
            "actor": actor,
            "roles": sorted(roles),
            "capabilities": capabilities,
            "connections": connections,
            "expires_at": expires_at,
        }
        return await self._parts.tokens.create(
            self._caller,
            name=name,
            actor=actor,
            roles=frozenset(roles),
            capabilities=None if capabilities is None else frozenset(capabilities),
            connections=None
            if connections is None
            else frozenset([(await known.fetch_connection(self._caller, each)).connection_id for each in connections]),
            expires_at=expires_at,
            beside=once(self._parts, self._caller, "token", idempotency_key, asked),
        )

    @checked
    async def identify(self, shown: Secret) -> "tokens.Token":
        """Whose token that is, of whatever tenant; act for its `caller` then. Raises TokenRefused."""
        return await self._parts.tokens.identify(shown)

    @checked
    async def list(self, *, cursor: str | None = None, limit: int = 100) -> "Sequence[tokens.Token]":
        """Tokens of this tenant, newest first; go on with `cursor` = the last token id. Raises RequestError for somebody that
        Interlock acts for."""
        self._may_change()
        return await self._parts.tokens.list_tokens(self._caller, cursor=cursor, limit=limit)

    @checked
    async def revoke(self, token_id: str) -> "tokens.Token":
        """End a token, from its next request on. Raises TokenNotFound, and RequestError for somebody that Interlock acts for."""
        self._may_change()
        return await self._parts.tokens.revoke(self._caller, token_id)

    def _may_change(self) -> None:
        from interlock import tokens

        if not self._operator and (tokens.ADMIN not in self._caller.roles or self._caller.is_limited):
            raise RequestError(
                "tokens are managed by whoever opened Interlock, and not by somebody that it acts for",
                next_step="Do it where the store is: `interlock tokens`, with `--tenant` for another tenant's.",
            )
