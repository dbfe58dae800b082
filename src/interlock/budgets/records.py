"""The room's port: where counters are kept. Synchronous, inside the caller's transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from interlock.budgets.model import Hold, Key, Reservation
from interlock.kernel import Tx


class Records(Protocol):
    """Counters per key. What `lock` guards is not raced: no other transaction passes `lock` for the same key before
    this one ends."""

    def lock(self, tx: Tx, keys: Iterable[Key]) -> None:
        """Wait for each of the keys to be free and take it until the transaction ends: in their order, whatever order they are
        given in, so that no two transactions that take theirs at once wait for each other."""
        ...

    def block(self, tx: Tx, key: Key, until: datetime) -> None:
        """Block the key until a moment, or longer if it is blocked for longer already."""
        ...

    def find_blocked(self, tx: Tx, key: Key) -> datetime | None:
        """Until when the key is blocked, if it was ever blocked."""
        ...

    def used(self, tx: Tx, key: Key, counter: str, window_start: datetime) -> int:
        """How much of a counter of the key is used in a window."""
        ...

    def add(self, tx: Tx, key: Key, counter: str, window_start: datetime, amount: int) -> None:
        """Use more of a counter of a locked key, and forget its older windows."""
        ...

    def list_slots(self, tx: Tx, key: Key, now: datetime) -> dict[str, datetime]:
        """Who holds the key's slots that have not expired, and until when."""
        ...

    def take_slot(self, tx: Tx, key: Key, reservation: Reservation, now: datetime) -> None:
        """Give the holder a slot, or its slot to this reservation, and forget the key's expired slots."""
        ...

    def renew_slot(self, tx: Tx, key: Key, reservation: Reservation, now: datetime) -> None:
        """As `take_slot`, unless another reservation of the holder has the slot."""
        ...

    def drop_slot(self, tx: Tx, key: Key, reservation: Reservation) -> None:
        """Take the reservation's slot away, if it still has one."""
        ...

    def list_holds(self, tx: Tx, tenant_id: str, holders: Iterable[str]) -> Sequence[Hold]:
        """What the holders have reserved and not settled, in the order of the keys."""
        ...

    def put_hold(self, tx: Tx, hold: Hold, now: datetime) -> None:
        """Remember an amount that is reserved; the holder has none of that key and counter yet."""
        ...

    def drop_holds(self, tx: Tx, tenant_id: str, holder: str) -> None:
        """Forget what the holder has reserved."""
        ...

    def change(self, tx: Tx, hold: Hold, amount: int) -> None:
        """Use that much more (or, below zero, less) of a hold's counter, if its window is still there."""
        ...
