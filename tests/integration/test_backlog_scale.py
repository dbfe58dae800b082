"""What a scrape reads grows with the work that is there, and not with what has ended."""

import pytest
from sqlalchemy import event

from fix_app import World
from fix_dispatch import RECORDS, submitted, work
from interlock import dispatch
from interlock.adapters import sql
from interlock.kernel import JSON, Tx

pytestmark = pytest.mark.anyio


@dispatch.handler("plain")
async def plain(event: dispatch.Event, context: dispatch.Context) -> JSON:
    return 1


async def test_lanes_and_standings_are_told_apart(world: World):
    async with world.process() as process:
        for handler in ("incident", "incident", "plain"):
            await submitted(process, handler)
        await work(process, plain)
        await submitted(process, "plain")
        await process.il.dispatch.pause("handler", "plain", reason="mending")
        await work(process, plain)
        world.advance(30)
        found = await process.il.backlog()
    assert [(each.lane, each.standing, each.count, each.oldest_seconds) for each in found] == [
        ("handler:incident", dispatch.Standing.DUE, 2, 30.0),
        ("handler:plain", dispatch.Standing.PARKED, 1, None),
    ]


async def test_no_run_that_has_ended_is_read(file_world: World):
    """Runs are found by their key alone, beside work that is there."""
    async with file_world.process() as process:
        await submitted(process)
        now, plans = process.parts.wiring.clock.now(), list[str]()

        def read(tx: Tx) -> None:
            session = sql.connection(tx)

            def explain(_session: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
                if not statement.startswith("EXPLAIN"):
                    raw = session.connection.driver_connection
                    assert raw is not None
                    plans.extend(str(row) for row in raw.execute("EXPLAIN QUERY PLAN " + statement, parameters))

            event.listen(session, "before_cursor_execute", explain)
            RECORDS.backlog(tx, now)
            event.remove(session, "before_cursor_execute", explain)

        await process.parts.store.read(read)
    assert any("dispatches" in step for step in plans)
    about_runs = [step for step in plans if " runs" in step]
    assert about_runs
    assert all("SEARCH runs USING" in step and "run_id=?" in step for step in about_runs), about_runs
