"""Events out and input in: nothing lost while somebody reads, bounded all the same."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import pytest

from interlock.plane.channel import EventLog, Inbox, Input
from interlock.plane.errors import InputClosed
from interlock.plane.events import EventType, ExecutionEvent
from interlock.plane.receipt import Delivery, Receipt
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio


def log(window: int = 4096) -> EventLog:
    return EventLog("exe_1", ManualClock(), window=window)


def receipt() -> Receipt:
    now = ManualClock().now()
    return Receipt(
        intent_id="snd_1",
        intent_digest="sha256:" + "0" * 64,
        node_id="node",
        target_class="local-process",
        target_id=None,
        lane_id=None,
        delivery=Delivery.RESPONDED,
        failure=None,
        status=None,
        headers=(),
        bytes_sent=0,
        started_at=now,
        finished_at=now,
        evidence=(),
    )


async def read(events: AsyncGenerator[ExecutionEvent]) -> list[ExecutionEvent]:
    async with aclosing(events):
        return [event async for event in events]


async def test_a_reader_gets_every_event_once_and_in_order_from_its_cursor() -> None:
    told = log()
    for number in range(5):
        await told.append(EventType.OUTPUT, stream="stdout", data=bytes([number]))
    told.end(receipt())
    events = await read(told.follow(2))
    assert [event.seq for event in events] == [3, 4, 5, 6]
    assert [event.data for event in events] == [b"\x02", b"\x03", b"\x04", b""]
    assert events[-1].receipt == receipt()


async def test_an_event_that_is_larger_than_the_window_holds_nobody_up_once_it_is_read() -> None:
    told, seen = log(window=1024), list[int]()
    reader = told.attach()

    async def follow() -> None:
        while batch := await reader.more():
            seen.extend(event.size for event in batch)
            reader.acknowledge(batch[-1].seq)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            for size in (0, 5000, 3, 5000, 5000):
                await told.append(EventType.OUTPUT, stream="message", data=bytes(size))
            told.end(receipt())
    assert seen == [0, 5000, 3, 5000, 5000, 0]


async def test_two_readers_follow_at_their_own_pace() -> None:
    told, seen = log(), list[list[int]]()

    async def follow(after: int) -> None:
        seen.append([event.seq for event in await read(told.follow(after))])

    async with anyio.create_task_group() as group:
        group.start_soon(follow, 0)
        group.start_soon(follow, 1)
        for _ in range(3):
            await told.append(EventType.OUTPUT, stream="stdout", data=b"x")
        told.end(receipt())
    assert sorted(seen) == [[1, 2, 3, 4], [2, 3, 4]]


async def test_without_readers_the_oldest_go_and_a_late_reader_is_told() -> None:
    told = log(window=1000)
    for number in range(50):
        await told.append(EventType.OUTPUT, stream="stdout", data=b"%d" % number)
    told.end(receipt())
    first, *rest = await read(told.follow())
    assert first.type is EventType.GAP
    assert first.facts == {"from": 1, "to": rest[0].seq - 1}
    assert [event.seq for event in rest] == list(range(rest[0].seq, 52))


async def test_a_lane_waits_for_the_slowest_reader_and_no_longer_when_it_has_left() -> None:
    told, done = log(window=1000), list[int]()

    async def speak() -> None:
        for number in range(20):
            await told.append(EventType.OUTPUT, stream="stdout", data=b"x" * 200)
            done.append(number)

    events = told.follow()
    before = 20
    async with anyio.create_task_group() as group:
        await told.append(EventType.STARTED)
        assert (await anext(events)).seq == 1
        group.start_soon(speak)
        await anyio.wait_all_tasks_blocked()
        assert 0 < len(done) < 10
        assert (await anext(events)).seq == 2
        await anyio.wait_all_tasks_blocked()
        before = len(done)
        await events.aclose()
        await anyio.wait_all_tasks_blocked()
    assert before < 20
    assert len(done) == 20


async def test_a_reader_that_keeps_up_misses_nothing_of_a_long_stream() -> None:
    told, sizes = log(window=2000), list[int]()

    async def follow() -> None:
        sizes.extend([event.size for event in await read(told.follow())])

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        for _ in range(500):
            await told.append(EventType.OUTPUT, stream="body", data=b"x" * 700)
        told.end(receipt())
    assert sizes == [700] * 500 + [0]


async def test_input_comes_in_order_and_ends_once_it_is_read() -> None:
    inbox = Inbox()
    await inbox.send(Input(data=b"one"))
    await inbox.send(Input(data=b"two"))
    inbox.end()
    inbox.end()
    assert [piece.data if (piece := await inbox.receive()) else None for _ in range(3)] == [b"one", b"two", None]
    with pytest.raises(InputClosed):
        await inbox.send(Input(data=b"three"))


async def test_a_sender_waits_for_room() -> None:
    inbox, sent = Inbox(window=500), list[int]()

    async def send() -> None:
        for number in range(10):
            await inbox.send(Input(data=b"x" * 100))
            sent.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        assert len(sent) < 5
        for _ in range(10):
            assert (await inbox.receive()) is not None
    assert len(sent) == 10


async def test_a_sender_that_waits_hears_of_the_end() -> None:
    inbox = Inbox(window=100)
    await inbox.send(Input(data=b"x" * 100))

    async def send() -> None:
        with pytest.raises(InputClosed):
            await inbox.send(Input(data=b"y"))

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        inbox.end()
