"""Where operations come from, and who does them: one protocol, for ours and for third parties'."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from interlock.agents.operations import Operation, Source
from interlock.agents.shapes import S
from interlock.agents.spec import Memory
from interlock.kernel import JSON, Caller

Described: TypeAlias = Mapping[str, JSON]
"""What is known of an operation, as members of a spec's operation: `description`, `input`, `output`, `idempotency`, `pinned`
and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation(Generic[S]):
    """An operation that is to be done: it was checked, judged and, where that is wanted, consented to.

    `key` is the same whenever the same call of the same turn is done, and no other call has it. `again` says that it may have
    been done before, by a process that fell: after it, only what its idempotency allows is asked for again. `context` is the
    turn's, which no model sees or writes: for a function, as the pydantic model of the agent's `context_schema` if this
    program has that (`seen`; `Invocation[Model]` tells a type checker), else as JSON. `turn_id` is the run of the turn, whose
    children the runs are that it asks for. `memory` is what the agent's spec says of its own.
    """

    operation: Operation
    arguments: Mapping[str, JSON]
    key: str
    again: bool
    caller: Caller
    environment: str
    turn_id: str
    session_id: str | None
    agent_id: str
    context: S
    timeout_s: float
    memory: Memory | None = None
    seen: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """It is not done: policy wants a person asked first, about this run. It is asked for again once that is decided."""

    run_id: str
    approval_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """It was done, and this is what came of it."""

    output: JSON


@dataclass(frozen=True, slots=True)
class NotHappened:
    """It was not done, and nothing of it is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """Nobody can tell whether it was done, and why."""

    reason: str


Found: TypeAlias = Happened | NotHappened | Unclear


class OperationSource(Protocol):
    """Where operations of one kind come from. Third parties write one for each kind of theirs."""

    @property
    def kind(self) -> str:
        """The word under which a spec names it."""
        ...

    def describe(self, source: Source) -> Described | None:
        """What is known of the operation, or None if there is none. Raises an error of the tree if it cannot be looked at."""
        ...

    def names(self) -> Iterable[str]:
        """The references that there are, for messages."""
        ...

    async def perform(self, invocation: Invocation) -> JSON | Held:
        """Do it; what it returned. What it raises of the error tree is told to the model as what came of it; any other exception
        is told by its type alone. UnknownOutcome alone is told to a person: nobody knows whether it was done. It is cancelled
        when its time is over or the turn is to stop."""
        ...

    async def reconcile(self, invocation: Invocation) -> Found:
        """Find out whether it was done, without doing it. Asked only of operations whose idempotency is `reconcile`."""
        ...


@runtime_checkable
class Looking(Protocol):
    """A source that looks, before a turn begins, whether its operations can be asked for."""

    async def absent(self, operations: Sequence[Operation], *, caller: Caller, run_id: str) -> Mapping[str, str]:
        """Those of which it cannot, by name, each with the reason: the turn goes without them, and says so. Raises an error of
        the tree if it may not begin without them."""
        ...


@runtime_checkable
class Objecting(Protocol):
    """A source that holds what a spec says of its operations against what it knows of them."""

    def objections(self, operation: Operation) -> Iterable[tuple[str, str]]:
        """What a spec may not say of it: the member, and why. Raises an error of the tree if it cannot be looked at."""
        ...


@runtime_checkable
class Explaining(Protocol):
    """A source that knows more of what it does not describe than that it is not there."""

    def unknown(self, source: Source) -> str | None:
        """Why there is nothing of that reference; None: nobody knows of one."""
        ...


C = TypeVar("C", bound=type)

SOURCE_MARK: Final = "__interlock_source__"


def source(kind: C) -> C:
    """Mark a class as one of sources: its instances at the top level of a registry's modules are sources of the registry."""
    setattr(kind, SOURCE_MARK, True)
    return kind
