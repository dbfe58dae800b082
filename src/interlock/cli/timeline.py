"""What each event of a run means, in one line."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from interlock import runs
from interlock.cli import turn_events
from interlock.cli.text import size

_Data: TypeAlias = Mapping[str, Any]

_DELIVERIES: Final = {
    "responded": "the answer was read to its end",
    "not_sent": "no byte left: proven",
    "rejected": "the service proved that it did nothing",
    "unknown": "sent, and the answer did not arrive: nobody knows yet",
}
_PURPOSES: Final = {"effect": "the effect", "page": "a further page", "reconcile": "a read that settles a doubt"}
_VERDICTS: Final = {
    "happened": "it happened",
    "absent": "it did not happen",
    "unclear": "reading cannot tell",
    "unread": "reading failed",
}


def meaning(kind: str, data: _Data) -> str:
    """One line on an event; of a type that is not known here, or one that lacks what it should say, the type."""
    say = _MEANINGS.get(kind)
    try:
        return kind if say is None else say(data)
    except (KeyError, TypeError):
        return kind


def _asked(data: _Data) -> str:
    key = f", key {data['idempotency_key']}" if data.get("idempotency_key") else ""
    return f"{data['actor']} asks for {data['capability']} in {data['environment']}{key}"


def _decided(data: _Data) -> str:
    reasons = "; ".join(f"{each['text']} ({each['rule_id']})" for each in data["reasons"] or ())
    return f"policy says {data['effect']}: {reasons}"


def _moved(state: str) -> Callable[[_Data], str]:
    def say(data: _Data) -> str:
        error = data.get("error")
        why = error["message"] if error else data.get("reason")
        if data.get("reason") == runs.GIVEN_UP:
            why = f"given up, and {why}"
        return f"{state}: {why}" if why else state

    return say


def _approval(what: str) -> Callable[[_Data], str]:
    def say(data: _Data) -> str:
        by = f" by {data['reviewer']}" if data.get("reviewer") else ""
        own = ", the requester" if data.get("reviewer") == data.get("requester") and by else ""
        why = f": {data['reason']}" if data.get("reason") else ""
        return f"{data['approval_id']} {what}{by}{own}{why}"

    return say


def _unused(what: str) -> Callable[[_Data], str]:
    """Of an approval that nobody decided to end: its reviewer is who had said yes."""

    def say(data: _Data) -> str:
        given = f", which {data['reviewer']} had given" if data.get("reviewer") else ""
        why = f": {data['reason']}" if data.get("reason") else ""
        return f"{data['approval_id']}{given}, {what}{why}" if given else f"{data['approval_id']} {what}{why}"

    return say


def _started(data: _Data) -> str:
    subject = f" as {data['subject']}" if data.get("subject") else ""
    return f"attempt {data['number']} begins{subject}"


def _ended(data: _Data) -> str:
    return f"attempt {data['state']}" + (f": {data['error']['message']}" if data.get("error") else "")


def _intended(data: _Data) -> str:
    purpose = _PURPOSES.get(data["purpose"], data["purpose"])
    return f"send {data['number']} is about to leave ({purpose})"


def _settled(data: _Data) -> str:
    return f"{data['delivery']}: {_DELIVERIES.get(data['delivery'], '')}"


def _compatible(data: _Data) -> str:
    if data["compatible"]:
        return f"{data['model']} has all that the question needs"
    return f"{data['model']} lacks what the question needs: {', '.join(data['missing'])}"


def _answered(data: _Data) -> str:
    usage, cost = data["usage"], "" if data["cost_usd"] is None else f", {data['cost_usd']} USD"
    took = f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out{cost}"
    return f"{data['answered_by'] or data['model']} has answered ({data['finish']}): {took}"


def _stream(what: str) -> Callable[[_Data], str]:
    return lambda data: f"the answer {what}: {size(data['bytes'])} in {data['pieces']} pieces"


_MEANINGS: Final[Mapping[str, Callable[[_Data], str]]] = {
    "run.accepted": _asked,
    "policy.decided": _decided,
    "approval.requested": lambda data: f"{data['approval_id']} asks the role {data['role']}",
    "approval.spent": lambda data: f"{_approval('approved')(data)}; now it is used up",
    "approval.approved": _approval("approved"),
    "approval.denied": _approval("denied"),
    "approval.expired": _unused("expired"),
    "approval.cancelled": _unused("was withdrawn"),
    "attempt.started": _started,
    "reconcile.waiting": lambda data: f"not there yet: reads again in {data['milliseconds'] / 1000:.0f} s, when it must show",
    "attempt.ended": _ended,
    "send.intended": _intended,
    "send.settled": _settled,
    "artifact.recorded": lambda data: f"{data['name']} kept: {size(data['size'])} of {data['media_type']}",
    "reconcile.started": lambda _: "reading the service, to find out whether it happened",
    "reconcile.concluded": lambda data: f"read: {_VERDICTS.get(data['verdict'], data['verdict'])}",
    "run.cancel_requested": lambda data: f"{data['by']} asks to cancel" + (f": {data['reason']}" if data["reason"] else ""),
    "run.read_requested": lambda data: f"{data['by']} asks to read the service once more",
    "run.again_requested": lambda data: f"{data['by']} has the script run again",
    "run.settled": lambda data: f"{data['by']} saw: {data['seen']}" + (f" ({data['note']})" if data["note"] else ""),
    "run.extended": lambda data: f"the request brings along: {', '.join(data['extensions'])}",
    "run.input_edited": lambda _: "the reviewer changed the input",
    "inference.compatibility_evaluated": _compatible,
    "inference.target_resolved": lambda data: f"{data['model']} is asked at {data['host']}",
    "inference.stream_opened": lambda data: f"the answer begins to come, with status {data['status']}",
    "inference.stream_checkpoint": _stream("is still coming"),
    "inference.stream_closed": _stream("comes no further"),
    "inference.fallback_refused": lambda data: f"{data['model']} may not stand in: {'; '.join(data['reasons'])}",
    "inference.answered": _answered,
    **turn_events.MEANINGS,
    "run.manifest_changed": lambda data: f"goes on under connector version {data['connector_version']}",
    **{
        f"run.{state}": _moved(state)
        for state in (
            "held", "queued", "running", "waiting", "retry_scheduled",
            "completed", "failed", "cancelled", "denied", "shed", "dead",
        )
    },
}  # fmt: skip

TYPES: Final = frozenset(_MEANINGS)
"""The types of events that have a sentence."""
