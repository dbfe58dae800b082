"""What a provider implements. All of it is async; a provider is opened once, bound to nothing, and told the scope each time."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Final, Protocol, Self, runtime_checkable

from interlock.kernel import Clock, IdSource
from interlock.memory.errors import InvalidConfig
from interlock.memory.options import Options
from interlock.memory.queries import Query
from interlock.memory.records import Draft, Record
from interlock.memory.results import (
    CapabilitySet,
    ConsolidationPlan,
    ConsolidationResult,
    Forgotten,
    Guarantees,
    Health,
    HistoryEntry,
    IngestRequest,
    IngestResult,
    ProviderInfo,
    RetrieveResult,
)
from interlock.memory.scope import Scope

REQUIRED: Final = ("remember", "get", "retrieve", "forget", "prune")
"""What every provider can do."""


class Provider(ABC):
    """A whole memory system: it keeps, finds and forgets. Third parties derive from it.

    Capabilities beyond the required ones are protocols (`Ingests`, `Explains`, `Consolidates`, `KeepsHistory`, `Temporal`,
    `Transfers`, `HooksTurns`): what has the methods has the capability; one with some of them, or with others of their names, is
    offered and broken. What it raises besides the errors of this room is told as
    ProviderFailed. It must see and change only what `scope` covers, and put into each answer the scope that it saw.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    description: ClassVar[str] = ""
    defaults: Options = Options()
    """Its own choice of options, which everything else overrides."""
    claims: ClassVar[frozenset[str]] = frozenset()
    """Capabilities that it says it has. There is no need to: they are found."""
    withheld: frozenset[str] = frozenset()
    """Capabilities that it has the methods for and does not offer: each provider its own, where it depends on what is inside."""
    needs: ClassVar[Mapping[str, str]] = {}
    """Modules of other packages that it cannot be opened without, and what installs them."""

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The configuration as it will be used: checked and filled in, with nothing opened. Raises InvalidConfig."""
        if config:
            raise InvalidConfig(f"{cls.name} takes no configuration, and got {', '.join(sorted(config))}")
        return {}

    @classmethod
    @abstractmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        """A provider with a configuration that `validate_config` gave. Raises InvalidConfig, ProviderUnavailable."""

    async def close(self) -> None:  # noqa: B027 - most have something to let go of, and some nothing
        """Let go of everything. It may be called twice."""

    async def health(self) -> Health:
        """Whether it works, as far as asking tells."""
        return Health(ok=True)

    @property
    @abstractmethod
    def guarantees(self) -> Guarantees:
        """What it promises."""

    def capabilities(self) -> CapabilitySet:
        """What it can do. Found in what it implements; not to be overridden."""
        there, faulty = implemented(type(self)), faults(type(self))
        return CapabilitySet(
            provider=self.name,
            offered=there - self.withheld,
            broken=self.claims.union(faulty) - there - self.withheld,
            guarantees=self.guarantees,
        )

    def child_services(self) -> Sequence[tuple[str, Callable[[], Any]]]:
        """Long-running parts that whoever opened the provider has to run beside it: a name, and an async callable."""
        return ()

    @abstractmethod
    async def remember(self, scope: Scope, draft: Draft) -> Record:
        """Keep something in exactly this scope. Raises RecordConflict, RecordNotFound for what it revises or supersedes."""

    @abstractmethod
    async def get(self, scope: Scope, record_id: str) -> Record:
        """A record by its id. Raises RecordNotFound."""

    @abstractmethod
    async def retrieve(self, scope: Scope, query: Query) -> RetrieveResult:
        """What matches. The options are filled in. Raises InvalidInput for what it cannot search by."""

    @abstractmethod
    async def forget(self, scope: Scope, record_id: str) -> Forgotten:
        """Remove a record, its history and what was derived from it. One that is not there is no error."""

    @abstractmethod
    async def prune(self, scope: Scope) -> int:
        """Remove what has expired in this scope; how many records that were."""

    def info(self) -> ProviderInfo:
        """Who it is."""
        return ProviderInfo(
            name=self.name, version=self.version, description=self.description, capabilities=self.capabilities()
        )


@runtime_checkable
class Ingests(Protocol):
    """Keeps many at once."""

    async def ingest(self, scope: Scope, request: IngestRequest) -> IngestResult:
        """Keep a batch, and say what became of each."""
        ...


@runtime_checkable
class Explains(Protocol):
    """Says how a result came about, near misses included."""

    async def explain_retrieval(self, scope: Scope, query: Query) -> RetrieveResult:
        """What `retrieve` answers, by one execution, with `Explanation.near_misses`."""
        ...


@runtime_checkable
class Consolidates(Protocol):
    """Makes less of what it keeps: by a plan, which can be looked at, applied and undone."""

    async def plan_consolidation(self, scope: Scope, policies: Sequence[str]) -> ConsolidationPlan:
        """What these policies would change. Raises InvalidInput for one that is not known."""
        ...

    async def apply_consolidation(self, scope: Scope, plan: ConsolidationPlan) -> ConsolidationResult:
        """Change it, where nobody changed it since."""
        ...

    async def undo_consolidation(self, scope: Scope, change_id: str) -> ConsolidationResult:
        """Put back what a consolidation changed, where nobody changed it since. Raises RecordNotFound."""
        ...


@runtime_checkable
class KeepsHistory(Protocol):
    """Keeps every revision."""

    async def history(self, scope: Scope, record_id: str) -> tuple[HistoryEntry, ...]:
        """All revisions of a record, oldest first. Raises RecordNotFound."""
        ...


@runtime_checkable
class Temporal(Protocol):
    """Answers `Query.as_of` and `Query.known_at`."""

    async def get_as_of(self, scope: Scope, record_id: str, query: Query) -> Record:
        """The revision of a record that the query's `known_at` and `as_of` name. Raises RecordNotFound."""
        ...


@runtime_checkable
class Transfers(Protocol):
    """Hands over what it keeps, and takes it over, exactly: ids, revisions and times."""

    async def hand_over(self, scope: Scope, after: str | None, limit: int) -> tuple[HistoryEntry, ...]:
        """Every revision of records with the next ids after this one, at most `limit` ids, or fewer where they are large, in the
        order of ids and revisions; nothing at the end. What was forgotten or has expired is left out."""
        ...

    async def take_over(self, scope: Scope, entries: Sequence[HistoryEntry]) -> IngestResult:
        """Put these revisions here, in their order, and say what became of each. Done again, it changes nothing; what was
        forgotten here stays so."""
        ...


@runtime_checkable
class HooksTurns(Protocol):
    """Has a way of its own to recall before a turn, and to learn after it. Without it `memory.Turns` does both."""

    async def before_turn(self, scope: Scope, text: str) -> RetrieveResult:
        """What helps with this."""
        ...

    async def after_turn(self, scope: Scope, request: IngestRequest) -> IngestResult:
        """Learn from the turn what is new in it."""
        ...


CAPABILITIES: Final[Mapping[str, type]] = {
    "ingest": Ingests,
    "explain_retrieval": Explains,
    "consolidate": Consolidates,
    "history": KeepsHistory,
    "temporal": Temporal,
    "transfer": Transfers,
    "turn_hooks": HooksTurns,
}
"""The optional capabilities by name."""


@cache
def faults(kind: type[Provider]) -> Mapping[str, str]:
    """The capabilities that a provider has methods for which are not those of the protocol, and what is wrong with them."""
    found: dict[str, str] = {}
    for capability, methods in _METHODS.items():
        wrong = {name: _unfit(kind, name, pattern) for name, pattern in methods.items()}
        if any(why is not None for why in wrong.values()) and not all(why == _ABSENT for why in wrong.values()):
            found[capability] = "; ".join(f"{name} {why}" for name, why in wrong.items() if why is not None)
    return found


@cache
def implemented(kind: type[Provider]) -> frozenset[str]:
    """The capabilities that a provider has the methods of, as the protocols have them."""
    there = {name for name, methods in _METHODS.items() if all(_unfit(kind, *each) is None for each in methods.items())}
    return frozenset(there)


_METHODS: Final[Mapping[str, Mapping[str, Callable[..., Any]]]] = {
    **{name: {name: vars(Provider)[name]} for name in REQUIRED},
    **{
        capability: {name: each for name, each in vars(has).items() if name[0] != "_" and callable(each)}
        for capability, has in CAPABILITIES.items()
    },
}
_ABSENT: Final = "is missing"


def _unfit(kind: type[Provider], name: str, pattern: Callable[..., Any]) -> str | None:
    """What is wrong with a method, beside one that has to take the same arguments by their places."""
    found: Any = inspect.getattr_static(kind, name, None)
    if found is None:
        return _ABSENT
    given = len(inspect.signature(pattern).parameters) - (type(found) is staticmethod)
    method: Any = found.__func__ if type(found) in (staticmethod, classmethod) else found
    if not callable(method):
        return "is no method"
    try:
        inspect.signature(method).bind(*[None] * given)
    except TypeError as error:
        return f"does not take what it is given: {error}"
    except ValueError:  # of a method in C nobody knows
        pass
    return None
