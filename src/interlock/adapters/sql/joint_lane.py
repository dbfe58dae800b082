"""A lane on Postgres for what one function writes for many callers: one transaction for all that wait for it."""

from collections.abc import Callable, Sequence
from copy import copy

from interlock.adapters.sql.address import PostgresDatabase
from interlock.adapters.sql.errors import StoreUnavailable, unanswered
from interlock.adapters.sql.waiting import Waiter, answer_pieces, pieces_by_function
from interlock.kernel import Tx


class JointLane:
    """Implements `Lane`. `write` runs a function in a transaction of its own, again after a race, and raises StoreError, or what
    the function raised."""

    def __init__(self, place: PostgresDatabase, write: Callable[[Callable[[Tx], None]], None]) -> None:
        self._place = place
        self._write = write

    def carry_out(self, batch: Sequence[Waiter]) -> None:
        for waiters in pieces_by_function(batch):
            self._settle(waiters)

    def _settle(self, waiters: Sequence[Waiter]) -> None:
        """All of them, or, when that fails, each by itself."""
        try:
            self._write(lambda tx: answer_pieces(tx, waiters))
        except StoreUnavailable as error:
            # What was being written may be there, and none of them would fare better by itself.
            for waiter in waiters:
                waiter.fail(copy(error))
        except BaseException as error:  # noqa: BLE001 - it belongs to one caller
            if len(waiters) == 1:
                waiters[0].fail(error)
                return
            for waiter in waiters:
                self._settle([waiter])

    def abandon(self, batch: Sequence[Waiter], error: BaseException) -> None:
        lost = StoreUnavailable(f"{self._place} failed, what was under way is unknown: {error!r}")
        lost.__cause__ = error
        for waiter in batch:
            waiter.fail(unanswered(lost))

    def close(self) -> None:
        """Its connections are the engine's."""
