"""The room's port: where tokens are kept. Synchronous, inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from interlock.kernel import Tx
from interlock.tokens.model import Token


class Records(Protocol):
    """Tokens, each with the digest of the secret that shows it."""

    def insert(self, tx: Tx, token: Token, digest: str) -> None:
        """Write a new token."""
        ...

    def find_by_digest(self, tx: Tx, digest: str) -> tuple[Token, str] | None:
        """The token, of whatever tenant, that has this digest, and the digest as it is kept."""
        ...

    def find(self, tx: Tx, tenant_id: str, token_id: str) -> Token | None:
        """The token, if this tenant has it."""
        ...

    def list_tokens(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[Token]:
        """Tokens, newest first."""
        ...

    def revoke(self, tx: Tx, tenant_id: str, token_id: str, at: datetime) -> None:
        """End it, unless it was ended before."""
        ...
