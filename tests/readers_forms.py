"""Readers, continued (`readers.py`): what programs, people and far sides hand in, piece by piece or in one text."""

import asyncio
import base64
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel

import fix_connector
from far_places import TOKEN
from fix_peer import Conversation, listen
from fix_plane import Intents
from fix_streams import LOOPBACK
from interlock import agents, app, catalog, connections, plane, runs, sdk, testing, triggers
from interlock.adapters.lanes import GuestPlace
from interlock.adapters.lanes.places.frames import BadFrame, Frames
from interlock.adapters.lanes.places.handshake import prove
from interlock.adapters.lanes.places.link import Link, LinkLost
from interlock.adapters.lanes.process.keepers import NotStarted
from interlock.cli import inputs
from interlock.cli.errors import Usage
from interlock.connections import answer
from interlock.kernel import InvalidJson, from_rfc3339, parse_json, to_rfc3339
from interlock.runs import signing
from interlock.server import identity
from interlock.server.errors import Unauthenticated
from readers import READERS, RECEIPT, pieces, reads, text_of

SINCE: Final = from_rfc3339("2026-03-01T00:00:00Z")

# -- texts


@reads(b'{"contract":"interlock.agent-snapshot/v1","key_id":"key_1","signature":"AA==","tenant_id":"t1","state":{}}')
def snapshot(data: bytes) -> bool:
    """A snapshot of a turn: signed by nobody who is trusted, it is never read."""
    try:
        agents.snapshots.load(data, keys={"key_1": base64.b64encode(bytes(32)).decode()}, tenant_id="t1")
    except (
        agents.snapshots.InvalidSnapshot,
        agents.snapshots.SnapshotTampered,
        agents.snapshots.SnapshotTooNew,
        agents.snapshots.ForeignSnapshot,
    ) as error:
        return isinstance(error, agents.snapshots.SnapshotTampered)
    raise AssertionError("nobody has signed it")


@reads(
    b"a:\n  auth_mode: API_KEY\n  proxy: {base_url: 'https://${connectionConfig.x}.b.dev', headers: {x-k: '${apiKey}'}}",
    b'{"a": {"oauth": 2, "authorize_url": "https://[x].b.dev/a", "access_url": "https://b.dev/t"}}',
)
def catalogue(data: bytes) -> bool:
    """A catalogue of providers, in every format."""
    taken = False
    for form in ("nango", "grant"):
        with suppress(sdk.InvalidProvider):
            found = catalog.read_catalogue(data, form=form, source="a file")
            taken = taken or any(each.provider is not None for each in found.entries)
    return taken


@reads(
    b"id: desk\ninstructions: Answer.\noperations:\n- {name: a, idempotency: pure, source: {kind: mcp, ref: b}}",
    b'{"id": "desk", "instructions": "|\\n a", "result": {"schema": {"type": "object"}}, "memory": {"max_entries": 2}}',
)
def agent_spec(data: bytes) -> bool:
    """The spec of an agent, and the documents that are written of it."""
    try:
        spec = agents.read_spec(data)
    except agents.InvalidSpec:
        return False
    assert agents.read_spec(agents.write_spec(spec)) == spec
    assert agents.read_spec(agents.write_spec(spec, "json")) == spec
    return True


@reads(b"30 9 * * MON-FRI", b"*/5 0-6/2 L * 5L", b"0 0 LW 2 FRI#2", b"@daily")
def cron_expression(data: bytes) -> bool:
    try:
        timing = triggers.schedules.Cron(expression=text_of(data), zone="Europe/Berlin")
    except triggers.schedules.InvalidSchedule:
        return False
    found = triggers.schedules.preview(timing, SINCE, count=3)
    assert found == sorted({*found})
    assert found[0] > SINCE
    return True


@reads(
    b'{"things": [{"id": 1, "changed": "2026-03-01T00:00:00Z"}, {"id": "b", "changed": "2026-03-01T01:00:00+01:00"}], "next": 2}'
)
def polled_page(data: bytes) -> bool:
    """What a service answers to a poll, by moments and by a cursor."""
    listing = sdk.Listing(
        operation="thing.list", items="/things", moment="/changed", since_field="since", following="/next",
        following_field="page",
    )  # fmt: skip
    by_cursor = sdk.Listing(operation="thing.list", items="/things", cursor="/next", cursor_field="page")
    try:
        output = parse_json(data)
        for each in (listing, by_cursor):
            read = triggers.polling.read(each, triggers.polling.begin(each, None, SINCE), None, output)
            assert all(0 < len(item.key) <= 150 for item in read.items)
            triggers.polling.begin(each, read.mark, SINCE)
    except (InvalidJson, triggers.polling.PollFailed):
        return False
    return True


@reads(b"interlock://v1/run/run_1", b"interlock://v1/target/a%2Fb%20c%3F", b"interlock://v1/event/%C3%A4")
def reference(data: bytes) -> bool:
    try:
        kind, found = runs.refs.parse(text_of(data))
    except runs.refs.InvalidRef:
        return False
    assert runs.refs.derive(kind, found) == text_of(data)
    return True


@reads(b"2026-11-20T11:25:09.000001Z", b"2026-11-20T12:25:09+01:00")
def moment(data: bytes) -> bool:
    """A time in an event, a packet or a file."""
    try:
        found = from_rfc3339(text_of(data))
    except ValueError:
        return False
    assert from_rfc3339(to_rfc3339(found)) == found
    return True


@reads(b'title=It broke\nnumber=7\nlabels:=["a"]', b"body=7\nnumber=x")
def fields(data: bytes) -> bool:
    """A capability's input on the command line, one argument a line."""
    schema = {"properties": {"number": {"type": "integer"}, "labels": {"type": "array"}, "body": {"type": "string"}}}
    try:
        found = inputs.parse_pairs(text_of(data).split("\n"), schema)
    except (Usage, InvalidJson):
        return False
    assert isinstance(found.get("body", ""), str)
    return True


# -- files that people write


@reads(signing.Trust({"k": "A" * 43 + "="}).dump())
def trust_file(data: bytes) -> bool:
    try:
        trust = signing.Trust.parse(data)
    except signing.InvalidTrust:
        return False
    assert signing.Trust.parse(trust.dump()) == trust
    assert all(base64.b64encode(base64.b64decode(key)).decode() == key for key in trust.keys.values())
    return True


@reads(
    b'tenant = "acme"\n[execution]\nretry_wait = 1.5\n[[execution.places]]\nurl = "guest+unix:///run/g"\ntoken = "t"\n'
)
def settings_file(data: bytes) -> bool:
    try:
        app.load(app.parse_file(Path("/etc/interlock.toml"), data))
    except app.InvalidSettings:
        return False
    return True


# -- what a service, a handler and a client say


@reads(
    b'201\nlocation: /x\n\n{"number":7,"title":"Leak","body":null,"user":{"login":"octo"},"labels":[]}',
    b"429\nretry-after: 7\nx-ratelimit-reset: 9\ndate: Sun, 01 Mar 2026 12:00:00 GMT\n\n{}",
    b"503\nretry-after: 99999999\n\n",
    b'422\n\n{"code":"taken","message":"no"}',
)
def service_answer(data: bytes) -> bool:
    """A connector's operation, answered so: an output, or a failure with a wait of bounded length."""
    head, _, body = data.partition(b"\n\n")
    status, *lines = head.decode("latin-1").split("\n")
    if not (status.isascii() and status.isdigit() and 100 <= int(status[:9]) <= 599):
        return False
    named = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    program = sdk.program(_CREATE, {"repo": "a/b", "title": "T"}, fix_connector.FACTS)
    next(program)
    wait: float | None = None
    try:
        program.send(sdk.HttpResponse(status=int(status[:9]), headers=named, body=body))
    except sdk.OperationFailed as failed:
        wait = failed.retry_after
    except StopIteration:
        pass
    assert wait is None or 0 <= wait <= 7 * 86_400
    return True


_CREATE: Final = fix_connector.operation("ticket.create")


@reads(
    b'{"request":{"method":"POST","path":"/x","query":[["a","b"]],"headers":[],"body":{"a":[1]}}}\n',
    b'{"call":{"handler":"m:f","input":{}}}\n',
    b'{"response":{"status":200,"headers":[["a","b"]],"body":"aGk="}}\n',
)
def handler_line(data: bytes) -> bool:
    """A line of a handler in a child process, in either direction: as it was meant, or refused."""
    try:
        kind, content = sdk.messages.decode(data)
        if kind == "request":
            asked = sdk.messages.request_from(content)
            assert sdk.messages.request_from(sdk.messages.request_content(asked)) == asked
        elif kind == "response":
            told = sdk.messages.response_from(content)
            assert sdk.messages.response_from(sdk.messages.response_content(told)) == told
        elif kind == "call":
            sdk.messages.call_from(content)
    except sdk.HandlerFailed:
        return False
    return True


_INTENT: Final = Intents().http(body=b"{}", method="POST")
_AUTHORITY: Final = plane.Authorizer(clock=testing.ManualClock(), random_bytes=lambda size: b"k" * size).issue(
    _INTENT.digest, audience="node", target_class="class"
)
_REQUEST: Final = plane.ExecutionRequest(intent=_INTENT, authority=_AUTHORITY, target_class="class")
_EVENT: Final = plane.ExecutionEvent(
    execution_id="exe_1",
    seq=1,
    type=plane.EventType.OUTPUT,
    at=testing.ManualClock().now(),
    stream="stdout",
    size=2,
    data=b"hi",
)


@reads(plane.pack_request(_REQUEST), plane.pack_event(_EVENT))
def node_packet(data: bytes) -> bool:
    """What a node and its client send each other, with the bytes that travel beside a record."""
    taken = False
    for unpack, pack in (
        (plane.unpack_request, plane.pack_request),
        (plane.unpack_event, plane.pack_event),
        (plane.unpack_status, plane.pack_status),
    ):
        try:
            found: Any = unpack(data)
        except plane.InvalidPacket:
            continue
        assert unpack(pack(found)) == found
        assert not isinstance(found, plane.ExecutionEvent) or found.receipt or found.size == len(found.data)
        taken = True
    return taken


_TOKEN: Final = b"Bearer " + base64.urlsafe_b64encode(_AUTHORITY.canonical.encode()).rstrip(b"=")


@reads(_TOKEN, b"Bearer e30\nsha-256=:" + b"A" * 43 + b"=:")
def client_token(data: bytes) -> bool:
    """The headers by which a client says who it is: this node trusts no key, so it knows nobody."""
    authorization, _, digest = text_of(data).partition("\n")
    clients = identity.Clients("node", listed=(), token_keys={}, clock=testing.ManualClock())
    try:
        claimed = identity.claimed_digest(digest or None)
        clients.identify(None, authorization, method="GET", target="/v1/node", body_digest=claimed)
    except Unauthenticated:
        return True
    raise AssertionError("nobody is trusted")


# -- far sides of placements


def _sealed(side: str) -> Frames:
    frames, (ours, theirs) = Frames(), (b"n" * 32, b"f" * 32) if side == "near" else (b"f" * 32, b"n" * 32)
    frames.seal(ours=ours, theirs=theirs)
    return frames


_SAID: Final = Frames().encode(b"h", b'{"protocol":1}') + Frames().encode(b"d", b"\x01hi")


@reads(_SAID, _sealed("far").encode(b"d", b"\x01hi"))
def place_frames(data: bytes) -> bool:
    """Any split gives the same; and under keys that its maker does not have, nothing is taken."""

    def read(frames: Frames, parts: Sequence[bytes]) -> tuple[list[tuple[bytes, bytes]], bool]:
        found = list[tuple[bytes, bytes]]()
        try:
            for part in parts:
                for frame in frames.feed(part):
                    found.append(frame)
        except BadFrame:
            return found, False
        return found, True

    said, whole = read(Frames(), [data])
    assert (said, whole) == read(Frames(), [*pieces(data)])
    told, _ = read(_sealed("near"), [data])
    assert told in ([], [(b"d", b"\x01hi")])
    return whole


_ENDED: Final = Frames().encode(b"x", b"0 - 1024 0")


@reads(_SAID + _ENDED, _SAID + Frames().encode(b"c", b"\0\0\0\0") + Frames().encode(b"e", b"2 command"))
def far_side(data: bytes) -> bool:
    """A greeting, and what comes of a command."""

    async def speak(peer: Conversation) -> None:
        await peer.send(data)

    async def talk() -> bool:
        async with listen(speak) as peer:
            link = Link(silence=60)
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: link, "127.0.0.1", peer.port)
            try:
                await _follow(link)
            except (plane.LaneFailure, LinkLost):
                return False
            except NotStarted:
                return True
            finally:
                link.close()
                transport.abort()
                await anyio.lowlevel.checkpoint()
            return True

    return anyio.run(talk)


async def _follow(link: Link) -> None:
    await link.hello()
    link.order({"merged": False, "terminal": None})
    for source in link.sources.values():
        while await source.next():
            pass
    await link.ended()


@reads(b'{"guest":"g","versions":[1]}\0{"granted":["run"]}', b'{"versions":[1]}\0{"granted":[]}')
def guest_words(data: bytes) -> bool:
    """What a guest says of itself and grants. It holds the token, and may be hostile all the same."""
    hello, _, answer = data.partition(b"\0")
    token = TOKEN.encode()

    async def speak(peer: Conversation) -> None:
        frames = Frames()
        await peer.send(frames.encode(b"g", hello[:60_000]))
        asked = (await peer.receive())[4 + 1 + 32 :]
        proof = prove(token, b"guest", hello[:60_000], asked, answer[:60_000])
        await peer.send(frames.encode(b"b", proof + answer[:60_000]))

    async def talk(file: Path) -> str:
        async with listen(speak) as peer:
            url = plane.parse_place(f"guest://127.0.0.1:{peer.port}")
            place = GuestPlace(url, addresses=LOOPBACK.addresses, token=file)
            try:
                async with place.reach(plane.Exchange(testing.ManualClock()), frozenset()):
                    raise AssertionError("it never said that it is ready")
            except plane.LaneFailure as failure:
                return failure.failure.code

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "token"
        file.write_bytes(token)
        return anyio.run(talk, file) == "far_side_left"


_TOKENS: Final = sdk.grants.TokenAnswer(expires_at="/ends", extra={"more": "/more"}, error_codes={"7": "invalid_grant"})
_DEVICE: Final = sdk.grants.Device(
    type="device", start=sdk.grants.Exchange(url="/device"), token=sdk.grants.Exchange(url="/token")
)


@reads(
    b'application/json\n{"access_token":"access-12345678","expires_in":"60","scope":"a b","more":7}',
    b"application/x-www-form-urlencoded\naccess_token=access-12345678&ends=2026-11-20T12:25:09Z",
    b'\n{"device_code":"device-12345678","user_code":"A-1","verification_uri":"https://acme.dev/d","interval":5}',
)
def grant_answer(data: bytes) -> bool:
    """What a token endpoint answers."""
    kind, _, body = data.partition(b"\n")
    headers = {"content-type": text_of(kind), "date": text_of(kind), "retry-after": text_of(kind)}
    taken = False
    came = answer.Answer(status=200, headers=headers, body=body, asked_at=Intents().clock.now())
    for read in (lambda: answer.read(_TOKENS, came), lambda: answer.read_codes(_DEVICE, came)):
        try:
            ends = read().expires_at
        except connections.GrantRefused:
            continue
        taken = True
        assert ends is None or ends >= came.asked_at, "one that is past is now"
    return taken


__all__ = ["READERS", "RECEIPT", "reads"]
