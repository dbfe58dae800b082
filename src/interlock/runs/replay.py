"""What the records of a run must be, if its events are true: the events are read in order and leave the records behind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from interlock.runs import transitions
from interlock.runs.entries import MOVES
from interlock.runs.model import AttemptState, Delivery, State

Facts: TypeAlias = dict[str, Any]

_RECORDS: Mapping[str, tuple[str, str, str | None]] = {
    "policy.decided": ("decisions", "decision_id", "at"),
    "approval.requested": ("approvals", "approval_id", None),
    "approval.approved": ("approvals", "approval_id", None),
    "approval.spent": ("approvals", "approval_id", None),
    "approval.denied": ("approvals", "approval_id", None),
    "approval.expired": ("approvals", "approval_id", None),
    "approval.cancelled": ("approvals", "approval_id", None),
    "attempt.started": ("attempts", "attempt_id", "started_at"),
    "attempt.ended": ("attempts", "attempt_id", "finished_at"),
    "send.intended": ("sends", "send_id", "started_at"),
    "send.settled": ("sends", "send_id", "finished_at"),
    "artifact.recorded": ("artifacts", "artifact_id", "created_at"),
}
"""Per event type: the records it speaks of, the fact that names one of them, and the fact that its moment is."""

_AT_FIRST: Mapping[str, Mapping[str, Any]] = {
    "attempts": {"state": AttemptState.RUNNING.value, "error": None, "finished_at": None},
    "sends": {"delivery": Delivery.UNKNOWN.value, "receipt_digest": None, "finished_at": None},
}
_FINAL_MOVES = frozenset(f"run.{state}" for state in transitions.FINAL)
_REVISIONS = frozenset({"run.input_edited", "run.manifest_changed"})

KEYS: Mapping[str, str] = {part: key for part, key, _ in _RECORDS.values()}
"""Per kind of record, the fact that names one."""


@dataclass(slots=True)
class Replay:
    """The records as the events tell them."""

    run: Facts = field(default_factory=dict[str, Any])
    parts: dict[str, dict[str, Facts]] = field(default_factory=lambda: {part: {} for part in KEYS})


def replay(bodies: Iterable[Mapping[str, Any]]) -> Replay:
    """Read event bodies in order. Raises KeyError, TypeError or ValueError, if an event lacks what its type must say."""
    result = Replay()
    run, parts = result.run, result.parts
    for body in bodies:
        kind = body["type"]
        if record := _RECORDS.get(kind):
            part, key, moment = record
            data: Mapping[str, Any] = body["data"]
            facts = parts[part].setdefault(data[key], dict(_AT_FIRST.get(part, {})))
            facts.update(data)
            if moment:
                facts[moment] = body["at"]
            if part == "approvals":
                run["approval_id"] = data[key]
            elif kind == "attempt.started":
                run.update(state=State.RUNNING.value, reason=None, error=None, finished_at=None)
        elif kind in MOVES:
            _move(run, kind, body)
        elif kind in _REVISIONS:
            run.update(body["data"])
    return result


def _move(run: Facts, kind: str, body: Mapping[str, Any]) -> None:
    data: Mapping[str, Any] = body["data"]
    if kind == "run.accepted":
        run.update(data, run_id=body["run_id"], created_at=body["at"], approval_id=None, reason=None, error=None)
    else:
        run.update({name: data[name] for name in ("approval_id", "error", "reason")})
    run["state"] = MOVES[kind].value
    run["finished_at"] = body["at"] if kind in _FINAL_MOVES else None
