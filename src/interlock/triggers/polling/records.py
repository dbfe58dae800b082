"""Where polls, and what they have met, are kept."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from interlock.kernel import Tx
from interlock.triggers.named import NamedRecords
from interlock.triggers.polling.model import Poll
from interlock.triggers.polling.reading import Item


class PollRecords(NamedRecords[Poll], Protocol):
    """Every method runs in the caller's transaction."""

    def list_made(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[Poll]:
        """The tenant's polls in the order in which they were made, which is that of their ids, after `cursor`."""
        ...

    def list_next(self, tx: Tx, *, limit: int) -> Sequence[Poll]:
        """Of all tenants, those that are due first, in that order."""
        ...

    def known(self, tx: Tx, poll: Poll, keys: Collection[str]) -> Collection[str]:
        """Which of these items the poll has met."""
        ...

    def meet(self, tx: Tx, poll: Poll, items: Sequence[Item], now: datetime) -> None:
        """It has met these, whose keys are new to it; those without a moment of their own, now."""
        ...

    def forget(self, tx: Tx, poll: Poll, before: datetime) -> None:
        """It need not know items of before that moment any more."""
        ...
