"""A token, as it is told; the secret itself is told once and kept nowhere."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from interlock.kernel import JSON, Caller, RequestError, to_rfc3339
from interlock.tokens.errors import InvalidToken

CALLER: Final = "caller"
"""The role of who may ask for effects."""

OPERATOR: Final = "operator"
"""The role of who may change what everybody in the tenant works with."""

ADMIN: Final = "token-admin"
"""The role of who may make tokens of the tenant from elsewhere, and so may be anybody in it."""

MAX_LIFE: Final = timedelta(days=3650)

MAX_ENTRIES: Final = 100
"""Of roles, and of each allow-list."""

_CAPABILITY: Final = re.compile(r"[\w-]+(\.[\w-]+)*(\.\*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Who asks, when the token is shown: tenant, actor and roles. Whoever has one may read; `caller` among the roles may ask for
    effects, `operator` may do all that is the tenant's but make tokens, which is for `token-admin`; a reviewer has the role that
    an approval names.

    `capabilities` and `connections` limit it as they do a `kernel.Caller`. One without `expires_at` lasts until it is revoked.
    """

    token_id: str
    tenant_id: str
    name: str
    actor: str
    roles: frozenset[str]
    capabilities: frozenset[str] | None
    connections: frozenset[str] | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None

    @property
    def caller(self) -> Caller:
        """Under which identity its requests happen."""
        return Caller(
            tenant_id=self.tenant_id,
            actor=self.actor,
            roles=self.roles,
            capabilities=self.capabilities,
            connections=self.connections,
        )

    def is_good(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def record(self) -> dict[str, JSON]:
        """The token as JSON, without what opens."""
        return {
            "token_id": self.token_id,
            "tenant_id": self.tenant_id,
            "name": self.name,
            "actor": self.actor,
            "roles": sorted(self.roles),
            "capabilities": None if self.capabilities is None else sorted(self.capabilities),
            "connections": None if self.connections is None else sorted(self.connections),
            "created_by": self.created_by,
            "created_at": to_rfc3339(self.created_at),
            "expires_at": None if self.expires_at is None else to_rfc3339(self.expires_at),
            "revoked_at": None if self.revoked_at is None else to_rfc3339(self.revoked_at),
        }


def check(token: Token) -> None:
    """Raises InvalidToken for one that cannot be meant."""
    try:
        Caller(tenant_id=token.tenant_id, actor=token.actor, roles=token.roles)
    except RequestError as error:
        raise InvalidToken(error.message) from error
    if not 0 < len(token.name) <= 200 or not token.name.isprintable():
        raise InvalidToken(f"name must be 1 to 200 printable characters, not {token.name[:50]!r}")
    for what in ("roles", "capabilities", "connections"):
        if len(getattr(token, what) or ()) > MAX_ENTRIES:
            raise InvalidToken(f"{what} has more than {MAX_ENTRIES} entries")
    for each in token.capabilities or ():
        if len(each) > 200 or _CAPABILITY.fullmatch(each) is None:
            raise InvalidToken(
                f"{each[:60]!r} is no capability: write github.issue.create, or github.issue.* for all below"
            )
    if token.caller.is_limited and (whole := token.roles & {OPERATOR, ADMIN}):
        raise InvalidToken(f"{min(whole)} has all that is the tenant's: leave the limits out, or the role")
    if token.expires_at is not None and not timedelta() < token.expires_at - token.created_at <= MAX_LIFE:
        raise InvalidToken(f"a token lasts more than no time and at most {MAX_LIFE.days} days")
