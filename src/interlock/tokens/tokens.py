"""Making, recognising and ending tokens."""

import base64
import hmac
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from interlock.kernel import Caller, Clock, IdSource, RequestError, Secret, Store, Tx, digest_bytes, is_id
from interlock.tokens.errors import TokenNotFound, TokenRefused
from interlock.tokens.model import Token, check
from interlock.tokens.records import Records

MAX_PAGE: Final = 500
_PREFIX: Final = "ilk_"
"""By which a token is found where none should be, in a log or a repository."""

_SHAPE: Final = re.compile(r"ilk_[A-Za-z0-9_-]{43}")


class Tokens:
    """The tokens of all tenants. Everything raises StoreError besides what it names."""

    def __init__(
        self, store: Store, records: Records, *, clock: Clock, ids: IdSource, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._ids = ids
        self._random_bytes = random_bytes

    async def create(
        self,
        caller: Caller,
        *,
        name: str,
        actor: str,
        roles: frozenset[str],
        capabilities: frozenset[str] | None = None,
        connections: frozenset[str] | None = None,
        expires_at: datetime | None = None,
        beside: Callable[[Tx, str], None] | None = None,
    ) -> tuple[Token, Secret]:
        """A new token of the caller's tenant, and what shows it, which nobody can be told again. `beside` is told its id in the
        transaction that makes it. Raises InvalidToken."""
        token = Token(
            token_id=self._ids.new("tok"),
            tenant_id=caller.tenant_id,
            name=name,
            actor=actor,
            roles=roles,
            capabilities=capabilities,
            connections=connections,
            created_by=caller.actor,
            created_at=self._clock.now(),
            expires_at=expires_at,
        )
        check(token)
        secret = Secret(_PREFIX + base64.urlsafe_b64encode(self._random_bytes(32)).decode().rstrip("="))

        def write(tx: Tx) -> None:
            if beside is not None:
                beside(tx, token.token_id)
            self._records.insert(tx, token, _digest(secret))

        await self._store.write(write)
        return token, secret

    async def identify(self, shown: Secret) -> Token:
        """Whose token that is. Raises TokenRefused, in the same words for one that is unknown, has ended or is revoked."""
        if _SHAPE.fullmatch(shown.reveal()) is not None:
            digest = _digest(shown)
            found = await self._store.read(lambda tx: self._records.find_by_digest(tx, digest))
            if found is not None and hmac.compare_digest(found[1], digest) and found[0].is_good(self._clock.now()):
                return found[0]
        raise TokenRefused("this token opens nothing here")

    async def list_tokens(self, caller: Caller, *, cursor: str | None = None, limit: int = 100) -> Sequence[Token]:
        """The tenant's tokens, newest first. Raises RequestError for a cursor that is none."""
        if cursor is not None and not is_id(cursor, "tok"):
            raise RequestError("the cursor is not a token id: send back the one from the last page")
        size = max(1, min(limit, MAX_PAGE))
        return await self._store.read(
            lambda tx: self._records.list_tokens(tx, caller.tenant_id, cursor=cursor, limit=size)
        )

    async def revoke(self, caller: Caller, token_id: str) -> Token:
        """End a token at once, also for who uses it just now, at the next request. Raises TokenNotFound."""
        now = self._clock.now()

        def end(tx: Tx) -> Token | None:
            self._records.revoke(tx, caller.tenant_id, token_id, now)
            return self._records.find(tx, caller.tenant_id, token_id)

        found = await self._store.write(end) if is_id(token_id, "tok") else None
        if found is None:
            raise TokenNotFound(f"there is no token {token_id[:60]!r}")
        return found


def _digest(secret: Secret) -> str:
    """What is kept of a token. It has 256 bits of chance, so a plain hash gives nothing away."""
    return digest_bytes(secret.reveal().encode())
