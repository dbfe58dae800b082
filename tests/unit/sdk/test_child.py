"""The child process, spoken to as its parent does."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import sdk
from interlock.sdk import child

TESTS = Path(__file__).parents[2]


def converse(*lines: bytes) -> list[tuple[str, Any]]:
    """What the child says to these lines."""
    written = io.BytesIO()
    child.serve(io.BytesIO(b"".join(lines)), written)
    return [sdk.messages.decode(line) for line in written.getvalue().splitlines()]


def call(handler: str) -> bytes:
    return sdk.messages.encode("call", {"handler": f"fix_connector:{handler}", "input": {"text": "hi"}})


def test_in_a_process_of_its_own_what_a_handler_prints_stays_apart() -> None:
    answer = sdk.HttpResponse(status=200, headers=(("a", "b"),), body=b"\xc3\xa9")
    done = subprocess.run(
        [sys.executable, "-m", "interlock.sdk.child"],
        input=call("shout") + sdk.messages.encode("response", sdk.messages.response_content(answer)),
        capture_output=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    said = [sdk.messages.decode(line) for line in done.stdout.splitlines()]
    assert [kind for kind, _ in said] == ["request", "result"]
    request = sdk.messages.request_from(said[0][1])
    assert (request.method, request.target) == ("GET", "/echo?q=hi")
    assert said[1][1] == {"value": {"said": "É"}}
    assert b"this goes to stderr" in done.stderr


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        ([call("shout"), sdk.messages.encode("failed", {"message": "cut"})], "operation_failed", "cut"),
        ([call("shout")], "handler_failed", "ended the conversation"),
        ([call("stumble")], "handler_failed", "KeyError"),
        ([sdk.messages.encode("response", {})], "handler_failed", "the first line is a call"),
        ([sdk.messages.encode("call", {"handler": 1})], "handler_failed", "names a handler"),
        ([b"[]\n"], "handler_failed", "one object with one member"),
        ([call("shout"), sdk.messages.encode("response", {"status": "x"})], "handler_failed", "malformed"),
        ([b"noise\n"], "handler_failed", "not JSON"),
    ],
)
def test_whatever_happens_ends_in_one_error_line(lines: list[bytes], code: str, words: str) -> None:
    said = converse(*lines)
    kind, content = said[-1]
    assert (kind, content["code"]) == ("error", code)
    assert words in content["message"]


REQUESTS = st.builds(
    sdk.HttpRequest,
    method=st.sampled_from(["GET", "POST"]),
    path=st.just("/a%20b"),
    query=st.lists(st.tuples(st.text(), st.text())).map(tuple),
    headers=st.lists(st.tuples(st.just("x-a"), st.text("abc ").map(str.strip))).map(tuple),
    json_body=st.none() | st.dictionaries(st.text(), st.integers(0, 9)),
)


@given(REQUESTS, st.binary(), st.integers(100, 599))
def test_requests_and_answers_survive_the_pipe(request: sdk.HttpRequest, body: bytes, status: int) -> None:
    assert sdk.messages.request_from(sdk.messages.request_content(request)) == request
    response = sdk.HttpResponse(status=status, headers=(("a", "b"),), body=body)
    assert sdk.messages.response_from(sdk.messages.response_content(response)) == response


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"method": "TRACE", "path": "/"},
        {"method": "GET", "path": "//evil.example/"},
        {"method": "GET", "path": "/", "headers": [["Authorization", "x"]]},
        {"method": "GET", "path": "/", "headers": [["x", "a\r\nb: c"]]},
        {"method": "GET", "path": "/", "more": 1},
    ],
)
def test_a_child_cannot_ask_for_what_a_connector_may_not(content: Any) -> None:
    with pytest.raises(sdk.HandlerFailed):
        sdk.messages.request_from(content)


@given(st.binary())
def test_any_line_is_a_message_or_an_error_of_ours(line: bytes) -> None:
    try:
        kind, _ = sdk.messages.decode(line)
    except sdk.HandlerFailed:
        return
    assert isinstance(kind, str)


def test_what_is_no_json_or_too_long_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(sdk.HandlerFailed, match="not JSON"):
        sdk.messages.encode("result", {1, 2})
    monkeypatch.setattr(sdk.messages, "MAX_LINE", 10)
    with pytest.raises(sdk.HandlerFailed, match="the limit is 10"):
        sdk.messages.encode("result", "x" * 10)
