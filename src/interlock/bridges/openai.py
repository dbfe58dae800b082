"""Capabilities as function tools of OpenAI's APIs, and of all that speak as they do: what is sent, and what answers a call."""

from collections.abc import Mapping
from typing import Any, Literal, cast

from interlock.bridges.capability_tools import CapabilityTools, Told
from interlock.kernel import JSON, RequestError


def openai_tools(tools: CapabilityTools, *, api: Literal["responses", "chat"] = "responses") -> list[dict[str, JSON]]:
    """What goes into `tools` of a request, for the Responses API or Chat Completions."""
    listed: list[dict[str, JSON]] = [
        {"name": each.name, "description": each.description, "parameters": each.input_schema, "strict": False}
        for each in tools.tools
    ]
    if api == "chat":
        return [{"type": "function", "function": each} for each in listed]
    return [{"type": "function", **each} for each in listed]


async def answer_openai(tools: CapabilityTools, call: object, *, conversation: str | None = None) -> dict[str, JSON]:
    """Do what a model asked for, and what goes back to it. `call` is an item of a response's `output` or of a message's
    `tool_calls`, as the library's object or as JSON. With the id of the `conversation`, a call that is answered again is not
    done again. Raises RequestError for what is no function call, and StoreError."""
    inner = _of(call, "function")
    source, call_id = (call, _of(call, "call_id")) if inner is None else (inner, _of(call, "id"))
    name, arguments = _of(source, "name"), _of(source, "arguments")
    if not isinstance(call_id, str) or not isinstance(name, str) or not isinstance(arguments, str):
        raise RequestError("this is no function call of the Responses API and none of Chat Completions")
    key = None if conversation is None else f"{conversation}:{call_id}"
    told: Told = await tools.call(name, arguments, key=key)
    if inner is None:
        return {"type": "function_call_output", "call_id": call_id, "output": told.text}
    return {"role": "tool", "tool_call_id": call_id, "content": told.text}


def _of(given: object, name: str) -> Any:
    if isinstance(given, Mapping):
        return cast("Mapping[str, Any]", given).get(name)
    return getattr(given, name, None)
