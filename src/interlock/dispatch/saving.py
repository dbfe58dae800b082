"""Saves what was done, while the store is away and back."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from interlock import runs
from interlock.kernel import Backoff, Retry, StoreError

STORE_BACKOFF: Final = Backoff(base=0.1, cap=2.0)


async def until_saved(wiring: runs.Wiring, working: runs.Working, save: Callable[[], Awaitable[object]]) -> None:
    """Save it. A store that fails is asked again for as long as this process has its hold. Nothing is cut off but the pauses in
    between. Raises what `save` raises, StoreError once the hold is gone."""
    failures = 0
    while True:
        try:
            with anyio.CancelScope(shield=True):
                await save()
                return
        except StoreError as error:
            failures += 1
            if error.retry is Retry.NEVER or wiring.ownership.may_send(working.attempt.owner_id) <= 0:
                raise
            await wiring.clock.sleep(STORE_BACKOFF.delay(failures, at_least=0.05))
