"""Looking capabilities up."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from interlock import sdk
from interlock.catalog.capability import Capability
from interlock.catalog.discover import Broken, Discovery
from interlock.catalog.errors import ConnectorBroken, DuplicateConnector, UnknownCapability, UnknownConnector
from interlock.catalog.providers import Providers
from interlock.kernel import NotFoundError, RequestError

_MOST: Final = 200
_ALIKE: Final = 0.8
_PROXIES: Final = {each.operation_id: each for each in sdk.PROXIES}
"""Not listed: that every connector has them says nothing about any."""
_PARTS: Final = re.compile(r"[a-z0-9]{3,}")


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
    """Every capability of a set of connectors. An installed one is loaded when it is first asked for, or when all are.
    Nothing changes but that. Of two with one id neither is used, and `unread` are manifest files that could not be.
    `providers` are those that tenants imported, for who has them."""

    def __init__(
        self,
        manifests: Iterable[sdk.Manifest] = (),
        *,
        installed: Discovery | None = None,
        unread: Sequence[Broken] = (),
    ) -> None:
        self._installed = installed or Discovery(())
        self._unread = tuple(unread)
        self._twice: dict[str, Broken] = {}
        self._connectors: dict[str, sdk.Manifest] = {}
        self._capabilities: dict[str, Capability] = {}
        self._proxies: dict[str, Capability] = {}
        self.providers: Providers | None = None
        for manifest in manifests:
            connector_id = manifest.connector_id
            known = self.find_connector(connector_id)
            if known is not None and known is not manifest:
                what = f"versions {known.version} and {manifest.version}; neither is used"
                error = DuplicateConnector(f"two connectors are called {connector_id!r}: {what}")
                self._twice[connector_id] = Broken.of(connector_id, error)
                self._drop(connector_id)
            elif known is None and not self._is_taken(connector_id):
                self._add(manifest)

    def _add(self, manifest: sdk.Manifest) -> None:
        found = [Capability(manifest, operation) for operation in manifest.operations]
        # New tables instead of changed ones: another thread may be reading.
        self._capabilities = {**self._capabilities, **{each.capability_id: each for each in found}}
        self._connectors = {**self._connectors, manifest.connector_id: manifest}

    def _is_taken(self, connector_id: str) -> bool:
        """Whether others fight over that id; one that is just broken has no claim on it."""
        broken = self._twice.get(connector_id) or self._installed.find_broken(connector_id)
        return broken is not None and isinstance(broken.error, DuplicateConnector)

    def _drop(self, connector_id: str) -> None:
        del self._connectors[connector_id]
        kept = {name: each for name, each in self._capabilities.items() if each.connector_id != connector_id}
        self._capabilities = kept

    def _all(self) -> list[Capability]:
        """Every capability, sorted by its id."""
        for name in self._installed.names:
            self.find_connector(name)
        return sorted(self._capabilities.values(), key=lambda each: each.capability_id)

    @property
    def connectors(self) -> tuple[sdk.Manifest, ...]:
        """The manifests, sorted by connector id."""
        self._all()
        return tuple(sorted(self._connectors.values(), key=lambda each: each.connector_id))

    @property
    def connector_ids(self) -> frozenset[str]:
        """The ids of all connectors, the broken ones among them. Nothing is loaded."""
        return frozenset((*self._connectors, *self._twice, *self._installed.names))

    @property
    def problems(self) -> tuple[Broken, ...]:
        """Every connector and manifest file that cannot be used, and why."""
        return (*self.left_out, *(each for each in self._installed.problems if each.entry_point not in self._twice))

    @property
    def left_out(self) -> tuple[Broken, ...]:
        """Manifest files that cannot be used, and connectors whose id is taken twice. Nothing is loaded."""
        return (*self._unread, *self._twice.values())

    def find_connector(self, connector_id: str) -> sdk.Manifest | None:
        """The manifest of that id. Raises RequestError for what is no text."""
        connector_id = _text("connector_id", connector_id)
        if connector_id in self._connectors or connector_id in self._twice:
            return self._connectors.get(connector_id)
        if (found := self._installed.find(connector_id)) is not None:
            self._add(found.manifest)
        return self._connectors.get(connector_id)

    def fetch_connector(self, connector_id: str) -> sdk.Manifest:
        """The manifest of that id. Raises UnknownConnector with the nearest name, ConnectorBroken, DuplicateConnector."""
        found = self.find_connector(connector_id)
        if found is None:
            self._refuse_broken(connector_id)
            raise UnknownConnector(connector_id, [each.connector_id for each in self.connectors])
        return found

    async def fetch_connector_for(self, tenant_id: str, connector_id: str) -> sdk.Manifest:
        """As `fetch_connector`, a provider of the tenant among them. Raises UnknownProvider, too."""
        connector_id = _text("connector_id", connector_id)
        if self.providers is None or not connector_id.startswith(sdk.PROVIDER_PREFIX):
            return self.fetch_connector(connector_id)
        return await self.providers.fetch_manifest(tenant_id, connector_id)

    def find(self, capability_id: str) -> Capability | None:
        """The capability of that id. Raises RequestError for what is no text."""
        capability_id = _text("capability_id", capability_id)
        if capability_id not in self._capabilities:
            connector_id, _, operation_id = capability_id.partition(".")
            manifest = self.find_connector(connector_id)
            if manifest is not None and operation_id in _PROXIES and capability_id not in self._capabilities:
                self._proxies.setdefault(capability_id, Capability(manifest, _PROXIES[operation_id]))
                return self._proxies[capability_id]
        return self._capabilities.get(capability_id)

    async def find_for(self, tenant_id: str, capability_id: str) -> Capability | None:
        """As `find`, those of the tenant's providers among them."""
        try:
            return await self.fetch_for(tenant_id, capability_id)
        except NotFoundError:
            return None

    async def fetch_for(self, tenant_id: str, capability_id: str) -> Capability:
        """As `fetch`, those of the tenant's providers among them. Raises UnknownProvider, too."""
        capability_id = _text("capability_id", capability_id)
        if self.providers is None or not capability_id.startswith(sdk.PROVIDER_PREFIX):
            return self.fetch(capability_id)
        connector_id, _, operation_id = capability_id.partition(".")
        manifest = await self.providers.fetch_manifest(tenant_id, connector_id)
        found = {each.operation_id: each for each in manifest.operations}
        if operation_id not in found:
            names = [f"{connector_id}.{name}" for name in found]
            raise UnknownCapability(
                capability_id, difflib.get_close_matches(capability_id[:100], names, n=3, cutoff=0.5)
            )
        return Capability(manifest, found[operation_id])

    def fetch(self, capability_id: str) -> Capability:
        """The capability of that id. Raises UnknownCapability with the nearest names, ConnectorBroken, DuplicateConnector."""
        found = self.find(capability_id)
        if found is None:
            self._refuse_broken(capability_id.partition(".")[0])
            asked, known = capability_id[:100], [each.capability_id for each in self._all()]
            raise UnknownCapability(asked, difflib.get_close_matches(asked, known, n=3, cutoff=0.5))
        return found

    def _refuse_broken(self, connector_id: str) -> None:
        """Raises why a connector of that id cannot be used, if it is there, or may be what an unread file has."""
        broken = self._twice.get(connector_id) or self._installed.find_broken(connector_id)
        if broken is not None:
            raise broken.refusal()
        if self._unread and connector_id not in self.connector_ids:
            # What stands on further lines was told when it was left out, and is in the details.
            whys = [each.problem.partition("\n")[0].rstrip(":") for each in self._unread]
            files = "; ".join(f"{each.entry_point}: {why}" for each, why in zip(self._unread, whys, strict=True))
            raise ConnectorBroken(
                f"there is no connector {connector_id[:60]!r}, unless it is in what could not be read: {files}",
                details={"connector": connector_id[:60], "problems": [each.problem for each in self._unread]},
            )

    def list_capabilities(self, filter: Filter | None = None, *, cursor: str | None = None, limit: int = 50) -> Page:  # noqa: A002
        """A page of the capabilities that fit. `cursor` is the last id seen. Raises RequestError for a bad limit,
        filter or cursor."""
        if not 1 <= limit <= _MOST:
            raise RequestError(f"limit must be 1 to {_MOST}, not {limit}")
        wanted = _filter(filter)
        after = "" if cursor is None else _text("cursor", cursor)
        found = [each for each in self._all() if each.capability_id > after and wanted.fits(each)]
        page = tuple(found[:limit])
        return Page(capabilities=page, next_cursor=page[-1].capability_id if len(found) > limit else None)

    def search(self, text: str, filter: Filter | None = None, *, limit: int = 20) -> tuple[Capability, ...]:  # noqa: A002
        """The capabilities that fit and in which every word occurs, best first: in the id, then in the names, then in the
        text. If there are none, those of connectors in whose text they occur; then those in which every word occurs or nearly
        does, and those of such connectors. Raises RequestError for a text or a filter that is none."""
        wanted = _filter(filter)
        words = _text("text", text).lower().split()[:20]
        fitting = [each for each in self._all() if wanted.fits(each)]
        ways = ((forgiving, whole) for forgiving in (False, True) for whole in (False, True))
        found = (_scored(fitting, words, forgiving=forgiving, whole=whole) for forgiving, whole in ways)
        scored = next((each for each in found if each), list[tuple[int, Capability]]())
        return tuple(each for _, each in sorted(scored, key=lambda pair: (-pair[0], pair[1].capability_id))[:limit])


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise RequestError(f"{name} must be a text, not {type(value).__name__}")
    return value


def _filter(value: object) -> Filter:
    if value is not None and not isinstance(value, Filter):
        raise RequestError(f"filter must be a Filter, not {type(value).__name__}")
    return value or Filter()


def _scored(
    fitting: list[Capability], words: list[str], *, forgiving: bool, whole: bool
) -> list[tuple[int, Capability]]:
    scored = ((_score(each, words, forgiving=forgiving, whole=whole), each) for each in fitting)
    return [(score, each) for score, each in scored if score > 0]


def _score(capability: Capability, words: list[str], *, forgiving: bool, whole: bool) -> int:
    """`whole`: what is said of its connector counts, too, and that is said of all of the connector's capabilities."""
    operation, manifest = capability.operation, capability.manifest
    names = f"{operation.display_name} {operation.surface.normalized_id or ''} {manifest.display_name}".lower()
    about = (manifest.description, manifest.category, *manifest.tags) if whole else ()
    rest = " ".join([operation.description, *about]).lower()
    total = 0
    for word in words:
        places = (capability.capability_id, names, rest)
        weight = next((16 >> place for place, text in enumerate(places) if word in text), 0)
        if weight == 0 and forgiving:
            weight = 2 if _nearly_in(word, f"{capability.capability_id} {names}") else _nearly_in(word, rest)
        if weight == 0:
            return 0
        total += weight
    return total


def _nearly_in(word: str, text: str) -> bool:
    return any(_nearly(word, part) for part in _PARTS.findall(text))


@lru_cache(maxsize=8192)
def _nearly(word: str, part: str) -> bool:
    """Whether one is probably the other, with a slip or two of the keyboard; the first letter is seldom one."""
    return (
        word[0] == part[0]
        and abs(len(word) - len(part)) <= 2
        and difflib.SequenceMatcher(None, word, part).ratio() >= _ALIKE
    )
