"""The journal of a turn: how what happens to it stands in the event chain of its run.
How its state comes back from there is in `replaying`.

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
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError

from interlock import inference, runs
from interlock.agents import sessions, turns
from interlock.agents.errors import UnreadableJournal
from interlock.agents.harness.sheets import Data
from interlock.agents.terms import thawed
from interlock.kernel import JSON, canonical, digest, digest_bytes

PREFIX: Final = "turn."
INLINE: Final = 16_384
"""Bytes of an event that stand in the chain itself."""

EVENTS: Final = frozenset({"began", "judged", "answered", "decided", "performed", "stopped"})
"""The kinds of entries that are events of the machine."""
_NOTES: Final = frozenset({"intended", "asked", "put_off", "settled", "ended"})
KINDS: Final = EVENTS | _NOTES
"""The kinds of entries."""
ANY: Final[TypeAdapter[turns.AnyEvent]] = TypeAdapter(turns.AnyEvent)
"""Reads any of these."""
_PLACE: Final = TypeAdapter(sessions.Place)


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
        fit = ANY.validate_json(canonical(_mended(data)))
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
