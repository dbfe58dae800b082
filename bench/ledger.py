"""Suite `ledger`: what a governed call writes, against a program that commits one bare row before and one after."""

from contextlib import AsyncExitStack, closing

from bench.bare import GroupedRows, PostgresRows, SqliteRows
from bench.paperwork import Paperwork
from bench.place import Place
from bench.report import Row, compare
from bench.subject import rooms
from bench.timing import Contestant, race

_CALLERS = (1, 16, 64)


async def run(place: Place) -> list[Row]:
    """On both databases."""
    return [*await _sqlite(place), *await _postgres(place)]


async def _sqlite(place: Place) -> list[Row]:
    rows: list[Row] = []
    for callers in _CALLERS:
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(place.store("sqlite"))
            work = Paperwork(await stack.enter_async_context(rooms(url, place.new())))
            bare = stack.enter_context(closing(SqliteRows(place.new() / "bare.db")))
            grouped = GroupedRows(place.new() / "bare.db")
            await stack.enter_async_context(grouped.running())
            contestants = [Contestant(bare.two), Contestant(grouped.two, callers), Contestant(work.once, callers)]
            alone, together, ours = await race(contestants, place.pace)
        what = f"ledger, SQLite, {callers:>2} callers"
        rows.append(compare(what, ours, "serial bare rows", alone, key=f"ledger-sqlite-{callers}"))
        rows.append(compare(what, ours, "grouped bare rows", together))
    return rows


async def _postgres(place: Place) -> list[Row]:
    rows: list[Row] = []
    for callers in _CALLERS:
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(place.store("postgres"))
            work = Paperwork(await stack.enter_async_context(rooms(url, place.new())))
            bare = await stack.enter_async_context(PostgresRows.connected(url, callers=callers))
            alone, ours = await race([Contestant(bare.two, callers), Contestant(work.once, callers)], place.pace)
        what = f"ledger, Postgres, {callers:>2} callers"
        rows.append(compare(what, ours, "autocommit bare rows", alone, key=f"ledger-postgres-{callers}"))
    return rows
