"""Our messages in the words of pydantic-ai, and its answers in ours. What is a provider's own is kept as `opaque`, and goes
back."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

from pydantic import TypeAdapter
from pydantic_ai import messages as pai
from pydantic_ai.usage import RequestUsage

from interlock import inference
from interlock.kernel import JSON, canonical

_PART: Final = "part"
_RESPONSE: Final = "response"
_WORDS: Final = {"text": {"content"}, "thinking": {"content"}, "tool-call": {"tool_name", "args", "tool_call_id"}}
"""What of a part is in our own words."""

_OF_RESPONSE: Final = ("provider_name", "provider_url", "canonical_system")


@cache
def _parts() -> TypeAdapter[pai.ModelResponsePart]:
    return TypeAdapter(pai.ModelResponsePart)


# -- there


def asked(request: inference.Request) -> list[pai.ModelMessage]:
    """The conversation, with the operator's instructions."""
    told = [_message(each) for each in request.messages]
    last = next((each for each in reversed(told) if isinstance(each, pai.ModelRequest)), None)
    if last is not None and request.instructions:
        last.instructions = request.instructions
    if told and isinstance(told[-1], pai.ModelResponse):
        told[-1].state = "suspended"  # it goes on with what it has said
    return told


def _message(message: inference.Message) -> pai.ModelMessage:
    if message.role is not inference.Role.MODEL:
        return pai.ModelRequest(parts=list(map(_told, message.parts)))
    opaque: dict[str, Any] = {}
    for part in message.parts:
        if not isinstance(part, inference.Outcome):
            opaque |= part.opaque.get(_RESPONSE, {})
    return pai.ModelResponse(parts=list(map(_said, message.parts)), **opaque)


def _told(part: inference.Piece) -> pai.ModelRequestPart:
    if isinstance(part, inference.Outcome):
        outcome = "failed" if part.failed else "success"
        return pai.ToolReturnPart(part.name, part.text, part.call_id, outcome=outcome)
    return pai.UserPromptPart(part.arguments if isinstance(part, inference.Call) else part.text)


def _said(part: inference.Piece) -> pai.ModelResponsePart:
    if isinstance(part, inference.Outcome):
        return pai.TextPart(part.text)
    kept = dict(cast("Mapping[str, Any]", part.opaque.get(_PART, {})))
    match part:
        case inference.Text():
            ours = {"part_kind": "text", "content": part.text}
        case inference.Thinking():
            ours = (
                {"part_kind": "thinking", "content": part.text} if kept.get("part_kind") in (None, "thinking") else {}
            )
        case inference.Call():
            called = {"tool_name": part.name, "args": part.arguments, "tool_call_id": part.call_id}
            ours = {"part_kind": "tool-call", **called}
    return _parts().validate_python({**kept, **ours})


# -- and back


def answered(response: pai.ModelResponse, *, model: str, was_cut: bool) -> inference.Answer:
    """An answer. One that was cut off says so, whatever its provider's library makes of it. Raises ModelUnreadable for one in
    which nothing is: some library takes any JSON for an empty answer."""
    if not (response.parts or response.finish_reason or response.usage.has_values() or was_cut):
        raise inference.ModelUnreadable(f"{model} answered with what is no answer of such a model")
    of_response = {name: value for name in _OF_RESPONSE if (value := getattr(response, name)) is not None}
    parts = tuple(_pieces(response.parts, of_response))
    details = response.provider_details or {}
    refusal = details.get("refusal")
    if isinstance(refusal, str) and not any(isinstance(each, inference.Text) for each in parts):
        parts = (*parts, inference.Text(text=refusal))
    message = inference.Message(role=inference.Role.MODEL, parts=parts)
    return inference.Answer(
        message=message,
        finish=inference.Finish.CUT if was_cut else _finish(response, message, refused=bool(refusal)),
        usage=_usage(response.usage),
        model=response.model_name or model,
        response_id=response.provider_response_id,
    )


def _pieces(parts: Sequence[pai.ModelResponsePart], of_response: Mapping[str, Any]) -> Iterator[inference.Piece]:
    for part in parts:
        whole = cast("dict[str, Any]", _parts().dump_python(part, mode="json", exclude_none=True))
        kind = str(whole["part_kind"])
        kept = {name: value for name, value in whole.items() if name not in _WORDS.get(kind, ())}
        told = kept.keys() - {"part_kind", "provider_name"}
        opaque = {_PART: kept, _RESPONSE: dict(of_response)} if told else {}
        match part:
            case pai.TextPart():
                if part.content or opaque:
                    yield inference.Text(text=part.content, opaque=opaque)
            case pai.ThinkingPart():
                yield inference.Thinking(text=part.content, opaque=opaque)
            case pai.ToolCallPart():
                yield inference.Call(
                    call_id=part.tool_call_id, name=part.tool_name, arguments=_arguments(part.args), opaque=opaque
                )
            case _:
                yield inference.Thinking(opaque={_PART: whole, _RESPONSE: dict(of_response)})


def _arguments(given: str | Mapping[str, Any] | None) -> str:
    """As text: what a provider has read already is written as JSON again."""
    if given is None:
        return "{}"
    return given if isinstance(given, str) else canonical(cast("JSON", given)).decode()


def _finish(response: pai.ModelResponse, message: inference.Message, *, refused: bool) -> inference.Finish:
    if response.state == "suspended":
        return inference.Finish.PAUSED
    if refused or response.finish_reason == "content_filter":
        return inference.Finish.REFUSAL
    if response.finish_reason == "length":
        return inference.Finish.LENGTH
    if response.finish_reason == "error" or response.state in ("interrupted", "incomplete"):
        return inference.Finish.CUT
    return inference.Finish.CALLS if message.calls else inference.Finish.STOP


def _usage(usage: RequestUsage) -> inference.Usage:
    details = usage.details
    thinking = details.get("reasoning_tokens", details.get("thoughts_tokens", 0))
    return inference.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        thinking_tokens=thinking,
    )


def delta(event: pai.ModelResponseStreamEvent) -> inference.Delta | None:
    """What those who watch are told of an event, if anything."""
    match event:
        case pai.PartStartEvent(index=index, part=pai.TextPart(content=text)) if text:
            return inference.Delta(kind="text", text=text, index=index)
        case pai.PartStartEvent(index=index, part=pai.ThinkingPart(content=text)) if text:
            return inference.Delta(kind="thinking", text=text, index=index)
        case pai.PartStartEvent(index=index, part=pai.ToolCallPart() as call):
            text = "" if call.args is None else _arguments(call.args)
            return inference.Delta(kind="call", text=text, index=index, call_id=call.tool_call_id, name=call.tool_name)
        case pai.PartDeltaEvent(index=index, delta=pai.TextPartDelta(content_delta=text)):
            return inference.Delta(kind="text", text=text, index=index)
        case pai.PartDeltaEvent(index=index, delta=pai.ThinkingPartDelta(content_delta=str(text))):
            return inference.Delta(kind="thinking", text=text, index=index)
        case pai.PartDeltaEvent(index=index, delta=pai.ToolCallPartDelta(args_delta=str(text)) as more):
            return inference.Delta(kind="call", text=text, index=index, call_id=more.tool_call_id)
        case _:
            return None
