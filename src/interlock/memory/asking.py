"""Asking a provider: with what is what it seems, in time, for an answer of the right type, and with whatever it raises told as
memory tells it."""

import inspect
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from interlock.kernel import InterlockError, is_interruption
from interlock.memory.errors import BrokenCapability, DeadlineExceeded, InvalidInput, MemoryFault, ProviderFailed

T = TypeVar("T")


def due(value: object, kind: type[T], what: str) -> T:
    """What a caller gave, if it is of that type. Raises InvalidInput."""
    if not isinstance(value, kind):
        message = f"{what} is a {type(value).__name__} where a {kind.__name__} is due"
        raise InvalidInput(message, details={"problems": [message]})
    return value


def said(name: str, operation: str, act: Callable[[], object], answer: type[T]) -> T:
    """What it says of itself, at once."""
    try:
        found = act()
    except MemoryFault as error:
        error.at(name, operation)
        raise
    except Exception as error:
        if is_interruption(error):
            raise
        raise _failed(name, operation, error) from error
    if not isinstance(found, answer):
        message = f"{name} answered to {operation} with a {type(found).__name__} where a {answer.__name__} is due"
        raise BrokenCapability(message, provider=name, operation=operation)
    return found


async def carried(name: str, operation: str, seconds: float | None, act: Callable[[], Awaitable[T]]) -> T:
    """What a provider does, in time; what it raises says where it happened."""
    import anyio

    try:
        with anyio.fail_after(seconds):
            answer = act()
            if not inspect.isawaitable(answer):
                message = f"{name} answered to {operation} with a {type(answer).__name__} that cannot be awaited"
                raise BrokenCapability(message, provider=name, operation=operation)
            return await answer
    except TimeoutError as error:
        message = f"{name} did not answer to {operation} within {seconds:g} seconds"
        raise DeadlineExceeded(message, provider=name, operation=operation) from error
    except MemoryFault as error:
        error.at(name, operation)
        raise
    except InterlockError:
        raise
    except Exception as error:
        if is_interruption(error):
            raise
        raise _failed(name, operation, error) from error


def _failed(name: str, operation: str, error: Exception) -> ProviderFailed:
    """Without the text of the error, which may have anything in it; that is in the cause."""
    kind, where = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."), _place(error)
    message = f"{name} failed at {operation} with {kind}{where and f', raised at {where}'}"
    return ProviderFailed(message, provider=name, operation=operation, details={"type": kind, "where": where})


def _place(error: BaseException) -> str:
    """Where it was raised: the module's file and the line."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
