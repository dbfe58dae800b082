"""Suite `flow`: much at once. A thousand exchanges and two hundred commands at the same time through a node, against httpx2
and anyio; and 64 MiB through the lanes that stream, against both reading the same."""

from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import count
from typing import Any, Final

import anyio
import httpx2

from bench import peer
from bench.place import Place
from bench.report import Row, compare
from bench.timing import Contestant, Once, Pace, race
from interlock import plane
from interlock.adapters import lanes
from interlock.kernel import Secret, SystemClock, Uuid7Ids

_AT_ONCE: Final = 1_000
_CLASS: Final = "bench"
_COMMANDS: Final = 200
_TRUE: Final = ("/bin/true",)
_HEAD: Final = ("/usr/bin/head", "-c", str(peer.MUCH), "/dev/zero")


class _Nobody:
    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        raise AssertionError(f"nobody asked for {ref.handle}")


class _Through:
    """A node with one lane, used as its clients use it."""

    def __init__(self, lane: plane.Lane) -> None:
        clock = self._clock = SystemClock()
        self._authorizer = plane.Authorizer(clock=clock)
        target = plane.LocalTarget("here", target_class=_CLASS, lane_id=lane.lane_id, clock=clock)
        verifier = self._authorizer.verifier()
        node = plane.Node("bench", lanes=[lane], targets=[target], verifier=verifier, clock=clock)
        self.executions = plane.Executions(node, clock=clock, ids=Uuid7Ids(clock))
        self._numbers = count()

    async def carry(self, kind: type[plane.Intent], size: int, **fields: Any) -> None:
        """One execution, whose output is followed to the end."""
        number = next(self._numbers)
        whose = {"intent_id": f"snd_{number}", "tenant_id": "default", "run_id": "run_1", "attempt_id": "att_1"}
        deadline = self._clock.now() + timedelta(minutes=5)
        intent = kind(**whose, trace_id="trace_1", deadline_at=deadline, **fields)
        authority = self._authorizer.issue(intent.digest, audience="bench", target_class=_CLASS)
        ref = await self.executions.start(intent, authority=authority, target_class=_CLASS)
        seen = 0
        async for event in self.executions.subscribe(ref):
            seen += event.size
            if event.receipt is not None:
                assert event.receipt.failure is None, event.receipt.failure
                assert seen + len(event.receipt.body) >= size


async def run(place: Place) -> list[Row]:
    """All of it, in three rounds at most: a thousand at once take httpx2 many seconds."""
    pace = Pace(rounds=min(place.pace.rounds, 3), seconds=place.pace.seconds)
    async with AsyncExitStack() as stack:
        url = stack.enter_context(peer.running())
        host = url.removeprefix("http://")
        limits = httpx2.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
        client = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=url, limits=limits, timeout=300, trust_env=False)
        )
        egress = lanes.Egress(addresses=plane.AddressPolicy(allow=(host,)), max_connections=_AT_ONCE)
        lane = lanes.HttpLane(credentials=_Nobody(), egress=egress)
        stack.push_async_callback(lane.aclose)
        http = _Through(lane)
        await stack.enter_async_context(http.executions)
        times = plane.Timeouts(pool_ms=300_000, connect_ms=60_000, read_ms=60_000, total_ms=300_000)
        web: dict[str, Any] = {"method": "GET", "allowed_hosts": (host,), "timeouts": times}

        async def bare() -> None:
            assert (await client.get("/")).status_code == 201

        async def ours() -> None:
            await http.carry(plane.HttpIntent, len(peer.BODY), url=f"{url}/", **web)

        crowd = [Contestant(each, _AT_ONCE, count=_AT_ONCE) for each in (bare, ours)]
        alone, measured = await race(crowd, pace)
        rows = [compare("HTTP through a node, 1,000 at once", measured, "httpx2", alone, key="flow-http-1000")]

        async def bare_stream() -> None:
            async with client.stream("GET", peer.STREAM) as answer:
                assert sum([len(data) async for data in answer.aiter_raw()]) == peer.MUCH

        async def our_stream() -> None:
            mode: dict[str, Any] = {"response_mode": "stream", "max_response_bytes": peer.MUCH}
            await http.carry(plane.HttpIntent, peer.MUCH, url=f"{url}{peer.STREAM}", **web, **mode)

        rows.append(
            await _stream(pace, "64 MiB by HTTP, streamed", our_stream, "httpx2", bare_stream, "flow-http-stream")
        )
        process = lanes.ProcessLane(credentials=_Nobody())
        stack.push_async_callback(process.aclose)
        commands = _Through(process)
        await stack.enter_async_context(commands.executions)

        async def our_true() -> None:
            await commands.carry(plane.ProcessIntent, 0, argv=_TRUE)

        crowd = [Contestant(each, _COMMANDS, count=_COMMANDS) for each in (_bare_true, our_true)]
        alone, measured = await race(crowd, pace)
        rows.append(compare("commands through a node, 200 at once", measured, "anyio", alone, key="flow-process-200"))

        async def our_command() -> None:
            await commands.carry(plane.ProcessIntent, peer.MUCH, argv=_HEAD, max_output_bytes=2**40)

        rows.append(
            await _stream(
                pace, "64 MiB of a command, streamed", our_command, "anyio", _bare_command, "flow-process-stream"
            )
        )
    return rows


async def _bare_true() -> None:
    assert (await anyio.run_process(_TRUE)).returncode == 0


async def _bare_command() -> None:
    async with await anyio.open_process(_HEAD, stdin=None) as process:
        assert process.stdout is not None
        assert sum([len(data) async for data in process.stdout]) == peer.MUCH


async def _stream(pace: Pace, what: str, ours: Once, baseline: str, bare: Once, key: str) -> Row:
    alone, measured = await race([Contestant(bare, count=2), Contestant(ours, count=2)], pace)
    return compare(what, measured, baseline, alone, key=key)
