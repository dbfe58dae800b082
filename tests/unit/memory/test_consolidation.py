"""What the policies would change, and that it is as if it had never been when it is undone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import memory
from interlock.memory import consolidation
from interlock.testing import ManualClock

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SCOPE = memory.Scope(tenant="acme")
WORDS = "the quick brown fox jumps over one lazy dog at dawn in a small town by that old river"


def record(number: int, text: str, **fields: Any) -> memory.Record:
    usual: dict[str, Any] = {"scope": SCOPE, "revision": 1, "observed_at": NOW, "recorded_at": NOW, "text": text}
    return memory.Record.of(**usual | fields, record_id=f"mem_{number:032x}")


def planned(*records: memory.Record, policy: str) -> list[tuple[list[int], memory.Draft | None]]:
    plan = consolidation.plan(SCOPE, "cns_x", records, [policy], NOW)
    return [([int(each[4:], 16) for each in change.ends], change.record) for change in plan.changes]


def test_duplicates_have_the_same_words():
    kept = [
        record(1, "Water boils!", tags=["a"], importance=0.2),
        record(2, "water BOILS", tags=["b"], importance=0.9),
        record(3, "water freezes"),
        record(4, "water boils", kind="note"),
        record(5, "water boils", scope=SCOPE.narrowed(user="ana")),
        record(6, "water boils", content={"at": 100}),
    ]
    [(ends, draft)] = planned(*kept, policy="duplicates")
    assert ends == [1, 2]
    assert draft is not None
    assert (set(draft.tags), draft.importance) == ({"a", "b"}, 0.9)


def test_near_duplicates_share_nearly_all_words_and_the_longest_stays():
    kept = [record(1, WORDS), record(2, f"{WORDS} again"), record(3, WORDS.replace("fox", "cat").replace("dog", "cow"))]
    [(ends, draft)] = planned(*kept, policy="near_duplicates")
    assert ends == [1, 2]
    assert draft is not None
    assert draft.text == f"{WORDS} again"


@given(st.lists(st.lists(st.sampled_from("abcdefghijklmno"), min_size=1, max_size=14), min_size=2, max_size=12))
def test_near_duplicates_are_found_as_by_comparing_all_with_all(texts: list[list[str]]):
    records = [record(number, " ".join(text)) for number, text in enumerate(texts, 1)]
    left = sorted(records, key=lambda each: (-len(_held(each)), each.record_id))
    groups: list[list[int]] = []
    while left:
        first = _held(left[0])
        alike = [each for each in left if _share(first, _held(each)) >= consolidation.NEAR]
        left = [each for each in left if each not in alike]
        if len(alike) > 1:
            groups.append(sorted(int(each.record_id[4:], 16) for each in alike))
    assert [ends for ends, _ in planned(*records, policy="near_duplicates")] == groups


def _held(of: memory.Record) -> set[str]:
    return set((of.text or "").split())


def _share(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def test_working_memory_and_faint_events_decay():
    week, season = NOW - timedelta(days=8), NOW - timedelta(days=91)
    kept = [
        record(1, "old", memory_class="working", observed_at=week),
        record(2, "new", memory_class="working"),
        record(3, "faint", importance=0.1, observed_at=season),
        record(4, "strong", importance=0.5, observed_at=season),
        record(5, "a fact", memory_class="semantic", importance=0.1, observed_at=season),
    ]
    assert planned(*kept, policy="decay") == [([1], None), ([3], None)]


def test_what_weighs_and_lasts_is_promoted():
    week = NOW - timedelta(days=8)
    kept = [
        record(1, "weighty", memory_class="working", importance=0.8, observed_at=week),
        record(2, "light", memory_class="working", observed_at=week),
        record(3, "young", memory_class="working", importance=0.8),
    ]
    [(ends, draft)] = planned(*kept, policy="promotion")
    assert ends == [1]
    assert draft is not None
    assert draft.memory_class is memory.MemoryClass.SEMANTIC


def test_contradictions_are_told_and_nothing_is_changed():
    about: dict[str, Any] = {"memory_class": "semantic", "metadata": {"subject": "home"}}
    kept = [record(1, "Paris", **about), record(2, "Lyon", **about), record(3, "Rome", memory_class="semantic")]
    plan = consolidation.plan(SCOPE, "cns_x", kept, ["contradictions"], NOW)
    assert plan.changes == ()
    assert [told.record_ids for told in plan.contradictions] == [(kept[0].record_id, kept[1].record_id)]


def test_a_record_is_changed_once():
    plan = consolidation.plan(
        SCOPE, "cns_x", [record(1, WORDS), record(2, WORDS), record(3, f"{WORDS} again")], [], NOW
    )
    assert sorted(each for change in plan.changes for each in change.ends) == [record(n, "x").record_id for n in (1, 2)]


@pytest.mark.anyio
async def test_what_was_merged_is_forgotten_with_what_it_became():
    async with memory.Memory.open("memory", scope=SCOPE, clock=ManualClock()) as mem:
        kept = [(await mem.remember("the same")).record_id for _ in range(3)]
        result = await mem.apply_consolidation(await mem.plan_consolidation())
        gone = await mem.forget(result.made[0])
        assert (set(gone.record_ids), gone.restored_ids, gone.traces) == ({*kept, result.made[0]}, (), 0)
        assert (await mem.retrieve(as_of="any")).hits == ()


@pytest.mark.anyio
@pytest.mark.parametrize("later", [0, 1])
async def test_what_was_undone_is_not_undone_again(later: int):
    clock = ManualClock()
    async with memory.Memory.open("memory", scope=SCOPE, clock=clock) as mem:
        kept = {(await mem.remember("the same")).record_id for _ in range(3)}
        result = await mem.apply_consolidation(await mem.plan_consolidation())
        clock.advance(later)
        assert (await mem.undo_consolidation(result.change_id)).ended == result.made
        for _ in range(2):
            clock.advance(later)
            again = await mem.undo_consolidation(result.change_id)
            assert (again.status, again.made, again.ended, len(again.skipped)) == ("nothing", (), (), 4)
        assert {record.record_id for record in (await mem.retrieve()).records} == kept


@pytest.mark.anyio
async def test_what_decayed_comes_back():
    clock = ManualClock()
    async with memory.Memory.open("memory", scope=SCOPE, clock=clock) as mem:
        await mem.remember("for now", memory_class="working")
        clock.advance(8 * 86_400)
        result = await mem.apply_consolidation(await mem.plan_consolidation(["decay"]))
        assert (await mem.retrieve()).hits == ()
        await mem.undo_consolidation(result.change_id)
        assert [hit.record.text for hit in (await mem.retrieve()).hits] == ["for now"]
        assert (await mem.undo_consolidation(result.change_id)).status == "nothing"
        with pytest.raises(memory.RecordNotFound):
            await mem.undo_consolidation("cns_none")


@pytest.mark.parametrize(("ends", "revisions"), [([1, 1], [1, 1]), ([1, 2], [1]), ([1], [1, 1])])
def test_a_plan_that_was_made_up_ends_each_record_once(ends: list[int], revisions: list[int]):
    ids = [record(number, "x").record_id for number in ends]
    with pytest.raises(memory.InvalidInput, match="each record ends once"):
        memory.Consolidated.of(policy="decay", reason="made up", ends=tuple(ids), revisions=tuple(revisions))
