"""What a turn said, made fit to be told again: no call without an outcome, and no more than a session takes."""

from collections.abc import Sequence
from typing import Final

from interlock import inference

MAX_SAID: Final = 2_097_152
"""Bytes that one turn leaves in its session; its own journal has all of it."""

NEVER_KNOWN: Final = "The turn ended before anything came of this."
_SHORTEST: Final = 200
_LONGEST: Final = 65_536


def settled(said: Sequence[inference.Message]) -> tuple[inference.Message, ...]:
    """The messages, with an outcome for every call and none without a call: a turn that failed may have ended between the two."""
    kept: list[inference.Message] = []
    waiting: tuple[inference.Call, ...] = ()
    for message in said:
        if message.role is inference.Role.OPERATIONS:
            kept += _outcomes(waiting, message.parts)
            waiting = ()
            continue
        kept += _outcomes(waiting, ())
        kept.append(message)
        waiting = message.calls
    return (*kept, *_outcomes(waiting, ()))


def _outcomes(calls: Sequence[inference.Call], parts: Sequence[inference.Piece]) -> list[inference.Message]:
    if not calls:
        return []
    known = {each.call_id: each for each in parts if isinstance(each, inference.Outcome)}
    told = [
        known.get(each.call_id)
        or inference.Outcome(call_id=each.call_id, name=each.name, text=NEVER_KNOWN, failed=True)
        for each in calls
    ]
    return [inference.Message(role=inference.Role.OPERATIONS, parts=tuple(told))]


def bounded(said: Sequence[inference.Message], *, limit: int = MAX_SAID) -> tuple[inference.Message, ...]:
    """The messages, in no more than that many bytes of JSON: what operations said is cut first, the longest most; if that is not
    enough, what is kept is how the turn began and how it ended."""
    kept, longest = tuple(said), _LONGEST
    while size(kept) > limit and longest >= _SHORTEST:
        kept = tuple(_cut_outcomes(each, longest) for each in kept)
        longest //= 4
    if size(kept) <= limit:
        return kept
    ends = (kept[0], kept[-1]) if len(kept) > 1 and not kept[-1].calls else kept[:1]
    words = [inference.Message(role=each.role, parts=_words(each, limit // 16)) for each in ends if each.text.strip()]
    return tuple(words)


def size(messages: Sequence[inference.Message]) -> int:
    """Bytes of JSON, about: a character is counted as what it takes at most."""
    return sum(len(each.model_dump_json().encode()) for each in messages)


def _cut_outcomes(message: inference.Message, longest: int) -> inference.Message:
    parts = tuple(
        each.model_copy(update={"text": _cut(each.text, longest)}) if isinstance(each, inference.Outcome) else each
        for each in message.parts
    )
    return message.model_copy(update={"parts": parts})


def _words(message: inference.Message, longest: int) -> tuple[inference.Piece, ...]:
    return (inference.Text(text=_cut(message.text, longest)),)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}\n… and {len(text) - longest} more characters"
