"""A connection whose token ends: by the connecting person's word, or by the service's."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from fix_app import ENDING, HOUR, TOKEN, World
from interlock import connections
from interlock.adapters import sql
from interlock.adapters.sql import tables

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("token", "given", "seconds"),
    [(TOKEN, timedelta(minutes=2), 120), (ENDING, None, 3600), (ENDING, timedelta(minutes=2), 120)],
)
async def test_it_serves_until_its_token_ends(world: World, token: str, given: timedelta | None, seconds: int):
    ends = world.clock.now() + timedelta(seconds=seconds)
    async with world.process() as process:
        made = await process.connect(
            world.server.url, token=token, expires_at=None if given is None else world.clock.now() + given
        )
        assert made.credential_expires_at == ends
        assert await process.il.connections.fetch(made.name) == made
        assert await process.il.connections.list() == [made]
        world.advance(seconds - 60)
        await process.create()
        world.advance(61)
        with pytest.raises(connections.ConnectionExpired):
            await process.create()
        again = await process.connect(world.server.url, token=TOKEN)
        assert again.credential_expires_at is None
        await process.create()


@pytest.mark.parametrize(
    ("known", "adopted"), [(None, True), (timedelta(hours=2), True), (timedelta(minutes=30), False)]
)
async def test_a_check_learns_of_a_sooner_end(world: World, known: timedelta | None, adopted: bool):
    """An organisation may have shortened how long its tokens last."""
    ends, said = world.clock.now() + HOUR, None if known is None else world.clock.now() + known
    async with world.process() as process:
        made = await process.connect(world.server.url, token=ENDING)
        believed = update(tables.credentials).values(expires_at=said)
        await process.parts.store.write(lambda tx: sql.connection(tx).execute(believed) and None)
        checked = await process.il.connections.check(made.name)
        assert checked.connection.credential_expires_at == (ends if adopted else said)
        assert await process.il.connections.fetch(made.name) == checked.connection
        told = (await process.il.connections.events(made.name))[-1]
        assert ("credential_expires_at" in told.data) is adopted
        assert (await process.il.connections.check(made.name)).connection.credential_expires_at == (
            ends if adopted else said
        )
        assert "credential_expires_at" not in (await process.il.connections.events(made.name))[-1].data
