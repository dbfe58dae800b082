"""ManualClock and SequentialIds keep the promises of the kernel's clock and id source."""

from datetime import UTC, datetime, timedelta, timezone

import anyio
import pytest

from interlock import kernel, testing


def test_time_stands_still_until_it_is_advanced():
    clock = testing.ManualClock()
    assert clock.now() == clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
    assert clock.monotonic() == 0.0
    clock.advance(1.5)
    assert clock.now() == datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert clock.monotonic() == 1.5


def test_the_start_is_kept_in_utc():
    start = datetime(2030, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    clock = testing.ManualClock(start)
    assert clock.now() == start
    assert clock.now().tzinfo is UTC


def test_a_naive_start_and_a_step_back_are_refused():
    with pytest.raises(ValueError, match="naive"):
        testing.ManualClock(datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="does not go back"):
        testing.ManualClock().advance(-1)


def test_a_sleeper_moves_the_clock():
    clock = testing.ManualClock()
    anyio.run(clock.sleep, 3600.0)
    assert clock.monotonic() == 3600.0
    anyio.run(clock.sleep, -1.0)
    assert clock.monotonic() == 3600.0


def test_without_autojump_a_sleeper_waits_for_its_deadline():
    clock = testing.ManualClock(autojump=False)
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async def story() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(sleeper, 5.0)
            group.start_soon(sleeper, 10.0)
            await anyio.lowlevel.checkpoint()
            clock.advance(4.9)
            await anyio.lowlevel.checkpoint()
            assert woken == []
            clock.advance(0.1)
            with anyio.fail_after(60):
                while not woken:
                    await anyio.lowlevel.checkpoint()
            assert woken == [5.0]
            clock.advance(60)
        assert woken == [5.0, 10.0]

    anyio.run(story)


def test_a_sleeper_can_be_cancelled():
    async def story() -> bool:
        with anyio.move_on_after(0) as scope:
            await testing.ManualClock(autojump=False).sleep(1)
        return scope.cancelled_caught

    assert anyio.run(story)


def test_ids_are_the_same_in_every_run_and_only_grow():
    first, second = testing.SequentialIds(), testing.SequentialIds()
    ids = [first.new(prefix) for prefix in ("run", "run", "evt")]
    assert ids == [second.new(prefix) for prefix in ("run", "run", "evt")]
    assert all(kernel.is_id(text, text[:3]) for text in ids)
    assert [text[4:] for text in ids] == sorted({text[4:] for text in ids})
    with pytest.raises(ValueError, match="unknown id prefix"):
        first.new("nope")
