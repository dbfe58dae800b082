"""The journal of a turn: how what happens to it stands in the event chain of its run, and how its state comes back from there.

    turn.began, .judged, .answered, .decided, .performed, .stopped    what happened: the events of `turns`, one each
    turn.intended     this is about to be done, and nobody knows yet what comes of it
    turn.asked        a person is asked for a yes, by an approval
    turn.put_off      it was not done: policy wants a person asked first
    turn.settled      a person says what became of what nobody could tell
    turn.ended        how the turn ended, with the digest of its state

What the machine makes of an event is not written down: whoever has the spec, the input and these finds it again. An event too
long for a chain stands there by the digest of an artifact of the run. A beginning says where the conversation before it is,
and holds no copy of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeAlias, cast

from pydantic import TypeAdapter, ValidationError

from interlock import inference, runs
from interlock.agents import sessions, turns
from interlock.agents.errors import UnexpectedEvent, UnreadableJournal
from interlock.agents.terms import thawed
from interlock.kernel import JSON, canonical, digest, digest_bytes, read_json

PREFIX: Final = "turn."
INLINE: Final = 16_384
"""Bytes of an event that stand in the chain itself."""

_EVENTS: Final = frozenset({"began", "judged", "answered", "decided", "performed", "stopped"})
_NOTES: Final = frozenset({"intended", "asked", "put_off", "settled", "ended"})
KINDS: Final = _EVENTS | _NOTES
"""The kinds of entries."""
_ANY: Final[TypeAdapter[turns.AnyEvent]] = TypeAdapter(turns.AnyEvent)
_PLACE: Final = TypeAdapter(sessions.Place)

Data: TypeAlias = Mapping[str, JSON]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was said before a turn: a place in a session (None: nothing was), and what is told there. `gone`: the session was
    deleted, and nobody knows it any more."""

    place: sessions.Place | None = None
    conversation: tuple[inference.Message, ...] = ()
    gone: bool = False

    def to_json(self) -> dict[str, JSON]:
        """As a beginning tells it."""
        return {
            "place": None if self.place is None else self.place.to_json(),
            "messages": len(self.conversation),
            "digest": digest_bytes(inference.canonical(self.conversation)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry of a turn's journal."""

    seq: int
    at: datetime
    kind: str
    data: Data

    @property
    def kept_in(self) -> str | None:
        """The artifact that holds what it says, if that is not here."""
        kept = self.data.get("kept")
        return str(kept["artifact_id"]) if isinstance(kept, Mapping) else None

    @property
    def place(self) -> sessions.Place | None:
        """Of a beginning: where in its session the turn stands."""
        past = self.data.get("past")
        found = past.get("place") if isinstance(past, Mapping) else None
        if not isinstance(found, Mapping):
            return None
        try:
            return _PLACE.validate_python(found)
        except ValidationError as error:
            raise UnreadableJournal(f"event {self.seq} names no place in a session: {found}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Where a turn stands, as its journal tells: its state, what is to be done next in order, and of that what was begun and has
    no outcome, was put off, or was asked of a person (by the intent's key). `held`: of what was ever put off, the run that is
    held or was."""

    state: turns.State
    wanted: tuple[turns.AnyIntent, ...] = ()
    intended: frozenset[str] = frozenset()
    put_off: Mapping[str, Data] = field(default_factory=dict[str, Data])
    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    held: Mapping[str, str] = field(default_factory=dict[str, str])

    def intending(self, keys: Iterable[str]) -> "Sheet":
        """The sheet once that is about to be done."""
        known = frozenset(keys)
        left = {key: data for key, data in self.put_off.items() if key not in known}
        return replace(self, intended=self.intended | known, put_off=left)

    def putting_off(self, key: str, data: Data) -> "Sheet":
        """The sheet once it is known that this was not done, and why."""
        held = {**self.held, key: str(data["run_id"])}
        return replace(self, intended=self.intended - {key}, put_off={**self.put_off, key: data}, held=held)

    def undone(self, key: str) -> "Sheet":
        """The sheet once it is known that this was not done."""
        return replace(self, intended=self.intended - {key})

    def asking(self, key: str, approval_id: str) -> "Sheet":
        """The sheet once a person is asked."""
        return replace(self, asked={**self.asked, key: approval_id})


def blank(plan: turns.Plan, turn_id: str) -> Sheet:
    """A turn to which nothing has happened."""
    return Sheet(state=turns.State(turn_id=turn_id, fingerprint=plan.fingerprint))


def after(plan: turns.Plan, sheet: Sheet, event: turns.AnyEvent) -> Sheet:
    """The sheet after an event. Raises UnexpectedEvent."""
    state, intents = turns.step(plan, sheet.state, event)
    left = () if state.ended else tuple(each for each in sheet.wanted if not _answers(event, each))
    wanted = (*left, *intents)
    keys = {each.key for each in wanted}
    return Sheet(
        state=state,
        wanted=wanted,
        intended=sheet.intended & keys,
        put_off={key: data for key, data in sheet.put_off.items() if key in keys},
        asked={key: approval_id for key, approval_id in sheet.asked.items() if key in keys},
        held={key: run_id for key, run_id in sheet.held.items() if key in keys},
    )


def _answers(event: turns.AnyEvent, intent: turns.AnyIntent) -> bool:
    match event, intent:
        case (turns.Judged(), turns.Judge()) | (turns.Answered(), turns.Ask()):
            return True
        case (turns.Decided(), turns.Consent()) | (turns.Performed(), turns.Perform()):
            return event.call_id == intent.call_id
        case _:
            return False


# -- written


def told(event: turns.AnyEvent, **also: JSON) -> runs.Entry:
    """An event as an entry; `also` is told beside it, and no part of the turn's state."""
    data = _dumped(event)
    del data["kind"]
    if isinstance(event, turns.Began):
        del data["input"]  # the run has it, and the session has the conversation
    return f"{PREFIX}{event.kind}", {**data, **also}


def began(event: turns.Began, past: Past) -> runs.Entry:
    """A beginning as an entry."""
    return told(event, past=past.to_json())


def too_long(entry: runs.Entry) -> bytes | None:
    """The bytes of an entry that is to be kept apart; None: it may stand in the chain."""
    content = canonical(entry[1])
    return content if len(content) > INLINE else None


def kept(entry: runs.Entry, artifact: runs.Artifact) -> runs.Entry:
    """The entry, its content in the artifact."""
    where: JSON = {"artifact_id": artifact.artifact_id, "digest": artifact.digest, "size": artifact.size}
    return entry[0], {"kept": where, **({"past": entry[1]["past"]} if "past" in entry[1] else {})}


def unsaid(entry: runs.Entry) -> runs.Entry:
    """The entry without the words of the model, for who is not to read them before they are judged."""
    kind, data = entry
    if kind != f"{PREFIX}answered" or "answer" not in data:
        return entry
    answer = cast("dict[str, Any]", data["answer"])
    parts = [each for each in answer["message"]["parts"] if each["kind"] == "call"]
    return kind, {**data, "answer": {**answer, "message": {**answer["message"], "parts": parts}}}


def intended(intents: Iterable[turns.Ask | turns.Perform], *, again: frozenset[str] = frozenset()) -> list[runs.Entry]:
    """What is about to be done. `again`: the keys of what may have been done before."""
    entries: list[runs.Entry] = []
    for each in intents:
        data: dict[str, JSON] = {"key": each.key, "kind": each.kind, "again": each.key in again}
        if isinstance(each, turns.Perform):
            data |= {
                "call_id": each.call_id,
                "operation": each.operation,
                "idempotency": each.idempotency.value,
                "arguments_digest": digest(thawed(each.arguments)),
            }
        entries.append((f"{PREFIX}intended", data))
    return entries


def asked(intent: turns.Consent, approval_id: str) -> runs.Entry:
    """A person is asked."""
    return f"{PREFIX}asked", {"key": intent.key, "call_id": intent.call_id, "approval_id": approval_id}


def put_off(intent: turns.Perform, *, run_id: str, approval_id: str) -> runs.Entry:
    """It was not done: a person is asked first, about that run."""
    return f"{PREFIX}put_off", {
        "key": intent.key,
        "call_id": intent.call_id,
        "run_id": run_id,
        "approval_id": approval_id,
    }


def settled(intent: turns.Perform, *, by: str, happened: bool, note: str) -> runs.Entry:
    """A person says what became of it."""
    said: dict[str, JSON] = {"key": intent.key, "call_id": intent.call_id, "by": by, "note": note}
    return f"{PREFIX}settled", {**said, "seen": "happened" if happened else "not_happened"}


def ended(state: turns.State) -> runs.Entry:
    """How the turn ended."""
    return f"{PREFIX}ended", {
        "phase": state.phase.value,
        "code": None if state.failure is None else state.failure.code,
        "rounds": state.round,
        "operations": state.operations_done,
        "usage": state.usage.model_dump(mode="json"),
        "state_digest": state_digest(state),
    }


def state_digest(state: turns.State) -> str:
    """What two equal states have in common; the conversation has a digest of its own, in the beginning."""
    return digest(state.model_dump(mode="json", exclude={"conversation"} | ({"absent"} if not state.absent else set())))


def fitting(event: turns.AnyEvent) -> turns.AnyEvent:
    """The event as it can be kept: what a model or a stranger's program says may be no JSON, and is then put into words that
    are. The conversation before it was kept as that, turn by turn."""
    data = _dumped(event)
    try:
        canonical(data)
    except ValueError:
        fit = _ANY.validate_json(canonical(_mended(data)))
        return fit.model_copy(update={"conversation": event.conversation}) if isinstance(event, turns.Began) else fit
    return event


def _dumped(event: turns.AnyEvent) -> dict[str, Any]:
    return event.model_dump(mode="json", exclude={"conversation"})


def _mended(value: object) -> JSON:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(_mended(str(name))): _mended(each) for name, each in cast("Mapping[Any, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_mended(each) for each in cast("Sequence[object]", value)]
    try:
        canonical(cast("JSON", value))
    except ValueError:
        return str(value)
    return cast("JSON", value)


# -- read


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
    if line.kind in _EVENTS:
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
    found = _ANY.validate_json(canonical({**data, "kind": line.kind}))
    return found.model_copy(update={"conversation": past.conversation}) if line.kind == "began" else found
