"""The providers inside a provider: how they are named, opened and closed."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar, cast

from interlock.kernel import Clock, IdSource
from interlock.memory.errors import InvalidConfig, InvalidInput, RecordNotFound
from interlock.memory.options import Options
from interlock.memory.provider import Provider
from interlock.memory.queries import SearchMode
from interlock.memory.records import MemoryClass
from interlock.memory.registry import ProviderRef, Registry, validated
from interlock.memory.results import Guarantees, Health
from interlock.memory.scope import Scope
from interlock.memory.value import Value

V = TypeVar("V", bound=Value)


def referred(given: object, what: str) -> ProviderRef:
    """The provider that a configuration names, with its own configuration checked: a ProviderRef, a name, or an object with a
    `name`, and if need be a `config` and `options`. Raises InvalidConfig, UnknownProvider."""
    reference = given
    if isinstance(given, str):
        reference = ProviderRef(name=given)
    elif isinstance(given, Mapping):
        reference = _read(cast("Mapping[str, Any]", given), what)
    if not isinstance(reference, ProviderRef):
        raise InvalidConfig(f"{what} names a provider: a name, or an object with its name, config and options")
    kind = Registry().fetch(reference.name)
    return ProviderRef(name=kind.name, config=validated(kind, reference.config), options=reference.options)


def settings(kind: type[V], given: Mapping[str, Any]) -> V:
    """What else is configured. Raises InvalidConfig."""
    try:
        return kind.of(**given)
    except InvalidInput as error:
        raise InvalidConfig(error.message, details=error.details) from None


async def opened(references: Sequence[ProviderRef], *, clock: Clock, ids: IdSource) -> list[Provider]:
    """These providers, open: all of them, or none."""
    async with AsyncExitStack() as stack:
        providers: list[Provider] = []
        for reference in references:
            kind = Registry().fetch(reference.name)
            provider = await kind.open(reference.config, clock=clock, ids=ids)
            stack.push_async_callback(provider.close)
            provider.defaults = reference.options.over(provider.defaults)
            providers.append(provider)
        stack.pop_all()
        return providers


async def closed(providers: Sequence[Provider]) -> None:
    """Close each, also if another one fails at it."""
    async with AsyncExitStack() as stack:
        for provider in providers:
            stack.push_async_callback(provider.close)


def agreed(providers: Sequence[Provider]) -> Guarantees:
    """What all of them promise. Raises InvalidConfig if their vectors differ."""
    each = [provider.guarantees for provider in providers]
    modes = frozenset[SearchMode].intersection(*(one.search_modes for one in each))
    dimensions = {one.vector_dimensions for one in each}
    if len(dimensions) > 1 and modes & {SearchMode.SEMANTIC, SearchMode.HYBRID}:
        raise InvalidConfig(f"they search by vectors of different lengths: {', '.join(map(str, dimensions))}")
    return Guarantees(
        durable=all(one.durable for one in each),
        atomic_batch=all(one.atomic_batch for one in each),
        read_your_writes=all(one.read_your_writes for one in each),
        search_modes=modes,
        isolation=max(each, key=lambda one: ("storage", "query", "client").index(one.isolation)).isolation,
        classes=frozenset[MemoryClass].intersection(*(one.classes for one in each)),
        exact_total=all(one.exact_total for one in each),
        vector_dimensions=dimensions.pop() if len(dimensions) == 1 else None,
        chosen_ids=all(one.chosen_ids for one in each),
    )


async def means(provider: Provider, scope: Scope, record_id: str, where: Scope) -> bool:
    """Whether what the id names for one of them is in this scope, or nothing is there to be seen."""
    try:
        return (await provider.get(scope, record_id)).scope == where
    except RecordNotFound:
        return True


def together(healths: Mapping[str, Health]) -> Health:
    """How several are, by their names: well if all of them are."""
    told = [f"{name}: {one.detail or ('well' if one.ok else 'not well')}" for name, one in healths.items()]
    return Health(ok=all(one.ok for one in healths.values()), detail="; ".join(told))


def _read(given: Mapping[str, Any], what: str) -> ProviderRef:
    if unknown := sorted(set(given) - {"name", "config", "options"}):
        raise InvalidConfig(f"{what} has a name, a config and options, and no {', '.join(unknown)[:200]}")
    name, config, options = given.get("name"), given.get("config", {}), given.get("options", {})
    if not isinstance(name, str) or not isinstance(config, Mapping) or not isinstance(options, Mapping):
        raise InvalidConfig(f"{what} has a name, which is a text, and a config and options, which are objects")
    chosen = settings(Options, cast("Mapping[str, Any]", options))
    return ProviderRef(name=name, config=cast("Mapping[str, Any]", config), options=chosen)
