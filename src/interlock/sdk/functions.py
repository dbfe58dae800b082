"""The Python that a manifest names as `module:function`: finding it, and calling a handler behind a barrier."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from interlock.kernel import JSON, InterlockError, InvalidJson, canonical, check_json, is_interruption, read_json
from interlock.sdk.errors import HandlerFailed
from interlock.sdk.wire import Http


def load_function(reference: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises HandlerFailed if there is none."""
    module_name, _, name = reference.partition(":")
    try:
        found: object = getattr(importlib.import_module(module_name), name)
    except BaseException as error:
        if is_interruption(error):
            raise
        raise HandlerFailed(f"{reference} cannot be loaded: {type(error).__name__}: {error}", effect="none") from error
    if not callable(found):
        raise HandlerFailed(f"{reference} is no function", effect="none")
    return found


async def call_handler(reference: str, input: Mapping[str, JSON], http: Http) -> JSON:  # noqa: A002
    """Run a connector's handler: `async def handler(input, http) -> JSON`.

    Raises what the handler raises of the error tree, and HandlerFailed for everything else that goes wrong in it, be it
    `sys.exit()`, in a task that it started, too; then the effect is unknown, because it may have been sent. A cancellation
    from outside passes through.
    """
    from interlock.sdk.exits import Exits  # here, for it loads what waits

    function = load_function(reference)
    if not inspect.iscoroutinefunction(function):
        raise HandlerFailed(f"{reference} must be an `async def`", effect="none")
    exits = Exits(reference)
    try:
        with exits.watched():
            value = cast("JSON", await function(dict(input), http))
        if exits.failure is not None:
            raise exits.failure
        check_json(value, what="output")
        value = read_json(canonical(value))  # then a text is a text, and not an enumeration's member
    except InvalidJson as error:
        raise HandlerFailed(f"{reference} returned what is not JSON: {error.message}") from error
    except InterlockError as error:
        raise exits.failure or error from None
    except BaseException as error:
        if is_interruption(error):
            raise
        raise exits.failure or HandlerFailed(f"{reference} raised {type(error).__name__}: {error}") from error
    return value
