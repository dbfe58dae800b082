"""JSON-RPC 2.0: what a message is, and which answer belongs to which request."""

from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from interlock import kernel, plane
from interlock.plane import RpcKind

BOUNDS = plane.RpcBounds(max_batch=3, max_depth=5, max_nodes=20)
IDS = st.integers(-(2**53) + 1, 2**53 - 1) | st.text("aé 1", min_size=1, max_size=4)
METHODS = st.text("ab/$é", min_size=1, max_size=9)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def read(value: Any, cancellation: plane.RpcCancellation = "none") -> list[plane.RpcMessage]:
    text = value if isinstance(value, bytes) else orjson.dumps(value)
    return plane.read_rpc(text, bounds=BOUNDS, cancellation=cancellation)


def one(**members: Any) -> plane.RpcMessage:
    [message] = read({"jsonrpc": "2.0", **members})
    return message


def test_the_four_kinds():
    request = one(id=7, method="sum", params=[1])
    assert (request.kind, request.request_id, request.method) == (RpcKind.REQUEST, 7, "sum")
    assert one(method="sum", params={}).kind is RpcKind.NOTIFICATION
    assert one(method="sum", params=None).kind is RpcKind.NOTIFICATION
    result = one(id="a", result=None)
    assert (result.kind, result.request_id, result.error, result.part()) == (RpcKind.RESPONSE, "a", None, b"null")
    failure = one(id=None, error={"code": -32700, "message": "no", "data": [1]})
    assert (failure.kind, failure.request_id, failure.error) == (RpcKind.RESPONSE, None, (-32700, "no"))
    assert orjson.loads(failure.part()) == {"code": -32700, "message": "no", "data": [1]}


@pytest.mark.parametrize(
    "value",
    [
        1,
        "text",
        None,
        {},
        {"id": 1, "method": "m"},
        {"jsonrpc": "1.0", "id": 1, "method": "m"},
        {"jsonrpc": 2.0, "id": 1, "method": "m"},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": 1, "method": 5},
        {"jsonrpc": "2.0", "id": 1, "method": ""},
        {"jsonrpc": "2.0", "id": 1, "method": "m" * 201},
        {"jsonrpc": "2.0", "id": 1, "method": "m", "params": "p"},
        {"jsonrpc": "2.0", "id": 1, "method": "m", "result": 1},
        {"jsonrpc": "2.0", "id": 1.5, "method": "m"},
        {"jsonrpc": "2.0", "id": True, "method": "m"},
        {"jsonrpc": "2.0", "id": None, "method": "m"},
        {"jsonrpc": "2.0", "id": [1], "method": "m"},
        {"jsonrpc": "2.0", "id": "", "method": "m"},
        {"jsonrpc": "2.0", "id": "a\n", "method": "m"},
        {"jsonrpc": "2.0", "id": "x" * 201, "result": 1},
        {"jsonrpc": "2.0", "id": 2**53, "result": 1},
        {"jsonrpc": "2.0", "id": None, "result": 1},
        {"jsonrpc": "2.0", "result": 1},
        {"jsonrpc": "2.0", "id": 1, "result": 1, "error": None},
        {"jsonrpc": "2.0", "id": 1, "error": "no"},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": "x", "message": "no"}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": True, "message": "no"}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 1}},
    ],
)
def test_json_that_is_no_message(value: Any):
    [message] = read(value)
    assert message.kind is RpcKind.INVALID
    assert message.fault


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"a":1} {}', "not_json"),
        (b"NaN", "not_json"),
        (b'"\xff"', "not_json"),
        (b'"\\ud800"', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[[[[[[]]]]]]", "too_deep"),
        (b"[[" + b"1," * 20 + b"1]]", "too_many_values"),
        (b"[1,1,1,1]", "batch_too_large"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","id":2}', "key_stands_twice"),
        (b'{"jsonrpc":"2.0","method":"m","params":{"a":{"x":1,"\\u0078":{"y":":"}}}}', "key_stands_twice"),
        (b'[{"\\"":":","\\"":"\\\\"}]', "key_stands_twice"),
    ],
)
def test_text_that_cannot_be_read(text: bytes, code: str):
    with pytest.raises(plane.FramingError) as caught:
        read(text)
    assert caught.value.code == code


def test_a_batch():
    batch = read([{"jsonrpc": "2.0", "id": 1, "result": 1}, 5, {"jsonrpc": "2.0", "method": "m"}])
    assert [message.kind for message in batch] == [RpcKind.RESPONSE, RpcKind.INVALID, RpcKind.NOTIFICATION]
    assert batch[1].content == b"5"
    assert read(plane.rpc_batch([message.content for message in batch])) == batch


def test_a_batch_of_nothing_is_one_invalid_message():
    [message] = read([])
    assert message.kind is RpcKind.INVALID


def test_integers_stay_exact_however_long():
    [message] = read(b'[{"jsonrpc":"2.0","id":1,"result":123456789012345678901234567890}]')
    assert message.part() == b"123456789012345678901234567890"


@given(
    request_id=IDS, method=METHODS, params=st.lists(VALUES, max_size=2) | st.dictionaries(st.text(), VALUES, max_size=2)
)
def test_a_request_is_read_as_it_was_written(request_id: plane.RpcId, method: str, params: Any):
    text = plane.rpc_request(request_id, method, plane.json_text(params))
    [message] = plane.read_rpc(text, bounds=plane.RpcBounds())
    assert (message.kind, message.request_id, message.method) == (RpcKind.REQUEST, request_id, method)
    assert (type(message.request_id), message.content) == (type(request_id), text)
    assert kernel.read_json(text) == {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


@given(request_id=IDS, code=st.integers(-40000, 40000), words=st.text(max_size=9))
def test_an_error_is_read_as_it_was_written(request_id: plane.RpcId, code: int, words: str):
    [message] = read(plane.rpc_error(request_id, plane.RpcError(code, words)))
    assert (message.request_id, message.error) == (request_id, (code, words))


def test_keys_and_texts_may_be_full_of_colons():
    value = {"jsonrpc": "2.0", "method": "m", "params": {':"': '\\":":', "\\": "::", "": ["a:b", {":": ":"}]}}
    [message] = read(value)
    assert orjson.loads(message.content) == value


@given(VALUES, st.sampled_from(["a", "é", '"', "\\", ":"]))
def test_a_key_that_stands_twice_is_found_beside_any_value(value: Any, key: str):
    member = plane.json_text({key: value})[1:-1]
    text = b'{"jsonrpc":"2.0","method":"m","params":{%b}}'
    bounds = plane.RpcBounds(max_depth=100)
    [message] = plane.read_rpc(text % member, bounds=bounds)
    assert message.kind is RpcKind.NOTIFICATION
    with pytest.raises(plane.FramingError, match="twice"):
        plane.read_rpc(text % (member + b" , " + member), bounds=bounds)


@given(
    st.binary(max_size=40)
    | VALUES.map(plane.json_text)
    | st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]), st.just("2.0") | VALUES
    ).map(plane.json_text)
)
def test_bytes_of_any_kind_are_messages_or_a_framing_error(text: bytes):
    try:
        messages = read(text)
    except plane.FramingError:
        return
    assert messages
    for message in messages:
        assert (message.fault is not None) == (message.kind is RpcKind.INVALID)
        assert plane.read_rpc(message.content, bounds=plane.RpcBounds())


@pytest.mark.parametrize(("cancellation", "member"), [("lsp", "id"), ("mcp", "requestId")])
def test_a_withdrawal_names_its_request(cancellation: plane.RpcCancellation, member: str):
    text = plane.rpc_cancellation(cancellation, 5)
    assert text is not None
    [message] = read(text, cancellation)
    assert (message.kind, message.withdraws) == (RpcKind.NOTIFICATION, 5)
    assert orjson.loads(text)["params"] == {member: 5}
    assert read(text)[0].withdraws is None


def test_there_may_be_no_way_to_withdraw():
    assert plane.rpc_cancellation("none", 5) is None


# -- which answer belongs to which request


def request(request_id: plane.RpcId) -> plane.RpcMessage:
    return one(id=request_id, method="m")


def response(request_id: plane.RpcId) -> plane.RpcMessage:
    return one(id=request_id, result=1)


def test_answers_that_belong_to_nothing_are_named():
    correlation = plane.Correlation(max_pending=9, cancellation="mcp")
    asked = [request(1), request("1"), request(2), request(3)]
    assert correlation.send(asked, expires_at=10) is None
    assert (correlation.pending, correlation.next_expiry) == (4, 10)
    assert correlation.settle(response("1")) is None
    assert correlation.settle(response("1")) == "duplicate"
    assert correlation.settle(response(1)) is None
    assert correlation.settle(response(9)) == "unknown"
    text = plane.rpc_cancellation("mcp", 2)
    assert text is not None
    assert correlation.send(read(text, "mcp"), expires_at=10) is None
    assert correlation.settle(response(2)) == "withdrawn"
    assert correlation.expire(9.9) == []
    assert correlation.expire(10) == [3]
    assert correlation.settle(response(3)) == "expired"
    assert correlation.settle(one(id=None, error={"code": 1, "message": "m"})) == "without_id"
    assert (correlation.pending, correlation.next_expiry) == (0, None)


def test_a_language_server_still_answers_what_was_withdrawn():
    correlation = plane.Correlation(max_pending=9, cancellation="lsp")
    text = plane.rpc_cancellation("lsp", 1)
    assert text is not None
    assert correlation.send([request(1), *read(text, "lsp")], expires_at=10) is None
    assert correlation.settle(response(1)) is None


def test_what_must_not_go_out_is_refused_whole():
    correlation = plane.Correlation(max_pending=3)
    assert correlation.send([request(1)], expires_at=10) is None
    assert correlation.send([request(1)], expires_at=10) == "duplicate_id"
    assert correlation.send([request(2), request(2)], expires_at=10) == "duplicate_id"
    assert correlation.send([request(2), request(3), request(4)], expires_at=10) == "too_many_requests"
    assert correlation.send([response(1)], expires_at=10) == "unknown_id"
    assert correlation.send(read([]), expires_at=10) == "invalid"
    assert correlation.pending == 1


def test_the_peers_requests_are_answered_once():
    correlation = plane.Correlation(max_pending=2, cancellation="mcp")
    assert correlation.asked(request("a")) is None
    assert correlation.asked(request("a")) == (plane.INVALID_REQUEST, "a request with this id is still open")
    assert correlation.asked(request("b")) is None
    assert correlation.asked(request("c")) == (plane.OVERLOADED, "too many requests are open")
    assert correlation.send([response("a")], expires_at=1) is None
    assert correlation.send([response("a")], expires_at=1) == "unknown_id"
    correlation.withdrawn("b")
    assert correlation.send([response("b")], expires_at=1) == "unknown_id"


def test_ids_of_our_own_avoid_the_callers():
    correlation = plane.Correlation(max_pending=9)
    assert correlation.send([request(1), request(3)], expires_at=1) is None
    assert [correlation.new_id(), correlation.new_id()] == [2, 4]


class Conversation(RuleBasedStateMachine):
    """Against a model that forgets nothing: each request is answered at most once, whatever arrives."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.correlation = plane.Correlation(max_pending=4)
        self.open: dict[plane.RpcId, int] = {}
        self.now = 0

    @rule(target=ids, request_id=st.integers(0, 8) | st.sampled_from("abc"))
    def send(self, request_id: plane.RpcId) -> Any:
        refusal = self.correlation.send([request(request_id)], expires_at=self.now + 3)
        assert refusal == (
            "duplicate_id" if request_id in self.open else "too_many_requests" if len(self.open) == 4 else None
        )
        if refusal is not None:
            return cast("Any", multiple)()
        self.open[request_id] = self.now + 3
        return request_id

    @rule(request_id=consumes(ids) | st.integers(0, 8))
    def answer(self, request_id: plane.RpcId) -> None:
        assert (self.correlation.settle(response(request_id)) is None) == (request_id in self.open)
        self.open.pop(request_id, None)

    @rule(later=st.integers(0, 2))
    def expire(self, later: int) -> None:
        self.now += later
        over = {request_id for request_id, expires_at in self.open.items() if expires_at <= self.now}
        assert set(self.correlation.expire(self.now)) == over
        for request_id in over:
            del self.open[request_id]

    @invariant()
    def same(self) -> None:
        assert self.correlation.pending == len(self.open)
        assert self.correlation.next_expiry == min(self.open.values(), default=None)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=40, stateful_step_count=20)
