"""Memory as operations: a model says what is kept and looked for, and never whose memory it is."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Final, TypeAlias

from pydantic import Field

from interlock import memory
from interlock.agents.errors import OperationFailed
from interlock.agents.operations import MEMORY, Source
from interlock.agents.sources import Described, Found, Held, Invocation, Unclear
from interlock.agents.sourcing.options import read_options
from interlock.agents.spec import Memory, Scope
from interlock.agents.terms import Part, thawed
from interlock.kernel import JSON

MOST_TURNS: Final = 200
"""Turns of which is kept in mind what they recalled, so that it is not learned as new."""

At: TypeAlias = Callable[[memory.Scope], Awaitable[memory.Memory | None]]
"""The memory of a scope; None once all is closed."""


class MemoryOptions(Part):
    """About how many tokens what is recalled has at most."""

    max_tokens: Annotated[int, Field(ge=64, le=100_000)] = 800


def scope_of(told: Memory, *, tenant_id: str, agent_id: str, session_id: str | None) -> memory.Scope:
    """Whose memory a turn has: the agent's, kept apart by the spec's namespace, and in the session's scope the session's alone.
    Raises OperationFailed if that needs a session and there is none."""
    if told.scope is Scope.SESSION and session_id is None:
        raise OperationFailed(f"the memory of {agent_id} is its sessions', and this turn is of none")
    agent = agent_id if told.namespace is None else f"{agent_id}/{told.namespace}"
    session = session_id if told.scope is Scope.SESSION else None
    return memory.Scope.of(tenant=tenant_id, agent=agent, session=session)


class Remembering:
    """The source of the operations on the agent's own memory. Without `at` it only describes them."""

    kind = MEMORY

    def __init__(self, at: At | None = None) -> None:
        self._at = at
        self._turns: OrderedDict[tuple[str, memory.Scope], memory.Turns] = OrderedDict()

    def describe(self, source: Source) -> Described | None:
        """What the tools of memory say of themselves."""
        read_options(MemoryOptions, source)
        found = next((each for each in memory.tool_forms() if each.name == source.ref), None)
        if found is None:
            return None
        return {
            "description": found.description,
            "input": found.input_schema,
            "idempotency": found.idempotency,
        }

    def names(self) -> Iterable[str]:
        """The three."""
        return [each.name for each in memory.tool_forms()]

    async def perform(self, invocation: Invocation) -> JSON | Held:
        """Do it in the scope of the spec and the turn. Raises OperationFailed, and what the memory raises."""
        options = read_options(MemoryOptions, invocation.operation.source)
        if self._at is None:
            raise OperationFailed("memory is only described here; an open Interlock has one")
        if invocation.memory is None:
            raise OperationFailed(f"the spec of {invocation.agent_id} has no memory")
        scope = scope_of(
            invocation.memory,
            tenant_id=invocation.caller.tenant_id,
            agent_id=invocation.agent_id,
            session_id=invocation.session_id,
        )
        if (mem := await self._at(scope)) is None:
            raise OperationFailed("this Interlock is closed")
        turns = self._of(invocation.turn_id, mem, scope, invocation.memory)
        tools = memory.tools(mem, turns=turns, max_tokens=options.max_tokens)
        tool = next((each for each in tools if each.name == invocation.operation.source.ref), None)
        if tool is None:
            raise OperationFailed(f"memory has no operation {invocation.operation.source.ref!r}")
        return await tool.call(thawed(invocation.arguments), call_id=invocation.key)

    async def reconcile(self, invocation: Invocation) -> Found:
        """Nobody has to find out: each may be done again."""
        return Unclear(reason=f"{invocation.operation.name} is asked again, and not about")

    async def turns_of(
        self, told: Memory, *, tenant_id: str, agent_id: str, session_id: str | None, turn_id: str
    ) -> memory.Turns | None:
        """The memory around a turn, which knows what the turn's operations recalled; None once all is closed. Raises
        OperationFailed, and what opening the memory raises."""
        scope = scope_of(told, tenant_id=tenant_id, agent_id=agent_id, session_id=session_id)
        mem = None if self._at is None else await self._at(scope)
        return None if mem is None else self._of(turn_id, mem, scope, told)

    def _of(self, turn_id: str, mem: memory.Memory, scope: memory.Scope, told: Memory) -> memory.Turns:
        found = self._turns.setdefault((turn_id, scope), memory.Turns(mem, entries=told.max_entries))
        self._turns.move_to_end((turn_id, scope))
        while len(self._turns) > MOST_TURNS:
            self._turns.popitem(last=False)
        return found
