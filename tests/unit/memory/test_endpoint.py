"""Vectors from an endpoint: a real server on this machine, and what it may answer."""

import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import orjson
import pytest

from embedding_endpoint import HASHED, KEY, Answering, Server, say, vectors
from interlock import memory

pytestmark = pytest.mark.anyio

SCOPE = memory.Scope(tenant="acme")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def config(server: Server, path: object, **endpoint: Any) -> dict[str, Any]:
    told = {"url": server.url, "model": "small", "key_env": "EMBEDDING_KEY", "batch": 3, **endpoint}
    return {"path": str(path), "dimensions": 16, "embedder": told}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_KEY", KEY)


async def test_a_memory_searches_by_the_vectors_of_an_endpoint(server: Server, tmp_path: Any):
    async with memory.Memory.open("sqlite", config(server, tmp_path / "m.db"), scope=SCOPE) as mem:
        await mem.ingest(
            [memory.Draft(text=text) for text in ("red train", "?!", "blue bus", "green tram", "grey ship")]
        )
        found = await mem.retrieve("trains", mode="semantic", limit=1)
        assert found.records[0].text == "red train"
        assert KEY not in str(mem.info().to_json())
    assert [each["input"] for each in server.asked] == [
        ["red train", "blue bus", "green tram"],
        ["grey ship"],
        ["trains"],
    ]
    assert {each["model"] for each in server.asked} == {"small"}
    assert all("dimensions" not in each for each in server.asked)
    seen = server.headers[0]
    assert (seen["authorization"], seen["path"]) == (f"Bearer {KEY}", "/v1/embeddings")
    with pytest.raises(memory.InvalidConfig, match="made by small-16"):
        async with memory.Memory.open("sqlite", {"path": str(tmp_path / "m.db"), "dimensions": 16}, scope=SCOPE):
            pass


def status(code: int, told: object = b"", **headers: str) -> Answering:
    return lambda handler, body: say(handler, code, told, **headers)


def data(change: Callable[[list[dict[str, Any]]], object]) -> Answering:
    def answer(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        made = [{"index": at, "embedding": [1.0] * 16} for at, _ in enumerate(body["input"])]
        say(handler, 200, {"data": change(made)})

    return answer


def cut(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def gone(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "error", "details"),
    [
        (status(429, retry_after="7"), memory.ProviderUnavailable, {"status": 429, "retry_after": 7.0}),
        (status(429, retry_after="1e99"), memory.ProviderUnavailable, {"status": 429}),
        (status(503, retry_after="999999999"), memory.ProviderUnavailable, {"status": 503, "retry_after": 86_400.0}),
        (status(500, {"error": {"message": f"the key {KEY}", "type": "server_error"}}), memory.ProviderUnavailable, {}),
        (cut, memory.ProviderUnavailable, {}),
        (gone, memory.ProviderUnavailable, {}),
        (status(401, {"error": {"code": "invalid_api_key"}}), memory.InvalidConfig, {"status": 401}),
        (status(404), memory.InvalidConfig, {}),
        (status(302, location="http://169.254.169.254/"), memory.InvalidConfig, {"status": 302}),
        (status(400, {"error": {"message": "too long"}}), memory.InvalidInput, {"status": 400}),
        (status(200, b"\xff\x00 no json"), memory.BrokenCapability, {}),
        (status(200, b"[" * 100_000), memory.BrokenCapability, {}),
        (status(200, b" " * 1_000_000), memory.BrokenCapability, {}),
        (status(200, {"data": None}), memory.BrokenCapability, {}),
        (data(lambda made: made[:-1]), memory.BrokenCapability, {}),
        (data(lambda made: [made[0], made[0]]), memory.BrokenCapability, {}),
        (data(lambda made: [*made[:-1], {"index": 1, "embedding": [1.0] * 15}]), memory.BrokenCapability, {}),
        (data(lambda made: [*made[:-1], {"index": 1, "embedding": ["1"] * 16}]), memory.BrokenCapability, {}),
        (data(lambda made: [*made[:-1], {"index": 1, "embedding": [True] * 16}]), memory.BrokenCapability, {}),
        (data(lambda made: [*made[:-1], {"index": 9, "embedding": [1.0] * 16}]), memory.BrokenCapability, {}),
        (data(lambda made: [*made[:-1], "x"]), memory.BrokenCapability, {}),
        (status(200, b'{"data": [{"embedding": [1e999]}, {"embedding": [NaN]}]}'), memory.BrokenCapability, {}),
    ],
)
async def test_what_is_no_answer_is_an_error_and_nothing_is_kept(
    server: Server, tmp_path: Any, answer: Answering, error: type[memory.MemoryFault], details: dict[str, Any]
):
    async with memory.Memory.open("sqlite", config(server, tmp_path / "m.db"), scope=SCOPE) as mem:
        server.answer = answer
        with pytest.raises(error) as raised:
            await mem.ingest([memory.Draft(text="one"), memory.Draft(text="two")])
        assert (raised.value.provider, raised.value.operation) == ("sqlite", "ingest")
        assert raised.value.retryable == (error is memory.ProviderUnavailable)
        assert details.items() <= raised.value.details.items()
        assert ("retry_after" in raised.value.details) == ("retry_after" in details)
        assert KEY not in str(raised.value.to_json())
        assert "169.254" not in str([each["path"] for each in server.headers])
        server.answer = vectors
        assert not (await mem.retrieve()).hits


async def test_an_endpoint_that_hangs_is_left(server: Server, tmp_path: Any):
    def hang(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        server.released.wait(60)

    server.answer = hang
    async with memory.Memory.open("sqlite", config(server, tmp_path / "m.db", timeout=0.2), scope=SCOPE) as mem:
        begun = time.monotonic()
        with pytest.raises(memory.DeadlineExceeded) as raised:
            await mem.remember("one")
        assert raised.value.retryable
        assert time.monotonic() - begun < 30
        server.released.set()


async def test_long_texts_are_cut_and_large_batches_divided(server: Server, tmp_path: Any):
    told = config(server, tmp_path / "m.db", longest=300_000, batch=100, send_dimensions=True)
    async with memory.Memory.open("sqlite", told, scope=SCOPE) as mem:
        await mem.ingest([memory.Draft(text=f"{number} " + "x" * 300_000) for number in range(5)])
    assert [len(each["input"]) for each in server.asked] == [3, 2]
    assert {len(text) for each in server.asked for text in each["input"]} == {300_000}
    assert {each["dimensions"] for each in server.asked} == {16}


@pytest.mark.parametrize(
    ("endpoint", "match"),
    [
        ({"url": "http://api.example.com/v1"}, "only https"),
        ({"url": "ftp://127.0.0.1/v1"}, "embedder.url"),
        ({"url": "https://user:word@127.0.0.1/v1"}, "embedder.url"),
        ({"url": "https://127.0.0.1/v1?key=1"}, "no query"),
        ({"key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY"),
        ({"allow": ["nowhere"]}, "nowhere"),
        ({"batch": 0}, "batch"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_an_endpoint_that_cannot_be_meant_is_refused(
    server: Server, tmp_path: Any, endpoint: dict[str, Any], match: str
):
    with pytest.raises(memory.InvalidConfig, match=match):
        async with memory.Memory.open("sqlite", config(server, tmp_path / "m.db", **endpoint), scope=SCOPE):
            pass
    assert not (tmp_path / "m.db").exists()


async def test_a_name_that_leads_to_this_machine_is_not_followed(
    server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    def resolved(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    told = config(server, tmp_path / "m.db", url="https://vectors.example.com/v1")
    async with memory.Memory.open("sqlite", told, scope=SCOPE) as mem:
        with pytest.raises(memory.InvalidConfig, match="refused"):
            await mem.remember("one")
    assert server.asked == []


class Given:
    """A transport of a program's own, which brings little at once."""

    largest: int = 65_536 + 2 * (1_024 + 16 * 32)

    def __init__(self, endpoint: memory.Endpoint) -> None:
        self.endpoint = endpoint
        self.asked: list[tuple[str, int, int]] = []

    async def post(self, body: bytes, *, most: int, tenant: str) -> memory.Answer:
        texts = orjson.loads(body)["input"]
        self.asked.append((tenant, len(texts), most))
        data = [{"index": at, "embedding": list(HASHED.vector(text))} for at, text in enumerate(texts)]
        return memory.Answer(200, orjson.dumps({"data": data}))

    async def close(self) -> None:
        pass


async def test_a_transport_of_ones_own_knows_the_tenant_and_is_not_asked_for_more_than_it_brings(tmp_path: Any):
    made: list[Given] = []

    def transport(endpoint: memory.Endpoint) -> memory.Transport:
        made.append(Given(endpoint))
        return made[-1]

    inner = {"name": "sqlite", "config": {**PLAIN, "path": str(tmp_path / "m.db")}}
    async with memory.Memory.open("cached", {"inner": inner}, scope=SCOPE, transport=transport) as mem:
        await mem.ingest([memory.Draft(text=f"text {number}") for number in range(5)])
        other = memory.Memory(mem.provider, memory.Scope(tenant="other"))
        await other.remember("theirs")
        await other.retrieve("theirs", mode="semantic")
    assert (
        made[-1].asked
        == [("acme", 2, Given.largest)] * 2
        + [("acme", 1, Given.largest - 1_536)]
        + [("other", 1, Given.largest - 1_536)] * 2
    )
    assert memory.transport_to(made[-1].endpoint) is None  # outside of what was opened, it is as it was


PLAIN = {"dimensions": 16, "embedder": {"url": "https://vectors.example.com/v1", "model": "small"}}
