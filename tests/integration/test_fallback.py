"""Acceptable target classes are tried in order, each rung on record; nothing falls back after something may have left."""

import pytest

from fix_app import Process, World
from interlock import app, plane, runs
from interlock.kernel import InterlockError

pytestmark = pytest.mark.anyio


def add_target(process: Process, target_class: str) -> None:
    """The node has a target of this class, and not the lane that leads there."""
    target = plane.LocalTarget(
        target_class, target_class=target_class, lane_id="rocket", clock=process.parts.wiring.clock
    )
    process.parts.wiring.node._targets[target_class] = target


async def test_the_next_acceptable_class_is_tried(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        add_target(process, "moon-base")
        outcome = await process.create(target=["moon-base", "local-http"])
        assert outcome.state is runs.State.COMPLETED
        sends = (await process.last()).sends
        assert [(send.target_class, send.delivery.value) for send in sends] == [
            ("moon-base", "not_sent"),
            ("local-http", "responded"),
        ]
        assert world.server.effects("issues/create") == 1


async def test_a_class_that_nobody_knows_is_refused_before_anything_is_written(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        for target in ("local-htpp", ["local-http", "local-htpp"]):
            with pytest.raises(app.UnknownTarget, match="'local-htpp'; did you mean 'local-http'") as raised:
                await process.create(target=target)
            known = ["local-http", plane.LOCAL_SCRIPT, *(plane.CLASSES.keys() - plane.PLACED)]
            assert raised.value.details == {"target": "local-htpp", "known": sorted(known)}
        assert await process.states() == []


@pytest.mark.parametrize("target_class", sorted({*plane.CLASSES, plane.LOCAL_SCRIPT} - plane.PLACED))
async def test_a_request_goes_to_no_target_for_commands(file_world: World, target_class: str):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        with pytest.raises(runs.TargetRefused, match=f"'{target_class}'; it runs on: local-http"):
            await process.create(target=["local-http", target_class])
        assert await process.states() == []


@pytest.mark.parametrize("target_class", sorted(plane.PLACED))
async def test_a_place_elsewhere_is_no_target_here(file_world: World, target_class: str):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        with pytest.raises(app.UnknownTarget, match=target_class):
            await process.create(target=target_class)
        assert await process.states() == []


async def test_a_package_that_is_slow_to_load_is_waited_for_before_anything_is_committed(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)

        async def ready(target_class: str) -> None:
            raise RuntimeError(f"{target_class} broke")

        monkeypatch.setattr(process.parts.wiring.offered, "ready", ready)
        with pytest.raises(RuntimeError, match="local-http broke"):
            await process.create()
        assert await process.states() == []
        assert file_world.server.effects("issues/create") == 0


async def test_without_any_target_nothing_is_sent(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        add_target(process, "moon-base")
        add_target(process, "mars")
        with pytest.raises(InterlockError) as raised:
            await process.create(target=["moon-base", "mars"], max_attempts=1)
        assert raised.value.code == "effect_failed"
        history = await process.last()
        assert history.run.state is runs.State.FAILED
        assert [send.delivery.value for send in history.sends] == ["not_sent", "not_sent"]


async def test_a_cut_answer_is_no_reason_to_fall_back(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        add_target(process, "moon-base")
        file_world.server.fault("cut_before", match="issues/create")
        await process.create(target=["local-http", "moon-base"])
        assert file_world.server.effects("issues/create") == 1
        assert "moon-base" not in {send.target_class for send in (await process.last()).sends}


async def test_a_host_outside_the_allowance_is_refused(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
    async with file_world.process(execution={"egress_allow": ()}) as process:
        with pytest.raises(InterlockError) as raised:
            await process.create(max_attempts=1)
        assert raised.value.details["failure_class"] == "address_refused"
        assert file_world.server.effects() == 0
