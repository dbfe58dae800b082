"""The way from any thread to the loop on which the asynchronous Interlock lives."""

import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing, contextmanager
from functools import partial, wraps
from queue import SimpleQueue
from typing import Concatenate, Generic, NoReturn, ParamSpec, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from interlock import app
from interlock.kernel import OpenedHere

P = ParamSpec("P")
T = TypeVar("T")
Room = TypeVar("Room")


class Door:
    """The way to the loop's thread, for as long as it is open."""

    def __init__(self, portal: BlockingPortal, what: str) -> None:
        self._portal = portal
        self._what = what
        self.opened = OpenedHere(what)
        self.open = True

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """What the work answers. Raises Closed and Forked."""
        self.opened.check()
        try:
            return self._portal.call(work)
        except RuntimeError as error:
            if self.open:
                raise
            raise app.Closed(f"{self._what} is closed") from error

    @contextmanager
    def running(self, work: Callable[[], Awaitable[None]]) -> Generator[None]:
        """While the block lasts, the work goes on; then it is cancelled, and ends. Raises what it failed with, and Closed."""
        self.opened.check()
        ended = threading.Event()

        async def run() -> None:
            try:
                await work()
            finally:
                ended.set()

        try:
            going = self._portal.start_task_soon(run)
        except RuntimeError as error:
            raise app.Closed(f"{self._what} is closed") from error
        try:
            yield
        finally:
            if going.cancel():
                ended.wait()
        if not going.cancelled():
            going.result()

    def abandon(self) -> None:
        """In a forked child, whose loop stands still: what is left of it is let go of, and nobody waits."""
        vars(self._portal)["call"] = _refuse  # what ends the loop goes through it


@contextmanager
def through_door(what: str, opening: Callable[[], AbstractAsyncContextManager[Room]]) -> Generator[tuple[Door, Room]]:
    """What is opened on a loop with a thread of its own, and closed there at the end; and the way to it."""
    interruption: KeyboardInterrupt | SystemExit | None = None
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal("asyncio"))
        door = Door(portal, what)
        room = stack.enter_context(portal.wrap_async_context_manager(opening()))
        try:
            yield door, room
        except (KeyboardInterrupt, SystemExit) as error:
            interruption = error  # kept out of the loop's tasks, which would wrap it in a group
        finally:
            door.open = False
            if door.opened.is_elsewhere:
                door.abandon()
                stack.pop_all()  # it is the parent's to close
    if interruption is not None:
        raise interruption


def _refuse(*_: object) -> NoReturn:
    raise RuntimeError("the loop is another process's")


class Face(Generic[Room]):
    """A room of the facade whose methods wait instead of being awaited."""

    def __init__(self, door: Door, room: Room) -> None:
        self._door = door
        self._room = room


def told_by(door: Door, made: Callable[[], AsyncGenerator[T]]) -> Generator[T]:
    """What is told step by step, by one task on the loop from its first step to its last. Raises what it raises."""
    told: SimpleQueue[T | None] = SimpleQueue()

    async def tell() -> None:
        try:
            async with aclosing(made()) as steps:
                async for each in steps:
                    told.put(each)
        finally:
            told.put(None)

    with door.running(tell):
        while (each := told.get()) is not None:
            yield each


def waiting(
    method: Callable[Concatenate[Room, P], Awaitable[T]],
) -> Callable[Concatenate[Face[Room], P], T]:
    """The method, run on the portal's loop until it is done, with the same parameters and promises."""

    @wraps(method)
    def wait(self: Face[Room], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._door.call(partial(method, self._room, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - a method

    return wait
