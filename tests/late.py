"""An answer that is on its way while something else is done."""

import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread


class Late:
    """What a server waits for before an answer leaves."""

    def __init__(self) -> None:
        self._asked, self._go = threading.Event(), threading.Event()

    def wait(self) -> None:
        """For the server to call."""
        self._asked.set()
        self._go.wait(60)

    @asynccontextmanager
    async def overtaken(self, request: Callable[[], Coroutine[Any, Any, object]]) -> AsyncGenerator[anyio.CancelScope]:
        """The request has reached the server in here, and its answer leaves afterwards. With what cancels the request."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(request)
            try:
                assert await anyio.to_thread.run_sync(self._asked.wait, 60)
                yield tasks.cancel_scope
            finally:
                self._go.set()
