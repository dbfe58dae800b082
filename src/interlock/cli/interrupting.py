"""SIGTERM and a terminal that is gone end a command as Ctrl-C does: in order, with all that it has begun."""

import signal
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def heard(command: Callable[[], Awaitable[T]]) -> T:
    """What the command returns. Raises KeyboardInterrupt with the number of the signal that has ended it."""
    # Who ignores a signal (`nohup`) means it; and only a main thread hears any.
    asked = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread() or not asked:
        return await command()
    number: int | None = None
    with anyio.open_signal_receiver(*asked) as signals:

        async def listen() -> None:
            nonlocal number
            number = await anext(aiter(signals))
            tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                result = await command()
                tasks.cancel_scope.cancel()
                return result
        except BaseExceptionGroup as group:
            if (interrupts := group.subgroup(KeyboardInterrupt)) is None:
                raise
            number = _first(interrupts)
    raise KeyboardInterrupt(number)


def _first(group: BaseExceptionGroup[KeyboardInterrupt]) -> int:
    """The number of the signal that one of them names."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else next(iter(error.args), signal.SIGINT)
