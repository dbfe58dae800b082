"""Where schedules are kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from interlock.kernel import Tx
from interlock.triggers.named import NamedRecords
from interlock.triggers.schedules.model import Schedule


class ScheduleRecords(NamedRecords[Schedule], Protocol):
    """Every method runs in the caller's transaction."""

    def list_next(self, tx: Tx, *, limit: int) -> Sequence[Schedule]:
        """Of all tenants, those that are due first, in that order."""
        ...

    def list_fired_after(self, tx: Tx, moment: datetime, *, limit: int) -> Sequence[Schedule]:
        """Of all tenants, active ones that started something after that moment."""
        ...
