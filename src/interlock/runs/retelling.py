"""A key that is known answers with the run that holds it."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from interlock.kernel import Caller, Tx
from interlock.runs.errors import IdempotencyConflict
from interlock.runs.model import Run, State
from interlock.runs.reading import Reading
from interlock.runs.request import Outcome, Request
from interlock.runs.wiring import Wiring

_POLL: Final = 0.05
_GRACE: Final = timedelta(seconds=5)


async def find_known(wiring: Wiring, caller: Caller, request: Request) -> Run | None:
    """The run that holds the request's idempotency key, if it has one that is held."""
    key, ledger, now = request.idempotency_key, wiring.ledger, wiring.clock.now()
    if key is None:
        return None

    def find(tx: Tx) -> Run | None:
        run_id = ledger.find_key(tx, caller.tenant_id, request.capability, key, now)
        return None if run_id is None else ledger.find_run(tx, caller.tenant_id, run_id)

    return await wiring.store.read(find)


async def tell_again(
    wiring: Wiring, reading: Reading, caller: Caller, request: Request, digest: str, run: Run
) -> Outcome:
    """The outcome of the run that holds the key; if it is still at work, once that is done. `digest` is the input's. Raises
    IdempotencyConflict, and as `Reading.outcome`."""
    if run.actor != caller.actor or await reading.admitted_input_digest(run) != digest:
        different = "actor" if run.actor != caller.actor else "input"
        raise IdempotencyConflict(
            f"the idempotency key {request.idempotency_key!r} of {request.capability} belongs to {run.run_id}, "
            f"which has another {different}",
            run_id=run.run_id,
        )
    give_up = wiring.clock.now() + request.timeout + _GRACE
    while run.state in (State.ACCEPTED, State.RUNNING) and wiring.clock.now() < give_up:
        await wiring.clock.sleep(_POLL)
        run = await reading.fetch(caller, run.run_id)
    return replace(await reading.outcome(run), replayed=True)
