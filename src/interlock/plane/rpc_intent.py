"""Intents that speak JSON-RPC 2.0: one call, or a conversation, over a stream or over requests."""

import operator
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from interlock.kernel import digest_bytes, read_json
from interlock.plane.contract import Contract, Digest, Name
from interlock.plane.credentials import ClientCertificate, HeaderCredential, check_certificate
from interlock.plane.framing import FramingError, FramingName
from interlock.plane.headers import HEADER_VALUE, RESERVED_HEADERS
from interlock.plane.intent import (
    HostPort,
    HttpIntent,
    Intent,
    Milliseconds,
    Timeouts,
    WebRequest,
)
from interlock.plane.jsonrpc import MAX_ID, RpcBounds, RpcCancellation, read_rpc, rpc_request
from interlock.plane.process_intent import MAX_ARGUMENTS, ProcessIntent, ProcessSecret, Text
from interlock.plane.sandbox import AbsolutePath, EnvName, ResourceLimits, SandboxProfile
from interlock.plane.stream_intents import MessageBytes, Token, Total, WebSocketIntent, WebSocketTimeouts
from interlock.plane.tls_options import TlsOptions, is_none
from interlock.plane.urls import Url, parse_url, parse_websocket_url

MAX_MS: Final = 3_600_000
"""The longest time that intents under this one can be given, in milliseconds."""


MAX_STREAM: Final = 2**31
"""Bytes that all messages of one answer may have together; each by itself is bounded by the intent."""


class RpcLimits(Contract):
    """How much is taken from a peer and from the caller. `max_pending` bounds the open requests of each direction."""

    max_message_bytes: MessageBytes = 4_194_304
    max_batch: Annotated[int, Field(ge=1, le=10_000)] = 100
    max_pending: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    max_depth: Annotated[int, Field(ge=1, le=200)] = 64
    max_nodes: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000

    @cached_property
    def bounds(self) -> RpcBounds:
        """Those of one text."""
        return RpcBounds(max_batch=self.max_batch, max_depth=self.max_depth, max_nodes=self.max_nodes)


class RpcTimeouts(Timeouts):
    """As `Timeouts`; `read` is for the opening of a WebSocket, `request` bounds each request, `idle` a silence of both
    sides, `close` the end after the last word: as long as the peer may take to hang up, or a process to leave."""

    request_ms: Milliseconds = 30_000
    idle_ms: Milliseconds | None = None
    close_ms: Milliseconds = 2_000
    total_ms: Total = 60_000


class ProcessTransport(Contract):
    """A command of its own, by its standard input and output; what it says beside comes out as `stderr`. The fields are
    those of `ProcessIntent`."""

    kind: Literal["process"] = "process"
    framing: FramingName
    argv: tuple[Text, ...] = Field(min_length=1, max_length=MAX_ARGUMENTS)
    cwd: AbsolutePath = "/"
    env: tuple[tuple[EnvName, Text], ...] = Field(default=(), max_length=1024)
    secrets: tuple[ProcessSecret, ...] = Field(default=(), max_length=64)
    grace_ms: Annotated[int, Field(ge=0, le=60_000)] = 2_000
    limits: ResourceLimits = ResourceLimits()
    sandbox: SandboxProfile | None = None

    def carrier(self, intent: "JsonRpcIntent") -> ProcessIntent:
        """The intent of the command under this conversation."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in {"kind", "framing"}}
        return ProcessIntent(
            **own | intent.whose,
            interactive=True,
            max_ms=min(intent.total_ms, MAX_MS),
            max_output_bytes=2**40,  # each message is bounded, and there is no end to a conversation
        )


class TcpTransport(Contract):
    """A connection of its own, under TLS unless said otherwise."""

    kind: Literal["tcp"] = "tcp"
    address: HostPort
    tls: bool | TlsOptions = True
    credentials: tuple[ClientCertificate, ...] = Field(default=(), max_length=1)
    framing: FramingName
    allowed_hosts: tuple[HostPort, ...] = Field(max_length=32)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_certificate(len(self.credentials), self.target)
        return self

    @cached_property
    def target(self) -> Url:
        """Where it goes, in parts."""
        return parse_url(f"{'https' if self.tls else 'http'}://{self.address}/")

    @property
    def host(self) -> str:
        """`host:port`, as leases and allowances write it."""
        return self.target.host_port


class HttpTransport(WebRequest):
    """A POST for each message; its answer brings what the peer has to say to it, as JSON or, to a request, as a stream of
    server-sent events, one for each message. What an answer says in the header `session_header`, later requests say, too:
    with `mcp-session-id` this is MCP's Streamable HTTP. Where it `listens`, a session is also heard by itself, on the stream
    that a GET opens; any stream that breaks is resumed after its last event; and a DELETE ends the session."""

    kind: Literal["http"] = "http"
    session_header: Token | None = Field(default=None, exclude_if=is_none)
    listens: bool = Field(default=False, exclude_if=operator.not_)

    own_headers: ClassVar[frozenset[str]] = RESERVED_HEADERS | {
        "accept",
        "accept-encoding",
        "content-type",
        "last-event-id",
    }

    @model_validator(mode="after")
    def _check_session_header(self) -> Self:
        taken = {name.lower() for name, _value in self.headers} | self.own_headers
        taken |= {each.name.lower() for each in self.credentials if isinstance(each, HeaderCredential)}
        if self.session_header is not None and self.session_header.lower() in taken:
            raise ValueError(f"the header {self.session_header!r} cannot name the session: it says something else")
        if self.listens and self.session_header is None:
            raise ValueError("what `listens` names its session: say in which header")
        return self

    def carrier(self, intent: "JsonRpcIntent", message: bytes, *, asks: bool, session: str | None) -> HttpIntent:
        """The intent of the exchange that takes this message there; an answer to what `asks` may be long."""
        own = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        return self._exchange(intent, "POST", own, session, most=MAX_STREAM if asks else None, body=message)

    def listener(self, intent: "JsonRpcIntent", *, session: str | None, after: str) -> HttpIntent:
        """The intent of the exchange that hears the session's own stream, or one that broke after that event."""
        own = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        return self._exchange(intent, "GET", own, session, most=MAX_STREAM)

    def farewell(self, intent: "JsonRpcIntent", *, session: str) -> HttpIntent:
        """The intent of the exchange that ends the session."""
        return self._exchange(intent, "DELETE", {}, session)

    def _exchange(
        self,
        intent: "JsonRpcIntent",
        method: Literal["GET", "POST", "DELETE"],
        own: dict[str, str],
        session: str | None,
        *,
        most: int | None = None,
        body: bytes = b"",
    ) -> HttpIntent:
        timeouts = intent.timeouts
        if self.session_header is not None and session is not None and HEADER_VALUE.fullmatch(session):
            own = {**own, self.session_header: session}
        return HttpIntent(
            **intent.whose,
            method=method,
            url=self.url,
            headers=(*own.items(), *self.headers),
            body=body,
            credentials=self.credentials,
            tls=self.tls,
            allowed_hosts=self.allowed_hosts,
            timeouts=Timeouts(
                connect_ms=timeouts.connect_ms,
                write_ms=timeouts.write_ms,
                read_ms=MAX_MS,  # the request's own time ends the wait
                pool_ms=timeouts.pool_ms,
                total_ms=MAX_MS,
            ),
            max_response_bytes=intent.limits.max_message_bytes if most is None else most,
            response_mode="unary" if method == "DELETE" else "stream",
        )


class WebSocketTransport(WebRequest):
    """A message of text for each message."""

    kind: Literal["websocket"] = "websocket"
    subprotocols: tuple[Token, ...] = Field(default=(), max_length=16)

    own_headers: ClassVar[frozenset[str]] = WebSocketIntent.own_headers

    @staticmethod
    def read_url(url: str) -> Url:
        """Where the handshake goes. Raises ValueError."""
        return parse_websocket_url(url)

    def carrier(self, intent: "JsonRpcIntent") -> WebSocketIntent:
        """The intent of the WebSocket under this conversation."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}
        timeouts = {name: getattr(intent.timeouts, name) for name in Timeouts.model_fields}
        return WebSocketIntent(
            **own | intent.whose,
            timeouts=WebSocketTimeouts(**timeouts, idle_ms=MAX_MS, close_ms=intent.timeouts.close_ms),
            max_message_bytes=intent.limits.max_message_bytes,
            max_bytes=2**40,
        )


RpcTransport: TypeAlias = Annotated[
    ProcessTransport | TcpTransport | HttpTransport | WebSocketTransport, Field(discriminator="kind")
]


def _digest_of_params(fields: dict[str, Any]) -> str:
    return digest_bytes(fields["params"])


def _size_of_params(fields: dict[str, Any]) -> int:
    return len(fields["params"])


class JsonRpcIntent(Intent):
    """A call (one request, whose result or error object becomes the receipt's body), or a session (what is sent in are
    messages, and so is what comes out). `params` is JSON text and travels beside the record, which holds its digest and
    size. The peer's own requests are answered with "method not found", unless in a session `serves_peer` leaves
    them to the caller."""

    contract: Literal["interlock.jsonrpc-intent/v1"] = "interlock.jsonrpc-intent/v1"
    transport: RpcTransport
    mode: Literal["call", "session"]
    method: Annotated[Name, Field(max_length=MAX_ID)] | None = None
    params: SkipJsonSchema[bytes] = Field(default=b"", exclude=True, repr=False)
    params_digest: Digest = Field(default_factory=_digest_of_params)
    params_size: Annotated[int, Field(ge=0)] = Field(default_factory=_size_of_params)
    serves_peer: bool = False
    cancellation: RpcCancellation = "none"
    limits: RpcLimits = RpcLimits()
    timeouts: RpcTimeouts = RpcTimeouts()

    @model_validator(mode="after")
    def _check_call(self) -> Self:
        if (self.mode == "call") is not (self.method is not None):
            raise ValueError("a call names its method; a session has none")
        if self.mode == "session" and self.params_size:
            raise ValueError("a session has no params: its messages are sent in")
        if self.mode == "call" and self.serves_peer:
            raise ValueError("a call cannot serve the peer: nobody is there to answer")
        if isinstance(self.transport, ProcessTransport):
            self.transport.carrier(self)  # which says what is wrong with the command
        if self.params and not isinstance(read_json(self.params), dict | list):
            raise ValueError("params are the JSON text of an object or an array")
        if self.params and self.method is not None:
            try:
                read_rpc(rpc_request(0, self.method, self.params), bounds=self.limits.bounds)
            except FramingError as error:
                raise ValueError(str(error)) from error
        return self

    @property
    def total_ms(self) -> int:
        return self.timeouts.total_ms

    @property
    def needs(self) -> frozenset[str]:
        return self.transport.carrier(self).needs if isinstance(self.transport, ProcessTransport) else frozenset()

    @property
    def whose(self) -> dict[str, Any]:
        """What it shares with the intents under it: whose it is, and until when it may run."""
        return {name: getattr(self, name) for name in Intent.model_fields}

    @property
    def beside(self) -> bytes:
        return self.params

    def _with(self, beside: bytes) -> Self:
        return self.model_copy(update={"params": beside})

    @property
    def has_body(self) -> bool:
        return len(self.params) == self.params_size and digest_bytes(self.params) == self.params_digest
