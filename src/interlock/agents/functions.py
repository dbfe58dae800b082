"""Operations that are functions of the program: found by name in a registry, called with what their type hints say."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from threading import Event, Lock
from typing import Any, Final, TypeAlias

import anyio
import anyio.to_thread
from pydantic import BaseModel, TypeAdapter, ValidationError

from interlock.agents.errors import OperationFailed
from interlock.agents.operations import Idempotency, Operation, Source
from interlock.agents.shapes import CONTEXT, parameters_of
from interlock.agents.sources import Described, Found, Happened, Held, Invocation, NotHappened, Unclear
from interlock.kernel import JSON, InterlockError, check_json, is_interruption

FUNCTION: Final = "function"
"""The kind of the operations that are a registry's own functions."""

MARK: Final = "__interlock_operation__"

_Place: TypeAlias = tuple[str, str]
"""A turn and the key of a call."""

_LOOK: Final = 0.02
"""Seconds between two looks whether a call has ended."""

_on_threads: Final = set[_Place]()
"""The calls of this process that are on threads."""

_ANYTHING: Final[TypeAdapter[object]] = TypeAdapter(object)


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A function that is an operation: what a spec says of it, and the function. `reconcile` takes the same, and says whether
    it was done."""

    name: str
    function: Callable[..., Any]
    described: Described
    reconcile: Callable[..., Any] | None = None

    @cached_property
    def parameters(self) -> type[BaseModel]:
        """What it takes, as a model."""
        return parameters_of(self.function)


def broken_promise(function: Callable[..., Any], idempotency: str, reconcile: Callable[..., Any] | None) -> str | None:
    """Why a function could not keep what its idempotency promises, in words: after a crash it would be too late to say so."""
    taken = inspect.signature(function).parameters
    if idempotency == Idempotency.DEDUPE and CONTEXT not in taken:
        return "it is dedupe, and has no parameter `context`: pass on `context.key`, by which a call is known again"
    if reconcile is None and idempotency == Idempotency.RECONCILE:
        return "it is reconcile, and nothing tells whether it was done: give it `reconcile=` a function"
    if reconcile is not None and idempotency != Idempotency.RECONCILE:
        return f"it is {idempotency}, and nobody would ask its function `reconcile`"
    if reconcile is None:
        return None
    asking = inspect.signature(reconcile)
    given = [each for each in (*taken, CONTEXT) if each != CONTEXT or CONTEXT in asking.parameters]
    try:
        asking.bind(**dict.fromkeys(given))
    except TypeError as error:
        return f"its function `reconcile` does not take the same: {error}"
    return None


class Functions:
    """The source of the functions of a registry."""

    kind = FUNCTION

    def __init__(self, marked: Iterable[Marked]) -> None:
        self._known = {each.name: each for each in marked}

    def find(self, name: str) -> Marked | None:
        """The function of that name."""
        return self._known.get(name)

    def describe(self, source: Source) -> Described | None:
        """What its decorator, its docstring and its type hints say."""
        found = self._known.get(source.ref)
        return None if found is None else found.described

    def names(self) -> Iterable[str]:
        """All their names."""
        return self._known

    def objections(self, operation: Operation) -> Iterable[tuple[str, str]]:
        """What a spec may say of it is anything, but for what the function could not keep."""
        found, said = self._known.get(operation.source.ref), operation.idempotency
        if found is None or said not in (Idempotency.DEDUPE, Idempotency.RECONCILE):
            return
        asking = found.reconcile if said is Idempotency.RECONCILE else None
        if broken := broken_promise(found.function, said, asking):
            yield "idempotency", f"the function {found.name}: {broken}"

    async def perform(self, invocation: Invocation) -> JSON | Held:
        """Call it, one that is not async on a thread. Raises OperationFailed for what it raises and what it returned that is no
        JSON, and passes on errors of the tree."""
        marked = self._fetch(invocation)
        returned = await _called(marked, marked.function, invocation, place=_place(invocation))
        return returned if isinstance(returned, Held) else _json(marked, returned)

    async def reconcile(self, invocation: Invocation) -> Found:
        """Ask the function that was given for that: it returns what came of the call, or NotHappened() or Unclear(...). A call
        that nobody waits for any more, and that still runs on its thread here, is waited for first."""
        marked = self._fetch(invocation)
        if marked.reconcile is None:
            return Unclear(reason=f"the operation {marked.name} has no function that could tell")
        with anyio.move_on_after(invocation.timeout_s):
            while _place(invocation) in _on_threads:  # noqa: ASYNC110 - threads tell no loop, and this one may be another's
                await anyio.sleep(_LOOK)
        if _place(invocation) in _on_threads:
            return Unclear(reason=f"{marked.name} still runs")
        found = await _called(marked, marked.reconcile, invocation)
        if isinstance(found, NotHappened | Unclear | Happened):
            return found
        return Happened(output=_json(marked, found))

    def waits_for(self, invocation: Invocation) -> bool:
        """Whether `reconcile` waits until nothing of a call runs any more that was stopped in this process: of one on a thread.
        What an async function has left to threads and tasks, nobody sees."""
        found = self._known.get(invocation.operation.source.ref)
        return found is not None and not inspect.iscoroutinefunction(found.function)

    def _fetch(self, invocation: Invocation) -> Marked:
        found = self._known.get(invocation.operation.source.ref)
        if found is None:
            raise OperationFailed(f"there is no function {invocation.operation.source.ref!r} in this program")
        return found


def _place(invocation: Invocation) -> _Place:
    return invocation.turn_id, invocation.key


async def _called(
    marked: Marked, function: Callable[..., Any], invocation: Invocation, *, place: _Place | None = None
) -> object:
    try:
        given = marked.parameters.model_validate(invocation.arguments, strict=False)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:10])
        raise OperationFailed(f"the arguments of {marked.name} do not fit: {problems}") from error
    arguments = {name: getattr(given, name) for name in type(given).model_fields}
    if CONTEXT in inspect.signature(function).parameters:
        seen = invocation.context if invocation.seen is None else invocation.seen
        arguments[CONTEXT] = replace(invocation, context=seen)
    try:
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        return await _on_thread(partial(function, **arguments), place)
    except InterlockError:
        raise
    except Exception as error:
        if is_interruption(error):
            raise
        # Its type alone: what a stranger's exception says may be anything, and a model would read it.
        raise OperationFailed(f"{marked.name} raised {type(error).__name__}") from error


async def _on_thread(call: Callable[[], object], place: _Place | None) -> object:
    """Call it on a thread. Cancelled, it is left to run there, and stands among those that do until it ends; one that had not
    begun by then never does."""
    if place is None:
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
    gate, begun = Lock(), Event()

    def run() -> object:
        with gate:
            if place not in _on_threads:
                return None
            begun.set()
        try:
            return call()
        finally:
            _on_threads.discard(place)

    _on_threads.add(place)
    try:
        return await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
    finally:
        with gate:
            if not begun.is_set():
                _on_threads.discard(place)


def _json(marked: Marked, returned: object) -> JSON:
    try:
        told: JSON = _ANYTHING.dump_python(returned, mode="json")
        check_json(told, what="output")
    except Exception as error:
        raise OperationFailed(f"{marked.name} returned what is no JSON: {type(returned).__name__}") from error
    return told
