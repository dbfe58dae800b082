"""The transaction, as the rooms see it: a token to hand on, with nothing to do on it."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Tx(Protocol):
    """An open transaction. Opaque: only the adapter that opened it looks inside."""

    @property
    def is_open(self) -> bool:
        """Whether the transaction can still be used."""
        ...


class Store(Protocol):
    """Runs functions in transactions. `fn` is synchronous, does no other I/O, and may run again."""

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on one consistent snapshot. Raises StoreError."""
        ...

    async def write(self, fn: Callable[[Tx], T], *, urgent: bool = False) -> T:
        """Run `fn` in a transaction and return after the commit. Raises StoreError, or what `fn` raised (then nothing
        was written). A cancelled caller does not know the outcome. `fn` sees the context variables of its caller. What is
        `urgent` waits for what is under way at most, and not for what waits: a beat that comes too late counts as none."""
        ...

    async def write_together(self, fn: Callable[[Tx, Sequence[Item]], Sequence[Answer]], item: Item) -> Answer:
        """Have `fn` write the item, in one transaction with those of other callers that wait for an equal `fn`, and return its
        answer after the commit: it gives one for each, in order, as if they had come one after the other. When it raises, each
        item is written by itself, so that a caller hears only of its own. `fn` sees no context variables. Else as `write`."""
        ...
