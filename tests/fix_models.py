"""Providers of models, played on loopback in the shapes of their real APIs: what they say is set by the test, and so is how they
fail."""

import json
import socket
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Literal

import pytest

KEY = "sk-canary0123456789+/tail"
"""The key that they ask for."""

PATHS = {"openai": "/v1", "openai-chat": "/v1", "anthropic": "", "google": "", "compatible": "/v1"}
"""Of the APIs that are played, by the kinds of providers."""

NAMES = {
    "openai": "gpt-5-mini",
    "openai-chat": "gpt-5-mini",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-2.5-flash",
    "compatible": "tiny",
}
"""A model of each."""

Events = list[tuple[str | None, Any]]
Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Say:
    """One answer. `stop`: why it ends, in our words. `fault`: `cut` breaks the connection in the middle, `clean` ends the stream
    in the middle as if that were its end, `stall` says no more until it is left. With a `status` it is no answer but that, with
    that `body`."""

    text: str = ""
    calls: Sequence[tuple[str, str, Mapping[str, Any]]] = ()
    thinking: str = ""
    stop: Literal["stop", "calls", "length", "refusal", "paused"] | None = None
    fault: Literal["cut", "clean", "stall"] | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str | None = None

    @property
    def why(self) -> str:
        return self.stop or ("calls" if self.calls else "stop")


@dataclass
class ModelApi:
    """A running one. `heard` is what it was asked: the path, the headers, the body."""

    url: str
    left: Event = field(default_factory=Event)
    """Set once somebody has left an answer that stalled."""
    script: deque[Say] = field(default_factory=deque[Say])
    heard: list[tuple[str, Mapping[str, str], Any]] = field(default_factory=list[tuple[str, Mapping[str, str], Any]])

    def say(self, *answers: Say) -> None:
        self.script.extend(answers)


def _words(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def chat(say: Say, body: Any) -> tuple[Any, Events]:
    """OpenAI's Chat Completions."""
    why = {"stop": "stop", "calls": "tool_calls", "length": "length", "refusal": "stop", "paused": "stop"}[say.why]
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    base: Object = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    tools: list[Object] = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for call_id, name, given in say.calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": say.text or None}
    message |= {"tool_calls": tools} if tools else {}
    message |= {"refusal": say.text, "content": None} if say.why == "refusal" else {}
    thought = (
        say.thinking if body["model"] == NAMES["compatible"] else ""
    )  # llama.cpp and vLLM tell it, OpenAI does not
    message |= {"reasoning_content": thought} if thought else {}
    whole: Object = {**base, "object": "chat.completion", "usage": usage}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": why}]
    deltas: list[Any] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": each} for each in _words(thought)]
    deltas += [{("refusal" if say.why == "refusal" else "content"): each} for each in _words(say.text)]
    deltas += [{"tool_calls": [{"index": at, **each}]} for at, each in enumerate(tools)]
    events: Events = [
        (
            None,
            {
                **base,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": each, "finish_reason": None}],
            },
        )
        for each in deltas
    ]
    end: Object = {"choices": [{"index": 0, "delta": {}, "finish_reason": why}]}
    events.append((None, {**base, "object": "chat.completion.chunk", **end}))
    events.append((None, {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}))
    return whole, [*events, (None, "[DONE]")]


def responses(say: Say, body: Any) -> tuple[Any, Events]:
    """OpenAI's Responses."""
    usage = {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }
    items: list[Any] = []
    if say.thinking:
        summary = [{"type": "summary_text", "text": say.thinking}]
        items.append(
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": summary,
                "encrypted_content": "sealed",
                "status": "completed",
            }
        )
    if say.text:
        part: Object = {"type": "output_text", "text": say.text, "annotations": []}
        part = {"type": "refusal", "refusal": say.text} if say.why == "refusal" else part
        items.append({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]})
    items += [
        {
            "type": "function_call",
            "id": f"fc_{call_id}",
            "call_id": call_id,
            "name": name,
            "arguments": json.dumps(given),
            "status": "completed",
        }
        for call_id, name, given in say.calls
    ]
    base: dict[str, Any] = {"id": "resp_1", "object": "response", "created_at": 1, "model": body["model"]}
    base |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None}
    short = say.why == "length"
    whole: Object = {**base, "status": "incomplete" if short else "completed", "output": items, "usage": usage}
    whole |= {"incomplete_details": {"reason": "max_output_tokens"}} if short else {}
    events: Events = []

    def tell(kind: str, **more: Any) -> None:
        events.append((kind, {"type": kind, "sequence_number": len(events), **more}))

    tell("response.created", response={**base, "status": "in_progress", "output": []})
    for at, item in enumerate(items):
        empty: Object = (
            {"content": []}
            if item["type"] == "message"
            else {"arguments": ""}
            if item["type"] == "function_call"
            else {}
        )
        tell("response.output_item.added", output_index=at, item={**item, **empty, "status": "in_progress"})
        where = {"item_id": item["id"], "output_index": at}
        if item["type"] == "message" and say.why != "refusal":
            tell(
                "response.content_part.added",
                **where,
                content_index=0,
                part={"type": "output_text", "text": "", "annotations": []},
            )
            for each in _words(say.text):
                tell("response.output_text.delta", **where, content_index=0, delta=each, logprobs=[])
            tell("response.output_text.done", **where, content_index=0, text=say.text, logprobs=[])
        elif item["type"] == "message":
            tell("response.refusal.done", **where, content_index=0, refusal=say.text)
        elif item["type"] == "function_call":
            tell("response.function_call_arguments.delta", **where, delta=item["arguments"])
        tell("response.output_item.done", output_index=at, item=item)
    tell("response.incomplete" if short else "response.completed", response=whole)
    return whole, events


def messages(say: Say, body: Any) -> tuple[Any, Events]:
    """Anthropic's Messages."""
    why = {
        "stop": "end_turn",
        "calls": "tool_use",
        "length": "max_tokens",
        "refusal": "refusal",
        "paused": "pause_turn",
    }
    usage = {"input_tokens": 11, "output_tokens": 7, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3}
    blocks: list[Any] = []
    if say.thinking:
        blocks.append({"type": "thinking", "thinking": say.thinking, "signature": "c2ln"})
    if say.text:
        blocks.append({"type": "text", "text": say.text})
    blocks += [{"type": "tool_use", "id": call_id, "name": name, "input": given} for call_id, name, given in say.calls]
    base: Object = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "stop_sequence": None,
    }
    whole: Object = {**base, "content": blocks, "stop_reason": why[say.why], "usage": usage}
    start: Object = {**base, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events: Events = [("message_start", {"type": "message_start", "message": start}), ("ping", {"type": "ping"})]
    for at, block in enumerate(blocks):
        empty: Object = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}
        opened: Object = {**block, **empty[block["type"]]}
        events.append(("content_block_start", {"type": "content_block_start", "index": at, "content_block": opened}))
        deltas: list[Any] = []
        if block["type"] == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": each} for each in _words(say.thinking)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif block["type"] == "text":
            deltas = [{"type": "text_delta", "text": each} for each in _words(say.text)]
        else:
            deltas = [{"type": "input_json_delta", "partial_json": each} for each in _words(json.dumps(block["input"]))]
        events += [
            ("content_block_delta", {"type": "content_block_delta", "index": at, "delta": each}) for each in deltas
        ]
        events.append(("content_block_stop", {"type": "content_block_stop", "index": at}))
    ended = {"stop_reason": why[say.why], "stop_sequence": None}
    events.append(("message_delta", {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 7}}))
    return whole, [*events, ("message_stop", {"type": "message_stop"})]


def gemini(say: Say, body: Any) -> tuple[Any, Events]:
    """Google's generateContent."""
    why = {"stop": "STOP", "calls": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY", "paused": "STOP"}[say.why]
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 18}
    parts: list[Any] = [{"text": say.thinking, "thought": True}] if say.thinking else []
    parts += [{"text": each} for each in _words(say.text)]
    for at, (_, name, given) in enumerate(say.calls):
        parts.append(
            {"functionCall": {"name": name, "args": given}, **({"thoughtSignature": "c2ln"} if at == 0 else {})}
        )

    def chunk(some: list[Any], **more: Any) -> Any:
        end = {"finishReason": why} if more else {}
        candidate: Object = {"index": 0, "content": {"role": "model", "parts": some}, **end}
        return {"candidates": [candidate], "modelVersion": "gemini", "responseId": "r1", **more}

    whole = chunk(parts, usageMetadata=usage)
    return whole, [*((None, chunk([each])) for each in parts), (None, chunk([], usageMetadata=usage))]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: ModelApi

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called there
        """Quietly."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.api.heard.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        shown = [self.headers.get(name, "") for name in ("authorization", "x-api-key", "x-goog-api-key")]
        if not any(KEY in each for each in shown) and not self.path.startswith("/open"):
            self._whole(401, {"error": {"message": f"wrong key {''.join(shown)}", "type": "authentication_error"}})
            return
        say = self.api.script.popleft()
        if say.status != 200 or say.body is not None:
            self._whole(say.status, say.body, say.headers)
            return
        path = self.path.partition("?")[0]
        play = responses if path.endswith("/responses") else messages if path.endswith("/messages") else gemini
        whole, events = (chat if path.endswith("/completions") else play)(say, body)
        if body.get("stream") or "streamGenerateContent" in path:
            self._stream(events, say)
        elif say.fault:
            self._break()
        else:
            self._whole(200, whole)

    def _whole(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        said = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        kind = "text/html" if said.startswith(b"<") else "application/json"
        for name, value in {"content-type": kind, "content-length": str(len(said)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def _stream(self, events: Events, say: Say) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for at, (name, data) in enumerate(events):
            if say.fault is not None and at == len(events) // 2:
                if say.fault == "clean":
                    break
                if say.fault == "stall":
                    with suppress(OSError):
                        self.rfile.read(1)
                    self.api.left.set()
                self._break()
                return
            told = data if isinstance(data, str) else json.dumps(data)
            piece = (f"event: {name}\n" if name else "").encode() + f"data: {told}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _break(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def played() -> Generator[ModelApi]:
    """A server that plays all of them."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    api = handler.api = ModelApi(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def model_api() -> Iterator[ModelApi]:
    """As `played`."""
    with played() as api:
        yield api
