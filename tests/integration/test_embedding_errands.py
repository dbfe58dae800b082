"""Vectors from an endpoint within an Interlock: each request goes through the plane, as the tenant's, and where addresses may be
reached."""

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from embedding_endpoint import KEY, Answering, Server, say, vectors
from fix_cli import Shell
from interlock import Interlock, app, memory
from interlock.kernel import Caller

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_KEY", KEY)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def opened(
    folder: Path, server: Server, *, allow: bool = True, provider: str = "sqlite", **endpoint: Any
) -> AbstractAsyncContextManager[Interlock]:
    told = {"url": server.url, "model": "small", "key_env": "EMBEDDING_KEY", **endpoint}
    config: dict[str, Any] = {"path": str(folder / "m.db"), "dimensions": 16, "embedder": told}
    if provider != "sqlite":
        config = {"inner": {"name": "sqlite", "config": config}}
    values: dict[str, Any] = {
        "store": str(folder / "il.db"),
        "folder": folder,
        "memory": {"provider": provider, "config": config},
        "execution": {"egress_allow": (server.host,) if allow else ()},
    }
    return Interlock.open(settings=app.Settings(**values))


@pytest.mark.parametrize("provider", ["sqlite", "cached"])
async def test_requests_go_through_the_plane_as_those_of_the_tenant(server: Server, tmp_path: Path, provider: str):
    async with opened(tmp_path, server, provider=provider) as il:
        mem = await il.memory(user="ana")
        await mem.remember("red train")
        other = il.as_caller(Caller(tenant_id="other", actor="agent"))
        assert not (await (await other.memory()).retrieve("trains", mode="semantic")).hits
        found = await mem.retrieve("trains", mode="semantic")
        assert found.records[0].text == "red train"
        evidence, theirs = await il.evidence(), await other.evidence()
    assert [each["input"] for each in server.asked] == [["red train"], ["trains"], ["trains"]]
    assert {each["authorization"] for each in server.headers} == {f"Bearer {KEY}"}
    assert (len(evidence), len(theirs)) == (2, 1)
    told = str([each.record() for each in (*evidence, *theirs)])
    assert ([each.tenant_id for each in theirs], {each.tenant_id for each in evidence}) == (["other"], {"default"})
    assert KEY not in told
    assert "red train" not in told


async def test_an_address_that_is_not_allowed_is_refused_and_says_what_to_do(server: Server, tmp_path: Path):
    async with opened(tmp_path, server, allow=False) as il:
        mem = await il.memory()
        with pytest.raises(memory.InvalidConfig, match="are refused") as raised:
            await mem.remember("one")
        assert "egress_allow" in raised.value.next_step
        assert not raised.value.retryable
        assert not (await mem.retrieve()).hits
    assert server.asked == []


def status(code: int, told: object = b"", **headers: str) -> Answering:
    return lambda handler, body: say(handler, code, told, **headers)


def made(count: int, dimensions: int) -> Answering:
    data = [{"index": at, "embedding": [1.0] * dimensions} for at in range(count)]
    return status(200, {"data": data})


@pytest.mark.parametrize(
    ("answer", "error", "details"),
    [
        (status(429, retry_after="7"), memory.ProviderUnavailable, {"status": 429, "retry_after": 7.0}),
        (status(500), memory.ProviderUnavailable, {"status": 500}),
        (status(401), memory.InvalidConfig, {"status": 401}),
        (status(302, location="http://169.254.169.254/"), memory.InvalidConfig, {}),
        (status(200, b" " * 1_100_000), memory.BrokenCapability, {}),
        (status(200, b" " * 100_000), memory.BrokenCapability, {}),
        (made(2, 16), memory.BrokenCapability, {}),
        (made(1, 15), memory.BrokenCapability, {}),
        (status(200, b"no json"), memory.BrokenCapability, {}),
    ],
)
async def test_what_is_no_answer_is_an_error(
    server: Server, tmp_path: Path, answer: Answering, error: type[memory.MemoryFault], details: dict[str, Any]
):
    async with opened(tmp_path, server) as il:
        mem = await il.memory()
        server.answer = answer
        with pytest.raises(error) as raised:
            await mem.remember("one")
        assert raised.value.retryable == (error is memory.ProviderUnavailable)
        assert details.items() <= raised.value.details.items()
        assert KEY not in str(raised.value.to_json())
        server.answer = vectors
        assert not (await mem.retrieve()).hits
    assert len(server.asked) == 1  # nothing is sent twice


async def test_an_endpoint_that_hangs_or_is_gone_is_left(server: Server, tmp_path: Path):
    def hang(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        server.released.wait(60)

    server.answer = hang
    async with opened(tmp_path, server, timeout=0.2) as il:
        mem = await il.memory()
        with pytest.raises(memory.DeadlineExceeded):
            await mem.remember("one")
        server.released.set()
        server.close()
        with pytest.raises(memory.ProviderUnavailable):
            await mem.remember("one")


async def test_what_an_answer_cannot_hold_is_asked_for_in_parts(server: Server, tmp_path: Path):
    server.answer = lambda handler, body: made(len(body["input"]), 4_096)(handler, body)
    told = {"url": server.url, "model": "large", "batch": 100}
    settings = app.Settings(
        store=":memory:",
        folder=tmp_path,
        memory={"config": {"path": str(tmp_path / "m.db"), "dimensions": 4_096, "embedder": told}},  # type: ignore[arg-type]
        execution={"egress_allow": (server.host,)},  # type: ignore[arg-type]
    )
    async with Interlock.open(settings=settings) as il:
        mem = await il.memory()
        await mem.ingest([memory.Draft(text=f"text {number}") for number in range(10)])
    assert [len(each["input"]) for each in server.asked] == [7, 3]


def test_the_command_sends_through_the_plane(server: Server, shell: Shell):
    config = (
        f'[memory.config]\npath = "m.db"\ndimensions = 16\nembedder = {{ url = "{server.url}", model = "small" }}\n'
    )
    with (shell.folder / "interlock.toml").open("a") as file:
        file.write(f"\n{config}")
    refused = shell.run("memory", "remember", "blue bus")
    assert (refused.code != 0, "egress_allow" in refused.err, server.asked) == (True, True, [])
    shell.environment["INTERLOCK_EXECUTION__EGRESS_ALLOW"] = json.dumps([server.host])
    shell.good("memory", "remember", "red train")
    assert "red train" in str(shell.good("memory", "search", "trains", "--mode", "semantic"))
    assert [each["input"] for each in server.asked] == [["red train"], ["trains"]]
