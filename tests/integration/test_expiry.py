"""A connection whose token ends: by the connecting person's word, or by the service's."""

from datetime import timedelta

import pytest

from fix_app import ENDING, TOKEN, World
from interlock import connections

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
