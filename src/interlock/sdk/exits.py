"""Tasks that a handler starts. asyncio ends the event loop, and so the program, with a task that raises SystemExit; a handler's
ends its call."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import anyio

from interlock.kernel import is_interruption
from interlock.sdk.errors import HandlerFailed


class Exits:
    """Watches the tasks that are started within one call of a handler, and by those that they start. What a loop is asked to
    call by itself (`call_soon`) is no task, and is not watched."""

    def __init__(self, reference: str) -> None:
        self.failure: HandlerFailed | None = None
        """What became of the first task that would have ended the program."""
        self._reference = reference
        self._scope = anyio.CancelScope()
        self._over = False

    @contextmanager
    def watched(self) -> Generator[None]:
        """The block is the call. It is cancelled when a task exits: nobody may be left to go on with it."""
        loop = asyncio.get_running_loop()
        factory = loop.get_task_factory()
        if not isinstance(factory, _Factory):
            loop.set_task_factory(_Factory(factory))
        token = _watching.set(self)
        try:
            with self._scope:
                yield
        finally:
            self._over = True
            _watching.reset(token)

    def take(self, error: BaseException) -> BaseException:
        """What the task raises instead."""
        if is_interruption(error):
            return error
        failure = HandlerFailed(f"{self._reference} raised {type(error).__name__}: {error} in a task that it started")
        if self._over:
            return failure  # the loop tells it
        self.failure = self.failure or failure
        self._scope.cancel()
        return asyncio.CancelledError()


_watching: ContextVar[Exits | None] = ContextVar("watching", default=None)
"""Whose handler starts the tasks here."""


class _Factory:
    """A loop's task factory, which stays: a task that a handler left may start others. It makes the tasks of everybody else as
    they were made before."""

    def __init__(self, before: Callable[..., asyncio.Future[Any]] | None) -> None:
        self._before = before

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **more: Any
    ) -> asyncio.Future[Any]:
        exits = _watching.get()
        made = _Watched(coro, exits) if exits is not None and isinstance(coro, Coroutine) else coro
        if self._before is not None:
            return self._before(loop, made, **more)
        return asyncio.Task(made, loop=loop, **more)


class _Watched(Coroutine[Any, Any, Any]):
    """A task's coroutine. It is an object, and no coroutine around it: one that is cancelled before it began must not begin."""

    def __init__(self, coro: Coroutine[Any, Any, Any], exits: Exits) -> None:
        self._coro = coro
        self._exits = exits

    def send(self, value: Any, /) -> Any:
        try:
            return self._coro.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise self._exits.take(error) from None

    def throw(self, typ: Any, val: BaseException | object = None, tb: TracebackType | None = None, /) -> Any:
        try:
            return self._coro.throw(typ) if val is None else self._coro.throw(typ, val, tb)
        except (SystemExit, KeyboardInterrupt) as error:
            raise self._exits.take(error) from None

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coro.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coro, name)  # `cr_frame` and its like, for who inspects tasks
