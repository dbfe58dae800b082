"""Whether what is expected holds, purely."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from interlock.agents.evals.cases import Call, Expectation, Most, Value, Words
from interlock.agents.evals.seen import Called, Seen
from interlock.agents.terms import thawed
from interlock.kernel import JSON, canonical

_SHOWN: Final = 300
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether one thing held, and in words what was expected and what was found."""

    held: bool
    text: str

    def to_json(self) -> dict[str, JSON]:
        """As a document."""
        return {"held": self.held, "text": self.text}


def judge(expectation: Expectation, seen: Seen) -> list[Finding]:
    """What of an expectation held, but for what is `graded`."""
    return list(_judge(expectation, seen))


def _judge(expected: Expectation, seen: Seen) -> Iterator[Finding]:
    if expected.answer is not None:
        yield from _words(expected.answer, seen.answer)
    if expected.result is not None:
        yield _value("the result", expected.result, seen.result)
    if expected.state is not None:
        yield _value("the state", expected.state, cast("JSON", seen.state))
    if expected.called is not None:
        yield _called(expected.called, seen.calls)
    if expected.not_called is not None:
        count = sum(each.operation == expected.not_called for each in seen.calls)
        yield _finding(count == 0, f"{expected.not_called} is not called", f"it was called {count} times")
    if expected.ended is not None:
        yield _finding(seen.ended == expected.ended, f"the turn is {expected.ended}", f"it is {seen.ended}")
    if expected.failure is not None:
        found = seen.failure or "it did not"
        yield _finding(seen.failure == expected.failure, f"the turn fails with {expected.failure}", found)
    if expected.most is not None:
        yield from _most(expected.most, seen)


def _finding(held: bool, expected: str, found: str) -> Finding:  # noqa: FBT001 - what it is about
    return Finding(held=held, text=expected if held else f"{expected}; found: {found}")


def _words(expected: Words, answer: str | None) -> Iterator[Finding]:
    found = "no answer" if answer is None else _short(answer)
    text = answer or ""
    if expected.contains is not None:
        held = answer is not None and expected.contains in text
        yield _finding(held, f"the answer contains {_short(expected.contains)}", found)
    if expected.lacks is not None:
        held = answer is not None and expected.lacks not in text
        yield _finding(held, f"the answer lacks {_short(expected.lacks)}", found)
    if expected.equals is not None:
        yield _finding(answer == expected.equals, f"the answer is {_short(expected.equals)}", found)
    if expected.matches is not None:
        held = answer is not None and re.search(expected.matches, text) is not None
        yield _finding(held, f"the answer matches {expected.matches}", found)


def _value(what: str, expected: Value, value: JSON) -> Finding:
    place = f"{what} at {expected.at}" if expected.at else what
    found = _at(value, expected.at)
    if "equals" in expected.model_fields_set:
        wanted = thawed(expected.equals)
        return _finding(_same(found, wanted), f"{place} is {_short(wanted)}", _told(found))
    is_there = found is not _NOTHING and found is not None
    return _finding(is_there == expected.there, f"{place} is {'' if expected.there else 'not '}there", _told(found))


def _at(value: object, pointer: str) -> object:
    """The value at a JSON pointer (RFC 6901)."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and name in value:
            value = cast("Mapping[str, object]", value)[name]
        elif isinstance(value, list | tuple) and name.isdecimal() and int(name) < len(cast("list[object]", value)):
            value = cast("Sequence[object]", value)[int(name)]
        else:
            return _NOTHING
    return value


def _same(found: object, wanted: object) -> bool:
    """Equal as JSON: 1 and 1.0 are, true and 1 are not."""
    return found is not _NOTHING and canonical(found) == canonical(wanted)


def _called(expected: Call, calls: Sequence[Called]) -> Finding:
    named = [each for each in calls if each.operation == expected.operation]
    arguments = thawed(expected.arguments)
    fitting = [
        each
        for each in named
        if all(_same((each.arguments or {}).get(name, _NOTHING), wanted) for name, wanted in arguments.items())
        and expected.failed in (None, each.failed)
    ]
    with_these = f" with {_short(arguments)}" if arguments else ""
    so = "" if expected.failed is None else (" and fails" if expected.failed else " and does not fail")
    often = "" if expected.times is None else f" {expected.times} times"
    held = bool(fitting) if expected.times is None else len(fitting) == expected.times
    found = (
        "; ".join(_short(each.arguments) + (" (failed)" if each.failed else "") for each in named) or "no call of it"
    )
    return _finding(held, f"{expected.operation} is called{with_these}{so}{often}", found)


def _most(expected: Most, seen: Seen) -> Iterator[Finding]:
    for name in type(expected).model_fields:
        limit: float | None = getattr(expected, name)
        if limit is None:
            continue
        taken: float | None = getattr(seen, name)
        found = "nobody knows" if taken is None else f"{taken:g}"
        yield _finding(taken is not None and taken <= limit, f"at most {limit:g} {name}", found)


def _told(value: object) -> str:
    return "nothing is there" if value is _NOTHING else _short(value)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
