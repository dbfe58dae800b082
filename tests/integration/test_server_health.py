"""What a server tells those who watch it."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from fix_app import Process, World
from fix_dispatch import work
from fix_http_api import HOST, problem
from interlock import server
from interlock.adapters.sql.errors import StoreFull
from interlock.kernel import MAX_SERIES, Counts
from interlock.server.health import FAILED_SECONDS, READY_SECONDS
from interlock.server.metrics import COUNTED, TIMED, tell

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def fronted(process: Process, world: World) -> AsyncGenerator[tuple[server.Front, httpx2.AsyncClient]]:
    host, _, port = HOST.partition(":")
    made = server.open_front(process.il, origin=f"http://{HOST}", host=host, port=int(port), clock=world.clock)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=made), base_url=f"http://{HOST}") as client:
        yield made, client


async def test_what_is_answered_is_counted_by_its_route(file_world: World):
    async with file_world.process() as process, fronted(process, file_world) as (_, client):
        _, secret = await process.il.tokens.create("prometheus", actor="prometheus", roles=["metrics"])
        bearer = {"Authorization": f"Bearer {secret.reveal()}"}
        for path in ("/v1/runs", "/v1/runs/run_1", "/v1/runs/run_2", "/connect/x", "/livez"):
            await client.get(path, headers=bearer)
        for method in ("SPAM1", "SPAM2"):
            await client.request(method, "/livez")
        told = await client.get("/metrics", headers=bearer)
        _, secret = await process.il.tokens.create("ann", actor="ann", roles=["caller"])
        problem(await client.get("/metrics", headers={"Authorization": f"Bearer {secret.reveal()}"}), 403, "forbidden")
        problem(await client.get("/metrics"), 401, "unauthenticated")
    assert told.headers["content-type"].startswith("text/plain")
    lines = told.text.splitlines()
    assert 'interlock_http_requests_total{route="/v1/runs/{run_id}",method="GET",status="404"} 2' in lines
    assert 'interlock_http_request_seconds_count{route="/v1/runs"} 1' in lines
    assert 'interlock_http_requests_total{route="/livez",method="GET",status="204"} 1' in lines
    assert 'interlock_http_requests_total{route="/livez",method="other",status="405"} 2' in lines
    assert "run_1" not in told.text
    assert "SPAM" not in told.text
    shape = r'(# (HELP|TYPE) .+|interlock_\w+(\{(\w+="[^"\n]*",?)+\})? [0-9.e+-]+)'
    assert not [each for each in lines if not re.fullmatch(shape, each)]


async def test_one_that_ends_or_has_no_store_is_alive_and_not_ready(file_world: World):
    async with file_world.doomed() as process:
        async with fronted(process, file_world) as (made, client):
            assert (await client.get("/readyz", headers={"Host": "10.0.0.7"})).status_code == 204
            made.close()
            problem(await client.get("/readyz"), 503, "node_closing")
        process.parts.store.close()
        async with fronted(process, file_world) as (_, client):
            problem(await client.get("/readyz"), 503, "store_closed")
            assert (await client.get("/livez")).status_code == 204


async def test_one_whose_store_takes_no_work_is_not_ready_for_a_while(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async def full(*_: Any, **__: Any) -> None:
        raise StoreFull("the disk is full")

    async with file_world.process() as process, fronted(process, file_world) as (_, client):
        store: Any = process.parts.store
        kind: Any = store._store.__class__  # the one below: what is counted is its answers
        with monkeypatch.context() as broken:
            broken.setattr(kind, "write_together", full)
            answers: list[int] = []
            for _ in range(3):
                with pytest.raises(StoreFull):
                    await process.il.dispatch.submit("incident", {})
                file_world.advance(READY_SECONDS)
                answers.append((await client.get("/readyz")).status_code)
            assert answers == [204, 204, 503]
            problem(await client.get("/readyz"), 503, "store_error")
        file_world.advance(FAILED_SECONDS)
        assert (await client.get("/readyz")).status_code == 204
        await process.il.dispatch.submit("incident", {})
        assert process.il.failed_writes == 0


async def test_strangers_who_ask_whether_it_is_ready_have_the_store_read_once_a_second(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with file_world.doomed() as process, fronted(process, file_world) as (_, client):
        answers: list[int] = []

        async def ask() -> None:
            answers.append((await client.get("/readyz")).status_code)

        kind, reads = type(process.parts.store), 0
        read: Any = kind.read

        async def counted(*given: Any, **more: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(*given, **more)

        monkeypatch.setattr(kind, "read", counted)
        for _ in range(2):
            async with anyio.create_task_group() as strangers:
                for _ in range(5):
                    strangers.start_soon(ask)
            file_world.advance(1)
        assert (reads, answers) == (2, [204] * 10)
        process.parts.store.close()
        assert [(await client.get("/readyz")).status_code for _ in range(3)] == [503] * 3
        assert reads == 3


async def test_the_work_of_runs_is_counted_and_what_waits_is_read(file_world: World):
    async with file_world.process() as process, fronted(process, file_world) as (_, client):
        await process.connect(file_world.server.url)
        _, secret = await process.il.tokens.create("prometheus", actor="prometheus", roles=["metrics"])
        bearer = {"Authorization": f"Bearer {secret.reveal()}"}
        await process.create()
        await process.il.dispatch.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"})
        await work(process)
        await process.il.dispatch.submit("incident", {})
        file_world.advance(90)
        lines = (await client.get("/metrics", headers=bearer)).text.splitlines()
    for line in (
        'interlock_run_states_total{kind="capability",state="completed"} 2',
        'interlock_run_states_total{kind="handler",state="queued"} 1',
        'interlock_run_seconds_count{kind="capability",state="completed"} 2',
        'interlock_attempts_total{state="completed"} 2',
        'interlock_sends_total{delivery="responded"} 2',
        "interlock_leases_total 2",
        'interlock_claims_total{lane="capability",result="claimed"} 1',
        'interlock_queue_jobs{lane="handler:incident",standing="due"} 1',
        'interlock_queue_oldest_seconds{lane="handler:incident"} 90',
        "interlock_runs_at_work 0",
    ):
        assert line in lines, line
    assert any(line.startswith("interlock_store_latency_seconds ") for line in lines)
    assert any(line.startswith('interlock_store_commit_seconds_count{written="admission"} ') for line in lines)
    assert not [line for line in lines if "default" in line]  # no tenant is a label


def test_every_name_is_explained():
    counts = Counts()
    for name in COUNTED:
        counts.add(name, a='b"\n')
    for name in TIMED:
        counts.time(name, 0.2)
    told = tell(counts, readings={"queue_age_s": 3.0}, at_work=1, backlog=()).splitlines()
    assert 'interlock_claims_total{a="b\\"\\n"} 1' in told
    assert 'interlock_run_seconds_bucket{le="0.1"} 0' in told
    assert 'interlock_run_seconds_bucket{le="0.25"} 1' in told
    assert 'interlock_run_seconds_bucket{le="+Inf"} 1' in told
    assert "interlock_queue_age_seconds 3" in told
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
    named = {line.split()[2] for line in told if line.startswith("# HELP")}
    assert all(re.fullmatch(r"interlock_\w+_(total|seconds|jobs|at_work)", name) for name in named), named
    assert all(f"`{name}`" in page for name in named)


def test_nobody_fills_the_memory_with_labels():
    counts = Counts()
    for number in range(MAX_SERIES + 10):
        counts.add("http_requests", route=f"/{number}")
    told = tell(counts, readings={}, at_work=0, backlog=())
    assert 'interlock_http_requests_total{route="other"} 10' in told
