"""What a server tells those who watch it."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import pytest

from fix_app import Process, World
from fix_http_api import HOST, problem
from interlock import server
from interlock.server.metrics import MAX_SERIES, Answered, Metrics

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
        told = await client.get("/metrics", headers=bearer)
        _, secret = await process.il.tokens.create("ann", actor="ann", roles=["caller"])
        problem(await client.get("/metrics", headers={"Authorization": f"Bearer {secret.reveal()}"}), 403, "forbidden")
        problem(await client.get("/metrics"), 401, "unauthenticated")
    assert told.headers["content-type"].startswith("text/plain")
    lines = told.text.splitlines()
    assert 'interlock_http_requests_total{route="/v1/runs/{run_id}",method="GET",status="404"} 2' in lines
    assert 'interlock_http_request_seconds_count{route="/v1/runs"} 1' in lines
    assert 'interlock_http_requests_total{route="/livez",method="GET",status="204"} 1' in lines
    assert "run_1" not in told.text
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


def test_nobody_fills_the_memory_with_labels():
    metrics = Metrics()
    for number in range(MAX_SERIES + 10):
        metrics.count(Answered(f"/{number}", "GET", 200), 0.1)
    assert 'route="other",method="other",status="200"} 10' in metrics.tell({})
