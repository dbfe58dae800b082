"""The HTTP API over a world, without a socket: one client per token."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import pytest

from fix_app import TOKEN, Process, World
from interlock import policy
from interlock.kernel import Caller
from interlock.server.api import Api
from interlock.server.api.access import Meters
from interlock.testing import ManualClock

HOST = "127.0.0.1:8412"


@dataclass
class Line:
    """The API of one process, and who asks it."""

    process: Process
    api: Api
    clients: list[httpx2.AsyncClient] = field(default_factory=list[httpx2.AsyncClient])
    secrets: list[str] = field(default_factory=list[str])
    """What was told once, and is to stand in no answer."""

    async def client(
        self, actor: str = "agent", *roles: str, tenant: str = "default", **limits: Any
    ) -> httpx2.AsyncClient:
        """A client with a token of its own."""
        il = self.process.il if tenant == "default" else self._elsewhere(tenant)
        _, secret = await il.tokens.create(actor, actor=actor, roles=roles, **limits)
        return self.bare(Authorization=f"Bearer {secret.reveal()}")

    def bare(self, **headers: str) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=self.api)
        self.clients.append(httpx2.AsyncClient(transport=transport, base_url=f"http://{HOST}/v1", headers=headers))
        return self.clients[-1]

    def _elsewhere(self, tenant: str) -> Any:
        il = self.process.il
        return type(il)(self.process.parts, Caller(tenant_id=tenant, actor="setup"), operator=True)


class Stream:
    """A stream of events that is read as it comes, which the client of the other tests does not do."""

    def __init__(self, line: Line, client: httpx2.AsyncClient, run_id: str, *, last: int = 0) -> None:
        self.events: list[Any] = []
        self.begun, self.silent = anyio.Event(), anyio.Event()
        self._api = line.api
        path = f"/v1/runs/{run_id}/events/stream"
        headers = {"host": HOST, "authorization": client.headers["authorization"], "last-event-id": str(last)}
        self._scope: dict[str, Any] = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "scheme": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "state": {},
        }  # fmt: skip

    async def read(self) -> None:
        """To its end."""
        asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            return next(asked, None) or await anyio.sleep_forever()

        async def send(message: Any) -> None:
            for told in message.get("body", b"").split(b"\n\n"):
                if told == b": here":
                    self.silent.set()
                elif told:
                    seq, data = told.split(b"\n")
                    self.events.append(json.loads(data.removeprefix(b"data: ")))
                    assert seq == b"id: %d" % self.events[-1]["seq"]
                    self.begun.set()

        await self._api(self._scope, receive, send)


@asynccontextmanager
async def lined(
    world: World, *, law: policy.Policy | None = None, meters: Meters | None = None, **changes: Any
) -> AsyncGenerator[Line]:
    """The API of a process in this world, with the connection `acme`. Its streams wait by a clock of their own: the world's would
    run away under calls that are at work."""
    world.law = law or world.law
    async with world.process(**changes) as process:
        await process.connect(world.server.url, token=TOKEN)
        line = Line(process, Api(process.il, hosts=frozenset({HOST}), clock=ManualClock(), meters=meters))
        try:
            yield line
        finally:
            for each in line.clients:
                await each.aclose()


@pytest.fixture
async def line(file_world: World) -> AsyncGenerator[Line]:
    async with lined(file_world) as made:
        yield made


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, which is what it is to be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["status"], told["code"], told["type"]) == (status, code, f"urn:interlock:error:{code}")
    assert told["next_step"]
    return told


def good(answer: httpx2.Response, status: int = 200) -> Any:
    """The document of an answer that is one."""
    assert answer.status_code == status, answer.text
    return answer.json()
