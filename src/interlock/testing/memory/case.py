"""What a case is, and what it has to try things with."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from interlock import memory
from interlock.testing.clock import ManualClock

LEVELS: Final = ("core", "search", "temporal", "lifecycle")
"""What a provider can be conformant to, from what each must to what some do."""

SCOPE: Final = memory.Scope(tenant="acme", user="ana")
Reference: TypeAlias = Callable[[Path], memory.ProviderRef]
"""Of a provider whose storage is new for each folder, and the same for the same folder."""


class Trial:
    """A provider that is open for one case, on a clock that stands still until it is moved."""

    def __init__(self, reference: memory.ProviderRef, registry: memory.Registry | None) -> None:
        self.clock = ManualClock()
        self._reference = reference
        self._registry = registry
        self._open: Any = None
        self.mem: memory.Memory

    async def __aenter__(self) -> Self:
        self._open = memory.Memory.open(self._reference, scope=SCOPE, clock=self.clock, registry=self._registry)
        self.mem = await self._open.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.__aexit__(None, None, None)

    async def reopen(self) -> memory.Memory:
        """The same storage, closed and opened again."""
        await self.__aexit__()
        return (await self.__aenter__()).mem

    def at(self, scope: memory.Scope) -> memory.Memory:
        """The same provider, for another scope."""
        return memory.Memory(self.mem.provider, scope, clock=self.clock)

    @property
    def counts(self) -> bool:
        """Whether it counts what matches."""
        return self.mem.capabilities().guarantees.exact_total

    def tick(self) -> None:
        """Let a second pass: what comes next is later."""
        self.clock.advance(1)


@dataclass(frozen=True, slots=True)
class Case:
    """One promise of the contract, and how to see that it is kept: it raises whatever does not fit."""

    level: str
    name: str
    title: str
    needs: frozenset[str]
    """Capabilities, search modes, and of the guarantees `durable`, `chosen_ids`, `exact_total` and `vectors` (it takes its
    caller's): who does not offer them is not asked."""
    act: Callable[[Trial], Awaitable[None]]

    def __str__(self) -> str:
        return f"{self.level}-{self.name}"

    def missing(self, has: memory.CapabilitySet) -> str | None:
        """What the provider does not offer of what this needs; None if it offers all of it."""
        kept = has.guarantees
        promised = {
            "durable": kept.durable,
            "chosen_ids": kept.chosen_ids,
            "exact_total": kept.exact_total,
            "vectors": kept.vector_dimensions is not None,
        }
        offered = has.offered | kept.search_modes | {name for name, holds in promised.items() if holds}
        missing = sorted(self.needs - offered)
        return ", ".join(missing) if missing else None


CASES: Final[list[Case]] = []


def case(level: str, *needs: str) -> Callable[[Callable[[Trial], Awaitable[None]]], Callable[[Trial], Awaitable[None]]]:
    """Make a function a case: its name is the case's, its docstring the promise."""

    def keep(act: Callable[[Trial], Awaitable[None]]) -> Callable[[Trial], Awaitable[None]]:
        add(level, act.__name__.strip("_"), inspect.getdoc(act) or "", act, *needs)
        return act

    return keep


def add(level: str, name: str, title: str, act: Callable[[Trial], Awaitable[None]], *needs: str) -> None:
    """Add a case to all of them."""
    assert level in LEVELS
    CASES.append(Case(level, name.replace("_", "-"), " ".join(title.split()), frozenset(needs), act))


@asynccontextmanager
async def trying(
    reference: Reference, folder: Path, *, registry: memory.Registry | None = None
) -> AsyncGenerator[Trial]:
    """A trial on storage that is new for this folder."""
    async with Trial(reference(folder), registry) as trial:
        yield trial


def expect(kept: object, otherwise: str) -> None:
    """Raises AssertionError with that message unless it is so."""
    if not kept:
        raise AssertionError(otherwise)


def same(seen: object, due: object) -> None:
    """Raises AssertionError unless they are equal."""
    if seen != due:
        raise AssertionError(f"{_short(seen)} where {_short(due)} is due")


@asynccontextmanager
async def raises(kind: type[memory.MemoryFault]) -> AsyncGenerator[None]:
    """Raises AssertionError unless what is done in it raises this error, which says where it happened."""
    try:
        yield
    except kind as error:
        same(error.to_json()["code"], kind.code)
    else:
        raise AssertionError(f"no {kind.__name__} was raised")


NOBODY: Final = "mem_" + "f" * 32
"""An id that no record has."""

NOTHING: Final[list[str | None]] = []
"""What is said where there are no hits."""


def texts(result: memory.RetrieveResult) -> list[str | None]:
    """What the hits say, in their order."""
    return [hit.record.text for hit in result.hits]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
