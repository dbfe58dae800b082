"""A process's hold: certain for a while, gone without renewal, never taken up again under the old id."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest

from fix_ledger import Builder
from interlock.kernel import StoreError
from interlock.runs import Owner, Ownership
from interlock.testing import ManualClock, SequentialIds

T = TypeVar("T")
pytestmark = pytest.mark.anyio


class Desk:
    """A store and a ledger that remember owners."""

    def __init__(self) -> None:
        self.owners: dict[str, Owner] = {}
        self.fails = False
        self.writes = 0
        self.slow: Callable[[], None] | None = None

    async def write(self, fn: Callable[[Any], T], *, urgent: bool = False) -> T:
        assert urgent or fn.__name__ != "beat"
        if self.fails:
            raise StoreError("busy")
        await anyio.lowlevel.checkpoint()
        result = fn(None)
        if self.slow is not None:  # the commit
            slow, self.slow = self.slow, None
            slow()
        self.writes += 1
        return result

    def has_written(self, times: int) -> bool:
        return self.writes == times

    def renew_owner(self, tx: object, owner: Owner) -> None:
        self.owners[owner.owner_id] = owner

    def drop_owner(self, tx: object, owner_id: str) -> None:
        self.owners.pop(owner_id)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ownership(desk: Any, clock: ManualClock) -> Ownership:
    return Ownership(
        store=desk,
        ledger=desk,
        clock=clock,
        ids=SequentialIds(),
        lease=timedelta(seconds=10),
        host="here",
        process="7",
    )


async def test_nothing_is_held_before_the_beginning(ownership: Ownership):
    assert ownership.may_send(ownership.owner_id) <= 0
    assert ownership.remaining() <= 0


async def test_begun_it_is_held_for_a_lease(ownership: Ownership, desk: Desk, clock: ManualClock):
    await ownership.begin()
    await ownership.begin()
    assert desk.writes == 1
    owner = desk.owners[ownership.owner_id]
    assert (owner.host, owner.process, owner.beat, owner.lease) == ("here", "7", 1, timedelta(seconds=10))
    clock.advance(8.5)
    assert ownership.may_send(ownership.owner_id) == 0.5
    clock.advance(0.5)
    assert ownership.may_send(ownership.owner_id) == 0, "the last tenth is nobody's to send in"
    assert ownership.remaining() == 1
    clock.advance(1)
    assert ownership.remaining() == 0


async def test_renewed_in_time_it_stays_the_same(ownership: Ownership, clock: ManualClock):
    await ownership.begin()
    before = ownership.owner_id
    for _ in range(5):
        clock.advance(9)
        await ownership.renew()
    assert ownership.may_send(before) > 0


async def test_lapsed_it_comes_back_as_another(ownership: Ownership, clock: ManualClock):
    await ownership.begin()
    before = ownership.owner_id
    clock.advance(11)
    await ownership.begin()
    assert ownership.owner_id != before
    assert ownership.may_send(before) <= 0
    assert ownership.may_send(ownership.owner_id) > 0


async def test_many_that_begin_at_once_agree(ownership: Ownership, desk: Desk, clock: ManualClock):
    await ownership.begin()
    clock.advance(11)
    seen: list[str] = []

    async def begin() -> None:
        await ownership.begin()
        seen.append(ownership.owner_id)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(begin)
    assert len(set(seen)) == 1
    assert desk.writes == 2


async def test_a_store_that_fails_does_not_stretch_it(ownership: Ownership, desk: Desk, clock: ManualClock):
    await ownership.begin()
    desk.fails = True
    clock.advance(6)
    with pytest.raises(StoreError):
        await ownership.renew()
    assert 0 < ownership.remaining() <= 4


async def test_given_up_it_is_gone_whatever_the_store_says(ownership: Ownership, desk: Desk):
    await ownership.begin()
    desk.fails = True
    with pytest.raises(StoreError):
        await ownership.end()
    assert ownership.may_send(ownership.owner_id) <= 0


async def test_given_up_it_is_gone(ownership: Ownership, desk: Desk):
    await ownership.begin()
    await ownership.end()
    assert not desk.owners
    assert ownership.may_send(ownership.owner_id) <= 0


def test_what_it_is_at_work_on(ownership: Ownership):
    with ownership.working("run_1"):
        with ownership.working("run_1"), ownership.working("run_2"):
            assert ownership.at_work == {"run_1", "run_2"}
        assert ownership.at_work == {"run_1"}
    assert not ownership.at_work


async def test_a_store_that_fails_what_it_is_at_work_on_is_noted(ownership: Ownership, clock: ManualClock):
    begun = clock.monotonic()
    with pytest.raises(ValueError, match="mine"), ownership.working("run_1"):
        raise ValueError("mine")
    assert not ownership.failed_since(begun)
    clock.advance(5)
    with pytest.raises(StoreError), ownership.working("run_1"):
        raise StoreError("busy")
    assert ownership.failed_since(begun)
    assert not ownership.failed_since(clock.monotonic() + 1)
    assert not ownership.at_work


@pytest.mark.parametrize("moment", [0.1, 1 / 3, 0.7000005])
def test_a_failure_in_the_moment_in_which_an_attempt_begins_is_during_it(
    ownership: Ownership, clock: ManualClock, moment: float
):
    builder = Builder()
    clock.advance(moment)
    attempt = replace(builder.attempt(builder.run()), started_at=clock.now())
    assert not ownership.failed_during(attempt)
    ownership.note_failure()
    clock.advance(1 / 7)
    assert ownership.failed_during(attempt)
    assert not ownership.failed_during(replace(attempt, started_at=clock.now()))


async def test_a_renewal_that_took_longer_than_the_lease_takes_nothing_up_again(
    ownership: Ownership, desk: Desk, clock: ManualClock
):
    """The store answered when another process had every reason to think that this one is dead."""
    await ownership.begin()
    old = ownership.owner_id
    clock.advance(3)
    desk.slow = lambda: clock.advance(9)
    await ownership.renew()
    assert ownership.owner_id != old
    assert ownership.may_send(old) <= 0
    assert ownership.may_send(ownership.owner_id) > 0


async def test_a_renewal_that_takes_half_a_lease_counts_from_its_start(
    ownership: Ownership, desk: Desk, clock: ManualClock
):
    await ownership.begin()
    desk.slow = lambda: clock.advance(5)
    await ownership.renew()
    assert ownership.remaining() == 5


@pytest.fixture
def slow_clock() -> ManualClock:
    """One that only the test moves."""
    return ManualClock(autojump=False)


@pytest.fixture
def slow_ownership(desk: Any, slow_clock: ManualClock) -> Ownership:
    return Ownership(store=desk, ledger=desk, clock=slow_clock, ids=SequentialIds(), lease=timedelta(seconds=10))


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - it comes about by itself
            await anyio.sleep(0.001)


async def test_beats_count_from_the_start_of_the_last(slow_ownership: Ownership, desk: Desk, slow_clock: ManualClock):
    await slow_ownership.begin()
    async with anyio.create_task_group() as group:
        group.start_soon(slow_ownership.keep)
        await until(lambda: desk.writes == 2)
        for number in range(3, 20):
            desk.slow = lambda: slow_clock.advance(1.5)  # of the two seconds between beats
            slow_clock.advance(2 if number == 3 else 0.5)
            await until(partial(desk.has_written, number))
        group.cancel_scope.cancel()
    assert desk.owners.keys() == {slow_ownership.owner_id}


async def test_a_beat_waits_for_nothing_that_is_renewed_beside_it(
    slow_ownership: Ownership, desk: Desk, slow_clock: ManualClock
):
    renewed: list[str] = []

    async def stuck() -> None:
        renewed.append("stuck")
        await anyio.sleep_forever()

    await slow_ownership.begin()
    async with anyio.create_task_group() as group:
        with slow_ownership.renewing(stuck):
            group.start_soon(slow_ownership.keep)
            await until(lambda: bool(renewed))
            for number in range(3, 10):
                slow_clock.advance(2)
                await until(partial(desk.has_written, number))
            group.cancel_scope.cancel()
    assert renewed == ["stuck"]


async def test_a_renewal_that_fails_does_not_keep_the_others(slow_ownership: Ownership, slow_clock: ManualClock):
    renewed: list[str] = []

    def named(name: str) -> Callable[[], Any]:
        async def renewal() -> None:
            renewed.append(name)
            raise StoreError("busy")

        return renewal

    async with anyio.create_task_group() as group:
        with slow_ownership.renewing(named("one")), slow_ownership.renewing(named("two")):
            group.start_soon(slow_ownership.keep)
            await until(lambda: sorted(renewed) == ["one", "two"])
            slow_clock.advance(2)
            await until(lambda: len(renewed) == 4)
            group.cancel_scope.cancel()
