"""Conditional reads: what has not changed is answered from what was said before, per connection."""

import pytest

from fix_app import World, shown

pytestmark = pytest.mark.anyio


async def statuses(world: World) -> list[int | None]:
    return [each.status for each in world.server.requests("GET /repos/*/issues")]


async def test_unchanged_is_answered_from_before(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.add_issues("acme/rocket", 3)
        first = await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})
        second = await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})
        assert second.output == first.output
        assert await statuses(world) == [200, 304]
        world.server.add_issues("acme/rocket", 1)
        third = await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})
        assert len(shown(third)["issues"]) == 4
        assert await statuses(world) == [200, 304, 200]


async def test_every_page_is_conditional(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.add_issues("acme/rocket", 4)
        value = {"repo": "acme/rocket", "per_page": 2, "max_pages": 2}
        first = await process.il.invoke("acme.issue.list", value)
        second = await process.il.invoke("acme.issue.list", value)
        assert second.output == first.output
        assert len(shown(first)["issues"]) == 4
        assert await statuses(world) == [200, 200, 304, 304]


async def test_connections_do_not_share_answers(world: World):
    async with world.process() as process:
        await process.connect(world.server.url, name="one")
        await process.connect(world.server.url, name="two", token="ghp_of_mona_0123456789")
        for name in ("one", "two"):
            await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"}, connection=name)
        assert await statuses(world) == [200, 200]


async def test_what_is_old_is_dropped(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})
        world.advance(8 * 86400)
        await process.il.invoke("acme.issue.list", {"repo": "acme/rocket", "per_page": 5})
        world.server.add_issues("acme/rocket", 1)
        await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"})
        assert (await statuses(world))[-1] == 200
