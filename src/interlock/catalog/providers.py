"""A tenant's providers: imported from a file, kept, found again."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from interlock import sdk
from interlock.catalog.errors import UnknownProvider
from interlock.catalog.importing import Coverage, Format, Imported
from interlock.kernel import JSON, Caller, Clock, RequestError, Store, Tx, to_rfc3339

_MOST: Final = 500


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


class ProviderRecords(Protocol):
    """Where providers are kept. Every method runs in the caller's transaction."""

    def save(self, tx: Tx, kept: Sequence[KeptProvider]) -> None:
        """Keep providers, each in the place of the one of that name."""
        ...

    def find(self, tx: Tx, tenant_id: str, provider_id: str) -> KeptProvider | None:
        """The tenant's provider of that name."""
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

    async def keep(self, caller: Caller, imported: Imported) -> Sequence[KeptProvider]:
        """Keep what was taken over, all or nothing; what had a name before has it no more."""
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
        await self._store.write(lambda tx: self._records.save(tx, kept))
        return kept

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

    async def list_providers(
        self, caller: Caller, *, cursor: str | None = None, limit: int = 100
    ) -> Sequence[KeptProvider]:
        """The tenant's providers by their names, after `cursor`. Raises RequestError for a bad limit."""
        if not 1 <= limit <= _MOST:
            raise RequestError(f"limit must be 1 to {_MOST}, not {limit}")
        return await self._store.read(
            lambda tx: self._records.list_providers(tx, caller.tenant_id, cursor=cursor, limit=limit)
        )
