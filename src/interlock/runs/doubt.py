"""What the ledger leaves open of writes."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from interlock import sdk
from interlock.kernel import Tx
from interlock.runs.call import Call
from interlock.runs.ledger import RunFilter
from interlock.runs.model import Delivery, Send
from interlock.runs.reading import History
from interlock.runs.wiring import Wiring


def writes_in_doubt(sends: Sequence[Send], operation: sdk.Operation | None = None) -> Sequence[Send]:
    """The sends that may have changed something, as far as the ledger knows, oldest first. Without the operation, a POST
    counts as a write even if it was declared safe, and so does every command and script."""
    return [
        send
        for send in sends
        if send.delivery in (Delivery.UNKNOWN, Delivery.RESPONDED)
        and _may_write(json.loads(send.intent_json).get("method"), operation)
    ]


def last_left(history: History, doubtful: Sequence[Send], now: datetime) -> datetime:
    """The latest moment at which one of them may have left. A process may send for as long as it has its lease, and it has
    had that until its attempt was, or now is, recorded as lost."""
    ended = {attempt.attempt_id: attempt.finished_at for attempt in history.attempts}
    return max(send.finished_at or ended[send.attempt_id] or now for send in doubtful)


def _may_write(method: str | None, operation: sdk.Operation | None) -> bool:
    if method is None:  # a command or a script, of which nothing but its declaration tells
        return operation is None or operation.effect is not sdk.Effect.READ
    return method not in sdk.SAFE_METHODS if operation is None else operation.may_write(method)


async def find_twin(wiring: Wiring, call: Call, *, run_id: str, started_at: datetime) -> str | None:
    """Another run that asked for the very same over the same connection, was not over when this one began, and may have
    done it. What is found at the service may then be its work: for a person to tell, unless repeating changes nothing."""
    rule = call.operation.reconcile
    if rule is None or call.operation.idempotency is sdk.Idempotency.NATURAL:
        return None
    ledger, tenant_id = wiring.ledger, call.caller.tenant_id
    over = started_at - timedelta(seconds=rule.skew_seconds)
    same = RunFilter(
        tenant_id=tenant_id,
        capability=call.capability.capability_id,
        connection_id=call.connection_id,
        input_digest=call.input_digest,
    )

    def find(tx: Tx) -> str | None:
        others = [run for run in ledger.list_runs(tx, same) if run.run_id != run_id]
        meanwhile = (run.run_id for run in others if run.finished_at is None or run.finished_at >= over)
        return next(
            (each for each in meanwhile if writes_in_doubt(ledger.list_sends(tx, tenant_id, each), call.operation)),
            None,
        )

    return await wiring.store.read(find)
