"""Errors that a node has told, as the errors that they are."""

from typing import Any, Final, cast

import orjson

from interlock import plane
from interlock.adapters.nodes.journal import JournalUnavailable
from interlock.kernel import Fault, InterlockError, PlaneError, Retry, StoreError

_KNOWN: Final[dict[str, type[InterlockError]]] = {
    error.code: error
    for error in (
        plane.ExecutionConflict,
        plane.ExecutionNotFound,
        plane.InputClosed,
        plane.InvalidPacket,
        plane.StaleExecution,
        JournalUnavailable,
        StoreError,
    )
}


class NodeRefused(PlaneError):
    """A node refused a request, or answered as no node does. Its own error is in the details."""

    code = "node_refused"
    next_step = "Look at what the node says, and at its log."


def refusal(status: int, body: bytes) -> InterlockError:
    """The error of an answer that is not a success."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict) or "code" not in told:
        return NodeRefused(f"the answer has the status {status} and is not a node's")
    fields = cast("dict[str, Any]", told)
    code, message = str(fields["code"])[:100], str(fields.get("message", ""))[:2000]
    next_step = str(fields["next_step"])[:2000] if fields.get("next_step") else None
    if code in _KNOWN:
        return _KNOWN[code](message, next_step=next_step)
    retry = Retry(fields["retry"]) if fields.get("retry") in {*Retry} else None
    fault = Fault(fields["fault"]) if fields.get("fault") in {*Fault} else None
    return NodeRefused(message, next_step=next_step, retry=retry, fault=fault, details={"code": code, "status": status})
