"""Events on their way out: from a governed call to a place that checks the signature, and what comes in between."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from sqlalchemy import delete, func, select
from standardwebhooks import Webhook

from fix_app import STRANGER, TOKEN, Process, World
from fix_parrot import Answer, Heard, Parrot
from interlock import kernel, subscriptions
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.kernel import Secret, SystemClock
from interlock.subscriptions import MessageState, State
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio

COUNT = subscriptions.EACH + 2
"""More than are sent at once."""


def allowed(world: World, parrot: Parrot) -> dict[str, Any]:
    return {"execution": {"egress_allow": (world.host, parrot.host)}}


@pytest.fixture
async def process(file_world: World, parrot: Parrot) -> AsyncGenerator[Process]:
    async with file_world.process(**allowed(file_world, parrot)) as process:
        await process.connect(file_world.server.url)
        yield process


async def work(process: Process) -> int:
    """What a worker does with what is due now; how many tries that were."""
    await process.parts.outgoing.feed.relay()
    courier = process.parts.outgoing.courier
    due = await courier.due()
    async with anyio.create_task_group() as tasks:
        for job in due:
            tasks.start_soon(courier.execute, job)
    return len(due)


async def subscribe(process: Process, parrot: Parrot, *types: str, **more: Any) -> subscriptions.Keyed:
    return await process.il.subscriptions.create(f"{parrot.url}/hooks", types or ("*",), **more)


def said(heard: Heard) -> dict[str, Any]:
    return json.loads(heard.body)


def signed(heard: Heard, secret: Secret) -> bool:
    """Whether the library of Standard Webhooks would have signed it so."""
    at = datetime.fromtimestamp(int(heard.headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret.reveal()).sign(heard.headers["webhook-id"], at, heard.body.decode())
    return expected in heard.headers["webhook-signature"].split(" ")


async def states(process: Process, made: subscriptions.Keyed) -> list[tuple[str, str]]:
    found = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
    return [(each.type, each.state.value) for each in reversed(found)]


async def test_a_governed_call_is_told_to_who_subscribed(process: Process, parrot: Parrot):
    made = await subscribe(process, parrot, "run.*", capabilities=["acme.issue.*"])
    outcome = await process.create()
    await process.il.invoke("acme.account.fetch")
    assert await work(process) == 2
    heard = {said(each)["type"]: each for each in parrot.heard}  # in whatever order
    assert sorted(heard) == ["run.accepted", "run.completed"]
    last = heard["run.completed"]
    assert made.secret is not None
    assert signed(last, made.secret)
    assert (last.method, last.path, last.headers["content-type"]) == ("POST", "/hooks", "application/json")
    told = said(last)
    assert told.keys() == {"type", "timestamp", "data"}
    assert (told["data"]["run_id"], told["data"]["capability"]) == (outcome.run_id, "acme.issue.create")
    assert not kernel.Redactor([Secret(TOKEN), made.secret]).finds(last.body)
    assert await work(process) == 0
    assert await states(process, made) == [("run.accepted", "delivered"), ("run.completed", "delivered")]
    kept = {each.run_id for each in await process.il.evidence()}
    assert {each.headers["webhook-id"] for each in parrot.heard} <= kept


async def test_a_place_that_fails_is_tried_again_as_the_same_message(
    process: Process, parrot: Parrot, file_world: World
):
    made = await subscribe(process, parrot, "run.completed")
    parrot.say = lambda _: Answer(status=503, headers={"Retry-After": "30"})
    await process.create()
    assert await work(process) == 1
    [waits] = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
    assert (waits.state, waits.tries, waits.status, waits.error) == (MessageState.PENDING, 1, 503, "it answered 503")
    failing = await process.il.subscriptions.fetch(made.subscription.subscription_id)
    assert failing.failing_since is not None
    file_world.advance(29)
    assert await work(process) == 0
    file_world.advance(1)
    parrot.say = lambda _: Answer()
    assert await work(process) == 1
    first, second = parrot.heard
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 30
    assert await states(process, made) == [("run.completed", "delivered")]
    assert (await process.il.subscriptions.fetch(made.subscription.subscription_id)).failing_since is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(status=302, headers={"Location": "/elsewhere"}), "redirect"),
        (Answer(b"x" * 100, cut=True), "gave no answer"),
        (Answer(b"x" * 2_000_000), "gave no answer"),
    ],
    ids=["redirect", "cut", "endless"],
)
async def test_what_is_no_plain_success_is_none(process: Process, parrot: Parrot, answer: Answer, error: str):
    made = await subscribe(process, parrot, "run.completed")
    parrot.say = lambda _: answer
    await process.create()
    await work(process)
    [waits] = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
    assert (waits.state, waits.tries, error in str(waits.error)) == (MessageState.PENDING, 1, True), waits.error
    assert len(parrot.heard) == 1


async def test_a_place_that_is_gone_is_disabled_and_the_others_hear_of_it(process: Process, parrot: Parrot):
    made, other = await subscribe(process, parrot, "run.*"), await subscribe(process, parrot, "subscription.disabled")
    parrot.say = lambda heard: Answer(status=410 if said(heard)["type"].startswith("run.") else 200)
    await process.create()
    await work(process)
    gone = await process.il.subscriptions.fetch(made.subscription.subscription_id)
    assert (gone.state, gone.reason) == (State.DISABLED, "gone")
    await process.create("Window")
    assert await work(process) == 1
    told = said(parrot.heard[-1])
    assert (told["type"], told["data"]["subscription_id"]) == ("subscription.disabled", gone.subscription_id)
    assert told["data"]["reason"] == "gone"
    assert len(await states(process, made)) == 2  # of the first call alone
    parrot.say = lambda _: Answer()
    assert (await process.il.subscriptions.resume(gone.subscription_id)).state is State.ACTIVE
    await process.create("Roof")
    await work(process)
    assert ("run.completed", "delivered") in await states(process, made)
    assert await states(process, other) == [("subscription.disabled", "delivered")]


async def test_a_place_that_takes_nothing_for_days_is_given_up(process: Process, parrot: Parrot, file_world: World):
    made = await subscribe(process, parrot, "run.completed")
    parrot.say = lambda _: Answer(status=500)
    await process.create()
    while (await process.il.subscriptions.fetch(made.subscription.subscription_id)).state is State.ACTIVE:
        await work(process)
        file_world.advance(86_400 * 1.2)
    assert len(parrot.heard) == subscriptions.MOST_TRIES
    [failed] = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
    assert (failed.state, failed.tries) == (MessageState.FAILED, subscriptions.MOST_TRIES)


async def test_what_happens_while_it_is_paused_waits(process: Process, parrot: Parrot):
    made = await subscribe(process, parrot, "run.completed")
    await process.create()
    await process.parts.outgoing.feed.relay()
    paused = await process.il.subscriptions.pause(made.subscription.subscription_id, reason="moving")
    assert (paused.state, paused.reason) == (State.PAUSED, "moving")
    await process.create("Window")
    assert await work(process) == 0
    assert await states(process, made) == [("run.completed", "pending")] * 2
    for late in await process.il.subscriptions.deliveries(made.subscription.subscription_id):
        await process.parts.outgoing.courier.send(late)  # by who found it due before
    assert parrot.heard == []
    await process.il.subscriptions.resume(made.subscription.subscription_id)
    assert await work(process) == 2
    assert len(parrot.heard) == 2


async def test_a_private_address_is_refused_unless_the_operator_allows_it(file_world: World, parrot: Parrot):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        made = await subscribe(process, parrot)
        sent = await process.il.subscriptions.test(made.subscription.subscription_id)
        assert not sent.taken
        assert "is a loopback address" in str(sent.error)
    assert parrot.heard == []


async def test_a_new_key_signs_beside_the_one_before_for_a_while(process: Process, parrot: Parrot, file_world: World):
    made = await subscribe(process, parrot)
    keyed = await process.il.subscriptions.rotate(made.subscription.subscription_id, overlap=60)
    assert made.secret is not None
    assert keyed.secret is not None
    assert keyed.secret != made.secret
    assert (await process.il.subscriptions.test(made.subscription.subscription_id)).taken
    assert signed(parrot.heard[-1], made.secret)
    assert signed(parrot.heard[-1], keyed.secret)
    file_world.advance(61)
    await process.il.subscriptions.test(made.subscription.subscription_id)
    assert not signed(parrot.heard[-1], made.secret)
    assert signed(parrot.heard[-1], keyed.secret)
    assert said(parrot.heard[-1])["type"] == "subscription.test"


async def test_an_asymmetric_subscription_tells_its_public_key_and_no_secret(process: Process, parrot: Parrot):
    made = await subscribe(process, parrot, signature="v1a")
    [public] = made.subscription.public_keys
    assert (made.secret, public[:5]) == (None, "whpk_")
    await process.il.subscriptions.test(made.subscription.subscription_id)
    assert parrot.heard[-1].headers["webhook-signature"].startswith("v1a,")


async def test_a_message_is_redelivered_by_hand_under_its_id(process: Process, parrot: Parrot):
    made = await subscribe(process, parrot, "run.completed")
    await process.create()
    await work(process)
    [sent] = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
    assert (await process.il.subscriptions.redeliver(sent.message_id)).state is MessageState.PENDING
    assert await work(process) == 1
    first, second = parrot.heard
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


async def test_a_message_whose_next_try_is_far_is_sent_at_once_by_hand(process: Process, parrot: Parrot):
    parrot.say = lambda _: Answer(b"", 500)
    made = await subscribe(process, parrot, "run.completed")
    await process.create()
    await work(process)
    [waits] = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
    assert await work(process) == 0, "its next try is to come"
    parrot.say = lambda _: Answer(b"", 204)
    assert (await process.il.subscriptions.redeliver(waits.message_id)).tries == waits.tries - 1 == 0
    assert await work(process) == 1
    [sent] = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
    assert sent.state is MessageState.DELIVERED


async def test_what_waits_for_a_deleted_subscription_is_dropped(process: Process, parrot: Parrot):
    made = await subscribe(process, parrot, "run.completed")
    await process.create()
    await process.parts.outgoing.feed.relay()
    [waits] = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
    await process.il.subscriptions.delete(made.subscription.subscription_id)
    await work(process)
    assert parrot.heard == []
    with pytest.raises(subscriptions.MessageNotFound):
        await process.il.subscriptions.redeliver(waits.message_id)


async def test_nothing_is_another_tenants(process: Process, parrot: Parrot):
    made = await subscribe(process, parrot)
    await process.create()
    await work(process)
    [sent, *_] = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
    theirs = process.il.as_caller(STRANGER).subscriptions
    assert await theirs.list() == []
    asks = [theirs.fetch, theirs.pause, theirs.resume, theirs.rotate, theirs.delete, theirs.test, theirs.deliveries]
    for ask in asks:
        with pytest.raises(subscriptions.SubscriptionNotFound):
            await ask(made.subscription.subscription_id)
    with pytest.raises(subscriptions.MessageNotFound):
        await theirs.redeliver(sent.message_id)


async def test_two_processes_send_each_message_once(world: World, parrot: Parrot):
    more = allowed(world, parrot)
    async with world.process(**more) as one, world.process(**more) as other:
        await one.connect(world.server.url)
        made = await subscribe(one, parrot, "run.*")
        for number in range(4):
            await one.create(f"Door {number}")
        async with anyio.create_task_group() as tasks:
            for process in (one, other, one, other):
                tasks.start_soon(work, process)
        while await work(one):
            pass
        sent = [each.headers["webhook-id"] for each in parrot.heard]
        assert (len(sent), len(set(sent))) == (8, 8)
        assert {state for _, state in await states(one, made)} == {"delivered"}


async def test_what_a_dead_process_was_sending_is_sent_by_another(file_world: World, parrot: Parrot):
    more = allowed(file_world, parrot)
    async with file_world.process(**more) as process:
        await process.connect(file_world.server.url)
        made = await subscribe(process, parrot, "run.completed")
        await process.create()
        await process.parts.outgoing.feed.relay()
        [waits] = await process.il.subscriptions.deliveries(made.subscription.subscription_id)
        records, store = process.parts.outgoing.records, process.parts.store
        at = file_world.clock.now()
        assert await store.write(lambda tx: records.claim(tx, waits, at=at, until=at + timedelta(seconds=60)))
        assert await work(process) == 0
        file_world.advance(60)
        assert await work(process) == 1
        assert await states(process, made) == [("run.completed", "delivered")]


async def test_a_process_that_ends_while_it_sends_lets_go_of_the_message(process: Process, parrot: Parrot):
    made = await subscribe(process, parrot, "run.completed")
    await process.create()
    scope = anyio.CancelScope()

    def say(_: Heard) -> Answer:
        anyio.from_thread.run_sync(scope.cancel, token=token)
        return Answer()

    token = anyio.lowlevel.current_token()
    parrot.say = say
    with scope:
        await work(process)
    assert await states(process, made) == [("run.completed", "pending")]
    parrot.say = lambda _: Answer()
    assert await work(process) == 1
    assert len({each.headers["webhook-id"] for each in parrot.heard}) == 1


async def test_events_are_followed_and_go_on_at_a_cursor(process: Process):
    il = process.il
    start = await il.subscriptions.cursor()
    outcome = await process.create()
    async with aclosing(il.events(["run.*"], after=start)) as events:
        first, second = await anext(events), await anext(events)
    assert [first.type, second.type] == ["run.accepted", "run.completed"]
    assert second.data["run_id"] == outcome.run_id
    await process.create("Window")
    async with aclosing(il.events(["run.completed"], after=first.cursor)) as events:
        assert [(await anext(events)).position for _ in range(2)] == [second.position, second.position + 2]
    others = il.as_caller(STRANGER)
    before = await others.subscriptions.cursor()
    await process.create("Roof")
    async with aclosing(others.events(after=before)) as events:
        with anyio.move_on_after(0.05):
            await anext(events)
            raise AssertionError("a tenant was told of another's")


async def test_a_cursor_whose_events_are_gone_says_so(process: Process):
    await process.il.subscriptions.cursor()
    await process.create()
    await process.parts.outgoing.feed.relay()
    others = process.il.as_caller(STRANGER)
    assert await others.subscriptions.cursor() == "2"  # what was before is not kept for them
    for cursor, error in (
        ("1", subscriptions.CursorExpired),
        ("x", kernel.RequestError),
        ("9" * 30, kernel.RequestError),
    ):
        async with aclosing(others.events(after=cursor)) as events:
            with pytest.raises(error):
                await anext(events)


async def test_who_follows_a_silent_tenant_keeps_up_with_what_goes(file_world: World, process: Process):
    """Events of others go when they are old: nothing of one's own was missed by that."""
    others, heard, asked = process.il.as_caller(STRANGER), list[subscriptions.Event](), list[str]()
    feed, records, clock = process.parts.outgoing.feed, tables.feed_events, file_world.clock
    await process.il.subscriptions.cursor()
    began = await others.subscriptions.cursor()
    await process.create()  # before anybody looks, who would move the clock
    await feed.relay()

    async def follow() -> None:
        async with aclosing(others.events(["run.*"], after=began)) as events:
            heard.append(await anext(events))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        several_looks = clock.monotonic() + 20
        while clock.monotonic() < several_looks:  # noqa: ASYNC110 - each look moves the clock
            await anyio.sleep(0.01)
        newest = select(func.max(records.c.position)).scalar_subquery()
        old = delete(records).where(records.c.position < newest)
        await process.parts.store.write(lambda tx: sql.connection(tx).execute(old))
        several_looks = clock.monotonic() + 20
        while clock.monotonic() < several_looks:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        asked.append((await others.dispatch.submit("noted")).run_id)
    assert [each.data["run_id"] for each in heard] == asked


async def test_what_nobody_can_subscribe_to_is_told_before_anything_is_written(process: Process, parrot: Parrot):
    asks: list[tuple[str, list[str], dict[str, Any]]] = [
        ("http://example.com/", ["*"], {}),
        (parrot.url, ["run.done"], {}),
        (parrot.url + "/", ["*"], {"signature": "v2"}),
        (parrot.url + "/", ["*"], {"connections": ["nobody"]}),
    ]
    for url, types, more in asks:
        with pytest.raises(kernel.RequestError):
            await process.il.subscriptions.create(url, types, **more)
    assert await process.il.subscriptions.list() == []


async def test_workers_send_what_happens_as_it_happens(world: World, parrot: Parrot):
    world.clock = SystemClock()
    heard = anyio.Event()
    token = anyio.lowlevel.current_token()

    def say(_: Heard) -> Answer:
        if len(parrot.heard) == COUNT:
            anyio.from_thread.run_sync(heard.set, token=token)
        return Answer()

    parrot.say = say
    async with world.process(**allowed(world, parrot)) as process:
        await process.connect(world.server.url)
        made = await subscribe(process, parrot, "run.completed")
        for _ in range(COUNT):
            await process.il.invoke("acme.account.fetch")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.il.worker().run)
            with anyio.fail_after(60):
                await heard.wait()
            tasks.cancel_scope.cancel()
        assert await states(process, made) == [("run.completed", "delivered")] * COUNT
    assert made.secret is not None
    for each in parrot.heard:
        assert Webhook(made.secret.reveal()).verify(each.body, dict(each.headers))["type"] == "run.completed"


async def test_what_happens_here_is_told_at_once(file_world: World, parrot: Parrot):
    """By the commit's own wake-up: the clock of the looks stands still."""
    file_world.clock = still = ManualClock(autojump=False)
    async with file_world.process(**allowed(file_world, parrot)) as process, anyio.create_task_group() as tasks:
        await process.connect(file_world.server.url)
        await subscribe(process, parrot, "run.completed")
        tasks.start_soon(process.il.worker().run)
        began = still.now()
        for count in (1, 2):
            await process.create()
            with anyio.fail_after(60):
                while len(parrot.heard) < count:  # noqa: ASYNC110 - it hears on another thread
                    await anyio.sleep(0.01)
        assert still.now() == began
        tasks.cancel_scope.cancel()
