"""A key that is known answers with the run that holds it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

from interlock import connections, policy
from interlock.kernel import JSON, Caller, Tx, read_json
from interlock.runs.errors import IdempotencyConflict
from interlock.runs.model import Run
from interlock.runs.reading import Reading
from interlock.runs.request import Outcome, Request
from interlock.runs.wiring import Wiring

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
    different = await _difference(wiring, reading, caller, request, digest, run)
    if different is not None:
        raise IdempotencyConflict(
            f"the idempotency key {request.idempotency_key!r} of {request.capability} belongs to {run.run_id}, "
            f"which has another {different}",
            run_id=run.run_id,
        )
    run = await reading.settled(caller, run, within=request.timeout + _GRACE)
    return replace(await reading.outcome(run), replayed=True)


async def _difference(
    wiring: Wiring, reading: Reading, caller: Caller, request: Request, digest: str, run: Run
) -> str | None:
    """What the request asks for that the run is not about. What it leaves open, a connection say, is as it was then."""
    if run.actor != caller.actor:
        return "actor"
    if await reading.admitted_input_digest(run) != digest:
        return "input"
    if run.environment != request.environment:
        return "environment"
    if request.targets and request.targets != run.targets:
        return "target"
    if request.connection is not None and await _connection_id(wiring, caller, request.connection) != run.connection_id:
        return "connection"
    if request.sandbox is not None and await _is_stricter(wiring, request.sandbox, run):
        return "sandbox"
    return None


async def _connection_id(wiring: Wiring, caller: Caller, ref: str) -> str:
    """Of a connection in whatever state: what went over one that is revoked by now is told all the same."""
    try:
        return (await wiring.connections.fetch_connection(caller, ref)).connection_id
    except connections.ConnectionNotFound:
        return ""


async def _is_stricter(wiring: Wiring, sandbox: str, run: Run) -> bool:
    """Whether that level is stricter than what the run was asked for with, and its operation demanded."""
    decisions = await wiring.store.read(lambda tx: wiring.ledger.list_decisions(tx, run.tenant_id, run.run_id))
    facts = cast("Mapping[str, JSON]", read_json(decisions[0].facts_json.encode()))
    level = str(facts.get("sandbox") or facts.get("sandbox_floor") or "none")
    return policy.SANDBOXES.index(sandbox) > policy.SANDBOXES.index(level)
