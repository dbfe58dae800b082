"""Things of others that a configuration gives open, or names."""

from importlib import import_module
from typing import Any

from interlock import memory
from interlock.kernel import is_interruption


def given_or_made(told: object, what: str) -> Any:
    """The thing itself; of a text, MODULE:NAME, what that gives when it is called. Raises InvalidConfig."""
    if not isinstance(told, str):
        return told
    module, _, name = told.partition(":")
    try:
        return getattr(import_module(module), name)()
    except Exception as error:
        if is_interruption(error):
            raise
        raise memory.InvalidConfig(
            f"{what} {told[:200]!r} gives nothing: {type(error).__name__}",
            next_step="Name something that can be imported, and called with nothing: module:function.",
        ) from error
