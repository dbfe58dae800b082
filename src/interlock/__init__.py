"""Interlock: every effect of agents and apps is authorised before it happens, done once, and provable afterwards.

    from interlock import Interlock        # `async with Interlock.open() as il: await il.invoke(…)`
    from interlock.sync import Interlock   # the same without an event loop
    from interlock import sdk              # to write a connector
    from interlock import plane            # the execution plane alone

The house, from the ground up; a room imports only rooms below it: `kernel`; `sdk`, `plane`; `catalog`, `connections`, `policy`,
`approvals`, `budgets`, `tokens`; `runs`; `subscriptions`; `adapters`, `connectors`; `app`; `sync`; `testing`; `cli`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.app import Interlock

    __version__: str

__all__ = ["Interlock", "__version__"]


def __getattr__(name: str) -> Any:
    # Late, so that `from interlock import sdk` or `plane` does not load the rest.
    if name == "Interlock":
        from interlock.app import Interlock

        return Interlock
    if name == "__version__":
        from interlock.kernel import VERSION

        return VERSION
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
