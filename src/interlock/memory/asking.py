"""Asking a provider: with what is what it seems, in time, for an answer of the right type, and with whatever it raises told as
memory tells it."""

from collections.abc import Awaitable, Callable
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
            return await act()
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
    """Without the text of the error, which may have anything in it."""
    message = f"{name} failed at {operation} with {type(error).__name__}"
    return ProviderFailed(message, provider=name, operation=operation)
