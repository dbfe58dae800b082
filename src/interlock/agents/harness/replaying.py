"""The journal of a turn read again: its entries, and the state that they lead to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from pydantic import ValidationError

from interlock import runs
from interlock.agents import turns
from interlock.agents.errors import UnexpectedEvent, UnreadableJournal
from interlock.agents.harness.journal import ANY, EVENTS, KINDS, PREFIX, Line, Past, state_digest
from interlock.agents.harness.sheets import Data, Sheet, after, blank
from interlock.kernel import JSON, canonical, digest_bytes, read_json


def entry_of(event: runs.Event) -> runs.Entry:
    """An event of the chain as it was written."""
    return event.type, dict(runs.data_of(event))


def read(run_id: str, events: Iterable[runs.Event]) -> list[Line]:
    """The turn's entries of a run's chain, in order; the ledger's own are passed over. Raises UnreadableJournal for those of
    another run and those that nobody here knows."""
    lines: list[Line] = []
    for event in events:
        if event.run_id != run_id:
            raise UnreadableJournal(f"event {event.seq} is of {event.run_id}, and not of {run_id}", run_id=run_id)
        if not event.type.startswith(PREFIX):
            continue
        kind = event.type.removeprefix(PREFIX)
        if kind not in KINDS:
            raise UnreadableJournal(
                f"event {event.seq} of {run_id} is a {event.type!r}, of which nothing is known here"
            )
        lines.append(Line(seq=event.seq, at=event.at, kind=kind, data=runs.data_of(event)))
    return lines


def replay(
    plan: turns.Plan,
    turn_id: str,
    lines: Sequence[Line],
    *,
    text: str,
    past: Past | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> Sheet:
    """Where the turn stands, from its journal alone. `text` is what was said to it, `past` what its beginning refers to, and
    `contents` are the artifacts that lines are kept in. Raises UnreadableJournal."""
    sheet = blank(plan, turn_id)
    for line in lines:
        try:
            sheet = _followed(plan, sheet, line, text=text, past=past or Past(), contents=contents or {})
        except (UnexpectedEvent, ValidationError, KeyError, TypeError, ValueError) as error:
            raise UnreadableJournal(
                f"event {line.seq} of {turn_id} (turn.{line.kind}) does not follow from those before it: "
                f"{str(error)[:300] or type(error).__name__}",
                run_id=turn_id,
            ) from error
    return sheet


def _followed(
    plan: turns.Plan, sheet: Sheet, line: Line, *, text: str, past: Past, contents: Mapping[str, bytes]
) -> Sheet:
    if line.kind in EVENTS:
        return after(plan, sheet, event_of(line, text=text, past=past, contents=contents))
    data = line.data
    if line.kind == "ended":
        if data["state_digest"] != state_digest(sheet.state):
            raise ValueError("the turn ended in another state than these events lead to")
        return sheet
    key = str(data["key"])
    if key not in {each.key for each in sheet.wanted}:
        raise ValueError("nothing was to be done that has this key")
    match line.kind:
        case "intended":
            return sheet.intending([key])
        case "asked":
            return sheet.asking(key, str(data["approval_id"]))
        case "put_off":
            return sheet.putting_off(key, data)
        case _:
            return sheet.undone(key)


def event_of(line: Line, *, text: str, past: Past, contents: Mapping[str, bytes]) -> turns.AnyEvent:
    """The event that a line tells. Raises ValueError."""
    data = dict(line.data)
    if (artifact_id := line.kept_in) is not None:
        content = contents[artifact_id]
        where = cast("Mapping[str, JSON]", data["kept"])
        if digest_bytes(content) != where["digest"]:
            raise ValueError(f"the content of {artifact_id} is not what its digest says")
        data = dict(cast("Data", read_json(content)))
    for name in ("key", "run_id"):
        data.pop(name, None)
    if line.kind == "began":
        if data.pop("past") != past.to_json() and not past.gone:
            raise ValueError("the conversation before the turn is not what it was")
        data |= {"input": text}
    found = ANY.validate_json(canonical({**data, "kind": line.kind}))
    return found.model_copy(update={"conversation": past.conversation}) if line.kind == "began" else found
