"""From signals to one ranking."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import memory
from interlock.memory import ranking

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(number: int, *, importance: float = 0.5) -> memory.Record:
    at = NOW + timedelta(hours=number)
    return memory.Record(
        record_id=f"mem_{number:032x}",
        scope=memory.Scope(tenant="t"),
        revision=1,
        text=str(number),
        importance=importance,
        observed_at=at,
        recorded_at=at,
    )


def found(*scores: tuple[int, float]) -> list[memory.Found]:
    return [memory.Found(key=record(number).key, score=score) for number, score in scores]


RECORDS = {each.key: each for each in (record(number, importance=number / 10) for number in range(1, 6))}


def fused(query: memory.Query, **lists: list[memory.Found]) -> list[int]:
    names = {hit.key for hits in lists.values() for hit in hits}
    there = {name: RECORDS[name] for name in names}
    return [int(RECORDS[each.key].text or "") for each in ranking.fuse(query, lists, there)]


def test_the_union_is_ranked_and_not_only_what_both_found():
    query = memory.Query(text="x", mode="hybrid")  # type: ignore[arg-type]
    assert fused(query, text=found((1, 9), (2, 1)), semantic=found((3, 0.9), (2, 0.1))) == [2, 1, 3]
    assert fused(query, text=[], semantic=found((3, 0.9))) == [3]


def test_the_best_that_could_be_has_the_score_one():
    query = memory.Query(text="x", mode="hybrid")  # type: ignore[arg-type]
    best, *_ = ranking.fuse(query, {"text": found((1, 9)), "semantic": found((1, 0.5))}, RECORDS)
    assert best.score == pytest.approx(1)
    assert [signal.contribution for signal in best.signals][:2] == pytest.approx([0.5, 0.5])


def test_one_signal_alone_keeps_its_own_score():
    query = memory.Query(text="x", mode="text")  # type: ignore[arg-type]
    (hit,) = ranking.fuse(query, {"text": found((1, 3.25))}, {found((1, 0))[0].key: RECORDS[found((1, 0))[0].key]})
    assert (hit.score, ranking.rule(query)) == (3.25, "BM25")


def test_age_and_importance_count_where_they_are_given_a_weight():
    lists = {"text": found((1, 9), (5, 8.9))}
    assert fused(memory.Query(text="x", mode="text"), **lists) == [1, 5]  # type: ignore[arg-type]
    for name in ("recency", "importance"):
        query = memory.Query(text="x", mode="text", weights={name: 1.0})  # type: ignore[arg-type, dict-item]
        assert fused(query, **lists) == [5, 1] or fused(query, **lists) == [1, 5]
        heavier = memory.Query(text="x", mode="text", weights={name: 2.0})  # type: ignore[arg-type, dict-item]
        assert fused(heavier, **lists) == [5, 1]
        assert name in ranking.rule(query)


@given(st.permutations([1, 2, 3, 4, 5]), st.permutations([1, 2, 3, 4, 5]))
def test_what_is_better_in_every_signal_is_better(one: list[int], other: list[int]):
    query = memory.Query(text="x", mode="hybrid")  # type: ignore[arg-type]
    lists = {
        "text": found(*((number, float(-at)) for at, number in enumerate(one))),
        "semantic": found(*((number, float(-at)) for at, number in enumerate(other))),
    }
    order = fused(query, **lists)
    for first in order:
        for second in order:
            if one.index(first) < one.index(second) and other.index(first) < other.index(second):
                assert order.index(first) < order.index(second)


@given(st.lists(st.tuples(st.integers(1, 99), st.sampled_from([0.0, -0.0, 0.5, 0.5 + 2**-53, 9.0])), max_size=30))
def test_the_best_are_first_and_of_equals_the_smaller_key(scores: list[tuple[int, float]]):
    best = ranking.ordered(found(*scores))
    assert best == sorted(found(*scores), key=lambda each: (-each.score, each.key.order))


def test_bm25_prefers_rare_words_and_short_texts():
    rarities = {"rare": ranking.rarity(100, 1), "often": ranking.rarity(100, 90)}
    assert rarities["rare"] > rarities["often"] > 0

    def score(frequencies: dict[str, int], length: int) -> float:
        return ranking.bm25(frequencies, length, mean=10.0, rarity=rarities)

    assert score({"rare": 1}, 10) > score({"often": 1}, 10)
    assert score({"rare": 1}, 5) > score({"rare": 1}, 50)
    assert score({"rare": 3}, 10) > score({"rare": 1}, 10)
    assert ranking.bm25({"rare": 1}, 0, mean=0.0, rarity=rarities) > 0


@pytest.mark.anyio
async def test_the_nearest_of_what_is_far_is_no_hit_where_ranks_are_fused():
    async with memory.Memory.open("memory", scope=memory.Scope(tenant="acme")) as mem:
        kept = await mem.remember("The billing service failed on Friday")
        (far,) = (await mem.retrieve("xylophone", mode="semantic")).hits
        assert far.score is not None
        assert far.score <= 0.05
        assert (await mem.retrieve("xylophone", mode="hybrid")).hits == ()
        found = await mem.retrieve("the biling servise", mode="hybrid")
        assert [hit.record.record_id for hit in found.hits] == [kept.record_id]


@pytest.mark.anyio
async def test_what_is_opened_as_it_comes_can_be_combined(tmp_path: Path):
    inner = ["memory", {"name": "sqlite", "config": {"path": str(tmp_path / "memory.db")}}]
    for name, config in (("fanout", {"parts": inner}), ("tiered", {"short": inner[0], "long": inner[1]})):
        async with memory.Memory.open(name, config, scope=memory.Scope(tenant="acme")) as mem:
            assert memory.SearchMode.HYBRID in mem.capabilities().guarantees.search_modes
