"""Intents that go on for a while: strict as all are, and with rules of their own."""

from typing import Any

import pytest
from pydantic import ValidationError

from fix_streams import REF, fields
from interlock import plane, testing


def sse(**changes: Any) -> plane.SseIntent:
    return plane.SseIntent(**fields(testing.ManualClock(), "https://api.acme.dev/events", "api.acme.dev:443") | changes)


def websocket(**changes: Any) -> plane.WebSocketIntent:
    values = fields(testing.ManualClock(), "wss://api.acme.dev/chat", "api.acme.dev:443") | changes
    return plane.WebSocketIntent(**values)


def test_round_trips():
    for intent in (sse(method="POST", body=b"secret plan", credentials=(REF,)), websocket(subprotocols=("a", "b"))):
        again = type(intent).model_validate_json(intent.canonical)
        assert again.canonical == intent.canonical
        assert again.digest == intent.digest
        assert "secret plan" not in intent.canonical
        assert again.total_ms == 3_600_000


def test_a_body_is_not_in_the_record():
    intent = sse(method="POST", body=b"x")
    assert intent.has_body
    assert not plane.SseIntent.model_validate_json(intent.canonical).has_body


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("wss://api.acme.dev/chat?x=1", "https://api.acme.dev/chat?x=1"),
        ("ws://api.acme.dev/", "http://api.acme.dev/"),
        ("ws://api.acme.dev:8080/", "http://api.acme.dev:8080/"),
        ("wss://[::1]:443/", "https://[::1]/"),
    ],
)
def test_a_handshake_goes_to_the_same_place_over_http(url: str, target: str):
    assert websocket(url=url).target.text == target


@pytest.mark.parametrize(
    "change",
    [
        {"url": "wss://api.acme.dev/"},
        {"method": "PUT"},
        {"method": "POST", "max_reconnects": 1},
        {"max_reconnects": 1001},
        {"last_event_id": "a\nb"},
        {"last_event_id": "a\0"},
        {"last_event_id": " a"},
        {"headers": (("Last-Event-ID", "1"),)},
        {"headers": (("Accept-Encoding", "gzip"),)},
        {"credentials": (plane.HeaderCredential(handle="l", name="last-event-id", template="{t}"),)},
        {"max_event_bytes": 0},
        {"max_event_bytes": 2**27},
        {"timeouts": plane.Timeouts()},
        {"surprise": 1},
    ],
)
def test_a_stream_that_is_refused(change: dict[str, Any]):
    with pytest.raises(ValidationError):
        sse(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://api.acme.dev/"},
        {"url": "wss://u@api.acme.dev/"},
        {"url": "wss://api.acme.dev/#x"},
        {"url": "wss:/api.acme.dev/"},
        {"subprotocols": ("a", "a")},
        {"subprotocols": ("a b",)},
        {"subprotocols": ("",)},
        {"headers": (("Sec-WebSocket-Key", "x"),)},
        {"headers": (("sec-websocket-protocol", "x"),)},
        {"headers": (("Upgrade", "x"),)},
        {"credentials": (plane.HeaderCredential(handle="l", name="Sec-WebSocket-Protocol", template="{t}"),)},
        {"ping_ms": 0},
        {"body": b"x"},
    ],
)
def test_a_websocket_that_is_refused(change: dict[str, Any]):
    with pytest.raises(ValidationError):
        websocket(**change)
