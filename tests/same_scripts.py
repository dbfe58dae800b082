"""The same scripted conversations through our agents and through Pydantic AI's own, each told as the same kind of transcript."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolFailed, capture_run_messages
from pydantic_ai import exceptions as foreign
from pydantic_ai.messages import (
    FinishReason,
    ModelMessage,
    ModelResponse,
    RetryFeedbackPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.profiles import ModelProfile

from interlock import agents, inference
from interlock.app import Interlock
from interlock.testing.models import Scripted, answer, call, cut, refusal

CORRECTION: Final = "(what was wrong)"
"""Stands for the words of a correction: those are each one's own."""


class Sum(BaseModel):
    """What an adder comes to."""

    total: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a model says, one answer after the other, to `Go.`"""

    said: Sequence[inference.Answer | str]
    result: type[BaseModel] | None = None


def _length(text: str) -> inference.Answer:
    return answer(text, finish=inference.Finish.LENGTH)


CASES: Final[Mapping[str, Case]] = {
    "a plain answer": Case(said=["Good morning."]),
    "a thought and an answer": Case(said=[answer(inference.Thinking(text="Hm."), "Good morning.")]),
    "one operation": Case(said=[answer(call("add", a=1, b=2)), "It is 3."]),
    "words beside a call": Case(said=[answer("Let me see.", call("add", a=1, b=2)), "It is 3."]),
    "operations side by side": Case(said=[answer(call("add", a=1, b=2), call("add", a=3, b=4)), "3 and 7."]),
    "one operation after another": Case(
        said=[answer(call("add", a=1, b=2)), answer(call("add", a=3, b=4)), "3 and 7."]
    ),
    "arguments of a wrong type": Case(
        said=[answer(call("add", a="one", b=2)), answer(call("add", a=1, b=2)), "It is 3."]
    ),
    "arguments that lack one": Case(said=[answer(call("add", a=1)), answer(call("add", a=1, b=2)), "It is 3."]),
    "arguments that no schema knows": Case(
        said=[answer(call("add", a=1, b=2, c=3)), answer(call("add", a=1, b=2)), "It is 3."]
    ),
    "arguments that are no JSON": Case(
        said=[
            answer(inference.Call(call_id="x", name="add", arguments='{"a": 1, "b"')),
            answer(call("add", a=1, b=2)),
            "It is 3.",
        ]
    ),
    "a number written as text": Case(said=[answer(call("add", a="1", b=2)), answer(call("add", a=1, b=2)), "It is 3."]),
    "an unknown operation": Case(said=[answer(call("plus", a=1, b=2)), answer(call("add", a=1, b=2)), "It is 3."]),
    "an unknown operation beside a known one": Case(
        said=[answer(call("plus", a=1), call("add", a=1, b=2)), "It is 3."]
    ),
    "an operation that says no": Case(said=[answer(call("refuse")), "It cannot be."]),
    "an operation that says no twice": Case(said=[answer(call("refuse")), answer(call("refuse")), "It cannot be."]),
    "an operation that raises": Case(said=[answer(call("fall")), "It cannot be."]),
    "a call without an id": Case(said=[answer(call("add", call_id="", a=1, b=2)), "It is 3."]),
    "two calls with one id": Case(
        said=[answer(call("add", call_id="x", a=1, b=2), call("add", call_id="x", a=3, b=4)), "3 and 7."]
    ),
    "a result": Case(said=['{"total": 3}'], result=Sum),
    "a result in a fence": Case(said=['```json\n{"total": 3}\n```'], result=Sum),
    "a result that is repaired": Case(said=['{"total": "many"}', '{"total": 3}'], result=Sum),
    "a result that is never right": Case(said=['{"total": "many"}'] * 5, result=Sum),
    "an operation and a result": Case(said=[answer(call("add", a=1, b=2)), '{"total": 3}'], result=Sum),
    "a refusal": Case(said=[refusal("I will not.")]),
    "an empty answer": Case(said=[answer(""), "I am back."]),
    "nothing but empty answers": Case(said=[answer("")] * 5),
    "an answer that is too long": Case(said=[_length("It is thr"), "It is 3."]),
    "an answer that breaks off": Case(said=[cut("It is thr"), "It is 3."]),
    "a call that breaks off": Case(
        said=[
            answer(inference.Call(call_id="x", name="add", arguments='{"a": 1, "b"'), finish=inference.Finish.LENGTH),
            "It is 3.",
        ]
    ),
    "more calls than are done at once": Case(said=[answer(*(call("add", a=n, b=0) for n in range(65))), "Enough."]),
}


@dataclass
class Told:
    """A conversation: what was called, and what everybody said."""

    calls: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])


# -- the operations, which both have


class Sums:
    """What was done."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def operations(self, no: Callable[[], Exception]) -> list[Callable[..., Any]]:
        async def add(a: int, b: int) -> int:
            """Add."""
            self.calls.append(f"add {a} {b}")
            return a + b

        async def refuse() -> int:
            """It says no, in its framework's way."""
            self.calls.append("refuse")
            raise no()

        async def fall() -> int:
            """It raises whatever it likes."""
            self.calls.append("fall")
            raise ZeroDivisionError

        return [add, refuse, fall]


# -- ours


class Ours:
    """Our agents, in one open Interlock whose models `fake:NAME` say what `scripts` has for them."""

    def __init__(self, il: Interlock, scripts: dict[str, Scripted]) -> None:
        self._il = il
        self._scripts = scripts
        self._sums = Sums()
        functions = self._sums.operations(lambda: agents.OperationFailed("no"))
        self._operations = [agents.operation(idempotency="pure")(each) for each in functions]
        il.agents.offer(*self._operations)

    async def take(self, case: Case) -> Told:
        """The case by our agents."""
        name, sums, il = str(len(self._scripts)), self._sums, self._il
        sums.calls.clear()
        spec = agents.agent("adder", "Add.", model=f"fake:{name}", operations=self._operations, result=case.result)
        said = list(case.said)
        self._scripts[name] = Scripted(lambda _: said.pop(0))
        try:
            turn = await il.agents.run(spec, "Go.")
        except agents.TurnFailed as error:
            turn = await il.agents.fetch(error.run_id or "")
        state = (await il.agents.replay(turn.run_id)).state
        end = _completed(turn.answer, turn.result) if turn.failure is None else "failed"
        return Told(calls=list(sums.calls), lines=[*(line for each in state.said for line in _ours(each)), end])


def _ours(message: inference.Message) -> list[str]:
    lines: list[str] = []
    for part in message.parts:
        match part:
            case inference.Text():
                first = message.role is inference.Role.USER and part.text == "Go."
                said = part.text if first or message.role is inference.Role.MODEL else CORRECTION
                lines.append(f"{message.role.value}: {said}")
            case inference.Thinking():
                lines.append(f"thinks: {part.text}")
            case inference.Call():
                lines.append(_call(part.name, part.arguments))
            case inference.Outcome():
                lines.append(f"{part.name} -> {CORRECTION if part.failed else part.text}")
    return [each for each in lines if each != "model: "]


def _call(name: str, arguments: str) -> str:
    with suppress(ValueError):
        arguments = json.dumps(json.loads(arguments), sort_keys=True)
    return f"calls: {name} {arguments}"


def _completed(text: str | None, result: Any) -> str:
    result = result.model_dump() if isinstance(result, BaseModel) else result
    return f"completed: {text if result is None else json.dumps(result)}"


# -- theirs


_FINISH: Final[Mapping[inference.Finish, FinishReason | None]] = {
    inference.Finish.STOP: "stop",
    inference.Finish.CALLS: "tool_call",
    inference.Finish.LENGTH: "length",
    inference.Finish.REFUSAL: "content_filter",
    inference.Finish.PAUSED: None,
    inference.Finish.CUT: None,
}


async def theirs(case: Case) -> Told:
    """The case by Pydantic AI's own Agent."""
    sums, said = Sums(), list(case.said)

    def model(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        step = said.pop(0)
        return _response(answer(step) if isinstance(step, str) else step)

    profile = ModelProfile(supports_json_schema_output=True)
    output: Any = str if case.result is None else NativeOutput(case.result)
    agent = Agent(
        FunctionModel(model, profile=profile),
        instructions="Add.",
        tools=sums.operations(lambda: ToolFailed("no")),
        output_type=output,
    )
    with capture_run_messages() as seen:
        try:
            result = await agent.run("Go.")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is how that ends
            end = "failed" if isinstance(error, foreign.AgentRunError) else f"raises {type(error).__name__}"
        else:
            said_last: Any = result.output
            is_text = isinstance(said_last, str)
            end = _completed(said_last if is_text else None, None if is_text else said_last)
    return Told(calls=sums.calls, lines=[*_theirs(seen), end])


def _response(said: inference.Answer) -> ModelResponse:
    parts: list[TextPart | ThinkingPart | ToolCallPart] = []
    for at, part in enumerate(said.message.parts):
        match part:
            case inference.Text():
                parts.append(TextPart(part.text))
            case inference.Thinking():
                parts.append(ThinkingPart(part.text))
            case inference.Call():
                call_id = f"c{at}" if part.call_id == "\0" else part.call_id
                parts.append(ToolCallPart(part.name, part.arguments, tool_call_id=call_id))
            case inference.Outcome():
                raise AssertionError("a model says no outcomes")
    return ModelResponse(parts=parts, finish_reason=_FINISH[said.finish])


def _theirs(messages: Sequence[ModelMessage]) -> list[str]:
    lines: list[str] = []
    for message in messages:
        for part in message.parts:
            match part:
                case UserPromptPart():
                    lines.append(f"user: {part.content}")
                case RetryFeedbackPart():
                    lines.append(f"user: {CORRECTION}")
                case ToolReturnPart():
                    said = part.model_response_str() if part.outcome == "success" else CORRECTION
                    lines.append(f"{part.tool_name} -> {said}")
                case TextPart():
                    lines.append(f"model: {part.content}")
                case ThinkingPart():
                    lines.append(f"thinks: {part.content}")
                case ToolCallPart():
                    lines.append(
                        _call(part.tool_name, part.args_as_json_str() if part.args is None else str(part.args))
                    )
                case _ if part.part_kind == "retry-prompt":  # a class that is about to go
                    lines.append(f"{part.tool_name} -> {CORRECTION}")
                case _:
                    lines.append(f"{type(message).__name__}: {type(part).__name__}")
    return [each for each in lines if each != "model: "]


# -- where they differ


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a case says by ours and by theirs from where they part to where they meet again, and why. The reason is in
    `docs/agent-measured.md`, too."""

    ours: Sequence[str]
    theirs: Sequence[str]
    reason: str


_CUT: Final = Difference(
    ours=[f"user: {CORRECTION}", "model: It is 3.", "completed: It is 3."],
    theirs=["completed: It is thr"],
    reason="half an answer is none: the model is asked for a shorter one",
)

DIFFERENCES: Final[Mapping[str, Difference]] = {
    "a number written as text": Difference(
        ours=[f"add -> {CORRECTION}"],
        theirs=["add -> 3"],
        reason="arguments are what the schema says, and a person who said yes to them said it to these: nothing is made to fit",
    ),
    "an operation that raises": Difference(
        ours=[f"fall -> {CORRECTION}", "model: It cannot be.", "completed: It cannot be."],
        theirs=["raises ZeroDivisionError"],
        reason="a defect of one operation is told to the model, by its type alone, and ends no turn that has done other things",
    ),
    "two calls with one id": Difference(
        ours=["add -> 3", "add -> 7", "model: 3 and 7.", "completed: 3 and 7."],
        theirs=["failed"],
        reason="a call whose id was said before gets one of its own: some servers say the same for all",
    ),
    "a refusal": Difference(
        ours=["failed"],
        theirs=["completed: I will not."],
        reason="a refusal is no answer: whoever asked is told that by the turn's failure, and has its words in the transcript",
    ),
    "an answer that is too long": _CUT,
    "an answer that breaks off": _CUT,
    "a call that breaks off": Difference(
        ours=[f"user: {CORRECTION}"],
        theirs=[_call("add", '{"a": 1, "b"'), f"add -> {CORRECTION}"],
        reason="of an answer that broke off no call is done, whole or not, and none stands in the transcript",
    ),
    "more calls than are done at once": Difference(
        ours=[f"user: {CORRECTION}"],
        theirs=[*(_call("add", json.dumps({"a": n, "b": 0})) for n in range(65)), *(f"add -> {n}" for n in range(65))],
        reason="a model asks for 64 operations at once at most: more is a slip, and none of it is done",
    ),
}
