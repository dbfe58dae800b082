"""What each entry of a turn's journal means, in one line; also of a turn whose loop is another framework's."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from interlock.cli.text import counted

_Data: TypeAlias = Mapping[str, Any]

_SHOWN: Final = 200
"""Characters of one text."""


def _began(data: _Data) -> str:
    known = data["past"]["messages"]
    before = f", after {known} messages" if known else ""
    return f"the turn begins{before}" + (", with what memory holds" if data["recalled"] else "")


def _judged(data: _Data) -> str:
    return "; ".join(_ruling(each) for each in data["judgements"])


def _ruling(judgement: _Data) -> str:
    of = f" {judgement['call_id']}" if judgement["call_id"] else ""
    who = judgement["control"] or "the controls"
    why = f": {_cut(judgement['reason'])}" if judgement["reason"] else ""
    return f"{who} {_VERDICTS[judgement['verdict']]}{of}{why}"


_VERDICTS: Final = {
    "allow": "allow",
    "block": "blocks",
    "interrupt": "has a person asked about",
    "error": "could not judge",
}


def _intended(data: _Data) -> str:
    again = ", perhaps not for the first time" if data["again"] else ""
    if data["kind"] in ("ask", "model"):
        return f"the model is about to be asked{again}"
    what = data["operation"] if data["kind"] == "perform" else data["name"]
    call = "" if data["call_id"] is None else f" ({data['call_id']})"
    return f"{what}{call} is about to be done, which is {data['idempotency']}{again}"


def _answered(data: _Data) -> str:
    answer = data["answer"]
    said = [_part(each) for each in answer["message"]["parts"] if each["kind"] in ("text", "call")]
    return f"{answer['model']} ends with {answer['finish']}: {'; '.join(said) or 'nothing'}"


def _part(part: _Data) -> str:
    return f"calls {part['name']} {_cut(part['arguments'])}" if part["kind"] == "call" else _cut(part["text"])


def _asked(data: _Data) -> str:
    return f"a person is asked about {_what(data)}: {data['approval_id']}"


def _decided(data: _Data) -> str:
    edited = data["arguments"] if data["approved"] else None
    other = "" if edited is None else f", with other arguments: {_cut(json.dumps(edited, ensure_ascii=False))}"
    why = f": {_cut(data['reason'])}" if data["reason"] else ""
    return f"a person says {'yes' if data['approved'] else 'no'} to {_what(data)}{other}{why}"


def _performed(data: _Data) -> str:
    return f"{data['call_id']} {'failed' if data['failed'] else 'came to'}: {_cut(data['text'])}"


def _settled(data: _Data) -> str:
    note = f" ({_cut(data['note'])})" if data["note"] else ""
    return f"{data['by']} saw that {data['call_id']} {data['seen'].replace('_', ' ')}{note}"


def _put_off(data: _Data) -> str:
    return f"{data['call_id']} is not done: policy holds {data['run_id']} for {data['approval_id']}"


def _stopped(data: _Data) -> str:
    return f"the turn cannot go on, {data['code']}: {_cut(data['message'])}"


def _ended(data: _Data) -> str:
    code = f", {data['code']}" if data["code"] else ""
    questions, operations = counted(data["rounds"], "question"), counted(data["operations"], "operation")
    return f"the turn has {data['phase']}{code}: {questions}, {operations}"


def _what(data: _Data) -> str:
    return data["call_id"] or "what is said"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _whole(say: Callable[[_Data], str]) -> Callable[[_Data], str]:
    """An entry too long for the chain says where it is."""
    return lambda data: f"kept in {data['kept']['artifact_id']}" if "kept" in data else say(data)


_SAYINGS: Final[Mapping[str, Callable[[_Data], str]]] = {
    "began": _began,
    "judged": _judged,
    "intended": _intended,
    "answered": _answered,
    "asked": _asked,
    "decided": _decided,
    "put_off": _put_off,
    "performed": _performed,
    "settled": _settled,
    "stopped": _stopped,
    "ended": _ended,
}

# -- of turns whose loop is another framework's


def _step_done(data: _Data) -> str:
    came = f"kept in {data['kept']['artifact_id']}" if "kept" in data else _cut(data["result"])
    return f"{'the model answers' if data['kind'] == 'model' else 'it came to'}: {came}"


def _step_decided(data: _Data) -> str:
    why = f": {_cut(data['reason'])}" if data["reason"] else ""
    return f"a person says {'yes' if data['approved'] else 'no'}{why}"


def _step_settled(data: _Data) -> str:
    note = f" ({_cut(data['note'])})" if data["note"] else ""
    return f"{data['by']} saw that it {data['seen'].replace('_', ' ')}{note}"


def _guest_ended(data: _Data) -> str:
    why = f", {data['failure']}" if data["failure"] else ""
    return f"the turn has ended{why}: {counted(data['models'], 'question')}, {counted(data['tools'], 'operation')}"


_STEPS: Final[Mapping[str, Callable[[_Data], str]]] = {
    "step.intended": _intended,
    "step.done": _step_done,
    "step.failed": lambda data: f"it raised {data['raised']}",
    "step.asked": _asked,
    "step.decided": _step_decided,
    "step.unclear": lambda data: f"nobody can tell whether it was done: {_cut(data['reason'])}",
    "step.settled": _step_settled,
    "guest.ended": _guest_ended,
}

MEANINGS: Final = {**{f"turn.{kind}": _whole(say) for kind, say in _SAYINGS.items()}, **_STEPS}
"""By the type of the event."""
