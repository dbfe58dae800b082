"""What was different between two attempts at a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from interlock import runs
from interlock.dispatch.errors import NoSuchAttempt
from interlock.kernel import JSON, canonical, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt as it is compared. `asked` are the runs that were asked for in its time, `sends` what it sent itself."""

    number: int
    state: str
    seconds: float | None
    error: JSON
    sends: Sequence[Mapping[str, JSON]]
    asked: Sequence[Mapping[str, JSON]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two attempts, and what is different between them by name, as (first, last)."""

    run_id: str
    first: Try
    last: Try
    differences: Mapping[str, tuple[JSON, JSON]]


def compare(
    history: runs.History, children: Sequence[runs.Listed], *, first: int = 1, last: int | None = None
) -> Comparison:
    """The attempts of these numbers; the last one, if none is given. Raises NoSuchAttempt."""
    count = len(history.attempts)
    before, after = (_try(history, children, number) for number in (first, count if last is None else last))
    return Comparison(
        run_id=history.run.run_id, first=before, last=after, differences=dict(_differences(before, after))
    )


def _try(history: runs.History, children: Sequence[runs.Listed], number: int) -> Try:
    attempt = next((each for each in history.attempts if each.number == number), None)
    if attempt is None:
        raise NoSuchAttempt(
            f"{history.run.run_id} has no attempt {number}; it has {len(history.attempts)}", run_id=history.run.run_id
        )
    begun, ended = attempt.started_at, attempt.finished_at
    return Try(
        number=number,
        state=attempt.state.value,
        seconds=None if ended is None else (ended - begun).total_seconds(),
        error=attempt.error,
        sends=[_send(each) for each in history.sends if each.attempt_id == attempt.attempt_id],
        asked=[
            {"capability": each.capability, "state": each.state.value, "run_id": each.run_id}
            for each in reversed(children)
            if begun <= each.created_at and (ended is None or each.created_at <= ended)
        ],
    )


def _send(send: runs.Send) -> dict[str, JSON]:
    intent = cast("Mapping[str, JSON]", read_json(send.intent_json.encode()))
    receipt = cast("Mapping[str, JSON]", {} if send.receipt_json is None else read_json(send.receipt_json.encode()))
    return {
        "purpose": send.purpose.value,
        "target_class": send.target_class,
        "method": intent.get("method"),
        "url": intent.get("url"),
        "delivery": send.delivery.value,
        "status": receipt.get("status"),
    }


def _differences(before: Try, after: Try) -> Sequence[tuple[str, tuple[JSON, JSON]]]:
    pairs: list[tuple[str, JSON, JSON]] = [
        ("state", before.state, after.state),
        ("seconds", before.seconds, after.seconds),
        *((f"error.{name}", _of(before.error, name), _of(after.error, name)) for name in ("code", "message", "retry")),
        ("sends", [dict(each) for each in before.sends], [dict(each) for each in after.sends]),
        ("asked", [_named(each) for each in before.asked], [_named(each) for each in after.asked]),
    ]
    return [(name, (one, other)) for name, one, other in pairs if canonical(one) != canonical(other)]


def _of(error: JSON, name: str) -> JSON:
    return error.get(name) if isinstance(error, Mapping) else None


def _named(asked: Mapping[str, JSON]) -> JSON:
    return {name: asked[name] for name in ("capability", "state")}
