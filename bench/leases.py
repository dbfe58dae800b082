"""Suite `leases`: how many leases are issued and redeemed in a second, on both databases. They have no baseline but time."""

from contextlib import AsyncExitStack

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
        subject = await stack.enter_async_context(rooms(url, place.new()))
        steps = {"issue": _issue(subject), "redeem": await _redeem(subject)}
        ways = [(name, callers) for name in steps for callers in (1, CALLERS)]
        trials = await race([Contestant(steps[name], callers=callers) for name, callers in ways], place.pace)
    title = {"sqlite": "SQLite", "postgres": "Postgres"}[engine]
    return [
        _row(f"lease: {name}, {callers} at once, {title}", trial)
        for (name, callers), trial in zip(ways, trials, strict=True)
    ]


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
