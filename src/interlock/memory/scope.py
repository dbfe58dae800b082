"""Whose memory it is."""

from typing import Final, Literal

from interlock.memory.errors import ScopeDenied
from interlock.memory.value import Name, Value

DIMENSIONS: Final = ("tenant", "user", "agent", "session")
"""From the widest to the narrowest."""


class Scope(Value):
    """Whose memory it is: a tenant's, and within it, as far as they are named, a user's, an agent's, a session's.

    A memory is opened with a scope and keeps it: it sees the records whose scope names the same where this one names
    anything, and writes its records into exactly this one. It can be narrowed, never widened. Parts are compared whole, never
    joined into one text, so that no name can be made to look like two.
    """

    contract: Literal["interlock.memory-scope/v1"] = "interlock.memory-scope/v1"
    tenant: Name
    user: Name | None = None
    agent: Name | None = None
    session: Name | None = None

    @property
    def parts(self) -> tuple[str | None, ...]:
        """The values of DIMENSIONS."""
        return (self.tenant, self.user, self.agent, self.session)

    def covers(self, other: "Scope") -> bool:
        """Whether what is in the other one is seen from here."""
        return all(mine is None or mine == theirs for mine, theirs in zip(self.parts, other.parts, strict=True))

    def narrowed(self, *, user: str | None = None, agent: str | None = None, session: str | None = None) -> "Scope":
        """This one with more named. Raises ScopeDenied if another name is there already, InvalidInput."""
        asked = Scope.of(tenant=self.tenant, user=user, agent=agent, session=session)
        return self.within(
            Scope(
                tenant=self.tenant,
                user=asked.user or self.user,
                agent=asked.agent or self.agent,
                session=asked.session or self.session,
            )
        )

    def within(self, other: "Scope") -> "Scope":
        """The other one, if it is seen from here. Raises ScopeDenied."""
        if not self.covers(other):
            pairs = zip(DIMENSIONS, self.parts, other.parts, strict=True)
            wrong = [name for name, mine, theirs in pairs if mine not in (None, theirs)]
            raise ScopeDenied(f"this memory is bound to one {' and one '.join(wrong)}, and another was asked for")
        return other
