"""Agents' memory as one caller has it."""

from typing import TYPE_CHECKING

from interlock.app.faces import Closed
from interlock.kernel import Caller

if TYPE_CHECKING:
    from interlock import memory
    from interlock.app.assembly import Parts


class Memories:
    """`il.memory`: agents' memory within the caller's tenant, kept as the settings say (`[memory]`), in a place of its own and
    not in the store. It is opened when it is first asked for, and closed with this Interlock.

        mem = await il.memory(user="ana", agent="helper")
        await mem.remember("Ana prefers short answers", kind="preference")
    """

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._holder = parts.memories
        self._tenant_id = caller.tenant_id

    async def __call__(
        self, *, user: str | None = None, agent: str | None = None, session: str | None = None
    ) -> "memory.Memory":
        """The memory of this tenant, or of less: of a user, an agent, a session. Raises InvalidInput for a name that is none,
        UnknownProvider, InvalidConfig, ProviderUnavailable, and Closed."""
        from interlock import memory

        scope = memory.Scope.of(tenant=self._tenant_id, user=user, agent=agent, session=session)
        if (found := await self._holder.at(scope)) is None:
            raise Closed("this Interlock is closed")
        return found

    def transport(self, endpoint: "memory.Endpoint") -> "memory.Transport":
        """The way to an endpoint for embeddings through the plane, for a memory that is opened apart:
        `memory.Memory.open(…, transport=il.memory.transport)`. Raises InvalidConfig."""
        return self._holder.transport(endpoint)
