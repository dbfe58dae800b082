"""Who asks."""

from dataclasses import dataclass, field
from typing import cast

from interlock.kernel.errors import RequestError

PLATFORM_TENANT = "-"
"""The tenant of rows that belong to the installation itself: owners, signing keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The identity under which everything in one call happens. It comes from the door (an API token, the embedding
    program, the operating system's user), never from the request. Raises RequestError."""

    tenant_id: str = "default"
    actor: str
    roles: frozenset[str] = field(default_factory=frozenset[str])

    def __post_init__(self) -> None:
        roles = cast("object", self.roles)
        if not isinstance(roles, frozenset | set):  # a text would be a set of its letters
            raise RequestError(f"roles must be a set of texts, not {type(roles).__name__}")
        names: list[tuple[str, object]] = [("tenant_id", self.tenant_id), ("actor", self.actor)]
        names += [("roles", role) for role in self.roles]
        for name, value in names:
            if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
                raise RequestError(f"{name} must be 1 to 200 printable characters, not {_shown(value)}")


def _shown(value: object) -> str:
    return repr(value[:50]) if isinstance(value, str) else type(value).__name__
