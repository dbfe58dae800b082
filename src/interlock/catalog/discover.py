"""Finding connectors that are installed: by entry point, ours and everyone's by the same one."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from interlock import sdk
from interlock.kernel import InterlockError

GROUP: Final = "interlock.connectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A connector and where it came from. `trusted_in_process`: its Python runs inside this process, whether handlers or
    only its declaration; such code can do whatever the process can."""

    manifest: sdk.Manifest
    entry_point: str
    distribution: str | None = None
    distribution_version: str | None = None
    trusted_in_process: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """An entry point that gave no connector, and why."""

    entry_point: str
    distribution: str | None
    code: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What was found, and what is broken; the one never hides the other."""

    connectors: tuple[Installed, ...]
    problems: tuple[Broken, ...]


def discover(group: str = GROUP, *, entries: Iterable[EntryPoint] | None = None) -> Discovery:
    """Load every installed connector, sorted by name. `entries` replaces what is installed. Never raises for a broken one."""
    connectors: list[Installed] = []
    problems: list[Broken] = []
    for entry in sorted(entry_points(group=group) if entries is None else entries, key=lambda each: each.name):
        distribution = entry.dist
        name = None if distribution is None else distribution.name
        try:
            manifest = _manifest(entry.load())
        except InterlockError as error:
            problems.append(Broken(entry_point=entry.name, distribution=name, code=error.code, problem=error.message))
        except Exception as error:  # noqa: BLE001 - loading runs foreign code, which may raise anything
            text = f"{type(error).__name__}: {error}"[:500]
            problems.append(Broken(entry_point=entry.name, distribution=name, code="connector_broken", problem=text))
        else:
            connectors.append(
                Installed(
                    manifest=manifest,
                    entry_point=entry.name,
                    distribution=name,
                    distribution_version=None if distribution is None else distribution.version,
                )
            )
    return Discovery(connectors=tuple(connectors), problems=tuple(problems))


def _manifest(found: object) -> sdk.Manifest:
    if isinstance(found, sdk.Connector):
        return found.manifest
    if isinstance(found, sdk.Manifest):
        return found
    raise TypeError(f"a connector is an sdk.Connector or an sdk.Manifest, not {type(found).__name__}")
