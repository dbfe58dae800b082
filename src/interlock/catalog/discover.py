"""Finding connectors that are installed: by entry point, ours and everyone's by the same one."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Final

from interlock import sdk
from interlock.catalog.errors import ConnectorBroken, DuplicateConnector
from interlock.kernel import InterlockError, entry_points, is_interruption, package_of

GROUP: Final = "interlock.connectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A connector and where it came from. Its declaration is Python that ran inside this process, so it is trusted: such
    code can do whatever the process can."""

    manifest: sdk.Manifest
    entry_point: str
    distribution: str | None = None
    distribution_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """An entry point, or a manifest file, that gave no connector, and why."""

    entry_point: str
    """Its name, which is the connector's id; of a file, its path."""
    distribution: str | None
    code: str
    problem: str
    error: InterlockError | None = None
    """What to say where it is asked for; None: that its package is broken."""

    def refusal(self) -> InterlockError:
        """The error for who asks for it."""
        if self.error is not None:
            return self.error
        package = self.distribution or "an unknown package"
        return ConnectorBroken(
            f"the connector {self.entry_point!r} of {package} is installed and broken: {self.problem}",
            details={"connector": self.entry_point, "distribution": self.distribution, "problem": self.problem},
        )

    @classmethod
    def of(cls, name: str, error: InterlockError) -> "Broken":
        """One that is refused for that reason."""
        return cls(entry_point=name, distribution=None, code=error.code, problem=error.message, error=error)


class Discovery:
    """The connectors that are installed, by the names of their entry points, which are their ids. Each is loaded when it is
    first asked for; one that is broken never hides another, and never raises. Of two with one name neither is used."""

    def __init__(self, entries: Iterable[EntryPoint]) -> None:
        self._entries: dict[str, list[EntryPoint]] = {}
        for entry in sorted(entries, key=lambda each: each.name):
            self._entries.setdefault(entry.name, []).append(entry)
        self._loaded: dict[str, Installed | Broken] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The ids of all that is installed, sorted. Nothing is loaded."""
        return tuple(self._entries)

    def distributions(self, name: str) -> tuple[str, ...]:
        """The packages that offer a connector of this name. Nothing is loaded."""
        return tuple((package_of(each) or ("an unknown package",))[0] for each in self._entries[name])

    def find(self, connector_id: str) -> Installed | None:
        """The connector of that id, unless it is broken or not there."""
        found = self._load(connector_id) if connector_id in self._entries else None
        return found if isinstance(found, Installed) else None

    def find_broken(self, connector_id: str) -> Broken | None:
        """Why the connector of that id does not work, if it is there and broken."""
        found = self._load(connector_id) if connector_id in self._entries else None
        return found if isinstance(found, Broken) else None

    @property
    def connectors(self) -> tuple[Installed, ...]:
        """Every connector that works."""
        return tuple(found for name in self._entries if isinstance(found := self._load(name), Installed))

    @property
    def problems(self) -> tuple[Broken, ...]:
        """Every connector that does not, and why."""
        return tuple(found for name in self._entries if isinstance(found := self._load(name), Broken))

    def _load(self, name: str) -> Installed | Broken:
        if name not in self._loaded:
            first, *others = self._entries[name]
            self._loaded[name] = _twice(name, self.distributions(name)) if others else _load(first)
        return self._loaded[name]


def discover(group: str = GROUP, *, entries: Iterable[EntryPoint] | None = None) -> Discovery:
    """What is installed. `entries` replaces it."""
    return Discovery(entry_points(group=group) if entries is None else entries)


def _twice(name: str, packages: Iterable[str]) -> Broken:
    text = f"two connectors are called {name!r}: from {' and from '.join(packages)}; neither is used"
    return Broken.of(name, DuplicateConnector(text))


def _load(entry: EntryPoint) -> Installed | Broken:
    distribution, version = package_of(entry) or (None, None)
    try:
        manifest = _manifest(entry.load())
    except InterlockError as error:
        code, problem = error.code, error.message
    except BaseException as error:
        if is_interruption(error):
            raise
        code, problem = "connector_broken", f"{type(error).__name__}: {error}"[:500]
    else:
        if manifest.connector_id == entry.name:
            return Installed(
                manifest=manifest, entry_point=entry.name, distribution=distribution, distribution_version=version
            )
        code = "connector_broken"
        problem = (
            f"the connector is called {manifest.connector_id!r}, its entry point {entry.name!r}; they share one name"
        )
    return Broken(entry_point=entry.name, distribution=distribution, code=code, problem=problem)


def _manifest(found: object) -> sdk.Manifest:
    if isinstance(found, sdk.Connector):
        return found.manifest
    if isinstance(found, sdk.Manifest):
        return found
    raise TypeError(f"a connector is an sdk.Connector or an sdk.Manifest, not {type(found).__name__}")
