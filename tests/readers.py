"""All that reads bytes from outside, each as a function of bytes, for fuzzing: a reader may refuse what it is given with the
error that it promises, and do nothing else. It returns whether it took it.

`tests/unit/test_readers.py` tries them a little with every run, `make fuzz` tries them for long, led by coverage. An input
that has shown a fault is kept in `tests/faulty_inputs/NAME/` and tried for ever.
"""

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import orjson
from pydantic import ValidationError

import fix_review
from fix_plane import Bench, Intents
from interlock import budgets, plane, policy, runs, sdk
from interlock.adapters.lanes.body import Body
from interlock.adapters.lanes.process.lines import Lines
from interlock.kernel import InvalidJson, JsonLimits, canonical, check_json, parse_json, parse_yaml
from interlock.runs import signing

KEPT: Final = Path(__file__).parent / "faulty_inputs"
SMALL: Final = JsonLimits(max_bytes=65_536, max_depth=12, max_nodes=2_000)


@dataclass(frozen=True)
class Reader:
    """`read` raises for a fault. It takes each of the `seeds`."""

    read: Callable[[bytes], bool]
    seeds: tuple[bytes, ...]

    def inputs(self) -> list[bytes]:
        """What is tried first: the seeds, and what has shown a fault once."""
        return [*self.seeds, *(path.read_bytes() for path in sorted((KEPT / self.name).glob("*")))]

    @property
    def name(self) -> str:
        return self.read.__name__


READERS: Final[dict[str, Reader]] = {}


def reads(*seeds: bytes) -> Callable[[Callable[[bytes], bool]], Callable[[bytes], bool]]:
    """Enter the function as a reader."""

    def enter(read: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
        READERS[read.__name__] = Reader(read, seeds)
        return read

    return enter


def pieces(data: bytes) -> Iterator[bytes]:
    """The same bytes in small pieces, whose sizes the bytes themselves say."""
    at = 0
    while at < len(data):
        size = 1 + data[at] % 7
        yield data[at : at + size]
        at += size


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# -- texts of values


@reads(b'{"a":[1,-2.5e-7,1e21,true,null,"\\u00e9\\ud83d\\ude00"],"\xc3\xa4":{"":9007199254740991}}', b"[[[[]]]]", b"0")
def json_text(data: bytes) -> bool:
    """JSON, and its canonical form."""
    try:
        value = parse_json(data, limits=SMALL, unique=True)
    except InvalidJson:
        return False
    once = canonical(value)
    again = parse_json(once, limits=SMALL, unique=True)
    assert canonical(again) == once
    return True


@reads(b"a: [1, x, null, 'y']\nb:\n  - c: 1.5\n  - d: {e: ~}\n", b"- |\n  text\n- >-\n  folded\n  text\n")
def yaml_text(data: bytes) -> bool:
    """YAML, read as JSON would be."""
    try:
        value = parse_yaml(data.decode(), limits=SMALL, what="text")
        check_json(value, limits=SMALL, what="text")
    except (ValueError, InvalidJson):
        return False
    canonical(value)
    return True


# -- contracts


def _contracts(root: type[plane.Contract] = plane.Contract) -> Iterator[type[plane.Contract]]:
    for kind in root.__subclasses__():
        if kind.__module__.startswith("interlock.") and "contract" in kind.model_fields:
            yield kind
        yield from _contracts(kind)


CONTRACTS: Final = tuple(sorted(set(_contracts()), key=lambda kind: kind.__name__))


def _intents() -> Iterator[plane.Contract]:
    made = Intents()
    http = made.http(body=b"{}", headers=(("Content-Type", "application/json"),), method="POST")
    whose: dict[str, Any] = {name: getattr(http, name) for name in plane.Intent.model_fields}
    web: dict[str, Any] = {"allowed_hosts": ("api.acme.dev:443",), **whose}
    yield http
    profile = plane.SandboxProfile(read=("/usr",), write=("/tmp/x",))
    yield plane.ProcessIntent(**whose, argv=("/bin/true", "--x"), env=(("A", "b"),), sandbox=profile)
    yield plane.SseIntent(**web, url="https://api.acme.dev/events")
    yield plane.WebSocketIntent(**web, url="wss://api.acme.dev/talk", subprotocols=("chat",))
    yield plane.ScriptIntent(**whose, source="1 + 1", actions=(plane.ScriptAction(name="look"),))
    transport = plane.TcpTransport(address="a.b:7", framing="newline", allowed_hosts=("a.b:7",))
    yield plane.JsonRpcIntent(**whose, transport=transport, mode="call", method="ping", params=b"[1]")
    authorizer = plane.Authorizer(clock=made.clock, random_bytes=lambda size: b"k" * size)
    yield authorizer.issue(http.digest, audience="node", target_class="class")
    attestation = plane.LocalTarget("t", target_class="class", lane_id="http", clock=made.clock).describe()
    yield attestation
    yield attestation.attestation


@reads(*(each.canonical.encode() for each in _intents()))
def contract(data: bytes) -> bool:
    """A record of any contract: what is taken is the same after a round trip, whoever reads it."""
    taken = False
    for kind in CONTRACTS:
        try:
            value = kind.model_validate_json(data)
        except ValidationError:
            continue
        taken = True
        again = kind.model_validate_json(value.canonical)
        assert (again.canonical, again.digest) == (value.canonical, value.digest), kind
    return taken


async def _receipt() -> plane.Receipt:
    made = Intents()
    answers = plane.parse_scenario('{"name":"n","rules":[{"when":{"kind":"http"},"answer":{"status":200}}]}')
    target = plane.LocalTarget("sim", target_class="made-up", lane_id=plane.SIMULATED, clock=made.clock)
    return await Bench(made, plane.simulate(answers), [target]).execute(made.http(), "made-up")


RECEIPT: Final = anyio.run(_receipt).canonical.encode()


def _record() -> bytes:
    receipt = plane.Receipt.model_validate_json(RECEIPT)
    body = plane.CapturedBody(media_type=None, base64="")
    return (
        plane.EvidenceRecord.of(Intents().http(), receipt, capture=plane.Capture.FULL, body=body)
        .sealed(None)
        .canonical.encode()
        + b"\n"
    )


@reads(RECEIPT, _record(), _record() * 2)
def evidence(data: bytes) -> bool:
    """Receipts from elsewhere: each chain is whole, or the first wrong link is named."""
    try:
        proofs = plane.read_proofs(data)
    except plane.InvalidPacket:
        return False
    receipts = [each if isinstance(each, plane.Receipt) else each.receipt for each in proofs]
    assert not any(plane.verify_proof(each).ok for each in proofs), "nobody signed it"
    wrong = [plane.verify_evidence(each) for each in receipts]
    for receipt, link in zip(receipts, wrong, strict=True):
        assert link is None or 1 <= link <= len(receipt.evidence) + 1
    return not any(wrong)


@reads(*(each.canonical.encode() for each in _intents() if isinstance(each, plane.AuthorityDecision)))
def forged_authority(data: bytes) -> bool:
    """A decision from outside: this node has issued none, so it takes none."""
    try:
        decision = plane.AuthorityDecision.model_validate_json(data)
    except ValidationError:
        return False
    clock = Intents().clock
    mac = plane.Authorizer(clock=clock).verifier()
    signed = plane.SignatureVerifier({}, clock=clock)
    asked: dict[str, str] = {
        "intent_digest": decision.intent_digest,
        "audience": decision.audience,
        "target_class": decision.target_class,
    }
    assert mac.spend(decision, **asked)
    assert signed.spend(decision, **asked)
    return True


# -- streams that are cut into messages


@reads(
    b": hi\nid: 7\nevent: note\nretry: 10\ndata: one\ndata:two\n\ndata\r\n\r\n",
    b"\xef\xbb\xbfdata: \xff\r\rid: a\x00b\n\n",
)
def event_stream(data: bytes) -> bool:
    """Server-sent events: any split gives the same."""

    def read(parts: Sequence[bytes]) -> tuple[list[plane.ServerEvent], bool, str, int | None]:
        stream, events, whole = plane.EventStream(max_event_bytes=64), list[plane.ServerEvent](), True
        try:
            for part in parts:
                events.extend(_each(stream.feed(part)))
        except plane.EventTooLarge:
            whole = False
        return (events, whole, stream.last_event_id, stream.retry_ms) if whole else (events, whole, "", None)

    once, apart = read([data]), read([*pieces(data)])
    assert once[1] == apart[1]
    if once[1]:
        assert once == apart
    for event in once[0]:
        assert len(event.data) <= 3 * 64  # a byte that is no UTF-8 becomes three
        event.data.decode()
    return bool(once[0])


def _each(events: Iterator[Any]) -> list[Any]:
    return list(events)


def _framed(name: plane.FramingName, data: bytes) -> bool:
    def read(parts: Sequence[bytes]) -> tuple[list[bytes], str | None]:
        framing, messages = plane.make_framing(name, max_bytes=64), list[bytes]()
        try:
            for part in parts:
                for message in framing.feed(part):
                    messages.append(message)
            framing.finish()
        except plane.FramingError as error:
            return messages, error.code
        return messages, None

    messages, fault = read([data])
    assert (messages, fault) == read([*pieces(data)])
    assert all(len(message) <= 64 for message in messages)
    encode = plane.make_framing(name, max_bytes=64).encode
    if name == "content-length":
        assert read([b"".join(map(encode, messages))]) == (messages, None)
    return bool(messages) and fault is None


@reads(b'{"jsonrpc":"2.0"}\n\r\n[1]\r\n', b"1\n2\n")
def newline_framing(data: bytes) -> bool:
    return _framed("newline", data)


@reads(b"Content-Length: 2\r\n\r\n{}Content-Type: x; charset=utf-8\r\ncontent-length:3\r\n\r\n[1]")
def header_framing(data: bytes) -> bool:
    return _framed("content-length", data)


@reads(
    b'{"jsonrpc":"2.0","id":1,"method":"a","params":{}}',
    b'[{"jsonrpc":"2.0","id":"x","result":null},{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}]',
    b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}',
)
def rpc_messages(data: bytes) -> bool:
    """What a peer says, in the middle of a conversation."""
    bounds = plane.RpcBounds(max_batch=5, max_depth=8, max_nodes=100)
    correlation = plane.Correlation(max_pending=3, cancellation="lsp")
    asked = plane.read_rpc(plane.rpc_request(1, "ask"), bounds=bounds)
    assert correlation.send(asked, expires_at=10.0) is None
    try:
        messages = plane.read_rpc(data, bounds=bounds, cancellation="lsp")
    except plane.FramingError:
        return False
    for message in messages:
        if message.kind is plane.RpcKind.RESPONSE:
            correlation.settle(message)
            orjson.loads(message.part())
        elif message.kind is plane.RpcKind.REQUEST:
            correlation.asked(message)
            answer = plane.rpc_error(message.request_id, plane.RpcError(plane.METHOD_NOT_FOUND, "no"))
            assert plane.read_rpc(answer, bounds=bounds)[0].kind is plane.RpcKind.RESPONSE
        elif message.withdraws is not None:
            correlation.withdrawn(message.withdraws)
        assert plane.read_rpc(message.content, bounds=bounds, cancellation="lsp")[0].kind is message.kind
    correlation.send(messages, expires_at=11.0)
    assert correlation.pending <= 3
    correlation.expire(20.0)
    assert correlation.pending == 0
    return messages[0].kind is not plane.RpcKind.INVALID


@reads(b"one\ntwo\r\nthree\rfour", b"\xff\xfe\n\x00")
def output_lines(data: bytes) -> bool:
    """Lines of a command: together all that was written, however it arrives."""

    def read(parts: Sequence[bytes]) -> list[bytes]:
        lines = Lines(limit=16)
        return [line for part in parts for line in lines.feed(part)] + list(lines.finish())

    once = read([data])
    assert once == read([*pieces(data)])
    assert b"".join(once) == data
    assert all(len(line) <= 16 for line in once)
    return True


@reads(gzip.compress(b"hello", mtime=0), gzip.compress(b"", mtime=0) + gzip.compress(b"x" * 4000, mtime=0))
def gzip_body(data: bytes) -> bool:
    """An answer's body under gzip: never more than the limit."""

    def read(parts: Sequence[bytes]) -> bytes | None:
        body = Body(coding="gzip", limit=4096)
        try:
            for part in parts:
                body.feed(part)
            return body.whole()
        except plane.LaneFailure:
            return None

    whole = read([data])
    assert whole == read([*pieces(data)])
    assert whole is None or len(whole) <= 4096
    return whole is not None


# -- places


@reads(b"https://api.acme.dev:8443/a/b?c=%20", b"http://[::1]:8080/", b"wss://acme.dev/x")
def url(data: bytes) -> bool:
    """What is taken for a host here, Python's own parser takes for it, too; and in normal form it stays as it is."""
    text = text_of(data)
    taken = False
    for parse in (plane.parse_url, plane.parse_websocket_url, plane.parse_base):
        try:
            found = parse(text)
        except ValueError:
            continue
        taken = True
        whole = found if found.target else found._replace(target="/")
        assert plane.parse_url(whole.text) == whole
        split = urlsplit(whole.text)
        assert (split.hostname, split.port or whole.port) == (whole.host, whole.port)
        assert split.username is None
    base = plane.parse_url("https://api.acme.dev/a/b")
    with suppress(ValueError):
        led = plane.resolve_location(base, text)
        assert plane.parse_url(led.text) == led
    return taken


@reads(b"api.acme.dev:443", b"10.0.0.0/8", b"[::1]:80", b"::ffff:127.0.0.1")
def allowance(data: bytes) -> bool:
    """An operator's allowance, or an address that a resolver gave."""
    text = text_of(data)
    assert plane.AddressPolicy().refusal("acme.dev", 443, text) != ""
    try:
        allowed = plane.AddressPolicy(allow=(text,))
    except plane.InvalidAllowance:
        return False
    allowed.refusal("acme.dev", 443, "127.0.0.1")
    return True


# -- files that people write


@reads(
    b'{"name":"n","rules":[{"when":{"kind":"http","fields":{"url":"*"}},"answer":{"status":200,"json":{"a":1}}}]}',
    b"name: n\nrules:\n- when: {kind: process}\n  times: 2\n  answer:\n    output: [{stream: stdout, base64: aGk=}]\n",
)
def scenario(data: bytes) -> bool:
    try:
        found = plane.parse_scenario(data)
    except plane.InvalidScenario:
        return False
    assert plane.parse_scenario(canonical(found.record())) == found
    return True


def _policy(data: bytes, source: str) -> bool:
    try:
        document = policy.parse_document(data, source=source)
        policy.from_policy_file(document)
        budgets.parse_rules(document.value.get("budgets", []), locate=document.locate)
    except (policy.InvalidPolicy, budgets.InvalidBudget):
        return False
    return True


@reads(
    b'[policy]\ndefault = "deny"\n[[policy.rules]]\nid = "a"\nthen = "ask"\neffect = ["update"]\n'
    b'[[budgets]]\nname = "b"\nper = "tenant"\nrate = {limit = 1, per_seconds = 60}\n'
)
def policy_toml(data: bytes) -> bool:
    return _policy(data, "policy.toml")


@reads(b'{"policy": {"default": "deny", "rules": [{"id": "a", "then": "ask", "effect": ["read"]}]}, "budgets": []}')
def policy_json(data: bytes) -> bool:
    return _policy(data, "policy.json")


@reads(b"policy:\n  default: deny\n  rules:\n  - {id: a, then: ask, connector: 'git*'}\nbudgets: []\n")
def policy_yaml(data: bytes) -> bool:
    return _policy(data, "policy.yaml")


@reads(
    b"""contract: interlock.connector/v1
connector_id: tiny
version: 0.1.0
display_name: Tiny
description: on
auth: [{profile_id: none, grant: {type: none}, base_url: "https://api.example"}]
runtime_classes: [direct]
errors:
  - {status: "418", code: resource_conflict}
operations:
  - operation_id: tea.pour
    display_name: Pour
    description: Pour.
    effect: create
    input_schema: {type: object, properties: {cup: {type: string}}, required: [cup], additionalProperties: false}
    output_schema: {type: object, properties: {cups: {type: integer}}}
    http: {method: POST, path: "/tea/{cup}"}
"""
)
def manifest(data: bytes) -> bool:
    try:
        sdk.load_manifest(data)
    except sdk.InvalidManifest:
        return False
    return True


# -- what is kept


TRUST: Final = signing.Trust(fix_review.Signer().public_keys())


@reads(fix_review.refused(runs.State.DENIED).packet(), fix_review.completed().packet())
def packet(data: bytes) -> bool:
    """A review packet: a verdict on any bytes, and never a good one for what somebody else made."""
    verdict = runs.verify.verify(data, trust=TRUST)
    assert not verdict.ok or data in READERS["packet"].seeds, "nobody else has the key"
    return verdict.ok


ARCHIVE: Final = fix_review.archive(fix_review.completed(), fix_review.refused(runs.State.DENIED))


@reads(ARCHIVE)
def archive(data: bytes) -> bool:
    """An archive: a verdict on any bytes, and never a good one for what somebody else made."""
    verdict = runs.verify_archive.verify_archive(data, trust=TRUST, most_bytes=65_536)
    assert not verdict.ok or gzip.decompress(data) == gzip.decompress(ARCHIVE), "nobody else has the key"
    return verdict.ok
