"""Looking capabilities up."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from interlock import sdk
from interlock.catalog.capability import Capability
from interlock.catalog.errors import DuplicateConnector, UnknownCapability
from interlock.kernel import RequestError

_MOST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which capabilities to list; what is None does not matter."""

    connector_id: str | None = None
    effect: sdk.Effect | None = None
    runtime_class: sdk.RuntimeClass | None = None
    surface: str | None = None

    def fits(self, capability: Capability) -> bool:
        operation = capability.operation
        return (
            self.connector_id in (None, capability.connector_id)
            and self.effect in (None, operation.effect)
            and self.runtime_class in (None, operation.runtime_class)
            and self.surface in (None, operation.surface.mode)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Capabilities in the order of their ids; `next_cursor` goes on, None at the end."""

    capabilities: tuple[Capability, ...]
    next_cursor: str | None


class Catalog:
    """Every capability of a set of connectors. Immutable. Raises DuplicateConnector for two with one id."""

    def __init__(self, manifests: Iterable[sdk.Manifest]) -> None:
        connectors: dict[str, sdk.Manifest] = {}
        for manifest in manifests:
            known = connectors.setdefault(manifest.connector_id, manifest)
            if known is not manifest:
                raise DuplicateConnector(
                    f"two connectors are called {known.connector_id!r}: versions {known.version} and {manifest.version}"
                )
        self._connectors = dict(sorted(connectors.items()))
        capabilities = [
            Capability(manifest, operation)
            for manifest in self._connectors.values()
            for operation in manifest.operations
        ]
        self._capabilities = {each.capability_id: each for each in sorted(capabilities, key=lambda c: c.capability_id)}

    @property
    def connectors(self) -> tuple[sdk.Manifest, ...]:
        """The manifests, sorted by connector id."""
        return tuple(self._connectors.values())

    def find_connector(self, connector_id: str) -> sdk.Manifest | None:
        """The manifest of that id."""
        return self._connectors.get(connector_id)

    def find(self, capability_id: str) -> Capability | None:
        """The capability of that id."""
        return self._capabilities.get(capability_id)

    def fetch(self, capability_id: str) -> Capability:
        """The capability of that id. Raises UnknownCapability with the nearest names."""
        found = self._capabilities.get(capability_id)
        if found is None:
            asked = capability_id[:100]
            raise UnknownCapability(asked, difflib.get_close_matches(asked, self._capabilities, n=3, cutoff=0.5))
        return found

    def list_capabilities(self, filter: Filter | None = None, *, cursor: str | None = None, limit: int = 50) -> Page:  # noqa: A002
        """A page of the capabilities that fit. `cursor` is the last id seen. Raises RequestError for a bad limit."""
        if not 1 <= limit <= _MOST:
            raise RequestError(f"limit must be 1 to {_MOST}, not {limit}")
        wanted = filter or Filter()
        found = [
            each for name, each in self._capabilities.items() if name > (cursor or "") and wanted.fits(each)
        ]  # fmt: skip
        page = tuple(found[:limit])
        return Page(capabilities=page, next_cursor=page[-1].capability_id if len(found) > limit else None)

    def search(self, text: str, *, limit: int = 20) -> tuple[Capability, ...]:
        """The capabilities in which every word occurs, best first: in the id, then in the names, then in the text."""
        words = text.lower().split()[:20]
        scored = [(score, each) for each in self._capabilities.values() if (score := _score(each, words)) > 0]
        return tuple(each for _, each in sorted(scored, key=lambda pair: (-pair[0], pair[1].capability_id))[:limit])


def _score(capability: Capability, words: list[str]) -> int:
    operation, manifest = capability.operation, capability.manifest
    names = f"{operation.display_name} {operation.surface.normalized_id or ''} {manifest.display_name}".lower()
    rest = " ".join([operation.description, manifest.description, manifest.category, *manifest.tags]).lower()
    total = 0
    for word in words:
        weight = 4 if word in capability.capability_id else 2 if word in names else 1 if word in rest else 0
        if weight == 0:
            return 0
        total += weight
    return total
