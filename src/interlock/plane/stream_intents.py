"""Intents that go on for a while: a stream of server-sent events, and a WebSocket."""

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from interlock.plane.headers import RESERVED_HEADERS
from interlock.plane.intent import Milliseconds, RequestIntent, Timeouts, WebIntent
from interlock.plane.urls import Url, parse_websocket_url

MAX_MESSAGE_BYTES = 67_108_864
"""The largest event or message that any intent may allow: each is held in memory whole."""

MAX_COLLECTED_BYTES = 8_388_608
"""How much is kept, the data of one event or message after the other, for a caller who does not follow the stream."""

_EVENT_ID = re.compile(r"[^\x00-\x1f\x7f]*")

Total = Annotated[int, Field(ge=1, le=604_800_000)]
Bytes = Annotated[int, Field(ge=0, le=2**40)]
MessageBytes = Annotated[int, Field(ge=1, le=MAX_MESSAGE_BYTES)]
Token = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$")]


class StreamTimeouts(Timeouts):
    """As `Timeouts`; `read` is for the answer's head, `idle` for each wait after it, during which nothing at all comes."""

    idle_ms: Milliseconds = 60_000
    total_ms: Total = 3_600_000


class SseIntent(RequestIntent):
    """One stream of server-sent events. When the stream of a GET ends or breaks, it is asked for again, `max_reconnects`
    times in all, from the last event on, after as long as the stream has said (else `reconnect_ms`), at most
    `max_reconnect_ms`. After `max_events` it is left, and the execution is done; more than `max_bytes` are a failure."""

    contract: Literal["interlock.sse-intent/v1"] = "interlock.sse-intent/v1"
    method: Literal["GET", "POST"] = "GET"
    timeouts: StreamTimeouts = StreamTimeouts()
    last_event_id: Annotated[str, StringConstraints(max_length=2000)] = ""
    max_reconnects: Annotated[int, Field(ge=0, le=1000)] = 0
    reconnect_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 3_000
    max_reconnect_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 30_000
    max_event_bytes: MessageBytes = 1_048_576
    max_events: Annotated[int, Field(ge=1)] | None = None
    max_bytes: Bytes = 2**30

    own_headers: ClassVar[frozenset[str]] = RESERVED_HEADERS | {"accept-encoding", "last-event-id"}

    @property
    def total_ms(self) -> int:
        return self.timeouts.total_ms

    @property
    def collected(self) -> tuple[str, int] | None:
        return "event", min(self.max_bytes, MAX_COLLECTED_BYTES)

    @field_validator("last_event_id")
    @classmethod
    def _check_last_event_id(cls, last_event_id: str) -> str:
        if not fits_header(last_event_id):
            raise ValueError(
                "the last event id has control characters or spaces at its ends, which headers cannot carry"
            )
        return last_event_id

    @model_validator(mode="after")
    def _check_reconnects(self) -> Self:
        if self.method != "GET" and self.max_reconnects:
            raise ValueError(f"a {self.method} is not sent again: max_reconnects must be 0")
        return self


class WebSocketTimeouts(StreamTimeouts):
    """As `StreamTimeouts`; `close` bounds the end: the peer's part in the closing handshake, and our last words."""

    close_ms: Milliseconds = 2_000


class WebSocketIntent(WebIntent):
    """One WebSocket. What is sent in goes out as messages, and the end of the input closes. A peer that is silent for
    `ping_ms` is asked whether it is there. More than `max_bytes` from the peer are a failure, as is a message above
    `max_message_bytes`."""

    contract: Literal["interlock.websocket-intent/v1"] = "interlock.websocket-intent/v1"
    timeouts: WebSocketTimeouts = WebSocketTimeouts()
    subprotocols: tuple[Token, ...] = Field(default=(), max_length=16)
    ping_ms: Milliseconds | None = 20_000
    max_message_bytes: MessageBytes = 1_048_576
    max_bytes: Bytes = 2**30

    own_headers: ClassVar[frozenset[str]] = RESERVED_HEADERS | {
        f"sec-websocket-{name}" for name in ("accept", "extensions", "key", "protocol", "version")
    }

    @property
    def total_ms(self) -> int:
        return self.timeouts.total_ms

    @property
    def collected(self) -> tuple[str, int] | None:
        return "message", min(self.max_bytes, MAX_COLLECTED_BYTES)

    @staticmethod
    def read_url(url: str) -> Url:
        """Where the handshake goes. Raises ValueError."""
        return parse_websocket_url(url)

    @field_validator("subprotocols")
    @classmethod
    def _check_subprotocols(cls, subprotocols: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(subprotocols)) < len(subprotocols):
            raise ValueError("a subprotocol is offered twice")
        return subprotocols


def fits_header(event_id: str) -> bool:
    """Whether an event's id can be sent back in the header Last-Event-ID."""
    return _EVENT_ID.fullmatch(event_id) is not None and event_id == event_id.strip()
