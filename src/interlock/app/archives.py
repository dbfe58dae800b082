"""`il.archives`: runs that have left the ledger as packets."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.app.arguments import checked
from interlock.kernel import RequestError

if TYPE_CHECKING:  # and late in the functions: most commands need none of them
    from interlock import runs
    from interlock.app.assembly import Parts
    from interlock.kernel import Caller


class Archives:
    """This tenant's archives, and what is due to go there."""

    def __init__(self, parts: "Parts", caller: "Caller") -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def plan(self, *, older_than: timedelta | None = None) -> "runs.Plan":
        """How many runs `write` would have leave. Raises RequestError."""
        before = self._parts.wiring.clock.now() - self._age(older_than)
        return await self._parts.archiving.plan(self._caller.tenant_id, before=before)

    @checked
    async def write(
        self,
        *,
        older_than: timedelta | None = None,
        folder: Path | None = None,
        on_progress: "Callable[[runs.Done], object] | None" = None,
    ) -> "runs.Done":
        """Have the runs that ended so long ago leave the ledger, as signed packets in that folder; without either, as the
        settings say. What left stays gone, whatever happens next: asking again goes on. Raises RequestError, ArchiveBusy,
        StoreError."""
        before = self._parts.wiring.clock.now() - self._age(older_than)
        place = (folder or self._parts.settings.archive_path).absolute()
        return await self._parts.archiving.archive(
            self._caller.tenant_id, before=before, folder=str(place), told=on_progress
        )

    @checked
    async def list(self, *, cursor: str | None = None, limit: int = 50) -> "Sequence[runs.Archive]":
        """Archives, newest first; go on with `cursor` = the last one's id."""
        return await self._parts.archiving.list_archives(self._caller.tenant_id, cursor=cursor, limit=limit)

    def _age(self, older_than: timedelta | None) -> timedelta:
        if older_than is None:
            days = self._parts.settings.retention.archive_after_days
            if days is None:
                raise RequestError(
                    "it is not said how old runs are archived",
                    next_step="Give the age, or set `archive_after_days` in [retention].",
                )
            return timedelta(days=days)
        if older_than < timedelta(0):
            raise RequestError("older_than must not be negative")
        return older_than
