"""The providers that are installed: ours and everyone's by the same entry points."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from typing import Any, Final, Self, cast

from interlock.kernel import entry_points, is_interruption, package_of
from interlock.memory.errors import InvalidConfig, UnknownProvider
from interlock.memory.options import Options
from interlock.memory.provider import REQUIRED, Provider, faults, implemented

GROUP: Final = "interlock.memory"
"""The group of the entry points. The name of each is the name of its provider."""

OURS: Final = "interlock"
"""The package whose names nobody else can take."""

ALIASES: Final = {"basic": "memory", "postgresql": "postgres"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRef:
    """A provider by name, with its configuration and its options. Options given here count as its defaults."""

    name: str
    config: Mapping[str, Any] = field(
        default_factory=dict[str, Any], repr=False
    )  # an address may have a password in it
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A provider that is installed, or why it is not usable."""

    name: str
    aliases: tuple[str, ...]
    distribution: str | None
    provider: type[Provider] | None
    problem: str | None = None
    missing: str | None = None
    """What has to be installed before it can be opened."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What it offers, as far as it can be told without opening it."""
        return frozenset() if self.provider is None else implemented(self.provider) - self.provider.withheld

    @property
    def broken(self) -> frozenset[str]:
        """What it claims and does not implement."""
        if self.provider is None:
            return frozenset()
        return self.provider.claims.union(faults(self.provider)) - implemented(self.provider) - self.provider.withheld


class Registry:
    """What is installed, by name. Each is loaded when it is first asked for; one that is broken hides no other. A name of ours
    means ours whoever else offers it; of two others with one name neither is used."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None, *, aliases: Mapping[str, str] = ALIASES) -> None:
        """`entries` replace what is installed."""
        self._entries: dict[str, list[EntryPoint]] = {}
        for entry in sorted(entry_points(group=GROUP) if entries is None else entries, key=lambda each: each.name):
            self._entries.setdefault(entry.name, []).append(entry)
        self._hidden: list[EntryPoint] = []
        for name, found in self._entries.items():
            if len(ours := [entry for entry in found if _package(entry) == OURS]) == 1:
                self._hidden += [entry for entry in found if entry is not ours[0]]
                self._entries[name] = ours
        # A name that is installed is nobody's alias.
        self._aliases = {alias: name for alias, name in aliases.items() if alias not in self._entries}
        self._loaded: dict[str, Offer] = {}

    @classmethod
    def of(cls, *providers: type[Provider]) -> Self:
        """These alone, as if they were all that is installed: for a program that has a provider of its own, and for tests."""
        return cls([cast("EntryPoint", _Given(provider)) for provider in providers], aliases={})

    @property
    def names(self) -> tuple[str, ...]:
        """All that is installed, sorted. Nothing is loaded."""
        return tuple(self._entries)

    def offers(self) -> tuple[Offer, ...]:
        """All that is installed, loaded, with what is wrong with what is broken."""
        hidden = [
            Offer(
                name=each.name,
                aliases=(),
                distribution=_package(each),
                provider=None,
                problem=f"{each.name} is a provider of {OURS} itself, which is used; this one needs another name",
            )
            for each in self._hidden
        ]
        return tuple(sorted((*map(self._offer, self._entries), *hidden), key=lambda offer: offer.name))

    def fetch(self, name: str) -> type[Provider]:
        """The provider of a name or an alias. Raises UnknownProvider."""
        known = self._aliases.get(name, name)
        if known not in self._entries:
            there = ", ".join(self._entries) or "none"
            raise UnknownProvider(f"there is no memory provider {name[:100]!r}; installed: {there}")
        offer = self._offer(known)
        if offer.provider is None:
            raise UnknownProvider(
                f"the memory provider {known!r} is installed and broken: {offer.problem}", provider=known
            )
        return offer.provider

    def _offer(self, name: str) -> Offer:
        if name not in self._loaded:
            self._loaded[name] = self._load(name, self._entries[name])
        return self._loaded[name]

    def _load(self, name: str, entries: list[EntryPoint]) -> Offer:
        aliases = tuple(alias for alias, meant in self._aliases.items() if meant == name)
        packages = [_package(each) for each in entries]
        provider, problem, missing = None, None, None
        if len(entries) > 1:
            problem = f"two packages offer it: {' and '.join(packages)}; neither is used"
        else:
            try:
                provider, problem = _checked(name, entries[0].load())
                missing = None if provider is None else _missing(provider)
            except BaseException as error:  # whatever a package does when it is imported
                if is_interruption(error):
                    raise
                problem = f"{type(error).__name__}: {error}"
        return Offer(
            name=name,
            aliases=aliases,
            distribution=packages[0],
            provider=provider,
            problem=problem,
            missing=missing,
        )


@dataclass(frozen=True, slots=True)
class _Given:
    """An entry point without a package."""

    provider: type[Provider]
    dist: None = None

    @property
    def name(self) -> str:
        return self.provider.name

    def load(self) -> type[Provider]:
        return self.provider


def _package(entry: EntryPoint) -> str:
    return (package_of(entry) or ("an unknown package",))[0]


def _missing(provider: type[Provider]) -> str | None:
    lacks = {module: how for module, how in provider.needs.items() if not _is_there(module)}
    return "; ".join(f"{module} is not installed: `{how}`" for module, how in lacks.items()) or None


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # what it is in is not there either
        return False


def _checked(name: str, found: object) -> tuple[type[Provider] | None, str | None]:
    if not (isinstance(found, type) and issubclass(found, Provider)):
        return None, "what it names is no subclass of interlock.memory.Provider"
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        return None, f"it does not implement {', '.join(missing)}"
    if wrong := [why for capability, why in faults(found).items() if capability in REQUIRED]:
        return None, f"its {'; its '.join(wrong)}"
    if getattr(found, "name", None) != name:
        return None, f"it calls itself {getattr(found, 'name', None)!r}"
    return found, None


def validated(provider: type[Provider], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration as the provider takes it. Raises InvalidConfig, which names the provider."""
    try:
        return provider.validate_config(config)
    except InvalidConfig as error:
        error.at(provider.name, "validate_config")
        raise
