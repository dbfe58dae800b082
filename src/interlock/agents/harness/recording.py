"""Records what came of an attempt, once, however often the store has to be asked, and says what stands then."""

import logging
from collections.abc import Awaitable, Callable

from interlock import dispatch, runs

_log = logging.getLogger(__name__)

Record = Callable[[], Awaitable[object]]


async def recorded(wiring: runs.Wiring, working: runs.Working, record: Record) -> None:
    """Record it, for a caller who raises what it is about, whether it is recorded or not."""
    try:
        await dispatch.until_saved(wiring, record)
    except runs.StaleRun as stale:
        # It was recorded by the try before, whose answer was lost, or is no longer this process's.
        _log.info("%s", stale)
    except Exception as error:  # noqa: BLE001 - the store refuses it for good, whatever it is
        _log.warning("%s is left to recovery: %s: %s", working.attempt.run_id, type(error).__name__, error)


async def stands(wiring: runs.Wiring, working: runs.Working, record: Record) -> runs.Run | None:
    """Record it, for a caller who tells what then stands in the run of `working`. If a try before has recorded it, whose answer
    was lost: the run as it was known until then. Raises StaleRun if the run is another process's by now, and what the store
    refuses it with for good: then nothing of it stands anywhere."""
    try:
        await dispatch.until_saved(wiring, record)
    except runs.StaleRun:
        mine = working.journal.run
        now = await wiring.store.read(lambda tx: wiring.ledger.find_run(tx, mine.tenant_id, mine.run_id))
        if now is None or now.fence != mine.fence or now.state is runs.State.RUNNING:
            raise
        working.journal.run = now
        return mine
    return None
