"""Sessions with agents over their records, on every engine."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from fix_connections import NOW
from fix_ledger import Builder
from interlock import agents, inference, testing
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.agents import sessions
from interlock.kernel import Caller, RequestError, Tx, Uuid7Ids

pytestmark = pytest.mark.anyio

RECORDS = sql.AgentSessionRecords()
OURS, THEIRS = (Caller(tenant_id=name, actor="me") for name in ("t1", "t2"))
DESK = agents.agent("desk", "Answer.", model="test:one")
NEWER = agents.agent("desk", "Answer politely.", model="test:one")
CASHIER = agents.agent("cashier", "Count.", model="test:one")
ALL = agents.Conversation()


class Room:
    """Sessions on a store, and which turns are said to be over."""

    def __init__(self, store: sql.SqlStore) -> None:
        self.store = store
        self.clock = testing.ManualClock(NOW)
        self.fates: dict[str, sessions.Fate] = {}
        self.sessions = sessions.Sessions(store, RECORDS, clock=self.clock, ids=Uuid7Ids(self.clock), fate=self.fate)

    def fate(self, tx: Tx, tenant_id: str, run_id: str) -> sessions.Fate:
        return self.fates.get(run_id, sessions.Fate.OPEN)

    async def begin(self, session_id: str, turn_id: str, spec: agents.Spec = DESK, **more: Any) -> sessions.Session:
        return await self.store.write(
            lambda tx: self.sessions.begin(tx, OURS, session_id, turn_id=turn_id, spec=spec, **more)
        )

    async def end(self, session_id: str, turn_id: str, *said: inference.Message, failure: str | None = None) -> bool:
        return await self.store.write(
            lambda tx: self.sessions.end(tx, "t1", session_id, turn_id=turn_id, said=said, failure=failure)
        )

    async def turn(self, session_id: str, number: int) -> None:
        await self.begin(session_id, f"run_{number}")
        assert await self.end(
            session_id, f"run_{number}", inference.said(f"question {number}"), says(f"answer {number}")
        )

    async def told(self, session_id: str, head: int, how: agents.Conversation = ALL, summed_up: int = 0) -> list[str]:
        place = sessions.Place(session_id=session_id, head=head, summed_up=summed_up)
        window = await self.store.read(lambda tx: self.sessions.told(tx, "t1", place, how))
        return [each.text for each in window.messages]


@pytest.fixture
def room(store: sql.SqlStore) -> Room:
    return Room(store)


def says(text: str) -> inference.Message:
    return inference.Message(role=inference.Role.MODEL, parts=(inference.Text(text=text),))


async def test_a_conversation_goes_on_from_turn_to_turn(room: Room):
    made = await room.sessions.create(OURS, DESK, metadata={"ticket": 7})
    assert await room.sessions.fetch(OURS, made.session_id) == made
    for number in (1, 2, 3):
        await room.turn(made.session_id, number)
    found = await room.sessions.fetch(OURS, made.session_id)
    assert (found.head, found.open_turn, found.title) == (3, None, "question 1")
    assert await room.told(made.session_id, 2) == ["question 1", "answer 1", "question 2", "answer 2"]
    assert await room.told(made.session_id, 3, agents.Conversation(turns=1)) == ["question 3", "answer 3"]
    left = await room.sessions.list_exchanges(OURS, made.session_id, after=1, limit=1)
    assert [(each.number, each.turn_id, each.said) for each in left] == [
        (2, "run_2", (inference.said("question 2"), says("answer 2")))
    ]


async def test_what_a_failed_turn_left_has_an_outcome_for_every_call(room: Room):
    made = await room.sessions.create(OURS, DESK)
    await room.begin(made.session_id, "run_1")
    asks = inference.Message(
        role=inference.Role.MODEL, parts=(inference.Call(call_id="c1", name="pay", arguments='{"opaque":"\\u0000"}'),)
    )
    assert await room.end(made.session_id, "run_1", inference.said("pay it"), asks, failure="cancelled")
    [left] = await room.sessions.list_exchanges(OURS, made.session_id)
    assert left.failure == "cancelled"
    assert left.said[:2] == (inference.said("pay it"), asks)
    [outcome] = left.said[2].parts
    assert isinstance(outcome, inference.Outcome)
    assert (outcome.call_id, outcome.failed) == ("c1", True)


async def test_at_most_one_turn_is_open_and_one_that_fell_holds_nothing(room: Room):
    made = await room.sessions.create(OURS, DESK)
    opened = await room.begin(made.session_id, "run_1")
    assert await room.begin(made.session_id, "run_1") == opened
    with pytest.raises(sessions.SessionBusy, match="run_1"):
        await room.begin(made.session_id, "run_2")
    with pytest.raises(sessions.SessionBusy):
        await room.sessions.delete(OURS, made.session_id)
    room.fates["run_1"] = sessions.Fate.GONE
    await room.begin(made.session_id, "run_2")
    assert not await room.end(made.session_id, "run_1", inference.said("late"))
    assert await room.end(made.session_id, "run_2", inference.said("hello"))
    assert not await room.end(made.session_id, "run_2", inference.said("hello"))
    assert (await room.sessions.fetch(OURS, made.session_id)).head == 1


async def test_what_was_said_in_one_that_another_hand_has_ended_is_left_once(room: Room):
    made = await room.sessions.create(OURS, DESK)
    await room.begin(made.session_id, "run_1")
    room.fates["run_1"] = sessions.Fate.ENDED
    with pytest.raises(sessions.SessionBusy) as caught:
        await room.begin(made.session_id, "run_2")
    assert caught.value.details["ended"] is True
    held = await room.sessions.fetch(OURS, made.session_id)
    said = (inference.said("hello"),)
    leaves = [
        await room.store.write(lambda tx: room.sessions.leave(tx, held, said=said, failure="cancelled"))
        for _ in range(2)
    ]
    assert leaves == [True, False]
    assert not await room.end(made.session_id, "run_1", *said)
    await room.begin(made.session_id, "run_2")
    assert await room.told(made.session_id, 1) == ["hello"]


async def test_one_that_goes_on_after_its_end_has_the_session_unless_that_went_on(room: Room):
    made = await room.sessions.create(OURS, DESK)
    await room.begin(made.session_id, "run_1")
    held = await room.sessions.fetch(OURS, made.session_id)

    async def retake(session_id: str = made.session_id) -> None:
        await room.store.write(lambda tx: room.sessions.retake(tx, "t1", session_id, turn_id="run_1"))

    await retake()
    late = await room.store.write(lambda tx: room.sessions.leave(tx, held, said=(), failure="dead"))
    assert not late, "what was read before it went on is none of it"
    assert await room.end(made.session_id, "run_1", inference.said("hello"))
    with pytest.raises(sessions.SessionWentOn):
        await retake()
    await room.begin(made.session_id, "run_2")
    with pytest.raises(sessions.SessionWentOn):
        await retake()
    with pytest.raises(sessions.SessionNotFound):
        await retake("ags_none")


async def test_of_two_that_begin_at_once_one_does(room: Room):
    made = await room.sessions.create(OURS, DESK)
    after = [replace(made, revision=1, open_turn=name) for name in ("run_1", "run_2")]
    done = [await room.store.write(lambda tx, each=each: RECORDS.replace(tx, made, each)) for each in after]
    assert done == [True, False]
    assert (await room.sessions.fetch(OURS, made.session_id)).open_turn == "run_1"


async def test_a_title_given_meanwhile_stays_and_the_turn_ends_all_the_same(room: Room):
    made = await room.sessions.create(OURS, DESK)
    await room.begin(made.session_id, "run_1")
    await room.sessions.change(OURS, made.session_id, title="About doors", metadata={"a": 1})
    assert await room.end(made.session_id, "run_1", inference.said("hello"))
    found = await room.sessions.fetch(OURS, made.session_id)
    assert (found.title, found.metadata, found.open_turn) == ("About doors", {"a": 1}, None)


async def test_a_changed_agent_needs_a_yes_and_another_one_never_gets_in(room: Room):
    made = await room.sessions.create(OURS, DESK)
    with pytest.raises(sessions.AgentChanged, match=NEWER.fingerprint):
        await room.begin(made.session_id, "run_1", NEWER)
    with pytest.raises(sessions.InvalidSession, match="cashier"):
        await room.begin(made.session_id, "run_1", CASHIER, accept=True)
    assert (await room.begin(made.session_id, "run_1", NEWER, accept=True)).fingerprint == NEWER.fingerprint
    await room.end(made.session_id, "run_1", inference.said("hello"))
    assert (await room.begin(made.session_id, "run_2", NEWER)).open_turn == "run_2"


async def test_a_full_session_takes_no_more_turns(room: Room):
    made = await room.sessions.create(OURS, DESK)
    full = replace(made, head=sessions.MAX_TURNS, revision=1)
    await room.store.write(lambda tx: RECORDS.replace(tx, made, full))
    with pytest.raises(sessions.SessionFull):
        await room.begin(made.session_id, "run_1")


async def test_a_fork_goes_its_own_way_from_a_turn_on(room: Room):
    made = await room.sessions.create(OURS, DESK, title="first")
    for number in (1, 2, 3):
        await room.turn(made.session_id, number)
    await room.begin(made.session_id, "run_4")
    fork = await room.sessions.fork(OURS, made.session_id, at=2)
    assert (fork.forked_from, fork.forked_at, fork.head, fork.open_turn) == (made.session_id, 2, 2, None)
    await room.turn(fork.session_id, 9)
    assert await room.told(fork.session_id, 3) == [
        "question 1", "answer 1", "question 2", "answer 2", "question 9", "answer 9",
    ]  # fmt: skip
    room.fates["run_4"] = sessions.Fate.ENDED
    await room.sessions.delete(OURS, made.session_id)
    assert len(await room.told(fork.session_id, 3)) == 6
    with pytest.raises(sessions.InvalidSession, match="3 turns"):
        await room.sessions.fork(OURS, fork.session_id, at=4)


async def test_older_turns_are_summed_up_once_and_a_place_stays_as_it_was_told(room: Room):
    made = await room.sessions.create(OURS, DESK)
    for number in range(1, 6):
        await room.turn(made.session_id, number)
    how = agents.Conversation(turns=4, compact=True)
    session = await room.sessions.fetch(OURS, made.session_id)
    due = await room.store.read(lambda tx: room.sessions.due(tx, session, how))
    assert due is not None
    assert (due.upto, [each.number for each in due.exchanges]) == (3, [1, 2, 3])
    await room.store.write(lambda tx: room.sessions.summarise(tx, due, text="doors", run_id="run_s"))
    # Again, after a crash.
    after = await room.store.write(lambda tx: room.sessions.summarise(tx, due, text="doors", run_id="run_s"))
    assert after.summed_up == 3
    told = await room.told(made.session_id, 5, how, summed_up=3)
    assert told == [sessions.SUMMED_UP.format("doors"), "question 4", "answer 4", "question 5", "answer 5"]
    assert await room.told(made.session_id, 2, how) == ["question 1", "answer 1", "question 2", "answer 2"]
    assert await room.store.read(lambda tx: room.sessions.due(tx, after, how)) is None
    assert (await room.sessions.fork(OURS, made.session_id, at=2)).summed_up == 0
    fork = await room.sessions.fork(OURS, made.session_id)
    assert await room.told(fork.session_id, 5, how, summed_up=3) == told


async def test_tenants_never_mix(room: Room):
    made = await room.sessions.create(OURS, DESK)
    await room.turn(made.session_id, 1)
    for act in (room.sessions.fetch, room.sessions.list_exchanges, room.sessions.fork, room.sessions.delete):
        with pytest.raises(sessions.SessionNotFound):
            await act(THEIRS, made.session_id)
    place = sessions.Place(session_id=made.session_id, head=1)
    with pytest.raises(sessions.SessionNotFound):
        await room.store.read(lambda tx: room.sessions.told(tx, "t2", place, ALL))
    assert not await room.store.write(lambda tx: room.sessions.end(tx, "t2", made.session_id, turn_id="run_1", said=()))


async def test_a_limited_caller_sees_its_agents_sessions_in_pages(room: Room):
    ours = [await room.sessions.create(OURS, spec) for spec in (DESK, CASHIER, DESK)]
    await room.sessions.create(THEIRS, DESK)
    limited = Caller(tenant_id="t1", actor="app", capabilities=frozenset({"agent.desk", "github.*"}))
    seen = await room.sessions.list_sessions(limited)
    assert [each.session_id for each in seen] == [ours[2].session_id, ours[0].session_id]
    with pytest.raises(sessions.SessionNotFound):
        await room.sessions.fetch(limited, ours[1].session_id)
    assert await room.sessions.list_sessions(limited, agent_id="cashier") == []
    with pytest.raises(RequestError, match=r"app may not ask for agent\.cashier"):
        await room.sessions.create(limited, CASHIER)
    wide = Caller(tenant_id="t1", actor="app", capabilities=frozenset({"agent.*"}))
    first = await room.sessions.list_sessions(wide, limit=2)
    rest = await room.sessions.list_sessions(wide, cursor=first[-1].session_id)
    assert [each.session_id for each in (*first, *rest)] == [each.session_id for each in reversed(ours)]


async def test_sessions_leave_the_store_when_nothing_happens_in_them(room: Room, builder: Builder):
    store, day = room.store, timedelta(days=1)
    working = builder.admission(tenant_id="t1")
    await store.admit(working)
    kept = [await room.sessions.create(OURS, DESK) for _ in range(3)]
    for each, turn in zip(kept, ("run_1", working.run.run_id, "run_gone"), strict=True):
        await room.begin(each.session_id, turn)
    await room.end(kept[0].session_id, "run_1", inference.said("hello"))
    assert await sql.sweep(store, NOW + 9 * day) == 0
    assert await sql.sweep(store, NOW + 9 * day, sessions_kept=10 * day) == 0
    assert await sql.sweep(store, NOW + 11 * day, sessions_kept=10 * day) == 2

    def left(tx: Tx) -> list[Any]:
        found = [tables.agent_sessions.c.session_id, tables.agent_exchanges.c.session_id]
        return [list(sql.connection(tx).execute(select(each)).scalars()) for each in found]

    assert await store.read(left) == [[kept[1].session_id], []]


@pytest.mark.parametrize(
    "given", [{"title": ""}, {"title": "a\nb"}, {"title": "x" * 201}, {"metadata": {"a": "x" * 20_000}}]
)
async def test_what_cannot_be_meant_is_refused(memory_store: sql.SqlStore, given: dict[str, Any]):
    with pytest.raises(agents.sessions.InvalidSession if "title" in given else Exception):
        await Room(memory_store).sessions.create(OURS, DESK, **given)
