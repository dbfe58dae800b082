"""What a model said, read with care: it may ask for what is not there, in words that are no JSON, a thousand times at once."""

import difflib
import itertools
import re
from collections.abc import Iterator
from typing import Final, cast

from interlock import inference, kernel
from interlock.agents.turns.plan import Plan
from interlock.agents.turns.state import Standing, State, Step
from interlock.kernel import JSON, InvalidJson, JsonLimits, parse_json

MAX_CALLS: Final = 64
"""Operations that a model may ask for at once."""

MAX_ID: Final = 256
"""Characters of a call's id that is taken as the model gave it."""

MAX_NAME: Final = 100
"""Characters that are kept of what a model takes for an operation; every operation has fewer."""

ARGUMENTS: Final = JsonLimits(max_bytes=262_144, max_depth=32, max_nodes=20_000)
RESULT: Final = JsonLimits(max_bytes=1_048_576, max_depth=64, max_nodes=100_000)

_FENCED: Final = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?```\s*\Z", re.DOTALL)


def kept(message: inference.Message, state: State) -> inference.Message:
    """The message as it goes into the transcript: every call with an id that no other has, and with a name and arguments that
    can be kept."""
    seen = {call.call_id for each in (*state.conversation, *state.said) for call in each.calls}
    parts: list[inference.Piece] = []
    for index, part in enumerate(message.parts):
        if not isinstance(part, inference.Call):
            parts.append(part)
            continue
        call_id = part.call_id if len(part.call_id) <= MAX_ID else ""
        made = f"call_{len(seen)}_{state.round}_{index}"
        for number in itertools.count():
            if call_id and call_id not in seen:
                break
            call_id = f"{made}_{number}" if number else made  # a model may say ids that look like ours
        seen.add(call_id)
        fits = len(part.arguments.encode(errors="surrogatepass")) <= ARGUMENTS.max_bytes
        bounded = {"call_id": call_id, "name": part.name[:MAX_NAME], "arguments": part.arguments if fits else ""}
        parts.append(part.model_copy(update=bounded))
    return message.model_copy(update={"parts": tuple(parts)})


def without_calls(message: inference.Message) -> inference.Message:
    """Its words alone: a call that nobody answers may not stand in a transcript."""
    return message.model_copy(
        update={"parts": tuple(each for each in message.parts if not isinstance(each, inference.Call))}
    )


def read_calls(
    plan: Plan, state: State, calls: tuple[inference.Call, ...], *, asked: tuple[inference.Call, ...]
) -> tuple[Step, ...]:
    """The calls of an answer, as they are kept and as they were `asked` for. What cannot be done as it was asked for is done
    already: its outcome says what is wrong."""
    each_call = enumerate(zip(calls, asked, strict=True))
    return tuple(_read_call(plan, state, index, call, said.arguments) for index, (call, said) in each_call)


def _read_call(plan: Plan, state: State, index: int, call: inference.Call, said: str) -> Step:
    arguments: JSON = {}
    wrong: str | None = None
    operation = plan.find(call.name)
    try:
        arguments = parse_json(said or "{}", limits=ARGUMENTS, what="text of the arguments")
    except InvalidJson as error:
        wrong = f"{error.message}. Write one JSON object."
    if operation is None:
        near = difflib.get_close_matches(call.name[:100], plan.names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(plan.names) or 'none'}"
        wrong = f"There is no operation {call.name[:100]!r}; {hint}"
    elif call.name in state.absent:
        wrong = f"The operation {call.name} cannot be asked for now: {state.absent[call.name]}"
    elif wrong is None and not isinstance(arguments, dict):
        wrong = "The arguments are no JSON object."
    elif wrong is None and (mismatches := plan.mismatches(operation, arguments)):
        wrong = f"The arguments do not fit: {'; '.join(mismatches)}"
    elif wrong is None and sticky(call.name, arguments) in state.denied:
        wrong = "A person has said no to exactly this. Do not ask for it again."
    known = cast("dict[str, JSON]", arguments) if wrong is None else {}
    return Step(
        call_id=call.call_id,
        operation=call.name,
        arguments=known,
        key=kernel.digest([state.turn_id, state.round, index, call.name, known]),
        standing=Standing.ASKED if wrong is None else Standing.DONE,
        outcome=wrong,
        failed=wrong is not None,
    )


def sticky(operation: str, arguments: JSON) -> str:
    """What a person's no is remembered by."""
    return kernel.digest([operation, arguments])


def read_result(plan: Plan, text: str) -> tuple[JSON, list[str]]:
    """The result that the words of an answer are, and what is wrong with it."""
    last: list[str] = []
    for candidate in _candidates(text):
        try:
            value = parse_json(candidate, limits=RESULT, what="answer")
        except InvalidJson as error:
            last = last or [error.message]
            continue
        return value, list(plan.result_mismatches(value))
    return None, last or ["the answer is no JSON"]


def _candidates(text: str) -> Iterator[str]:
    """The text, and what stands in a fence if it is one; nothing is guessed out of prose."""
    yield text.strip()
    if fenced := _FENCED.match(text):
        yield fenced[1]


def told(problems: list[str]) -> str:
    """What the model is told of an answer that does not fit."""
    return f"This does not fit: {'; '.join(problems[:20])}. Answer again, with the whole JSON and nothing else."
