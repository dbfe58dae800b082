"""Suite `leases`: how many leases are issued and redeemed in a second, and how long a credential takes to be renewed, by one who
needs it and by sixteen at once, on both databases. They have no baseline but time."""

from contextlib import AsyncExitStack

import anyio

from bench import peer
from bench.place import Place
from bench.report import Row
from bench.subject import CALLER, Rooms, rooms
from bench.timing import Contestant, Once, Trial, race

CALLERS = 16


async def run(place: Place) -> list[Row]:
    """By one caller and by sixteen at once."""
    return [row for engine in ("sqlite", "postgres") for row in await _on(place, engine)]


async def _on(place: Place, engine: str) -> list[Row]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(place.store(engine))
        service = stack.enter_context(peer.running())
        subject = await stack.enter_async_context(rooms(url, place.new(), service))
        await _connect(subject)
        issue, redeem = _issue(subject), await _redeem(subject)
        contestants = {
            "lease: issue, 1 at once": Contestant(issue),
            f"lease: issue, {CALLERS} at once": Contestant(issue, callers=CALLERS),
            "lease: redeem, 1 at once": Contestant(redeem),
            f"lease: redeem, {CALLERS} at once": Contestant(redeem, callers=CALLERS),
            "refresh: one needs it": Contestant(_refresh(subject, 1)),
            f"refresh: {CALLERS} need it, one asks": Contestant(_refresh(subject, CALLERS)),
        }
        trials = await race(list(contestants.values()), place.pace)
    title = {"sqlite": "SQLite", "postgres": "Postgres"}[engine]
    return [_row(f"{name}, {title}", trial) for name, trial in zip(contestants, trials, strict=True)]


def _row(what: str, trial: Trial) -> Row:
    return Row(what=what, measured=trial, values=[each * 1e6 for each in trial.medians], baseline="µs each")


def _issue(subject: Rooms) -> Once:
    async def once() -> None:
        await subject.parts.leases.request(CALLER, "acme", scopes=frozenset({"tickets"}))

    return once


async def _redeem(subject: Rooms) -> Once:
    lease = await subject.parts.leases.request(CALLER, "acme", scopes=frozenset({"tickets"}))
    (host,) = lease.hosts

    async def once() -> None:
        await subject.parts.leases.redeem(CALLER, lease.lease_id, "token", host=host)

    return once


async def _connect(subject: Rooms) -> None:
    """A connection whose tokens end, and are asked for anew."""
    desk = subject.parts.desk
    given = {"client_id": "bench", "client_secret": "shh-client-secret-0123456789"}
    begun = await desk.begin(CALLER, connector_id="acme", profile_id="client_credentials", name="renewed", given=given)
    await desk.complete(await desk.obtain(begun.install))


def _refresh(subject: Rooms, workers: int) -> Once:
    """So many find at once that a credential no longer serves, and have the next one when this is done."""
    refreshing, accounts = subject.parts.refreshing, subject.parts.wiring.connections

    async def once() -> None:
        ended = (await accounts.fetch_connection(CALLER, "renewed")).current_credential_id
        found: set[str | None] = set()

        async def need() -> None:
            found.add((await refreshing.refresh(CALLER, "renewed", seen=ended, over=True)).current_credential_id)

        async with anyio.create_task_group() as tasks:
            for _ in range(workers):
                tasks.start_soon(need)
        assert len(found) == 1
        assert found != {ended}

    return once
