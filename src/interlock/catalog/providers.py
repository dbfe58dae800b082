"""A tenant's providers: imported from a file, kept, found again."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from interlock import sdk
from interlock.catalog.changes import Change, changes
from interlock.catalog.errors import ProviderChanged, ProviderInUse, UnknownProvider
from interlock.catalog.importing import Coverage, Format, Imported
from interlock.kernel import JSON, Caller, Clock, RequestError, Store, Tx, to_rfc3339

_MOST: Final = 500
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptProvider:
    """A provider as it was imported: from which entry of which file, and what of that entry it lacks. `open_host`: whoever
    connects says the whole host of the service."""

    tenant_id: str
    provider: sdk.Provider
    format: Format
    source: str
    source_digest: str
    entry_id: str
    missing: tuple[str, ...]
    open_host: bool
    imported_by: str
    imported_at: datetime

    @property
    def provider_id(self) -> str:
        return self.provider.provider_id

    @property
    def coverage(self) -> Coverage:
        return Coverage.PARTIAL if self.missing else Coverage.FULL

    def record(self) -> dict[str, JSON]:
        """Everything but the provider itself."""
        return {
            "provider_id": self.provider_id,
            "display_name": self.provider.display_name,
            "digest": self.provider.digest,
            "coverage": self.coverage.value,
            "missing": list(self.missing),
            "open_host": self.open_host,
            "format": self.format,
            "source": self.source,
            "source_digest": self.source_digest,
            "entry": self.entry_id,
            "imported_by": self.imported_by,
            "imported_at": to_rfc3339(self.imported_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderUse:
    """How many connections hold credentials under a profile of a provider, or are being connected under it, and the name of one
    of them."""

    provider_id: str
    profile_id: str
    connections: int
    one: str


class ProviderRecords(Protocol):
    """Where providers are kept. Every method runs in the caller's transaction."""

    def save(self, tx: Tx, kept: Sequence[KeptProvider]) -> None:
        """Keep providers, each in the place of the one of that name."""
        ...

    def find(self, tx: Tx, tenant_id: str, provider_id: str) -> KeptProvider | None:
        """The tenant's provider of that name."""
        ...

    def digests(self, tx: Tx, tenant_id: str) -> Mapping[str, str]:
        """The digests of the tenant's providers, by their names."""
        ...

    def hold(self, tx: Tx, tenant_id: str, provider_id: str) -> KeptProvider | None:
        """The tenant's provider of that name. Until the transaction ends, nobody changes it."""
        ...

    def remove(self, tx: Tx, tenant_id: str, provider_id: str) -> None:
        """Keep the tenant's provider of that name no more."""
        ...

    def list_uses(
        self, tx: Tx, tenant_id: str, provider_ids: Collection[str], *, now: datetime
    ) -> Sequence[ProviderUse]:
        """Which profiles of these providers connections of the tenant use, or installs that are under way, in the order of
        their names. Until the transaction ends, nobody else connects by a provider of the tenant."""
        ...

    def list_providers(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[KeptProvider]:
        """The tenant's providers in the order of their names, after `cursor`."""
        ...

    def list_names(self, tx: Tx, tenant_id: str) -> Sequence[str]:
        """The names of all of the tenant's providers."""
        ...


class Providers:
    """Everything raises StoreError besides what it names."""

    def __init__(self, store: Store, records: ProviderRecords, *, clock: Clock) -> None:
        self._store = store
        self._records = records
        self._clock = clock

    async def keep(
        self, caller: Caller, imported: Imported, *, replace: Collection[str] = ()
    ) -> Sequence[KeptProvider]:
        """Keep what was taken over, all or nothing; what had a name before has it no more. Where credentials of connections
        go is changed for these names in `replace` only. Raises ProviderInUse, with what would change."""
        kept = [
            KeptProvider(
                tenant_id=caller.tenant_id,
                provider=entry.provider,
                format=imported.format,
                source=imported.source,
                source_digest=imported.digest,
                entry_id=entry.entry_id,
                missing=entry.missing,
                open_host=entry.open_host,
                imported_by=caller.actor,
                imported_at=self._clock.now(),
            )
            for entry in imported.entries
            if entry.provider is not None
        ]

        def save(tx: Tx) -> None:
            if diverted := self._diverted(tx, caller.tenant_id, kept, agreed=replace):
                raise _in_use(diverted)
            self._records.save(tx, kept)

        await self._store.write(save)
        return kept

    def _diverted(
        self, tx: Tx, tenant_id: str, kept: Sequence[KeptProvider], *, agreed: Collection[str]
    ) -> list[tuple[ProviderUse, list[Change]]]:
        """The uses whose credentials would go elsewhere than before, or be shown in another way."""
        # First: what is read from here on stays so.
        uses = self._records.list_uses(tx, tenant_id, [each.provider_id for each in kept], now=self._clock.now())
        digests = self._records.digests(tx, tenant_id)
        changed = {
            each.provider_id: each.provider
            for each in kept
            if digests.get(each.provider_id, each.provider.digest) != each.provider.digest
            and not {each.provider_id, each.entry_id} & set(agreed)
        }
        found: list[tuple[ProviderUse, list[Change]]] = []
        for use in uses:
            before = self._records.find(tx, tenant_id, use.provider_id) if use.provider_id in changed else None
            if before is not None:
                found.append((use, changes(before.provider, changed[use.provider_id], use.profile_id)))
        return [(use, moved) for use, moved in found if moved]

    async def remove(self, caller: Caller, provider_id: str) -> KeptProvider:
        """Keep a provider no more. Raises UnknownProvider, and ProviderInUse while connections hold credentials under it or are
        being connected."""
        found = await self.fetch(caller.tenant_id, provider_id)

        def remove(tx: Tx) -> None:
            if uses := self._records.list_uses(tx, caller.tenant_id, [provider_id], now=self._clock.now()):
                count = sum(use.connections for use in uses)
                raise ProviderInUse(
                    f"{count} {'connection is' if count == 1 else 'connections are'} connected by {provider_id}, "
                    "or being connected: " + ", ".join(_example(use) for use in uses),
                    next_step=(
                        "End them first: `interlock connections revoke NAME`. What is being connected ends by itself within "
                        "ten minutes."
                    ),
                    details={"connections": [use.one for use in uses]},
                )
            self._records.remove(tx, caller.tenant_id, provider_id)

        await self._store.write(remove)
        return found

    async def fetch(self, tenant_id: str, provider_id: str) -> KeptProvider:
        """The tenant's provider of that name. Raises UnknownProvider with the nearest names."""
        found = await self._store.read(lambda tx: self._records.find(tx, tenant_id, provider_id))
        if found is None:
            names = await self.list_names(tenant_id)
            raise UnknownProvider(provider_id, difflib.get_close_matches(provider_id[:100], names, n=3, cutoff=0.5))
        return found

    async def list_names(self, tenant_id: str) -> Sequence[str]:
        """The names of all of the tenant's providers."""
        return await self._store.read(lambda tx: self._records.list_names(tx, tenant_id))

    async def fetch_manifest(self, tenant_id: str, connector_id: str) -> sdk.Manifest:
        """The tenant's provider, as the connector of that id. Raises UnknownProvider."""
        found = await self.fetch(tenant_id, connector_id.removeprefix(sdk.PROVIDER_PREFIX))
        return sdk.provider_manifest(found.provider)

    def hold(self, tx: Tx, tenant_id: str, manifest: sdk.Manifest) -> None:
        """Have the provider stay what `fetch_manifest` has said it is until the transaction ends. Raises ProviderChanged if it
        is that no more."""
        found = self._records.hold(tx, tenant_id, manifest.connector_id.removeprefix(sdk.PROVIDER_PREFIX))
        if found is None or sdk.provider_manifest(found.provider).digest != manifest.digest:
            raise ProviderChanged(manifest.connector_id)

    async def list_providers(
        self, caller: Caller, *, cursor: str | None = None, limit: int = 100
    ) -> Sequence[KeptProvider]:
        """The tenant's providers by their names, after `cursor`. Raises RequestError for a bad limit."""
        if not 1 <= limit <= _MOST:
            raise RequestError(f"limit must be 1 to {_MOST}, not {limit}")
        return await self._store.read(
            lambda tx: self._records.list_providers(tx, caller.tenant_id, cursor=cursor, limit=limit)
        )


def _example(use: ProviderUse) -> str:
    return use.one if use.connections == 1 else f"{use.one} and {use.connections - 1} more"


def _in_use(diverted: Sequence[tuple[ProviderUse, Sequence[Change]]]) -> ProviderInUse:
    told = [
        f"{use.provider_id} ({_example(use)}): " + "; ".join(str(each) for each in moved[:_SHOWN])
        for use, moved in diverted[:_SHOWN]
    ]
    more = f"; and {len(diverted) - _SHOWN} more" if len(diverted) > _SHOWN else ""
    return ProviderInUse(
        "the credentials of connections, or of what is being connected, would be sent elsewhere, or in another way: "
        f"{'; '.join(told)}{more}",
        details={
            "changes": [
                {
                    "provider": use.provider_id,
                    "profile": use.profile_id,
                    "connection": use.one,
                    "connections": use.connections,
                    "changes": [str(each) for each in moved],
                }
                for use, moved in diverted
            ]
        },
    )
