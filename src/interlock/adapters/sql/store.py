"""What a store of this package is; `opening` gives one out."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from interlock import runs
from interlock.kernel import StoreError, Tx

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class SqlStore(Protocol):
    """A `kernel.Store`, with the hot path that the ledger needs. Errors are StoreError leaves, and Forked."""

    @property
    def refusal(self) -> StoreError | None:
        """What writing raises, if the store was opened for reading only."""
        ...

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on one consistent snapshot. It may not write."""
        ...

    async def write(self, fn: Callable[[Tx], T], *, urgent: bool = False) -> T:
        """Run `fn` in a transaction and return after the commit. What is `urgent` goes before all that waits."""
        ...

    async def write_together(self, fn: Callable[[Tx, Sequence[Item]], Sequence[Answer]], item: Item) -> Answer:
        """As `kernel.Store.write_together`."""
        ...

    async def admit(self, admission: runs.Admission) -> runs.Admitted:
        """One admission, in the next commit of many."""
        ...

    async def apply(self, change: runs.Change) -> bool:
        """One change, in the next commit of many. False: the run has moved on and nothing was written."""
        ...

    def admit_in(self, tx: Tx, admissions: Sequence[runs.Admission]) -> Sequence[runs.Admitted]:
        """As `admit`, for each of them, in the caller's transaction."""
        ...

    def apply_in(self, tx: Tx, changes: Sequence[runs.Change]) -> Sequence[bool]:
        """As `apply`, for each of them, in the caller's transaction."""
        ...

    def close(self) -> None:
        """Finish what was accepted and let go of every connection. Calling it again does nothing."""
        ...
