"""A program's own handlers: functions that are marked, collected, and called with an event and a context."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from interlock import runs
from interlock.dispatch.errors import InvalidHandlers
from interlock.dispatch.model import MAX_SECONDS, check_name, lane_of
from interlock.kernel import JSON, RequestError

if TYPE_CHECKING:
    from interlock.dispatch.context import BlockingContext, Context

TIMEOUT: Final = 900.0
"""Seconds that a handler has, unless its mark says otherwise."""

GRACE: Final = 10.0
"""Seconds that a handler has to end once it is told to, unless its mark says otherwise."""

_MARK: Final = "__interlock_handler__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a handler is called with. `payload` is what the work was submitted with; of a trigger it has `signal`, `trigger` and
    `delivery_id`."""

    handler: str
    payload: Mapping[str, JSON]
    origin: runs.Origin
    tenant_id: str
    connection_id: str | None
    trace_id: str
    submitted_at: datetime

    @property
    def signal(self) -> Mapping[str, JSON]:
        """The signal of a trigger (whole, also where the run itself only says where its data is): its `type`, `source`, `id`,
        `at` and `data`; empty for work that no trigger submitted."""
        signal = self.payload.get("signal")
        return signal if isinstance(signal, Mapping) else {}


AsyncHandler: TypeAlias = "Callable[[Event, Context], Awaitable[JSON]]"
BlockingHandler: TypeAlias = "Callable[[Event, BlockingContext], JSON]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A marked function. One that is no coroutine function is called on a thread."""

    name: str
    function: Callable[..., Any]
    timeout: float
    grace: float = GRACE

    @property
    def is_async(self) -> bool:
        """Whether it is awaited."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def where(self) -> str:
        """Where it stands, for messages."""
        return f"{self.function.__module__}.{self.function.__qualname__}"


def handler(name: str, *, timeout: float = TIMEOUT, grace: float = GRACE) -> Callable[[F], F]:
    """Mark a function `(event, context)` as the handler of that name. An `async def` gets a `Context`, a `def` runs on a thread
    and gets a `BlockingContext`. It returns JSON, which is kept, or nothing. It may be called again for the same event, after a
    failure or a crash: what it does by `context.invoke` is then not done twice.

    It has `timeout` seconds. When they are over, or it is cancelled, an `async def` has `grace` seconds to end, and is then left
    behind: nothing more of it is run. A thread cannot be ended: it is left at once, and can ask for nothing any more. Raises
    RequestError.
    """
    check_name(name)
    if not 0 <= grace <= MAX_SECONDS:
        raise RequestError(f"the grace of {name} must be at least 0 and at most {MAX_SECONDS:.0f} seconds, not {grace}")
    if not 0 < timeout <= MAX_SECONDS:
        raise RequestError(
            f"the timeout of {name} must be above 0 and at most {MAX_SECONDS:.0f} seconds, not {timeout}"
        )

    def mark(function: F) -> F:
        setattr(function, _MARK, Handler(name=name, function=function, timeout=timeout, grace=grace))
        return function

    return mark


class Handlers:
    """The handlers of this process, by name."""

    def __init__(self, functions: Iterable[Callable[..., Any]] = (), *, modules: Iterable[ModuleType] = ()) -> None:
        """Of modules, those that are marked and defined or imported there. Raises InvalidHandlers."""
        self._known: dict[str, Handler] = {}
        for function in functions:
            found = getattr(function, _MARK, None)
            if not isinstance(found, Handler):
                raise InvalidHandlers(
                    f"{getattr(function, '__qualname__', function)!r} is not marked by dispatch.handler"
                )
            self._add(found)
        for module in modules:
            for each in vars(module).values():
                if isinstance(found := getattr(each, _MARK, None), Handler):
                    self._add(found)

    def _add(self, found: Handler) -> None:
        known = self._known.setdefault(found.name, found)
        if known.function is not found.function:
            raise InvalidHandlers(f"two handlers are called {found.name!r}: {known.where} and {found.where}")

    def find(self, name: str) -> Handler | None:
        """The handler of that name."""
        return self._known.get(name)

    @property
    def names(self) -> frozenset[str]:
        """All their names."""
        return frozenset(self._known)

    @property
    def lanes(self) -> frozenset[str]:
        """Where work for them waits."""
        return frozenset(lane_of(name) for name in self._known)
