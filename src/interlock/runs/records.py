"""Checks the records of a packet against their own digests and against what the events say."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

from interlock import approvals
from interlock.kernel import digest, digest_bytes
from interlock.runs.replay import KEYS, Replay
from interlock.runs.verdict import Problem

Finding: TypeAlias = tuple[str, Problem]
"""A problem, and the name of the record group that it lies in."""

_DIGESTED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "run": (("input", "input_digest"),),
    "sends": (("intent", "intent_digest"), ("receipt", "receipt_digest")),
    "decisions": (("facts", "facts_digest"),),
    "approvals": (("binding", "binding_digest"), ("edited_input", "edited_input_digest")),
}
"""Content that an event names by digest only."""

_BESIDE = frozenset({"input", "intent", "receipt", "facts", "binding", "edited_input", "summary", "content"})
"""What stands in a record and not in its events: the content above, and what only the seal covers."""

_OPEN_APPROVAL = frozenset({approvals.State.PENDING.value, approvals.State.APPROVED.value})
_OPEN_FACTS = frozenset(
    {"state", "binding_digest", "reviewer", "reason", "edited_input_digest", "decided_at", "spent_by"}
)


def wrong_contents(records: Mapping[str, Any]) -> Iterator[Finding]:
    """Content that does not have its digest."""
    for part, where, record in _each(records):
        for name, name_of_digest in _DIGESTED.get(part, ()):
            content, expected = record.get(name), record.get(name_of_digest)
            # JSON null is a content like any other where a digest says so (an edited input may be absent, too).
            if (content is not None or expected is not None) and digest(content) != expected:
                yield part, Problem(where, f"its {name} does not have the digest {_short(expected)}")
        if part == "artifacts" and (content := record.get("content")) is not None:
            data = _bytes(content)
            if data is None or digest_bytes(data) != record.get("digest") or len(data) != record.get("size"):
                yield part, Problem(where, "its content does not have its digest and size")


def contradictions(records: Mapping[str, Any], told: Replay) -> Iterator[Finding]:
    """Where records say something else than the events."""
    for problem in _compare("run", as_object(records.get("run")), told.run):
        yield "run", problem
    seen = {part: set[str]() for part in KEYS}
    for part, where, record in _each(records):
        if part not in KEYS:
            continue
        key = record.get(KEYS[part])
        expected = told.parts[part].get(key) if isinstance(key, str) else None
        if expected is None:
            yield part, Problem(where, "no event speaks of it")
            continue
        seen[part].add(str(key))
        if part == "approvals" and expected.get("state") in _OPEN_APPROVAL:
            # Nothing final had happened to it when this run last spoke of it; its own room may have moved it since.
            record = {name: expected.get(name) if name in _OPEN_FACTS else fact for name, fact in record.items()}
        for problem in _compare(where, record, expected):
            yield part, problem
    for part, facts in told.parts.items():
        for key in facts.keys() - seen[part]:
            yield part, Problem(f"{part[:-1]} {key[:60]}", "it is missing: the events speak of it")


def as_object(value: Any) -> dict[str, Any]:
    """The JSON object, or an empty one for any other value (which then lacks everything it must have)."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The JSON array, or an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def _each(records: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every record that events or digests speak of: its group, what to call it, and itself."""
    yield "run", "run", as_object(records.get("run"))
    for part, key in KEYS.items():
        for record in map(as_object, as_list(records.get(part))):
            yield part, f"{part[:-1]} {str(record.get(key))[:60]}", record


def _compare(where: str, record: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[Problem]:
    for name in sorted((record.keys() - _BESIDE) | expected.keys()):
        said, is_ = expected.get(name), record.get(name)
        if name not in record or name not in expected or said != is_ or type(said) is not type(is_):
            yield Problem(where, f"its {name[:60]} is {_short(is_)}; its events say {_short(said)}")


def _bytes(content: Any) -> bytes | None:
    match content:
        case {"text": str(text), **rest} if not rest:
            return text.encode()
        case {"base64": str(text), **rest} if not rest:
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                return None
        case _:
            return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "…"
