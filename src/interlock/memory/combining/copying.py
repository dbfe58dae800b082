"""What one provider has decided, done by another: the same record, under the same id."""

from collections.abc import Sequence
from typing import TypeAlias, cast

from interlock.memory.errors import RecordConflict
from interlock.memory.provider import Ingests, Provider
from interlock.memory.records import Draft, Record, stated
from interlock.memory.results import IngestRequest, IngestStatus
from interlock.memory.scope import Scope

Decided: TypeAlias = tuple[Draft, Record]
"""What was to be remembered, and what became of it."""


async def follow(provider: Provider, scope: Scope, decided: Decided) -> None:
    """Have it there too; it may be there already. Raises RecordConflict where something else is."""
    try:
        await provider.remember(scope, _copy(decided))
    except RecordConflict:
        await _compare(provider, decided[1])


async def follow_all(provider: Provider, scope: Scope, batch: Sequence[Decided]) -> None:
    """Have all of them there too."""
    request = IngestRequest(records=tuple(map(_copy, batch)))
    result = await cast("Ingests", provider).ingest(scope, request)
    for decided, item in zip(batch, result.items, strict=True):
        if item.status is IngestStatus.REJECTED:
            await follow(provider, scope, decided)


def _copy(decided: Decided) -> Draft:
    draft, record = decided
    fields = dict(stated(record)) | {
        "record_id": record.record_id,
        "observed_at": record.observed_at,
        "scope": record.scope,
        "embedding": draft.embedding,
    }
    if draft.is_revision:
        return Draft.of(**fields, if_revision=max(1, record.revision - 1))
    return Draft.of(**fields, if_revision=0, supersedes=draft.supersedes, idempotency_key=record.idempotency_key)


async def _compare(provider: Provider, record: Record) -> None:
    there = await provider.get(record.scope, record.record_id)
    if stated(there) != stated(record):
        raise RecordConflict(
            f"{record.record_id} is at revision {record.revision} in the first, and another one is here",
            details={"record_id": record.record_id},
        )
