"""Models that say what they were told to say: the same, whenever and wherever they are asked."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias, cast

import anyio

from interlock import agents, inference
from interlock.kernel import JSON, JsonLimits, RequestError, canonical, parse_yaml

Step: TypeAlias = inference.Answer | inference.Message | inference.Piece | str | Exception
"""What a model says when it is asked: an answer, what one consists of, or what the request fails with."""

Script: TypeAlias = Sequence[Step] | Callable[[inference.Request], Step]

CHUNK: Final = 8
"""Characters of a delta."""


def call(name: str, /, *, call_id: str | None = None, **arguments: JSON) -> inference.Call:
    """The model asks for that operation. With the call id "" it forgets to give one; None lets the script number it."""
    written = canonical(arguments).decode()
    return inference.Call(call_id=_UNNUMBERED if call_id is None else call_id, name=name, arguments=written)


def answer(
    *parts: inference.Piece | str,
    finish: inference.Finish | None = None,
    usage: inference.Usage | None = None,
    model: str = "scripted",
) -> inference.Answer:
    """An answer of these parts. Unless it is said, it finishes as such an answer does, and its usage counts characters."""
    pieces = tuple(inference.Text(text=each) if isinstance(each, str) else each for each in parts)
    message = inference.Message(role=inference.Role.MODEL, parts=pieces)
    ended = inference.Finish.CALLS if message.calls else inference.Finish.STOP
    said = sum(map(len, map(_words, pieces)))
    return inference.Answer(
        message=message,
        finish=finish or ended,
        usage=usage or inference.Usage(input_tokens=1, output_tokens=max(1, said)),
        model=model,
    )


def refusal(text: str = "I cannot help with that.") -> inference.Answer:
    """It will not answer."""
    return answer(text, finish=inference.Finish.REFUSAL)


def cut(text: str) -> inference.Answer:
    """Its answer breaks off."""
    return answer(text, finish=inference.Finish.CUT)


def paused(text: str) -> inference.Answer:
    """It goes on when it is asked again."""
    return answer(text, finish=inference.Finish.PAUSED)


def unavailable(*, retry_after: float | None = None) -> inference.ModelUnavailable:
    """Its provider has no answer now, as with 429 and 500."""
    return inference.ModelUnavailable("the scripted model is not to be had now", retry_after=retry_after)


class Scripted:
    """An `inference.Model` that follows a script.

    Of a list it says the n-th to a conversation in which the model has spoken n times, so that it says the same after a crash,
    in another process, and to many conversations at once. What leaves nothing in the conversation (an empty answer, a failure)
    would be said for ever: such scripts are functions of the request, or say it only `once`, to begin with.
    `requests` is what it was asked, by this process.
    """

    def __init__(self, script: Script, *, once: Sequence[Step] = (), delay: float = 0.0) -> None:
        """`delay`: seconds before it answers."""
        self._script = script
        self._once = list(once)
        self._delay = delay
        self.requests: list[inference.Request] = []

    async def answer(
        self, request: inference.Request, *, wire: inference.Wire, told: inference.Told | None
    ) -> inference.Answer:
        """What the script says. Raises what the script says, and ModelRefused at its end."""
        self.requests.append(request)
        await anyio.sleep(self._delay)
        step = self._next(request)
        if isinstance(step, Exception):
            raise step
        said = _numbered(_whole(step), request)
        if told is not None:
            for delta in deltas(said.message):
                told(delta)
        return said

    def _next(self, request: inference.Request) -> Step:
        if self._once:
            return self._once.pop(0)
        if callable(self._script):
            return self._script(request)
        spoken = sum(each.role is inference.Role.MODEL for each in request.messages)
        if spoken < len(self._script):
            return self._script[spoken]
        text = f"the script has {len(self._script)} answers, and the model was asked for another one"
        return inference.ModelRefused(text, next_step="Write a longer script, or see why the turn goes on.")


def echo(request: inference.Request) -> Step:
    """A script: it says again what it was last told."""
    last = request.messages[-1]
    return last.text or " ".join(each.text for each in last.parts if isinstance(each, inference.Outcome)) or "…"


def named(name: str) -> Scripted:
    """The model `fake:NAME`: `echo`, or the script in that file, JSON or YAML as `read` takes it. Raises RequestError."""
    if name == "echo":
        return Scripted(echo)
    try:
        document = parse_yaml(Path(name).read_text(encoding="utf-8"), limits=JsonLimits(), what="script")
    except (OSError, ValueError) as error:
        raise RequestError(f"no model fake:{name[:200]}: {error}; there are fake:echo and fake:FILE") from error
    return read(cast("Mapping[str, JSON]", document) if isinstance(document, dict) else {})


def of_cases(suite: agents.evals.Suite) -> Callable[[str], Scripted]:
    """The models `fake:NUMBER` that say the scripts of a suite's cases, and those that `named` knows. Raises RequestError for
    what is no script."""
    scripts = {
        str(number): read({"answers": list(each.script)})
        for number, each in enumerate(suite.cases)
        if each.script is not None
    }
    return lambda name: scripts.get(name) or named(name)


def deltas(message: inference.Message) -> Iterator[inference.Delta]:
    """A message as it would be streamed."""
    for index, part in enumerate(message.parts):
        words = _words(part)
        named = {"call_id": part.call_id, "name": part.name} if isinstance(part, inference.Call) else {}
        kind = part.kind if part.kind != "outcome" else "text"
        for start in range(0, len(words), CHUNK):
            yield inference.Delta(kind=kind, index=index, text=words[start : start + CHUNK], **named)


_UNNUMBERED: Final = "\0"


def _whole(step: inference.Answer | inference.Message | inference.Piece | str) -> inference.Answer:
    if isinstance(step, inference.Answer):
        return step
    return answer(*step.parts) if isinstance(step, inference.Message) else answer(step)


def _numbered(said: inference.Answer, request: inference.Request) -> inference.Answer:
    """Calls that were to be numbered are, by their place in the conversation: the same each time."""
    spoken = sum(each.role is inference.Role.MODEL for each in request.messages)
    parts = tuple(
        part.model_copy(update={"call_id": f"call_{spoken}_{index}"})
        if isinstance(part, inference.Call) and part.call_id == _UNNUMBERED
        else part
        for index, part in enumerate(said.message.parts)
    )
    return said.model_copy(update={"message": said.message.model_copy(update={"parts": parts})})


def _words(part: inference.Piece) -> str:
    return part.arguments if isinstance(part, inference.Call) else part.text


def read(document: Mapping[str, JSON]) -> "Scripted":
    """A scripted model of a document: `{"answers": [...]}`, each a text, or a list of texts and calls (`{"call": name,
    "arguments": {...}}`). Raises RequestError."""
    answers = document.get("answers")
    if not isinstance(answers, list):
        raise RequestError("a script is an object with the list `answers`")
    return Scripted([_read_answer(each) for each in answers])


def _read_answer(told: JSON) -> Step:
    parts = told if isinstance(told, list) else [told]
    return answer(*map(_read_part, parts))


def _read_part(told: JSON) -> inference.Piece | str:
    if isinstance(told, str):
        return told
    if not isinstance(told, dict) or not isinstance(name := told.get("call"), str):
        raise RequestError(f"a script says texts and calls, and not {json.dumps(told)[:200]}")
    call_id, arguments = told.get("call_id"), told.get("arguments", {})
    written = arguments if isinstance(arguments, str) else canonical(arguments).decode()
    return inference.Call(call_id=call_id if isinstance(call_id, str) else _UNNUMBERED, name=name, arguments=written)
