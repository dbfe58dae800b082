"""JSON-RPC 2.0 without I/O: what a message is, and the texts of our own."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, NamedTuple, TypeAlias, TypeGuard, cast

import orjson

from interlock.kernel import JSON, read_json
from interlock.plane.framing import FramingError

METHOD_NOT_FOUND: Final = -32601
INVALID_REQUEST: Final = -32600
OVERLOADED: Final = -32000
"""The server's own code for a peer that has too many requests open."""

MAX_ID: Final = 200
"""Characters in an id or a method."""

MAX_NUMBER: Final = 2**53 - 1
"""The largest id and error code, either way from 0: what every JSON reader keeps exact."""

RpcId: TypeAlias = str | int
"""What tells requests apart. 1 and "1" are two."""

RpcCancellation: TypeAlias = Literal["none", "lsp", "mcp"]
"""How a request is withdrawn: not at all; by `$/cancelRequest`, after which an answer still comes; by
`notifications/cancelled`, after which none has to come."""

_TEXTS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')

_CANCELLATIONS: Final = {"lsp": ("$/cancelRequest", "id"), "mcp": ("notifications/cancelled", "requestId")}


class RpcKind(StrEnum):
    """What a message is. `invalid` is JSON and no JSON-RPC 2.0."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"
    INVALID = "invalid"


class RpcError(NamedTuple):
    """An error that a peer answered with."""

    code: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcMessage:
    """One message. `content` is its JSON text; `error` is set in a response that brings no result; `fault` says what makes
    it invalid, of which the id and the method are told if they can be; `withdraws` is the request that a notification cancels."""

    kind: RpcKind
    content: bytes
    request_id: RpcId | None = None
    method: str | None = None
    error: RpcError | None = None
    fault: str | None = None
    withdraws: RpcId | None = None

    def part(self) -> bytes:
        """The JSON text of a response's result, or of its error object."""
        return json_text(cast("dict[str, JSON]", read_json(self.content))["result" if self.error is None else "error"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcBounds:
    """How much is read at once. Depth 1 is a scalar; nodes are all values in a text."""

    max_batch: int = 100
    max_depth: int = 64
    max_nodes: int = 100_000


def read_rpc(text: bytes, *, bounds: RpcBounds, cancellation: RpcCancellation = "none") -> list[RpcMessage]:
    """The messages of one JSON text, one or a batch. Raises FramingError for what is not JSON within the bounds, and for
    objects with a key that stands twice, which readers understand differently."""
    try:
        value = read_json(text)
    except ValueError as error:
        raise FramingError("not_json", "a message is not JSON") from error
    members = _check_shape(value, bounds)
    if text.count(b":") > members and _TEXTS.sub(b"", text).count(b":") > members:
        raise FramingError("key_stands_twice", "a message has an object in which a key stands twice")
    if not isinstance(value, list):
        return [_classify(value, text, cancellation)]
    if len(value) > bounds.max_batch:
        raise FramingError("batch_too_large", f"a batch has {len(value)} messages; the limit is {bounds.max_batch}")
    if not value:
        return [RpcMessage(kind=RpcKind.INVALID, content=text, fault="a batch without messages")]
    return [_classify(member, json_text(member), cancellation) for member in value]


def _check_shape(root: JSON, bounds: RpcBounds) -> int:
    """How many members its objects have, all together."""
    level: list[object] = [root]
    nodes = depth = members = 0
    while level:
        depth += 1
        nodes += len(level)
        if depth > bounds.max_depth:
            raise FramingError("too_deep", f"a message is nested deeper than {bounds.max_depth} levels")
        if nodes > bounds.max_nodes:
            raise FramingError("too_many_values", f"a message has more than {bounds.max_nodes} values")
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                values = cast("dict[str, object]", item).values()
                members += len(values)
                below += values
            elif isinstance(item, list):
                below += cast("list[object]", item)
        level = below
    return members


def _classify(value: JSON, content: bytes, cancellation: RpcCancellation) -> RpcMessage:
    request_id: RpcId | None = None
    method: str | None = None

    def invalid(fault: str) -> RpcMessage:
        return RpcMessage(kind=RpcKind.INVALID, content=content, request_id=request_id, method=method, fault=fault)

    if not isinstance(value, dict):
        return invalid("it is no object")
    raw_id, raw_method = value.get("id"), value.get("method")
    request_id = raw_id if is_id(raw_id) else None
    method = raw_method if _is_short(raw_method) else None
    if value.get("jsonrpc") != "2.0":
        return invalid('its member "jsonrpc" is not "2.0"')
    if "id" in value and request_id is None and not (raw_id is None and "error" in value):
        return invalid(f"its id is neither an integer nor a text of 1 to {MAX_ID} printable characters")
    if "method" in value:
        return _calling(value, content, request_id, cancellation) or invalid("it is no request")
    return _answering(value, content, request_id) or invalid("it is neither request nor response")


def _calling(
    message: Mapping[str, JSON], content: bytes, request_id: RpcId | None, cancellation: RpcCancellation
) -> RpcMessage | None:
    method, params = message["method"], message.get("params")
    # The standard has no null here, but servers of good standing do.
    if not _is_short(method) or not isinstance(params, dict | list | None):
        return None
    if "result" in message or "error" in message:
        return None
    if "id" in message:
        return RpcMessage(kind=RpcKind.REQUEST, content=content, request_id=request_id, method=method)
    withdraws: object = None
    if cancellation != "none" and method == _CANCELLATIONS[cancellation][0] and isinstance(params, dict):
        withdraws = params.get(_CANCELLATIONS[cancellation][1])
    return RpcMessage(
        kind=RpcKind.NOTIFICATION,
        content=content,
        method=method,
        withdraws=withdraws if is_id(withdraws) else None,
    )


def _answering(message: Mapping[str, JSON], content: bytes, request_id: RpcId | None) -> RpcMessage | None:
    if "id" not in message or ("result" in message) is ("error" in message):
        return None
    error: RpcError | None = None
    if "error" in message:
        failure = message["error"]
        if not isinstance(failure, dict):
            return None
        code, words = failure.get("code"), failure.get("message")
        if not _is_number(code) or not isinstance(words, str):
            return None
        error = RpcError(code, words)
    return RpcMessage(kind=RpcKind.RESPONSE, content=content, request_id=request_id, error=error)


def is_id(value: object) -> TypeGuard[RpcId]:
    """Whether that can be the id of a request."""
    return _is_number(value) or _is_short(value)


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _is_short(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable()


def rpc_request(request_id: RpcId, method: str, params: bytes = b"") -> bytes:
    """A request; `params` is the JSON text of an object or an array, or nothing."""
    return _text(b'"id":' + json_text(request_id), method, params)


def rpc_cancellation(cancellation: RpcCancellation, request_id: RpcId) -> bytes | None:
    """The notification that withdraws a request; None where there is no such way."""
    if cancellation == "none":
        return None
    method, member = _CANCELLATIONS[cancellation]
    return _text(b"", method, json_text({member: request_id}))


def rpc_error(request_id: RpcId | None, error: RpcError) -> bytes:
    """An answer that brings an error."""
    return json_text({"jsonrpc": "2.0", "id": request_id, "error": error._asdict()})


def rpc_attributed(answer: bytes, question: bytes, *, bounds: RpcBounds) -> bytes:
    """The answer with the id of the one request that the question is, where it is an error that names none: it is what
    came back to this very question, and can speak of nothing else."""
    try:
        replies, asked = read_rpc(answer, bounds=bounds), read_rpc(question, bounds=bounds)
    except FramingError:
        return answer
    value = read_json(answer)
    if not isinstance(value, dict) or [each.kind for each in asked] != [RpcKind.REQUEST]:
        return answer
    if replies[0].kind is not RpcKind.RESPONSE or replies[0].error is None or replies[0].request_id is not None:
        return answer
    return json_text({**value, "id": asked[0].request_id})


def rpc_batch(messages: Sequence[bytes]) -> bytes:
    """Several messages as one text."""
    return b"[" + b",".join(messages) + b"]"


def _text(identity: bytes, method: str, params: bytes) -> bytes:
    members = [b'"jsonrpc":"2.0"', identity, b'"method":' + json_text(method), b'"params":' + params if params else b""]
    return b"{" + b",".join(filter(None, members)) + b"}"


def json_text(value: JSON) -> bytes:
    """A JSON value without blanks, its integers exact however long."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()
