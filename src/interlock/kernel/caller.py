"""Who asks."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import cast

from interlock.kernel.errors import RequestError

PLATFORM_TENANT = "-"
"""The tenant of rows that belong to the installation itself: owners, signing keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The identity under which everything in one call happens. It comes from the door (an API token, the embedding
    program, the operating system's user), never from the request. Raises RequestError.

    `capabilities` are all that it may ask for, and see runs of: ids, or all below a name (`github.issue.*`); `connections` are
    the ids of those that it may use. None: no limit but policy's.
    """

    tenant_id: str = "default"
    actor: str
    roles: frozenset[str] = field(default_factory=frozenset[str])
    capabilities: frozenset[str] | None = None
    connections: frozenset[str] | None = None

    def __post_init__(self) -> None:
        roles = cast("object", self.roles)
        if not isinstance(roles, frozenset | set):  # a text would be a set of its letters
            raise RequestError(f"roles must be a set of texts, not {type(roles).__name__}")
        names: list[tuple[str, object]] = [("tenant_id", self.tenant_id), ("actor", self.actor)]
        names += [("roles", role) for role in self.roles]
        for name, value in names:
            if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
                raise RequestError(f"{name} must be 1 to 200 printable characters, not {_shown(value)}")

    @property
    def is_limited(self) -> bool:
        """Whether it sees less than its tenant has."""
        return self.capabilities is not None or self.connections is not None

    def may_use(self, connection_id: str | None) -> bool:
        """Whether it may use a connection, or none."""
        return connection_id is None or self.connections is None or connection_id in self.connections

    def sees(self, capability: str, connection_id: str | None) -> bool:
        """Whether it may see a run of that capability over that connection."""
        within = self.capabilities is None or any(covers(each, capability) for each in self.capabilities)
        return within and self.may_use(connection_id)

    def narrowed(self, allowed: Iterable[str] | None) -> tuple[str, ...] | None:
        """Of the capabilities that a request is limited to (ids or globs; None: all), those that are this caller's."""
        if self.capabilities is None:
            return None if allowed is None else tuple(sorted(allowed))
        if allowed is None:
            return tuple(sorted(self.capabilities))
        asked = frozenset(allowed)
        kept = {each for each in asked if any(fnmatchcase(each, ours) for ours in self.capabilities)}
        kept |= {ours for ours in self.capabilities if any(fnmatchcase(ours, each) for each in asked)}
        return tuple(sorted(kept))


def covers(pattern: str, capability: str) -> bool:
    """Whether an entry of `Caller.capabilities` is for that capability."""
    return pattern == capability or (pattern.endswith(".*") and capability.startswith(pattern[:-1]))


def _shown(value: object) -> str:
    return repr(value[:50]) if isinstance(value, str) else type(value).__name__
