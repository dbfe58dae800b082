"""Where polls, and what they have met, are kept."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from interlock.kernel import Tx
from interlock.triggers.polling.model import Poll
from interlock.triggers.polling.reading import Item


class PollRecords(Protocol):
    """Every method runs in the caller's transaction."""

    def insert(self, tx: Tx, poll: Poll) -> bool:
        """Keep a new one. False if the tenant has one of that name."""
        ...

    def replace(self, tx: Tx, before: Poll, after: Poll) -> bool:
        """Put `after` in the place of `before`, unless others changed it meanwhile: then False, and nothing is written."""
        ...

    def find(self, tx: Tx, tenant_id: str, ref: str) -> Poll | None:
        """The tenant's poll of that name or id."""
        ...

    def list_polls(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[Poll]:
        """The tenant's polls in the order of their names, after `cursor`."""
        ...

    def delete(self, tx: Tx, poll: Poll) -> bool:
        """Keep it no more, nor what it has met. False if it is not there."""
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
