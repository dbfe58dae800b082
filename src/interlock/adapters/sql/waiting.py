"""Callers that wait for a commit, and how the answer travels back to their event loops."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from interlock import runs
from interlock.adapters.sql.errors import StoreClosed
from interlock.kernel import Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece:
    """One caller's item for a function that reads or writes those of many."""

    fn: Callable[[Tx, Sequence[Any]], Sequence[object]]
    item: object


Work: TypeAlias = Callable[[Tx], object] | Piece | runs.Admission | runs.Change
"""What a caller wants done: a function of a transaction, a piece of what one does for many, or a value of the hot path."""


class Waiter:
    """One caller's work and its future. The result is set by one storage thread and delivered on the caller's loop."""

    __slots__ = ("_error", "_future", "_result", "loop", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self._future: asyncio.Future[object] = self.loop.create_future()
        self._result: object = None
        self._error: BaseException | None = None

    async def wait(self) -> object:
        """The result, after the commit. A cancelled wait leaves the outcome unknown."""
        return await self._future

    @property
    def gave_up(self) -> bool:
        """Whether the caller was cancelled. Work that has not begun by then need not begin."""
        return self._future.cancelled()

    def succeed(self, result: object) -> None:
        """The result, provided that the commit comes through."""
        self._result, self._error = result, None

    def fail(self, error: BaseException) -> None:
        """The reason why there is no result."""
        self._error = error

    def settle(self) -> None:
        """On the caller's loop: hand over what was found."""
        if self._future.done():
            return
        if self._error is None:
            self._future.set_result(self._result)
        else:
            self._future.set_exception(_portable(self._error))


_SIGNALS = (StopIteration, GeneratorExit, asyncio.CancelledError)
"""What means something else to a coroutine that awaits: it would leave its caller waiting for ever, or cancelled."""


def _portable(error: BaseException) -> BaseException:
    """The error, as a future can carry it."""
    return RuntimeError(f"the transaction's function raised {error!r}") if isinstance(error, _SIGNALS) else error


def _settle_all(waiters: list[Waiter]) -> None:
    for waiter in waiters:
        waiter.settle()


def deliver(waiters: Iterable[Waiter]) -> None:
    """From a storage thread: wake the callers, with one call per event loop. Loops that are gone are passed over."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Waiter]] = defaultdict(list)
    for waiter in waiters:
        by_loop[waiter.loop].append(waiter)
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_all, group)
        except RuntimeError:  # the loop was closed: nobody waits any more
            continue


def pieces_by_function(waiters: Iterable[Waiter]) -> list[list[Waiter]]:
    """The waiters with pieces, those together whose function is the same."""
    found: dict[object, list[Waiter]] = defaultdict(list)
    for waiter in waiters:
        if isinstance(waiter.work, Piece):
            found[waiter.work.fn].append(waiter)
    return list(found.values())


def answer_pieces(tx: Tx, waiters: Sequence[Waiter]) -> None:
    """Pieces of one function, in the transaction."""
    pieces = [waiter.work for waiter in waiters if isinstance(waiter.work, Piece)]
    answers = pieces[0].fn(tx, [piece.item for piece in pieces])
    for waiter, answer in zip(waiters, answers, strict=True):
        waiter.succeed(answer)


class Threads:
    """Threads on which functions block, for callers that wait on their event loops."""

    def __init__(self, size: int, *, name: str, where: str) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._where = where

    async def run(self, fn: Callable[[], T]) -> T:
        """What `fn` returns or raises. A caller that is cancelled before `fn` begins has it never begin."""
        try:
            future = self._pool.submit(_run_portably, fn)
        except RuntimeError as error:
            raise StoreClosed(f"{self._where} is closed") from error
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let everything accepted finish."""
        self._pool.shutdown(wait=True)


def _run_portably(fn: Callable[[], T]) -> T:
    try:
        return fn()
    except _SIGNALS as error:
        raise _portable(error) from error
