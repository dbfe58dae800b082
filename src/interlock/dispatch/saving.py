"""Saves what was done, while the store is away and back."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from interlock import runs
from interlock.kernel import Backoff, Retry, StoreError

STORE_BACKOFF: Final = Backoff(base=0.1, cap=2.0)


async def until_saved(wiring: runs.Wiring, save: Callable[[], Awaitable[object]]) -> None:
    """Save it. A store that fails is asked again, for however long the database is away or its disk full: who takes the work over
    meanwhile needs the store, too, and its fence is noticed. Nothing is cut off but the pauses in between. Raises what `save`
    raises, of StoreErrors only those after which the store is never asked again."""
    failures = 0
    while True:
        try:
            with anyio.CancelScope(shield=True):
                await save()
                return
        except StoreError as error:
            failures += 1
            wiring.ownership.note_failure()
            if error.retry is Retry.NEVER:
                raise
            await wiring.clock.sleep(STORE_BACKOFF.delay(failures, at_least=0.05))
