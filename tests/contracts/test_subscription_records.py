"""Outgoing events over their records, on every engine: what is written with a change, its order, and who sends."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fix_connections import CONNECTION
from fix_ledger import Builder
from fix_store import outcomes
from fix_subscriptions import EVENT, MESSAGE, NOW, SUBSCRIPTION
from interlock import runs, subscriptions
from interlock.adapters import sql
from interlock.connections import Happening, Sealed, history
from interlock.kernel import Tx
from interlock.subscriptions import MOST_TRIES, Event, Message, MessageState, Sent, Span, State, Untold, tries
from interlock.testing import SequentialIds

pytestmark = pytest.mark.anyio

RECORDS = sql.SubscriptionRecords()
LATER = NOW + timedelta(days=1)


async def listen(store: sql.SqlStore, tenant_id: str = "default") -> None:
    await store.write(lambda tx: RECORDS.listen(tx, tenant_id, until=LATER))


async def untold(store: sql.SqlStore, limit: int = 100) -> Sequence[Untold]:
    return await store.write(lambda tx: RECORDS.take_untold(tx, limit=limit))


async def test_what_happens_to_a_run_is_written_with_it_once_somebody_listens(
    store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder
):
    await ledger.admit(builder.admission())
    assert not await store.read(RECORDS.is_untold)
    await listen(store)
    admission = builder.admission(connection_id="con_1")
    await ledger.admit(admission)
    await ledger.admit(admission)  # asked for again: told once
    await ledger.apply(builder.completion(admission))
    other = Builder("elsewhere", prefix=7).admission()
    await ledger.admit(other)
    assert await store.read(RECORDS.is_untold)
    first, second = await untold(store)
    assert (first.type, first.seq, first.subject_id) == ("run.accepted", 1, admission.run.run_id)
    assert (second.type, second.seq, second.at) == ("run.completed", 7, second.at)
    assert (second.capability, second.connection_id) == ("github.issue.create", "con_1")
    assert second.data["run_id"] == admission.run.run_id
    assert not await store.read(RECORDS.is_untold)


async def test_a_change_that_was_not_written_is_not_told(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder):
    await listen(store)
    admission = builder.admission()
    await ledger.admit(admission)
    change = builder.completion(admission)
    await ledger.apply(change)
    with pytest.raises(runs.StaleRun):
        await ledger.apply(builder.note(admission.run, "run.failed"))
    assert [each.type for each in await untold(store)] == ["run.accepted", "run.completed"]


async def test_batches_are_told_whole(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder):
    await listen(store)
    admissions = [builder.admission() for _ in range(20)]
    await outcomes(ledger.admit(each) for each in admissions)
    await outcomes(ledger.apply(builder.completion(each)) for each in admissions)
    told = await untold(store, 15)
    while more := await untold(store, 15):
        told = [*told, *more]
    assert len(told) == 40
    for each in admissions:
        assert [one.seq for one in told if one.subject_id == each.run.run_id] == [1, 7]


async def test_in_the_callers_own_transaction_too(store: sql.SqlStore, ledger: sql.SqlLedger, builder: Builder):
    await listen(store)
    admission = builder.admission()

    def write(tx: Tx) -> None:
        ledger.admit_in(tx, admission)
        ledger.apply_in(tx, builder.completion(admission))

    await store.write(write)
    assert [each.type for each in await untold(store)] == ["run.accepted", "run.completed"]


async def test_what_happens_to_a_connection_is_told_without_secrets(store: sql.SqlStore):
    await listen(store, "t1")
    said = history.Told(kind=Happening.REAUTH_REQUIRED, actor="interlock", reason="invalid_grant", data={"a": 1})
    account, events = history.append(CONNECTION, [said], ids=SequentialIds(), at=NOW)
    records = sql.ConnectionRecords()
    assert await store.write(lambda tx: records.save(tx, account, before=None, events=events))
    [told] = await untold(store)
    assert told == Untold(
        subject_id="con_1",
        seq=1,
        tenant_id="t1",
        type="connection.reauth_required",
        event_id=events[0].event_id,
        at=NOW,
        capability=None,
        connection_id="con_1",
        data={
            "connection_id": "con_1",
            "connector_id": "acme",
            "name": "work",
            "actor": "interlock",
            "reason": "invalid_grant",
            "details": {"a": 1},
        },
    )


async def test_a_notice_of_our_own_comes_back_as_it_was_told(store: sql.SqlStore):
    notice = Untold(
        subject_id=SUBSCRIPTION.subscription_id, seq=2, tenant_id="t1", type="subscription.disabled", event_id="evt_1",
        at=NOW, capability=None, connection_id=None, data={"reason": "gone"},
    )  # fmt: skip
    await store.write(lambda tx: RECORDS.tell(tx, notice))
    assert await untold(store) == []
    await listen(store, "t1")
    await store.write(lambda tx: RECORDS.tell(tx, notice))
    assert await untold(store) == [notice]


async def test_a_subscription_is_kept_found_and_changed_by_one(store: sql.SqlStore):
    other = replace(SUBSCRIPTION, subscription_id=f"sub_{2:032x}", state=State.DISABLED, reason="gone")
    await store.write(lambda tx: (RECORDS.insert(tx, SUBSCRIPTION), RECORDS.insert(tx, other)))

    def look(tx: Tx) -> list[Any]:
        return [
            RECORDS.find(tx, "t1", SUBSCRIPTION.subscription_id),
            RECORDS.find(tx, "t2", SUBSCRIPTION.subscription_id),
            RECORDS.list_subscriptions(tx, "t1", cursor=None, limit=9),
            RECORDS.list_subscriptions(tx, "t1", cursor=other.subscription_id, limit=9),
            RECORDS.list_subscriptions(tx, "t2", cursor=None, limit=9),
            RECORDS.list_hearing(tx, {"t1", "t2"}),
            RECORDS.list_disabled(tx, limit=9),
        ]

    assert await store.read(look) == [
        SUBSCRIPTION, None, [other, SUBSCRIPTION], [SUBSCRIPTION], [], [SUBSCRIPTION], [other],
    ]  # fmt: skip
    paused = replace(SUBSCRIPTION, state=State.PAUSED, revision=2)
    assert await store.write(lambda tx: RECORDS.replace(tx, SUBSCRIPTION, paused))
    assert not await store.write(lambda tx: RECORDS.replace(tx, SUBSCRIPTION, paused))
    resealed = replace(paused, sealed=Sealed(key_id="key_2", nonce=b"n", ciphertext=b"c"))
    assert not await store.write(lambda tx: RECORDS.replace(tx, resealed, resealed))
    await store.write(lambda tx: RECORDS.note_failing(tx, paused.subscription_id, NOW))
    await store.write(lambda tx: RECORDS.note_failing(tx, paused.subscription_id, LATER))
    found = await store.read(lambda tx: RECORDS.find(tx, "t1", paused.subscription_id))
    assert found == replace(paused, failing_since=NOW)
    assert not await store.write(lambda tx: RECORDS.delete(tx, "t2", paused.subscription_id))
    assert await store.write(lambda tx: RECORDS.delete(tx, "t1", paused.subscription_id))
    assert await store.read(lambda tx: RECORDS.find(tx, "t1", paused.subscription_id)) is None


async def test_events_are_read_in_order_by_their_own_tenant(store: sql.SqlStore):
    events = [replace(EVENT, position=place, tenant_id=tenant) for place, tenant in ((1, "t1"), (2, "t2"), (3, "t1"))]
    await store.write(lambda tx: RECORDS.add_events(tx, events))
    await listen(store, "t3")

    def look(tx: Tx) -> list[Any]:
        return [
            RECORDS.head(tx),
            RECORDS.list_events(tx, "t1", after=0, limit=9),
            RECORDS.list_events(tx, "t1", after=1, limit=9),
            RECORDS.list_events(tx, "t1", after=0, limit=1),
            RECORDS.find_event(tx, "t1", 3),
            RECORDS.find_event(tx, "t1", 2),
            RECORDS.span(tx, "t1"),
            RECORDS.span(tx, "t3"),
        ]

    first, _, third = events
    assert await store.read(look) == [
        3, [first, third], [third], [first], third, None, Span(kept_after=0, head=3), Span(kept_after=3, head=3),
    ]  # fmt: skip


async def add(store: sql.SqlStore, *messages: Message) -> None:
    await store.write(lambda tx: RECORDS.add_messages(tx, messages))


async def test_of_many_who_send_one_does_until_its_time_is_over(store: sql.SqlStore):
    await add(store, MESSAGE)
    until = NOW + timedelta(seconds=60)

    def claim(message: Message = MESSAGE, seconds: int = 0) -> Any:
        at = NOW + timedelta(seconds=seconds)
        return store.write(lambda tx: RECORDS.claim(tx, message, at=at, until=until + timedelta(seconds=seconds)))

    assert (await outcomes(claim() for _ in range(4))).count(True) == 1
    assert not await claim(seconds=59)
    assert await claim(seconds=60)
    late, mine = replace(MESSAGE, claimed_until=until), replace(MESSAGE, claimed_until=until + timedelta(seconds=60))
    done = replace(MESSAGE, state=MessageState.DELIVERED, tries=1, status=200, finished_at=NOW)
    assert not await store.write(lambda tx: RECORDS.settle(tx, late, done))
    assert await store.write(lambda tx: RECORDS.settle(tx, mine, done))
    assert await store.read(lambda tx: RECORDS.find_message(tx, "t1", MESSAGE.message_id)) == done
    assert await store.read(lambda tx: RECORDS.find_message(tx, "t2", MESSAGE.message_id)) is None
    assert not await claim(done, seconds=999)
    assert await store.write(lambda tx: RECORDS.again(tx, done, at=NOW))
    assert not await store.write(lambda tx: RECORDS.again(tx, done, at=NOW))
    assert await claim()


async def test_a_try_by_hand_takes_nothing_from_the_schedule(store: sql.SqlStore):
    waits = replace(MESSAGE, tries=3, due_at=LATER)
    await add(store, waits)
    for _ in range(MOST_TRIES):
        assert await store.write(lambda tx, waits=waits: RECORDS.again(tx, waits, at=NOW))
        assert not await store.write(lambda tx, waits=waits: RECORDS.again(tx, waits, at=NOW)), "it is due"
        due = await found(store)
        assert due.due_at == NOW
        assert await store.write(lambda tx, due=due: RECORDS.claim(tx, due, at=NOW, until=LATER))
        mine = await found(store)
        waits = tries.after(mine, Sent(status=503, error="it answered 503"), at=NOW)
        assert await store.write(lambda tx, mine=mine, waits=waits: RECORDS.settle(tx, mine, waits))
        assert (waits.state, waits.tries) == (MessageState.PENDING, 3)


async def test_a_try_by_hand_before_the_first_is_the_first(store: sql.SqlStore):
    """Its due moment is to come by this process's clock."""
    await add(store, replace(MESSAGE, due_at=LATER))
    assert await store.write(lambda tx: RECORDS.again(tx, MESSAGE, at=NOW))
    assert (await found(store)).tries == 0


async def found(store: sql.SqlStore) -> Message:
    there = await store.read(lambda tx: RECORDS.find_message(tx, "t1", MESSAGE.message_id))
    assert there is not None
    return there


async def test_a_try_that_is_not_due_or_was_made_is_nobodys(store: sql.SqlStore):
    waits = replace(MESSAGE, tries=1, due_at=LATER)
    await add(store, waits)
    for message, at in ((waits, NOW), (MESSAGE, LATER)):
        assert not await store.write(lambda tx, m=message, a=at: RECORDS.claim(tx, m, at=a, until=LATER))


async def test_what_is_due_is_found_fairly(store: sql.SqlStore):
    names = [f"sub_{number}" for number in range(6)]
    for name in names:
        state = State.PAUSED if name == "sub_5" else State.ACTIVE
        made = replace(SUBSCRIPTION, subscription_id=name, state=state)
        await store.write(lambda tx, made=made: RECORDS.insert(tx, made))

    def message(number: int, subscription: int, **changes: Any) -> Message:
        made = {"message_id": f"msg_{number:032x}", "subscription_id": names[subscription]}
        return replace(MESSAGE, due_at=NOW + timedelta(seconds=number), **made | changes)

    slow = [message(number, 1) for number in range(6)]
    other = message(7, 2)
    rest = [
        message(9, 3, state=MessageState.DELIVERED),
        replace(message(11, 3), due_at=LATER + timedelta(days=1)),
        *(message(number, 4, claimed_until=LATER + timedelta(days=1)) for number in (10, 12)),
        message(13, 4),
        message(14, 5),
    ]
    await add(store, *slow, other, *rest)
    due = await store.read(lambda tx: RECORDS.list_due(tx, LATER, each=2, limit=9))
    assert due == [*slow[:2], other]  # of the fourth, two are under way
    assert await store.read(lambda tx: RECORDS.list_due(tx, LATER, each=9, limit=3)) == slow[:3]


async def test_messages_are_listed_by_their_subscription_and_go_with_it(store: sql.SqlStore):
    claimed = replace(MESSAGE, message_id="msg_2", claimed_until=LATER)
    done = replace(MESSAGE, message_id="msg_3", state=MessageState.DELIVERED)
    strange = replace(MESSAGE, message_id="msg_4", subscription_id="sub_9")
    await add(store, MESSAGE, claimed, done, strange)

    def listed(state: MessageState | None = None, cursor: str | None = None) -> Any:
        return store.read(
            lambda tx: RECORDS.list_messages(tx, "t1", MESSAGE.subscription_id, state=state, cursor=cursor, limit=9)
        )

    assert await listed() == [done, claimed, MESSAGE]
    assert await listed(cursor="msg_3") == [claimed, MESSAGE]
    assert await listed(MessageState.DELIVERED) == [done]
    await store.write(lambda tx: RECORDS.insert(tx, SUBSCRIPTION))
    assert await store.write(lambda tx: RECORDS.delete(tx, "t1", SUBSCRIPTION.subscription_id))
    assert await listed() == [done]
    assert await store.read(lambda tx: RECORDS.find_message(tx, "t1", "msg_4")) == strange


async def test_what_was_kept_long_enough_goes_and_the_order_goes_on(store: sql.SqlStore):
    old, new = NOW - subscriptions.KEPT - timedelta(seconds=1), NOW
    events = [replace(EVENT, position=place, at=at) for place, at in ((1, old), (2, old), (3, old))]
    await store.write(lambda tx: RECORDS.add_events(tx, events))
    await add(store, replace(MESSAGE, created_at=old), replace(MESSAGE, message_id="msg_new", created_at=new))
    await store.write(lambda tx: RECORDS.insert(tx, SUBSCRIPTION))
    for tenant in ("t1", "t2"):
        await store.write(lambda tx, tenant=tenant: RECORDS.listen(tx, tenant, until=old))
    assert await sql.sweep(store, NOW) == 4

    def look(tx: Tx) -> list[Any]:
        left: Sequence[Event] = RECORDS.list_events(tx, "t1", after=0, limit=9)
        kept = RECORDS.find_message(tx, "t1", "msg_new")
        return [RECORDS.head(tx), [each.position for each in left], RECORDS.span(tx, "t1"), kept is not None]

    assert await store.read(look) == [3, [3], Span(kept_after=3, head=3), True]
