"""What goes between a node and its clients: a contract's record on one line, and after it the bytes that travel beside it."""

from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field, ValidationError

from interlock.kernel import InvalidJson, JsonLimits, digest, digest_bytes, parse_json
from interlock.plane.authority import AuthorityDecision
from interlock.plane.channel import Input, InputKind
from interlock.plane.client import ExecutionRef, ExecutionStatus
from interlock.plane.contract import Contract, Digest, Name
from interlock.plane.errors import InvalidPacket
from interlock.plane.events import ExecutionEvent
from interlock.plane.intent import HttpIntent
from interlock.plane.process_intent import ProcessIntent
from interlock.plane.receipt import Fact, Receipt
from interlock.plane.rpc_intent import JsonRpcIntent
from interlock.plane.script_intent import ScriptIntent
from interlock.plane.stream_intents import SseIntent, WebSocketIntent

C = TypeVar("C", bound=Contract)

NODE_REQUEST: Final = "node-request"
"""What stands in place of a target class in the authority of one request to a node: no execution can be begun with it."""

MAX_REQUEST: Final = 33_554_432
"""Bytes of a request to a node: a record, and what travels beside it."""

MAX_RECORD: Final = 8_388_608
"""Bytes of one record, without what travels beside it."""

_LIMITS: Final = JsonLimits(max_bytes=MAX_RECORD)


class ExecutionRequest(Contract):
    """What a client asks of a node: to admit an intent, and to carry it out. What travels beside the intent's record comes
    after this one."""

    contract: Literal["interlock.execution-request/v1"] = "interlock.execution-request/v1"
    intent: Annotated[
        HttpIntent | ProcessIntent | SseIntent | WebSocketIntent | JsonRpcIntent | ScriptIntent,
        Field(discriminator="contract"),
    ]
    authority: AuthorityDecision | None
    target_class: Name


class AdmissionDecision(Contract):
    """A node's answer to a request: the execution that it accepted, or the receipt that says why there is none."""

    contract: Literal["interlock.admission/v1"] = "interlock.admission/v1"
    execution: ExecutionRef | None = None
    rejection: Receipt | None = None


class InputPiece(Contract):
    """A piece of input on its way, or its end. Of each `sender` the pieces of an execution are numbered from 1, so that one
    that is sent again counts once."""

    contract: Literal["interlock.input/v1"] = "interlock.input/v1"
    fence: Annotated[int, Field(ge=1)]
    sender: Name
    number: Annotated[int, Field(ge=1)]
    kind: InputKind | Literal["end"]
    facts: dict[str, Fact] = Field(default_factory=dict)


def request_digest(method: str, target: str, body_digest: Digest) -> str:
    """What the authority of one request to a node is bound to: its method, its path with the query, its body."""
    return digest({"method": method, "target": target, "body_digest": body_digest})


def pack(record: Contract, beside: bytes = b"") -> bytes:
    """One packet."""
    return record.canonical.encode() + b"\n" + beside


def unpack(kind: type[C], packet: bytes) -> tuple[C, bytes]:
    """A packet of that kind, and what travels beside it. Raises InvalidPacket."""
    line, _, beside = packet.partition(b"\n")
    if len(line) > MAX_RECORD:
        raise InvalidPacket(f"the record of an {_name(kind)} has {len(line)} bytes; the limit is {MAX_RECORD}")
    return read_record(kind, line), beside


def read_record(kind: type[C], text: bytes) -> C:
    """A record of that kind, in which no key stands twice. Raises InvalidPacket."""
    try:
        parse_json(text, limits=_LIMITS, what="record", unique=True)
        return kind.model_validate_json(text)
    except InvalidJson as error:
        raise InvalidPacket(f"this is no {_name(kind)}: {error.message}"[:2000]) from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in found[:5]]
        raise InvalidPacket(f"this is no {_name(kind)}: {'; '.join(problems)}"[:2000]) from error


def pack_request(request: ExecutionRequest) -> bytes:
    """A request with what travels beside its intent."""
    return pack(request, request.intent.beside)


def unpack_request(packet: bytes) -> ExecutionRequest:
    """The inverse of `pack_request`. Raises InvalidPacket."""
    request, beside = unpack(ExecutionRequest, packet)
    try:
        return request.model_copy(update={"intent": request.intent.completed(beside)})
    except (ValidationError, ValueError) as error:
        raise InvalidPacket(f"what came beside the intent does not belong to it: {error}"[:2000]) from error


def pack_event(event: ExecutionEvent) -> bytes:
    """An event with its data, or with its receipt's body."""
    return pack(event, event.data if event.receipt is None else event.receipt.body)


def unpack_event(packet: bytes) -> ExecutionEvent:
    """The inverse of `pack_event`. Raises InvalidPacket."""
    event, beside = unpack(ExecutionEvent, packet)
    if event.receipt is not None:
        return event.model_copy(update={"receipt": _with_body(event.receipt, beside)})
    if event.size != len(beside):
        raise InvalidPacket(f"event {event.seq} has {len(beside)} bytes of data, and speaks of {event.size}")
    return event.model_copy(update={"data": beside})


def pack_status(status: ExecutionStatus) -> bytes:
    """A status with its receipt's body."""
    return pack(status, b"" if status.receipt is None else status.receipt.body)


def unpack_status(packet: bytes) -> ExecutionStatus:
    """The inverse of `pack_status`. Raises InvalidPacket."""
    status, beside = unpack(ExecutionStatus, packet)
    if status.receipt is None:
        return status
    return status.model_copy(update={"receipt": _with_body(status.receipt, beside)})


def to_input(piece: InputPiece, data: bytes) -> Input | None:
    """What a lane is given; None for the end."""
    return None if piece.kind == "end" else Input(kind=piece.kind, data=data, facts=piece.facts)


def _with_body(receipt: Receipt, body: bytes) -> Receipt:
    """The receipt with its body. A node that was restarted knows only the digest of what an earlier one received."""
    if body and digest_bytes(body) != receipt.body_digest:
        raise InvalidPacket("the body is not the one that the receipt speaks of")
    return receipt.model_copy(update={"body": body})


def _name(kind: type[Contract]) -> str:
    return kind.model_fields["contract"].default
