"""Awaits a coroutine that may not end when it is cancelled: it is then left behind, so that it keeps nobody's place."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast

import anyio

T = TypeVar("T")

_LOOK: Final = 0.05
"""Seconds between two looks whether it may be left."""

_parked: Final = set["asyncio.Task[Any]"]()
"""What nothing ends but the end of the process. It is never resumed."""


class LeftBehind(Exception):
    """The coroutine was cancelled, and did not end."""


class _Leashed(Generic[T]):
    """Passes on what happens to a coroutine, until it is cut: then nothing more of the coroutine is run."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.cut = False

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine = self._coroutine
        step: Callable[[], Any] = partial(coroutine.send, None)
        while True:
            try:
                waits_for = step()
            except StopIteration as end:
                return cast("T", end.value)
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                if self.cut:
                    return (yield from self._leave().__await__())
                step = partial(coroutine.throw, error)
            else:
                step = partial(coroutine.send, sent)

    async def _leave(self) -> T:
        try:
            self._coroutine.close()
        except RuntimeError:
            # It goes on even so, and keeps the scopes open that it has entered here: this task has to stay with it.
            with anyio.CancelScope(shield=True):
                await anyio.sleep_forever()
        raise LeftBehind


async def held(coroutine: Coroutine[Any, Any, T], *, grace: float, is_busy: Callable[[], bool]) -> T:
    """Await it. If the caller is cancelled it is cancelled, too, and has `grace` seconds to end, and longer only while it
    `is_busy`; what it returns then counts, and what it raises does not. Raises LeftBehind, after which nothing of it is run
    any more."""
    leashed, scope = _Leashed(coroutine), anyio.CancelScope()

    async def run() -> T | None:
        with scope:
            return await leashed
        return None

    task = asyncio.create_task(run())  # noqa: TID251 - a group would wait for it
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        scope.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task}, timeout=grace)
            while is_busy() and not task.done():
                await asyncio.wait({task}, timeout=_LOOK)
            if not task.done():
                await _cut(leashed, task)
                raise LeftBehind from None
        if scope.cancelled_caught or task.exception() is not None:  # which came of its being cancelled
            raise
    return cast("T", task.result())


async def _cut(leashed: _Leashed[Any], task: "asyncio.Task[Any]") -> None:
    leashed.cut = True
    task.cancel()
    await asyncio.wait({task}, timeout=_LOOK)
    if task.done():
        if not task.cancelled():
            task.exception()  # it is seen: nobody else asks for it
        return
    _parked.add(task)
    task.add_done_callback(_unparked)


def _unparked(task: "asyncio.Task[Any]") -> None:
    _parked.discard(task)
    if not task.cancelled():
        task.exception()
