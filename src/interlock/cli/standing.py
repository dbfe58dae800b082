"""Commands that stand until they are told to end: they wait for a store that is away, and end in order whenever they are told."""

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    import anyio

    from interlock import app
    from interlock.cli.desk import Desk

WaitForStore = Annotated[
    str,
    typer.Option(
        metavar="SPAN", help="How long to wait at the start for a store that is away: 30s, 2h; 0s not at all."
    ),
]
WAIT: Final = "10m"
"""How long a store is waited for, unless told otherwise."""

_BASE, _CAP = 0.5, 30.0
_PATIENCE: Final = 2.0
"""Seconds that threads have to end once all else has."""

_log: Final = logging.getLogger(__name__)


class Standing:
    """When to end."""

    def __init__(self, starting: "anyio.CancelScope", told: "anyio.Event") -> None:
        self._starting = starting
        self._up = False
        self._told = told

    def tell(self) -> None:
        """It is to end: at once while it starts, and else as soon as `told` has returned and what follows it is done."""
        self._told.set()
        if not self._up:
            self._starting.cancel()

    async def told(self) -> None:
        """Stand. Returns when it is to end; from here on nothing is cut off."""
        self._up = True
        gc.collect()
        gc.freeze()  # what is there by now stays: looking through it again and again would hold up whatever is under way
        await self._told.wait()


@asynccontextmanager
async def standing() -> AsyncGenerator[Standing]:
    """Until SIGTERM or Ctrl-C, which is how such a command ends well: without an error, also while it starts."""
    import anyio

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as tasks:
            made = Standing(tasks.cancel_scope, anyio.Event())

            async def listen() -> None:
                await anext(aiter(signals))
                made.tell()

            tasks.start_soon(listen)
            yield made
            tasks.cancel_scope.cancel()
    threading.Thread(target=_end_all_the_same, name="the end", daemon=True).start()


def _end_all_the_same() -> None:
    """The command is done, but for handlers that hang on their threads, for which Python would wait for ever."""
    threading.main_thread().join()
    threading.Event().wait(_PATIENCE)
    sys.stderr.write("warning: a handler does not end, and is left behind on its thread\n")
    sys.stderr.flush()
    os._exit(0)


@asynccontextmanager
async def opened(
    desk: "Desk", wait: str, *, on_connection_event: "app.OnEvent | None" = None
) -> AsyncGenerator["app.Interlock"]:
    """Interlock, as `Desk.open_here` for a command that acts, once its store is there. Raises as that, Usage, and what the store
    said last when the time is over."""
    import anyio

    from interlock.cli.times import parse_span

    seconds = parse_span(wait, option="--wait-for-store").total_seconds()

    def enter() -> AbstractAsyncContextManager["app.Interlock"]:
        return desk.open_here(acting=True, on_connection_event=on_connection_event)

    async with AsyncExitStack() as stack:
        yield await _entered(stack, enter, anyio.current_time() + seconds)


async def _entered(
    stack: AsyncExitStack, enter: "Callable[[], AbstractAsyncContextManager[app.Interlock]]", give_up: float
) -> "app.Interlock":
    import anyio

    from interlock.kernel import Backoff, Retry, StoreError

    backoff, failures = Backoff(base=_BASE, cap=_CAP), 0
    while True:
        try:
            il = await stack.enter_async_context(enter())
        except StoreError as error:
            left = give_up - anyio.current_time()
            if error.retry is not Retry.LATER or left <= 0:
                raise
            failures += 1
            pause = min(left, backoff.delay(failures, at_least=_BASE))
            _log.warning("waiting for the store, for %.0f s more at most: %s", left, error)
            await anyio.sleep(pause)
        else:
            if failures:
                _log.warning("the store is there")
            return il
