"""A node keeps its targets proved: before their attestations end, and where one has ended after all."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from fix_plane import NODE_ID, Intents, check_receipt
from interlock import plane, testing

pytestmark = pytest.mark.anyio

LIFE = timedelta(minutes=15)


class Box:
    """A target whose probes a test steers."""

    target_id = "box"
    target_class = plane.LOCAL_PROCESS

    def __init__(self, clock: testing.ManualClock) -> None:
        self.probes = 0
        self.shows = True
        self.breaks = False
        self.may_end = anyio.Event()
        self.may_end.set()
        self._clock = clock
        self._attestation: plane.Attestation | None = None

    async def attest(self, nonce: str | None = None) -> plane.Attestation | None:
        self.probes += 1
        await self.may_end.wait()
        if self.breaks:
            raise OSError("broken")
        self._attestation = None if not self.shows else self._mint(nonce, plane.LOCAL_PROCESS, LIFE)
        return self._attestation

    def describe(self) -> plane.TargetDescriptor:
        unavailable = self._attestation is None
        return plane.TargetDescriptor(
            target_id=self.target_id,
            lane_id="http",
            attestation=self._attestation or self._mint(None, plane.UNPROVEN, timedelta(seconds=1)),
            health=plane.Health.UNAVAILABLE if unavailable else plane.Health.READY,
            reason="nothing was shown" if unavailable else None,
        )

    def _mint(self, nonce: str | None, target_class: str, life: timedelta) -> plane.Attestation:
        shown = plane.CLASSES.get(target_class, frozenset())
        now = self._clock.now()
        return plane.mint(
            None,
            target_id=self.target_id,
            target_class=target_class,
            shown=frozenset(shown),
            nonce=nonce,
            now=now,
            life=life,
        )


class Answering:
    lane_id = "http"
    carries = plane.HttpIntent

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        exchange.leave(1)
        exchange.answered = True

    async def aclose(self) -> None:
        pass


class World:
    def __init__(self, *, autojump: bool = True) -> None:
        self.intents = Intents()
        self.clock = self.intents.clock = testing.ManualClock(autojump=autojump)
        self.box = Box(self.clock)
        self.authorizer = plane.Authorizer(clock=self.clock)
        here = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="http", clock=self.clock)
        self.node = plane.Node(
            NODE_ID,
            lanes=[Answering()],
            targets=[self.box, here],
            verifier=self.authorizer.verifier(),
            clock=self.clock,
            attestations=plane.AttestationVerifier({}, clock=self.clock),
        )

    async def execute(self, target_class: str = plane.LOCAL_PROCESS) -> plane.Failure | None:
        intent = self.intents.http()
        authority = self.authorizer.issue(intent.digest, audience=NODE_ID, target_class=target_class)
        receipt = await self.node.execute(intent, authority=authority, target_class=target_class)
        check_receipt(receipt)
        return receipt.failure

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.node.keep_proved)
            yield
            tasks.cancel_scope.cancel()

    async def probed(self, times: int) -> None:
        with anyio.fail_after(60):
            while self.box.probes < times:
                await anyio.lowlevel.checkpoint()


async def test_an_attestation_is_renewed_before_it_ends():
    world = World(autojump=False)
    await world.node.prove()
    async with world.kept():
        for number in range(2, 5):
            world.clock.advance(LIFE.total_seconds() * 2 / 3 + 1)
            await world.probed(number)
            await anyio.wait_all_tasks_blocked()
            assert await world.execute() is None
    assert world.box.probes == 4


async def test_while_it_is_renewed_the_old_one_counts():
    world = World(autojump=False)
    await world.node.prove()
    world.box.may_end = anyio.Event()
    async with world.kept():
        world.clock.advance(LIFE.total_seconds() * 0.9)
        await world.probed(2)
        assert await world.execute() is None
    assert world.box.probes == 2


async def test_one_that_ended_is_proved_where_it_is_needed():
    world = World()
    await world.node.prove()
    world.clock.advance(LIFE.total_seconds() + 1)
    assert await world.execute(plane.LOCAL_HTTP) is None
    assert world.box.probes == 1
    assert await world.execute() is None
    assert world.box.probes == 2


async def test_many_who_need_it_wait_for_one_probe_and_others_do_not_wait():
    world = World()
    world.box.may_end = anyio.Event()
    failures: list[plane.Failure | None] = []

    async def execute() -> None:
        failures.append(await world.execute())

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(execute)
        await world.probed(1)
        await anyio.wait_all_tasks_blocked()
        assert await world.execute(plane.LOCAL_HTTP) is None
        assert failures == []
        world.box.may_end.set()
    assert failures == [None] * 5
    assert world.box.probes == 1


@pytest.mark.parametrize("fault", ["shows nothing", "breaks"])
async def test_a_probe_that_fails(fault: str):
    world = World()
    await world.node.prove()
    world.clock.advance(LIFE.total_seconds() + 1)
    world.box.shows, world.box.breaks = fault != "shows nothing", fault == "breaks"
    for _ in range(3):
        failure = await world.execute()
        assert failure is not None
        assert failure.failure_class is plane.FailureClass.TARGET_UNAVAILABLE
    assert world.box.probes == 2  # not for each who asks
    if fault == "shows nothing":
        assert world.box.describe().health is plane.Health.UNAVAILABLE
    world.box.shows, world.box.breaks = True, False
    world.clock.advance(61)
    assert await world.execute() is None


async def test_what_failed_is_tried_again_in_the_background():
    world = World(autojump=False)
    world.box.breaks = True
    await world.node.prove()
    async with world.kept():
        world.box.breaks = False
        world.clock.advance(61)
        await world.probed(2)
        await anyio.wait_all_tasks_blocked()
        assert world.box.describe().health is plane.Health.READY


async def test_one_that_nobody_asked_for_is_not_probed():
    world = World(autojump=False)
    async with world.kept():
        world.clock.advance(LIFE.total_seconds())
        await anyio.wait_all_tasks_blocked()
        assert world.box.probes == 0
        assert await world.execute() is None
        await anyio.wait_all_tasks_blocked()
        assert world.box.probes == 1
        world.clock.advance(LIFE.total_seconds() * 2 / 3 + 1)
        await world.probed(2)


async def test_a_target_that_is_registered_is_proved_like_those_from_the_start(intents: Intents):
    clock = intents.clock = testing.ManualClock()
    authorizer = plane.Authorizer(clock=clock)
    node = plane.Node(
        NODE_ID,
        lanes=[],
        targets=[],
        verifier=authorizer.verifier(),
        clock=clock,
        attestations=plane.AttestationVerifier({}, clock=clock),
    )
    box = Box(clock)
    node.register(box, Answering())
    assert plane.LOCAL_PROCESS in node.target_classes
    intent = intents.http()
    authority = authorizer.issue(intent.digest, audience=NODE_ID, target_class=plane.LOCAL_PROCESS)
    receipt = await node.execute(intent, authority=authority, target_class=plane.LOCAL_PROCESS)
    assert receipt.failure is None
    assert box.probes == 1
