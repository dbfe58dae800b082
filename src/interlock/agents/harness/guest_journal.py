"""The journal of a turn whose loop is another framework's: each step of it, written down before it is done and after.

    step.intended     this is about to be done, and nobody knows yet what comes of it
    step.done         what came of it: from now on this is what the loop is told, and it is not done again
    step.failed       it raised: unless that may be otherwise by now, this is what the loop is told from now on
    step.asked        a person is asked for a yes, by an approval
    step.decided      what they said
    step.unclear      nobody can tell whether it was done
    step.settled      a person says what became of that
    guest.ended       how the turn ended

The loop itself is found again by running it: whoever has the program, its input and these gets to the same place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

from interlock import runs
from interlock.agents.errors import UnreadableJournal
from interlock.agents.harness.journal import INLINE, Data, Line
from interlock.agents.operations import Idempotency
from interlock.kernel import JSON, digest, digest_bytes

PREFIX: Final = "step."
ENDED: Final = "guest.ended"

KINDS: Final = frozenset({"intended", "done", "failed", "asked", "decided", "unclear", "settled"})

StepKind: TypeAlias = Literal["model", "tool", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that a guest's loop wants done. `key` is the same whenever the loop gets there again, and no other step's."""

    key: str
    kind: StepKind
    name: str
    idempotency: Idempotency
    call_id: str | None = None
    arguments: Mapping[str, JSON] = field(default_factory=dict[str, JSON])


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A yes that a guest's loop wants from a person, to one call. `schema` is what its arguments have to fit if they edit them;
    None: they cannot."""

    key: str
    call_id: str
    name: str
    arguments: Mapping[str, JSON]
    reason: str = "approval_required"
    schema: JSON = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person said to a consent; `arguments` are those that they put in the place of the call's own."""

    approved: bool
    reason: str | None = None
    arguments: Mapping[str, JSON] | None = None


@dataclass(slots=True, kw_only=True)
class GuestSheet:
    """Where a guest's turn stands. `done` holds what came of each step, as text or by the artifact that has it; `begun` what has
    no outcome; `failed` what others raised, and `passed` those of them that raise it again: they must not be done again, or the
    loop has gone past them; `asked` the consents that wait, `decided` what was said to others; `unclear` of what nobody can tell,
    `settled` what people say came of that."""

    done: dict[str, str | Data] = field(default_factory=dict[str, "str | Data"])
    begun: dict[str, Data] = field(default_factory=dict[str, Data])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    passed: set[str] = field(default_factory=set[str])
    asked: dict[str, Data] = field(default_factory=dict[str, Data])
    decided: dict[str, Said] = field(default_factory=dict[str, Said])
    denied: set[str] = field(default_factory=set[str])
    unclear: set[str] = field(default_factory=set[str])
    settled: dict[str, str] = field(default_factory=dict[str, str])
    answer: str | Data | None = None
    models: int = 0
    tools: int = 0

    @property
    def doubtful(self) -> dict[str, Data]:
        """The steps that were begun, have no outcome, and may not be done again."""
        once = Idempotency.UNSAFE_ONCE.value
        return {
            key: data
            for key, data in self.begun.items()
            if key not in self.settled and (data["idempotency"] == once or key in self.unclear)
        }

    @property
    def doubtful_calls(self) -> dict[str, str]:
        """The keys of these steps, by the ids of their calls."""
        return {str(data["call_id"] or key): key for key, data in self.doubtful.items()}


# -- written


def intended(step: Step, *, again: bool, passed: Sequence[str] = ()) -> runs.Entry:
    """It is about to be done; `again`: it may have been done before; `passed`: steps that have failed, and the loop went on."""
    return f"{PREFIX}intended", {
        "key": step.key,
        "kind": step.kind,
        "name": step.name,
        "call_id": step.call_id,
        "idempotency": step.idempotency.value,
        "arguments_digest": digest(dict(step.arguments)),
        "again": again,
        "passed": list(passed),
    }


def done(step: Step, text: str, *, took_s: float, kept: runs.Artifact | None) -> runs.Entry:
    """What came of it, here or in an artifact."""
    told: dict[str, JSON] = {"key": step.key, "kind": step.kind, "took_s": took_s}
    if kept is None:
        return f"{PREFIX}done", {**told, "result": text}
    return f"{PREFIX}done", {**told, "kept": _where(kept)}


def _where(kept: runs.Artifact) -> JSON:
    return {"artifact_id": kept.artifact_id, "digest": kept.digest, "size": kept.size}


def failed(step: Step, error: BaseException, *, final: bool) -> runs.Entry:
    """It raised; `final`: it is not done again. Its type alone: what a stranger's exception says may be anything."""
    return f"{PREFIX}failed", {"key": step.key, "raised": type(error).__name__, "final": final}


def asked(consent: Consent, approval_id: str) -> runs.Entry:
    """A person is asked."""
    return f"{PREFIX}asked", {
        "key": consent.key,
        "call_id": consent.call_id,
        "name": consent.name,
        "arguments": dict(consent.arguments),
        "reason": consent.reason,
        "approval_id": approval_id,
    }


def consent_of(key: str, data: Data) -> Consent:
    """The consent that a line tells of."""
    arguments = cast("Mapping[str, JSON]", data["arguments"])
    return Consent(
        key=key, call_id=str(data["call_id"]), name=str(data["name"]), arguments=arguments, reason=str(data["reason"])
    )


def decided(key: str, said: Said) -> runs.Entry:
    """They have said it."""
    told: dict[str, JSON] = {"key": key, "approved": said.approved, "reason": said.reason}
    return f"{PREFIX}decided", told if said.arguments is None else {**told, "arguments": dict(said.arguments)}


def unclear(step: Step, reason: str) -> runs.Entry:
    """Nobody can tell whether it was done."""
    return f"{PREFIX}unclear", {"key": step.key, "call_id": step.call_id, "reason": reason}


def settled(key: str, *, by: str, happened: bool, text: str, note: str) -> runs.Entry:
    """A person says what became of it."""
    seen = "happened" if happened else "not_happened"
    return f"{PREFIX}settled", {"key": key, "by": by, "seen": seen, "text": text, "note": note}


def ended(
    sheet: GuestSheet, answer: str | None, failure: str | None, *, kept: runs.Artifact | None = None
) -> runs.Entry:
    """How it ended, the answer here or in an artifact."""
    told: dict[str, JSON] = {"failure": failure, "models": sheet.models, "tools": sheet.tools}
    return ENDED, {**told, "answer": answer} if kept is None else {**told, "kept": _where(kept)}


def is_long(text: str) -> bool:
    """Whether a result is to be kept apart."""
    return len(text) > INLINE


# -- read


def lines(events: Iterable[runs.Event]) -> list[Line]:
    """The entries of a guest's turn among its run's events, in order."""
    return [
        Line(seq=event.seq, at=event.at, kind=event.type, data=runs.data_of(event))
        for event in events
        if event.type == ENDED or event.type.startswith(PREFIX)
    ]


def read(run_id: str, found: Iterable[Line]) -> GuestSheet:
    """Where the turn stands. Raises UnreadableJournal for what nobody here knows."""
    sheet = GuestSheet()
    for line in found:
        try:
            follow(sheet, line.kind, line.data)
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableJournal(
                f"event {line.seq} of {run_id} ({line.kind}) does not follow from those before it: {error}",
                run_id=run_id,
            ) from error
    return sheet


def follow(sheet: GuestSheet, kind: str, data: Data) -> None:
    """The sheet after one more entry. Raises KeyError, ValueError."""
    if kind == ENDED:
        sheet.answer = data if "kept" in data else cast("str | None", data["answer"])
        return
    key = str(data["key"])
    match kind.removeprefix(PREFIX):
        case "intended":
            sheet.begun[key] = data
            sheet.passed.update(map(str, cast("Sequence[JSON]", data["passed"])))
        case "done":
            before = sheet.begun.pop(key)
            sheet.settled.pop(key, None)
            sheet.done[key] = data if "kept" in data else str(data["result"])
            sheet.models += before["kind"] == "model"
            sheet.tools += before["kind"] == "tool"
        case "failed":
            del sheet.begun[key]
            sheet.failed[key] = str(data["raised"])
            sheet.passed.update([key] if data["final"] else ())
        case "asked":
            sheet.asked[key] = data
        case "decided":
            consent = sheet.asked.pop(key)
            sheet.decided[key] = Said(
                approved=bool(data["approved"]),
                reason=cast("str | None", data["reason"]),
                arguments=cast("Mapping[str, JSON] | None", data.get("arguments")),
            )
            if not data["approved"]:
                sheet.denied.add(wish(str(consent["name"]), cast("Mapping[str, JSON]", consent["arguments"])))
        case "unclear":
            if key not in sheet.begun:
                raise ValueError("it was not begun")
            sheet.unclear.add(key)
        case "settled":
            del sheet.begun[key]
            sheet.unclear.discard(key)
            if data["seen"] == "happened":
                sheet.settled[key] = str(data["text"])
        case _:
            raise ValueError(f"nothing is known of {kind!r}; there are {', '.join(sorted(KINDS))}")


def content(done: Data, data: bytes) -> str:
    """The result that an entry keeps in an artifact with this content. Raises ValueError."""
    where = cast("Mapping[str, JSON]", done["kept"])
    if digest_bytes(data) != where["digest"]:
        raise ValueError(f"the content of {where['artifact_id']} is not what its digest says")
    return data.decode()


def wish(name: str, arguments: Mapping[str, JSON]) -> str:
    """What two calls have in common that want the same."""
    return digest([name, dict(arguments)])
