"""Polls and what they have met, on every engine."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fix_connections import NOW
from interlock.adapters import sql
from interlock.triggers import polling

pytestmark = pytest.mark.anyio

RECORDS = sql.PollRecords()
POLL = polling.Poll(
    trigger_id="trg_1",
    tenant_id="t1",
    name="issues",
    trigger="github.issue_updated",
    connection="work",
    handler="incident",
    config={"repo": "a/b"},
    priority="high",
    interval=timedelta(minutes=5),
    pace=timedelta(seconds=22.5),
    state=polling.State.ACTIVE,
    next_at=NOW,
    mark=polling.mark_at(NOW),
    found=3,
    failures=1,
    problem="gone",
    last_polled_at=NOW,
    last_found_at=None,
    revision=7,
    created_by="me",
    created_at=NOW,
    updated_at=NOW,
)
THEIRS = replace(POLL, trigger_id="trg_2", tenant_id="t2")


def item(key: str, minutes: int | None = 0) -> polling.Item:
    return polling.Item(key=key, at=None if minutes is None else NOW + timedelta(minutes=minutes), value={})


async def test_a_poll_is_kept_and_found_whole(store: sql.SqlStore):
    for poll in (POLL, replace(THEIRS, connection=None, mark=None, next_at=NOW + timedelta(hours=1))):
        assert await store.write(lambda tx, poll=poll: RECORDS.insert(tx, poll))
        assert await store.read(lambda tx, poll=poll: RECORDS.find(tx, poll.tenant_id, "issues")) == poll
    assert not await store.write(lambda tx: RECORDS.insert(tx, replace(POLL, trigger_id="trg_3")))
    assert await store.read(lambda tx: RECORDS.find(tx, "t1", "trg_2")) is None
    found = await store.read(lambda tx: RECORDS.list_next(tx, limit=9))
    assert [each.trigger_id for each in found] == ["trg_1", "trg_2"]
    for listed in (RECORDS.list_named, RECORDS.list_made):
        assert await store.read(lambda tx, listed=listed: listed(tx, "t1", cursor=None, limit=9)) == [POLL]
    assert await store.read(lambda tx: RECORDS.list_made(tx, "t1", cursor="trg_1", limit=9)) == []


async def test_of_two_that_change_one_only_one_does(store: sql.SqlStore):
    await store.write(lambda tx: RECORDS.insert(tx, POLL))
    after = replace(POLL, revision=8, failures=0)
    assert await store.write(lambda tx: RECORDS.replace(tx, POLL, after))
    assert not await store.write(lambda tx: RECORDS.replace(tx, POLL, replace(after, failures=9)))
    assert await store.read(lambda tx: RECORDS.find(tx, "t1", "issues")) == after


async def test_what_was_met_is_known_to_that_poll_until_it_may_be_forgotten(store: sql.SqlStore):
    met = [item("a"), item("b", 5), item("c", None)]
    await store.write(lambda tx: RECORDS.meet(tx, POLL, met, NOW + timedelta(minutes=9)))
    await store.write(lambda tx: RECORDS.meet(tx, THEIRS, [item("d")], NOW))
    await store.write(lambda tx: RECORDS.meet(tx, POLL, [], NOW))
    asked = [*"abcd", *(f"x{number}" for number in range(1200))]
    assert set(await store.read(lambda tx: RECORDS.known(tx, POLL, asked))) == set("abc")
    await store.write(lambda tx: RECORDS.forget(tx, POLL, NOW + timedelta(minutes=5)))
    assert set(await store.read(lambda tx: RECORDS.known(tx, POLL, asked))) == set("bc")
    assert set(await store.read(lambda tx: RECORDS.known(tx, THEIRS, asked))) == {"d"}
    await store.write(lambda tx: RECORDS.insert(tx, POLL))
    assert await store.write(lambda tx: RECORDS.delete(tx, POLL))
    assert not await store.write(lambda tx: RECORDS.delete(tx, POLL))
    assert list(await store.read(lambda tx: RECORDS.known(tx, POLL, asked))) == []
