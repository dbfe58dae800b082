"""HTTP/2 through the suite that every lane has to pass."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from fix_peer import PEER_ERRORS, Peer, closed_port, listen
from http2_peer import Talk
from interlock import conformance, plane
from interlock.adapters.lanes import Egress, HttpLane

pytestmark = pytest.mark.anyio

HUGE = 2**28


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Subject:
    """A peer that carries out the cases, several at once on one connection. It counts what came of requests."""

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0
        self.peer: Peer
        self.closed = f"127.0.0.1:{closed_port()}"

    def make_lane(self, credentials: plane.CredentialResolver) -> plane.Lane:
        allowed = plane.AddressPolicy(allow=(self.peer.host, self.closed))
        return HttpLane(credentials=credentials, egress=Egress(addresses=allowed))

    def intent(
        self, case: conformance.Case, *, identity: Mapping[str, Any], mark: str, total_ms: int
    ) -> plane.HttpIntent:
        host = self.closed if case is conformance.Case.UNSENT else self.peer.host
        whole = case in (conformance.Case.GOOD, conformance.Case.FAILING)
        return plane.HttpIntent(
            **identity,
            method="POST",
            body=b"x" * 20_000,
            url=f"http://{host}/{case}?{mark}",
            allowed_hosts=(host,),
            credentials=(conformance.CREDENTIAL,),
            timeouts=plane.Timeouts(total_ms=total_ms),
            response_mode="unary" if whole else "stream",
            max_response_bytes=2**31,
            http_versions=("2",),
        )


class Serving(Talk):
    """One connection, whose requests are answered each by a task of its own."""

    subject: Subject

    def __init__(self, peer: Peer, stream: anyio.abc.ByteStream) -> None:
        super().__init__(peer, stream)
        self._turn = anyio.Lock()
        self._changed = anyio.Event()
        self._paths: dict[int, str] = {}
        self._running: dict[int, anyio.CancelScope] = {}

    async def flush(self) -> None:
        async with self._turn:
            await super().flush()

    async def serve(self, subject: Subject) -> None:
        self.subject = subject
        async with anyio.create_task_group() as tasks:
            with suppress(*PEER_ERRORS):
                while True:
                    for event in await self.listen():
                        self._note(event, tasks)
                    self._changed.set()
                    self._changed = anyio.Event()
                    self.seen.clear()
            tasks.cancel_scope.cancel()

    def _note(self, event: Event, tasks: anyio.abc.TaskGroup) -> None:
        if isinstance(event, RequestReceived):
            self._paths[event.stream_id] = dict(event.headers)[b":path"].decode()
            self.subject.received += 1
        elif isinstance(event, DataReceived):
            self.subject.received += len(event.data)
        elif isinstance(event, StreamEnded):
            tasks.start_soon(self._run, event.stream_id)
        elif isinstance(event, StreamReset):
            self._running.setdefault(event.stream_id, anyio.CancelScope()).cancel()

    async def _run(self, number: int) -> None:
        with self._running.setdefault(number, anyio.CancelScope()), suppress(ProtocolError, *PEER_ERRORS):
            await self._carry_out(number)

    async def _carry_out(self, number: int) -> None:
        case, _, mark = self._paths[number].strip("/").partition("?")
        self.http.send_headers(number, [(":status", "200")])
        if case == "good":
            self.http.send_data(number, mark.encode(), end_stream=True)
        await self.flush()
        if case == "failing":
            self.http.reset_stream(number, ErrorCodes.INTERNAL_ERROR)
            await self.flush()
        left = HUGE if case == "huge" else 0
        while left:
            if size := min(left, self.http.local_flow_control_window(number), 16_384):
                self.http.send_data(number, b"x" * size, end_stream=left == size)
                left -= size
                self.subject.sent += size
                await self.flush()
            else:
                await self._changed.wait()


@asynccontextmanager
async def opened() -> AsyncGenerator[Subject]:
    subject = Subject()
    async with listen(lambda talk: talk.serve(subject), speaks=Serving) as subject.peer:
        yield subject


async def test_it_passes():
    report = await conformance.check_lane("http", opened)
    assert report.passed, [f"{each.check_id}: {each.detail}" for each in report.findings]
    assert len(report.findings) == len(conformance.LANE_CHECKS)
    assert {each.verdict for each in report.findings} == {conformance.Verdict.PASSED}
