"""A node on the other side of a link that breaks: nothing is lost, doubled, begun twice or made up."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from fix_plane import NODE_ID
from fix_remote import Cutter, Yard, dialled, signer_of, yard
from interlock import app, plane
from interlock.adapters import nodes
from interlock.cli import conversing
from interlock.cli.ending import Ending
from interlock.kernel import SystemClock, Uuid7Ids

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

PIECES = [b"%d." % number + bytes(8_000) for number in range(120)]


@pytest.fixture
async def there(node_keys: Path) -> AsyncGenerator[Yard]:
    async with yard(node_keys) as made:
        yield made


@pytest.fixture
async def cutter(there: Yard) -> AsyncGenerator[Cutter]:
    async with Cutter(int(there.url.rpartition(":")[2])) as made:
        yield made


def outputs(events: list[plane.ExecutionEvent]) -> list[bytes]:
    return [event.data for event in events if event.type is plane.EventType.OUTPUT]


@pytest.mark.parametrize("cut_after", [1, 3_000, 60_000, 200_000])
async def test_a_link_that_breaks_again_and_again_loses_and_doubles_nothing(
    there: Yard, cutter: Cutter, cut_after: int
) -> None:
    events: list[plane.ExecutionEvent] = []
    async with dialled(cutter.url, there.keys) as client:
        ref = await there.start(client)

        async def feed() -> None:
            for number, piece in enumerate(PIECES):
                if number % 30 == 29:
                    cutter.cut()
                await client.send_input(ref, plane.Input(data=piece))
            await client.end_input(ref)

        async with anyio.create_task_group() as tasks, aclosing(client.subscribe(ref)) as stream:
            tasks.start_soon(feed)
            async for event in stream:
                events.append(event)
                if len(events) % 40 == 20:
                    cutter.cut_after = cut_after
        receipt = await client.wait(ref)
    assert cutter.connections > 4
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert outputs(events) == PIECES
    assert events[-1].receipt == receipt
    assert there.lane.begun == 1


async def test_what_was_said_while_the_link_was_gone_is_told_later(there: Yard, cutter: Cutter) -> None:
    """More than a node keeps when nobody reads."""
    async with dialled(cutter.url, there.keys) as far, dialled(there.url, there.keys) as near:
        ref = await there.start(near)
        stream = far.subscribe(ref)
        events = [await anext(stream)]
        cutter.refusing = True
        cutter.cut()
        async with anyio.create_task_group() as tasks:

            async def feed() -> None:
                for number in range(40):
                    await near.send_input(ref, plane.Input(data=bytes([number]) * 65_536))
                await near.end_input(ref)

            tasks.start_soon(feed)
            while (await near.status(ref)).last_seq < 12:
                await anyio.lowlevel.checkpoint()
            cutter.refusing = False
            events += [event async for event in stream]
    assert [data[0] for data in outputs(events)] == list(range(40))
    assert all(event.type is not plane.EventType.GAP for event in events)


async def test_a_reader_that_does_not_come_back_is_let_go(node_keys: Path) -> None:
    async with yard(node_keys, linger=0.05) as there, dialled(there.url, there.keys) as near:
        ref = await there.start(near)
        async with Cutter(int(there.url.rpartition(":")[2])) as cutter, dialled(cutter.url, there.keys) as far:
            stream = far.subscribe(ref)
            await anext(stream)
            cutter.refusing = True
            cutter.cut()
            for _ in range(40):
                await near.send_input(ref, plane.Input(data=bytes(65_536)))
            await near.end_input(ref)
            assert (await near.wait(ref)).failure is None
            cutter.refusing = False
            rest = [event async for event in stream]
    assert rest[0].type is plane.EventType.GAP
    assert rest[-1].receipt is not None


async def test_a_start_whose_answer_was_lost_is_the_same_execution(there: Yard, cutter: Cutter) -> None:
    refs, statuses = list[plane.ExecutionRef](), list[plane.ExecutionStatus]()
    async with dialled(cutter.url, there.keys) as client, anyio.create_task_group() as tasks:
        await client.describe()
        cutter.hold_answers = True

        async def start() -> None:
            refs.append(await there.start(client))

        tasks.start_soon(start)
        while not there.lane.begun:
            await anyio.lowlevel.checkpoint()
        cutter.hold_answers = False
        cutter.cut()
        while not refs:
            await anyio.lowlevel.checkpoint()
        statuses.append(await client.status(refs[0]))
        await client.cancel(refs[0])
    assert statuses[0].state is plane.ExecutionState.RUNNING
    assert there.lane.begun == 1


async def test_an_authority_that_expired_while_the_answer_was_lost_still_leads_to_its_execution(there: Yard) -> None:
    intent = there.intent()
    async with dialled(there.url, there.keys) as client:
        authority = there.authority(intent, ttl=300)
        first = await client.start(intent, authority=authority, target_class=plane.LOCAL_HTTP)
        there.clock.ahead = timedelta(seconds=301)
        again = await client.start(intent, authority=authority, target_class=plane.LOCAL_HTTP)
        other = there.intent()
        stale = authority.model_copy(update={"intent_digest": other.digest})
        with pytest.raises(plane.ExecutionRejected) as rejected:
            await client.start(other, authority=stale, target_class=plane.LOCAL_HTTP)
        await client.cancel(first)
    assert again == first
    assert rejected.value.failure.code == "authority_tampered"


async def test_a_link_that_stays_lost_is_no_receipt(there: Yard, cutter: Cutter) -> None:
    async with dialled(cutter.url, there.keys, patience=0.2) as client:
        ref = await there.start(client)
        async with dialled(cutter.url, there.keys, patience=0.2) as other:  # which does not know its deadline
            cutter.refusing = True
            cutter.cut()
            for lost in (other.wait(ref), other.send_input(ref, plane.Input(data=b"x")), other.cancel(ref)):
                with pytest.raises(plane.EffectFailed) as raised:
                    await lost
                assert raised.value.details["failure_class"] in {"connect_failed", "peer_lost"}
            with pytest.raises(plane.EffectFailed):
                await anext(other.subscribe(ref))
        cutter.refusing = False
        assert (await client.cancel(ref)).state is plane.ExecutionState.CANCELLED


async def test_a_request_that_may_have_arrived_is_lost_and_not_refused(there: Yard, cutter: Cutter) -> None:
    raised: list[plane.EffectFailed] = []
    async with dialled(cutter.url, there.keys, patience=0.2) as client, anyio.create_task_group() as tasks:
        await client.describe()
        cutter.hold_answers = True

        async def start() -> None:
            try:
                await there.start(client)
            except plane.EffectFailed as error:
                raised.append(error)

        tasks.start_soon(start)
        while not there.lane.begun:
            await anyio.lowlevel.checkpoint()
        cutter.refusing = True
        cutter.cut()
    assert raised[0].details["failure_class"] == "peer_lost"


async def test_who_was_told_the_end_needs_the_node_no_more(
    there: Yard, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dialled(cutter.url, there.keys) as client:
        subscribe = client.subscribe

        async def to_the_end(ref: plane.ExecutionRef) -> AsyncGenerator[plane.ExecutionEvent]:
            async with aclosing(subscribe(ref)) as events:
                async for event in events:
                    if event.receipt is not None:
                        cutter.refusing = True
                        cutter.cut()
                    yield event

        async def hello() -> AsyncGenerator[plane.Input]:
            yield plane.Input(data=b"hello")

        monkeypatch.setattr(client, "subscribe", to_the_end)
        place = app.RemotePlane(
            node_id=NODE_ID,
            executions=client,
            receipt_keys=None,
            authorizer=there.identity.authorizer,
            clock=there.clock,
            ids=Uuid7Ids(there.clock),
        )
        shown = conversing.Shown(live=False)
        ending = Ending(None, seconds=60)
        await conversing.carry_out(place, there.intent(), plane.LOCAL_HTTP, shown, ending, feed=hello)
    assert cutter.refusing
    assert ending.receipt is not None
    assert ending.error is None


async def test_a_request_that_may_have_arrived_is_lost_also_when_another_node_answers_later(
    there: Yard, cutter: Cutter, tmp_path: Path
) -> None:
    nodes.make_credentials(tmp_path / "k", node_id=NODE_ID, names=["127.0.0.1"], client="ann", clock=SystemClock())
    raised: list[plane.EffectFailed] = []
    async with (
        yard(tmp_path / "k") as other,
        dialled(cutter.url, there.keys, patience=0.2) as client,
        anyio.create_task_group() as tasks,
    ):

        async def start() -> None:
            try:
                await there.start(client)
            except plane.EffectFailed as error:
                raised.append(error)

        await client.describe()
        cutter.hold_answers = True
        tasks.start_soon(start)
        while not there.lane.begun:
            await anyio.lowlevel.checkpoint()
        cutter.hold_answers = False
        cutter.target = int(other.url.rpartition(":")[2])
        cutter.cut()
    assert raised[0].details["failure_class"] == "peer_lost"
    assert "certificate" in raised[0].message, "which is why there was no later try"


async def test_a_client_that_the_node_does_not_take_has_sent_nothing(there: Yard, tmp_path: Path) -> None:
    """The node refuses the certificate when the request is on its way: what is then on its way has no effect."""
    nodes.make_credentials(tmp_path / "k", node_id=NODE_ID, names=["127.0.0.1"], client="ann", clock=SystemClock())
    context = ssl.create_default_context(cafile=there.keys / "client" / "ca.pem")
    context.load_cert_chain(tmp_path / "k/client/cert.pem", tmp_path / "k/client/key.pem")
    async with dialled(there.url, there.keys, ssl_context=context) as client:
        with pytest.raises(plane.EffectFailed) as raised:
            await there.start(client)
    assert raised.value.details["failure_class"] == "tls_failed"


async def test_nobody_listens_there(node_keys: Path, there: Yard) -> None:
    async with Cutter(1) as nothing:
        nothing.refusing = True
        async with dialled(nothing.url, node_keys, patience=0.1) as client:
            with pytest.raises(plane.EffectFailed) as raised:
                await there.start(client)
    assert raised.value.details["failure_class"] == "connect_failed"


async def test_every_receipt_of_a_node_is_proven_by_its_own_key(there: Yard) -> None:
    trust = there.identity.receipt_keys
    async with dialled(there.url, there.keys) as client:
        ref = await there.start(client)
        await client.end_input(ref)
        receipt = await client.wait(ref)
        with pytest.raises(plane.ExecutionRejected) as refused:
            await client.start(there.intent(), authority=None, target_class=plane.LOCAL_HTTP)
    assert trust is not None
    assert plane.verify_receipt(receipt, trust).ok
    assert plane.verify_receipt(refused.value.receipt, trust).ok


@pytest.mark.parametrize("signed", [False, True])
async def test_a_receipt_that_the_pinned_key_has_not_signed_is_not_taken(
    there: Yard, tmp_path: Path, *, signed: bool
) -> None:
    """By another key, or not at all."""
    nodes.make_credentials(tmp_path / "k", node_id=NODE_ID, names=["127.0.0.1"], client="ann", clock=SystemClock())
    there.node.signer = signer_of(tmp_path / "k") if signed else None
    async with dialled(there.url, there.keys) as client, dialled(there.url, there.keys, receipt_keys=None) as other:
        ref = await there.start(client)
        await client.end_input(ref)
        assert (await other.wait(ref)).failure is None
        with pytest.raises(nodes.UnprovenReceipt, match="wrong_signer" if signed else "intact_unsigned"):
            await client.wait(ref)
        with pytest.raises(nodes.UnprovenReceipt):
            await client.status(ref)
        with pytest.raises(nodes.UnprovenReceipt):
            await client.cancel(ref)
        with pytest.raises(nodes.UnprovenReceipt):
            [event async for event in client.subscribe(ref)]
        with pytest.raises(nodes.UnprovenReceipt):
            await client.start(there.intent(), authority=None, target_class=plane.LOCAL_HTTP)
