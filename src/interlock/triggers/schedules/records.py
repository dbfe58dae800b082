"""Where schedules are kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from interlock.kernel import Tx
from interlock.triggers.schedules.model import Schedule


class ScheduleRecords(Protocol):
    """Every method runs in the caller's transaction."""

    def insert(self, tx: Tx, schedule: Schedule) -> bool:
        """Keep a new one. False if the tenant has one of that name."""
        ...

    def replace(self, tx: Tx, before: Schedule, after: Schedule) -> bool:
        """Put `after` in the place of `before`, unless others changed it meanwhile: then False, and nothing is written."""
        ...

    def find(self, tx: Tx, tenant_id: str, ref: str) -> Schedule | None:
        """The tenant's schedule of that name or id."""
        ...

    def list_schedules(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[Schedule]:
        """The tenant's schedules in the order of their names, after `cursor`."""
        ...

    def delete(self, tx: Tx, schedule: Schedule) -> bool:
        """Keep it no more. False if it is not there."""
        ...

    def list_next(self, tx: Tx, *, limit: int) -> Sequence[Schedule]:
        """Of all tenants, those that are due first, in that order."""
        ...

    def list_fired_after(self, tx: Tx, moment: datetime, *, limit: int) -> Sequence[Schedule]:
        """Of all tenants, active ones that started something after that moment."""
        ...
