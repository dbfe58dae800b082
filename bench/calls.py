"""Suite `call`: a whole governed call with its effect on loopback, against a bare call between two bare commits.

Suite `lane`: one effect through the plane's HTTP lane, against the same request by httpx2; one command through its
process lane, against anyio's; and what a sandbox by bubblewrap adds, where this machine has it.
"""

from contextlib import AsyncExitStack, closing
from datetime import timedelta

import anyio
import httpx2

from bench import peer
from bench.bare import PostgresRows, SqliteRows
from bench.place import Place
from bench.report import Row, compare
from bench.subject import CAPABILITY, INPUT, TOKEN, interlock
from bench.timing import Contestant, Once, Trial, race
from interlock import plane
from interlock.adapters import lanes, targets
from interlock.kernel import Secret, SystemClock, canonical

_HEADERS = {"authorization": f"Bearer {TOKEN}", "accept": "application/json", "content-type": "application/json"}
_BODY = canonical(INPUT)


def _client(url: str, version: plane.HttpVersion = "1.1") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=url, headers=_HEADERS, trust_env=False, http1=version == "1.1", http2=version == "2"
    )


async def _post(client: httpx2.AsyncClient) -> None:
    response = await client.post("/tickets", content=_BODY)
    assert response.status_code == 201
    response.json()


async def run(place: Place) -> list[Row]:
    """On both databases, for one caller and for many."""
    return [await _one(place, engine, callers) for engine in ("sqlite", "postgres") for callers in (1, 64)]


async def _one(place: Place, engine: str, callers: int) -> Row:
    async with AsyncExitStack() as stack:
        url = stack.enter_context(peer.running())
        store = await stack.enter_async_context(place.store(engine))
        il = await stack.enter_async_context(interlock(store, place.new(), url))
        client = await stack.enter_async_context(_client(url))
        bare = await _bare(stack, place, store if engine == "postgres" else None, client, callers)

        async def governed() -> None:
            outcome = await il.invoke(CAPABILITY, INPUT)
            assert outcome.output is not None

        alone, ours = await race([Contestant(bare, callers), Contestant(governed, callers)], place.pace)
    name = {"sqlite": "SQLite", "postgres": "Postgres"}[engine]
    what = f"whole call, {name}, {callers:>2} callers"
    return compare(what, ours, "httpx2 + two bare commits", alone, key=f"call-{engine}-{callers}")


async def _bare(
    stack: AsyncExitStack, place: Place, database: str | None, client: httpx2.AsyncClient, callers: int
) -> Once:
    """Commit, call, commit."""
    if database is None:
        rows = stack.enter_context(closing(SqliteRows(place.new() / "bare.db")))

        async def on_sqlite() -> None:
            rows.commit()
            await _post(client)
            rows.commit()

        return on_sqlite
    sessions = await stack.enter_async_context(PostgresRows.connected(database, callers=callers))

    async def on_postgres() -> None:
        await sessions.commit()
        await _post(client)
        await sessions.commit()

    return on_postgres


class _Known:
    """A resolver that has the secret at hand, so that the lane alone is measured."""

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        del ref, host, tenant_id, run_id
        return Secret(TOKEN)


async def run_lane(place: Place) -> list[Row]:
    """The lanes, from an intent to its receipt."""
    measured, alone = await _requests(place, "1.1")
    rows = [compare("HTTP lane, one effect (time)", measured, "httpx2", alone, key="lane-http")]
    measured, alone = await _requests(place, "2")
    rows.append(compare("HTTP lane by HTTP/2, one effect (time)", measured, "httpx2", alone))
    return [*rows, *await _processes(place)]


async def _requests(place: Place, version: plane.HttpVersion) -> tuple[Trial, Trial]:
    """The lane, and httpx2 alone."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        url = stack.enter_context(peer.running() if version == "1.1" else peer.running_http2())
        host = url.removeprefix("http://")
        client = await stack.enter_async_context(_client(url, version))
        lane = lanes.HttpLane(credentials=_Known(), egress=lanes.Egress(addresses=plane.AddressPolicy(allow=(host,))))
        stack.push_async_callback(lane.aclose)

        async def ours() -> None:
            intent = plane.HttpIntent(
                intent_id="snd_1",
                tenant_id="default",
                run_id="run_1",
                attempt_id="att_1",
                trace_id="trace_1",
                deadline_at=clock.now() + timedelta(seconds=30),
                method="POST",
                url=f"{url}/tickets",
                headers=(("accept", "application/json"), ("content-type", "application/json")),
                body=_BODY,
                credentials=(plane.HeaderCredential(handle="lse_1", name="Authorization", template="Bearer {token}"),),
                allowed_hosts=(host,),
                http_versions=(version,),
            )
            await lane.execute(intent, plane.Exchange(clock))

        alone, measured = await race([Contestant(lambda: _post(client)), Contestant(ours)], place.pace)
        return measured, alone


async def _processes(place: Place) -> list[Row]:
    """A command that says something and ends."""
    clock = SystemClock()
    argv = ("/bin/echo", "said")
    async with AsyncExitStack() as stack:

        async def bare() -> None:
            assert (await anyio.run_process(argv)).stdout == b"said\n"

        def through(lane: lanes.ProcessLane, profile: plane.SandboxProfile | None) -> Once:
            stack.push_async_callback(lane.aclose)

            async def once() -> None:
                intent = plane.ProcessIntent(
                    intent_id="snd_1",
                    tenant_id="default",
                    run_id="run_1",
                    attempt_id="att_1",
                    trace_id="trace_1",
                    deadline_at=clock.now() + timedelta(seconds=30),
                    argv=argv,
                    sandbox=profile,
                )
                exchange = plane.Exchange(clock)
                exchange.channel = plane.Channel(plane.EventLog("exe_1", clock), plane.Inbox())
                await lane.execute(intent, exchange)
                assert exchange.facts["stdout_bytes"] == 5

            return once

        plain = through(lanes.ProcessLane(credentials=_Known()), None)
        bubblewrap = targets.Bubblewrap()
        contestants = [Contestant(bare), Contestant(plain)]
        if bubblewrap.unavailable is None:
            confined = lanes.ProcessLane(credentials=_Known(), confiner=bubblewrap)
            contestants.append(Contestant(through(confined, plane.SandboxProfile(read=targets.SYSTEM))))
        alone, ours, *others = await race(contestants, place.pace)
    rows = [compare("process lane, one command (time)", ours, "anyio", alone, key="lane-process")]
    for sandboxed in others:
        more = [(its - plain) * 1e6 for its, plain in zip(sandboxed.medians, ours.medians, strict=True)]
        what = "bubblewrap, added to a command (µs)"
        rows.append(Row(what=what, measured=sandboxed, values=more, baseline="process lane", key="lane-bubblewrap"))
    return rows
