"""Who asks."""

from dataclasses import dataclass, field

PLATFORM_TENANT = "-"
"""The tenant of rows that belong to the installation itself: owners, signing keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The identity under which everything in one call happens. It comes from the door (an API token, the embedding
    program, the operating system's user), never from the request."""

    tenant_id: str = "default"
    actor: str
    roles: frozenset[str] = field(default_factory=frozenset[str])

    def __post_init__(self) -> None:
        for name, value in (("tenant_id", self.tenant_id), ("actor", self.actor)):
            if not value or len(value) > 200 or not value.isprintable():
                raise ValueError(f"{name} must be 1 to 200 printable characters, not {value[:50]!r}")
