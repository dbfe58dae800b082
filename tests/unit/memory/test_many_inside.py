"""Providers over several others: who keeps what, what is merged, and what is told when one fails."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from interlock import memory
from interlock.kernel import Uuid7Ids
from interlock.memory.combining.fanout import Fanout, Settings
from interlock.memory.combining.tiered import Tiered
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio

ANA = memory.Scope(tenant="acme", user="ana")


async def inside(clock: ManualClock) -> memory.Provider:
    return await memory.Registry().fetch("memory").open({}, clock=clock, ids=Uuid7Ids(clock))


def texts(found: memory.RetrieveResult) -> list[str | None]:
    return [record.text for record in found.records]


class Tiers:
    """A tiered memory, and both that are in it."""

    def __init__(self, clock: ManualClock, short: memory.Provider, long: memory.Provider) -> None:
        self.clock = clock
        self.tiered = Tiered(short, long, clock=clock)
        self.both, self.short, self.long = (
            memory.Memory(each, ANA, clock=clock) for each in (self.tiered, short, long)
        )


@pytest.fixture
async def tiers() -> Tiers:
    clock = ManualClock()
    return Tiers(clock, await inside(clock), await inside(clock))


class TestTiered:
    async def test_events_begin_short_and_facts_long(self, tiers: Tiers):
        await tiers.both.ingest(
            [
                memory.Draft.of(text=name, memory_class=name)
                for name in ("episodic", "semantic", "working", "procedural")
            ]
        )
        assert {*texts(await tiers.short.retrieve())} == {"episodic", "working"}
        assert {*texts(await tiers.long.retrieve())} == {"semantic", "procedural"}
        found = await tiers.both.retrieve(exact_total=True)
        assert ({*texts(found)}, found.total) == ({"episodic", "semantic", "working", "procedural"}, 4)

    async def test_what_belongs_to_a_record_stays_beside_it_and_goes_with_it(self, tiers: Tiers):
        event = await tiers.both.remember("she said so")
        fact = await tiers.both.remember(
            "it is so", memory_class="semantic", provenance=memory.Provenance(derived_from=(event.record_id,))
        )
        own = await tiers.both.remember("known", memory_class="semantic")
        assert {*texts(await tiers.short.retrieve())} == {"she said so", "it is so"}
        with pytest.raises(memory.InvalidInput, match="short-term memory and of others"):
            await tiers.both.remember("x", provenance=memory.Provenance(derived_from=(event.record_id, own.record_id)))
        assert set((await tiers.both.forget(event.record_id)).record_ids) == {event.record_id, fact.record_id}
        assert texts(await tiers.both.retrieve()) == ["known"]

    @pytest.mark.parametrize("mode", ["text", "semantic", "hybrid"])
    async def test_a_search_ranks_both_as_one(self, tiers: Tiers, mode: str):
        clock = ManualClock()
        alone = memory.Memory(await inside(clock), ANA, clock=clock)
        for number in range(6):
            said = "billing " * (number + 1) + f"note {number}"
            for mem in (tiers.both, alone):
                await mem.remember(said, memory_class="semantic" if number % 2 else "episodic")
        await tiers.both.remember("weather")
        await alone.remember("weather")
        one = await tiers.both.retrieve("billing", mode=mode, limit=4)
        other = await alone.retrieve("billing", mode=mode, limit=4)
        assert len(one.hits) == len(other.hits) == 4
        if mode == "semantic":  # a cosine is the same wherever it is taken
            assert texts(one) == texts(other)
        assert [hit.rank for hit in one.hits] == [1, 2, 3, 4]
        second = await tiers.both.retrieve("billing", mode=mode, limit=4, cursor=one.cursor)
        assert {*texts(one)}.isdisjoint(texts(second))
        explained = await tiers.both.explain("billing", mode=mode, limit=1)
        assert explained.explanation.near_misses

    async def test_lists_of_both_have_whole_pages_in_one_order(self, tiers: Tiers):
        for number in range(9):
            if number % 2:
                tiers.clock.advance(1)
            await tiers.both.remember(f"{number}", memory_class="semantic" if number % 3 else "episodic")
        for order in ("newest", "oldest"):
            whole = [record.record_id for record in (await tiers.both.retrieve(order=order)).records]
            seen: list[str] = []
            cursor: str | None = None
            while True:
                page = await tiers.both.retrieve(order=order, limit=2, cursor=cursor)
                seen += [record.record_id for record in page.records]
                if (cursor := page.cursor) is None:
                    break
            assert (seen, len(seen)) == (whole, 9)

    async def test_what_weighs_and_lasts_is_promoted_under_its_id_and_can_be_put_back(self, tiers: Tiers):
        kept = await tiers.both.remember("the door code is on the fridge", memory_class="working", importance=0.9)
        tiers.clock.advance(8 * 86_400)
        plan = await tiers.both.plan_consolidation(["promotion"])
        result = await tiers.both.apply_consolidation(plan)
        assert (result.ended, result.made, result.skipped) == ((kept.record_id,), (kept.record_id,), ())
        assert texts(await tiers.short.retrieve()) == []
        assert texts(await tiers.long.retrieve()) == texts(await tiers.both.retrieve()) == [kept.text]
        moved = await tiers.both.get(kept.record_id)
        assert (moved.memory_class, moved.is_current) == ("semantic", True)
        assert len(await tiers.both.history(kept.record_id)) == 3
        again = await tiers.both.apply_consolidation(plan)
        assert (again.status, len(again.skipped)) == ("nothing", 1)

        back = await tiers.both.undo_consolidation(result.change_id)
        assert (back.status, back.made) == ("undone", (kept.record_id,))
        assert texts(await tiers.long.retrieve()) == []
        assert (await tiers.both.get(kept.record_id)).memory_class == "working"

    @pytest.mark.parametrize("memory_class", ["episodic", "semantic"])
    async def test_what_only_one_of_them_made_less_of_is_put_back(self, tiers: Tiers, memory_class: str):
        for said in ("it is so", "It is so."):
            await tiers.both.remember(said, memory_class=memory_class)
        result = await tiers.both.apply_consolidation(await tiers.both.plan_consolidation())
        assert (len(result.ended), len(result.made)) == (2, 1)
        back = await tiers.both.undo_consolidation(result.change_id)
        assert (back.status, back.ended, {*back.made}) == ("undone", result.made, {*result.ended})
        assert {*texts(await tiers.both.retrieve())} == {"it is so", "It is so."}
        with pytest.raises(memory.RecordNotFound):
            await tiers.both.undo_consolidation("cns_nobody")

    async def test_records_of_several_scopes_with_one_id_are_promoted_and_put_back_each_for_itself(self, tiers: Tiers):
        chosen = "mem_" + "c" * 32
        wide = memory.Memory(tiers.tiered, memory.Scope(tenant="acme"), clock=tiers.clock)
        working = memory.Draft.of(memory_class="working", importance=0.9, record_id=chosen, if_revision=0, text="code")
        everybodys = memory.Memory(tiers.long.provider, wide.scope, clock=tiers.clock)
        await everybodys.remember("everybody's", record_id=chosen, if_revision=0)
        for name in ("ana", "bob"):
            await memory.Memory(tiers.short.provider, wide.scope.narrowed(user=name)).remember(working)
        tiers.clock.advance(8 * 86_400)
        plan = await wide.plan_consolidation(["promotion"])
        result = await wide.apply_consolidation(plan)
        assert (result.ended, result.made, len(result.skipped)) == ((chosen,), (chosen,), 1)
        back = await wide.undo_consolidation(result.change_id)
        assert "Narrow" in back.skipped[0] or "narrower" in back.skipped[0]
        assert (await everybodys.get(chosen)).text == "everybody's"
        bob = wide.narrowed(user="bob")
        moved = await bob.apply_consolidation(await bob.plan_consolidation(["promotion"]))
        assert (await bob.undo_consolidation(moved.change_id)).ended == (chosen,)
        assert (await bob.get(chosen)).memory_class == "working"
        assert (await everybodys.get(chosen)).text == "everybody's"

    async def test_what_was_changed_since_it_was_promoted_stays_so(self, tiers: Tiers):
        kept = await tiers.both.remember("code 1", memory_class="working", importance=0.9)
        tiers.clock.advance(8 * 86_400)
        result = await tiers.both.apply_consolidation(await tiers.both.plan_consolidation(["promotion"]))
        await tiers.both.remember("code 2", record_id=kept.record_id, memory_class="semantic")
        back = await tiers.both.undo_consolidation(result.change_id)
        assert (back.made, len(back.skipped)) == ((), 1)
        assert texts(await tiers.both.retrieve()) == ["code 2"]

    async def test_a_promotion_that_was_stopped_half_way_is_finished(self, tiers: Tiers):
        kept = await tiers.both.remember("code", memory_class="working", importance=0.9)
        tiers.clock.advance(8 * 86_400)
        plan = await tiers.both.plan_consolidation(["promotion"])
        draft = plan.changes[0].record
        assert draft is not None
        await tiers.long.remember(draft.changed(record_id=kept.record_id, if_revision=0))
        result = await tiers.both.apply_consolidation(plan)
        assert (result.ended, result.skipped) == ((kept.record_id,), ())
        assert len((await tiers.both.retrieve()).hits) == 1

    async def test_what_changes_while_it_is_promoted_stays_where_it_is(
        self, tiers: Tiers, monkeypatch: pytest.MonkeyPatch
    ):
        kept = await tiers.both.remember("code 1", memory_class="working", importance=0.9)
        tiers.clock.advance(8 * 86_400)
        plan = await tiers.both.plan_consolidation(["promotion"])
        short: Any = tiers.short.provider
        apply = short.apply_consolidation

        async def late(scope: memory.Scope, plan: memory.ConsolidationPlan) -> memory.ConsolidationResult:
            await tiers.short.remember("code 2", record_id=kept.record_id, memory_class="working")
            return await apply(scope, plan)

        monkeypatch.setattr(short, "apply_consolidation", late)
        result = await tiers.both.apply_consolidation(plan)
        assert (result.status, len(result.skipped)) == ("nothing", 1)
        assert texts(await tiers.both.retrieve()) == ["code 2"]
        assert texts(await tiers.long.retrieve()) == []

    async def test_what_was_promoted_is_forgotten_in_both(self, tiers: Tiers):
        kept = await tiers.both.remember("code", memory_class="working", importance=0.9)
        tiers.clock.advance(8 * 86_400)
        await tiers.both.apply_consolidation(await tiers.both.plan_consolidation(["promotion"]))
        gone = await tiers.both.forget(kept.record_id)
        assert (gone.record_ids, gone.traces) == ((kept.record_id,), 0)
        for mem in (tiers.short, tiers.long):
            assert [entry.record for entry in await mem.history(kept.record_id)] == [None]

    async def test_an_atomic_batch_of_both_is_refused(self, tiers: Tiers):
        drafts = [memory.Draft(text="event"), memory.Draft.of(text="fact", memory_class="semantic")]
        with pytest.raises(memory.InvalidInput, match="belongs to both"):
            await tiers.both.ingest(drafts, atomic=True)
        assert texts(await tiers.both.retrieve()) == []

    async def test_a_new_record_brings_no_id_along(self, tiers: Tiers):
        with pytest.raises(memory.UnsupportedCapability, match="brings its id along"):
            await tiers.both.remember("x", record_id="mem_" + "c" * 32, if_revision=0)
        with pytest.raises(memory.UnsupportedCapability):
            await tiers.both.ingest([memory.Draft(text="x", record_id="mem_" + "c" * 32, if_revision=0)])


def breaking(provider: memory.Provider, *operations: str) -> Callable[[], None]:
    """Let it fail at these, until what is answered is called."""

    async def fail(*_: Any) -> Any:
        raise memory.ProviderUnavailable("the disk is full")

    for name in operations:
        setattr(provider, name, fail)

    def mend() -> None:
        for name in operations:
            delattr(provider, name)

    return mend


class Parts:
    """A fanout over some, and each."""

    def __init__(self, clock: ManualClock, providers: list[memory.Provider], **settings: Any) -> None:
        self.clock = clock
        self.providers = providers
        self.fanout = Fanout(providers, Settings.of(**settings), clock=clock)
        self.all = memory.Memory(self.fanout, ANA, clock=clock)
        self.each = [memory.Memory(each, ANA, clock=clock) for each in providers]


async def parts(count: int = 2, **settings: Any) -> Parts:
    clock = ManualClock()
    return Parts(clock, [await inside(clock) for _ in range(count)], **settings)


class TestFanout:
    async def test_all_have_the_same_under_the_same_ids(self):
        it = await parts(3)
        old = await it.all.remember("Paris", memory_class="semantic", tags=["home"])
        it.clock.advance(1)
        new = await it.all.remember("Lyon", memory_class="semantic", supersedes=old.record_id, idempotency_key="k")
        assert (
            await it.all.remember("Lyon", memory_class="semantic", supersedes=old.record_id, idempotency_key="k") == new
        )
        await it.all.remember("Lyon, really", record_id=new.record_id)
        batch = [memory.Draft(text="a"), memory.Draft(text="b", record_id="mem_" + "f" * 32), memory.Draft(text="c")]
        await it.all.ingest(batch)
        await it.all.forget((await it.all.remember("gone")).record_id)
        shown = [await each.retrieve(as_of="any", limit=100) for each in it.each]
        assert shown[0].records == shown[1].records == shown[2].records
        assert {*texts(shown[0])} == {"Paris", "Lyon, really", "a", "c"}
        assert (await it.all.health()).ok

    async def test_less_than_the_quorum_is_an_error_that_names_each(self):
        it = await parts()
        mend = breaking(it.providers[1], "remember")
        with pytest.raises(
            memory.ProviderUnavailable, match=r"kept by 1 of 2 parts.*2 \(memory\): the disk is full"
        ) as told:
            await it.all.remember("x", idempotency_key="k")
        assert told.value.details["failed"] == {"2 (memory)": "the disk is full"}
        assert not (await it.all.health()).ok
        mend()
        await it.all.remember("x", idempotency_key="k")
        assert texts(await it.each[1].retrieve()) == ["x"]

    async def test_a_quorum_is_enough_and_who_missed_it_is_told(self):
        it = await parts(3, quorum=2)
        breaking(it.providers[2], "remember")
        await it.all.remember("x")
        health = await it.all.health()
        assert (health.ok, "3 (memory): missed 1 writes, last: the disk is full" in health.detail) == (False, True)
        assert not it.all.capabilities().guarantees.read_your_writes

    async def test_nothing_is_kept_where_the_first_part_refuses(self):
        it = await parts(2, quorum=1)
        breaking(it.providers[0], "remember")
        with pytest.raises(memory.ProviderUnavailable, match="the disk is full"):
            await it.all.remember("x")
        assert texts(await it.each[1].retrieve()) == []

    async def test_nothing_is_forgotten_by_a_quorum(self):
        it = await parts(3, quorum=1)
        kept = await it.all.remember("x", expires_at=it.clock.now() + timedelta(seconds=1))
        mend = breaking(it.providers[1], "forget", "prune")
        with pytest.raises(memory.ProviderUnavailable, match=r"forgotten by 2 of 3 parts.*2 \(memory\)"):
            await it.all.forget(kept.record_id)
        it.clock.advance(2)
        with pytest.raises(memory.ProviderUnavailable, match="pruned by 2 of 3"):
            await it.all.prune()
        mend()
        assert (await it.all.forget(kept.record_id)).record_ids == (kept.record_id,)
        with pytest.raises(memory.RecordNotFound):
            await it.each[1].history("mem_" + "f" * 32)

    async def test_a_part_that_missed_a_record_forgets_no_other_with_its_id(self):
        it = await parts(2, quorum=1)
        chosen, wide = "mem_" + "c" * 32, memory.Memory(it.fanout, memory.Scope(tenant="acme"), clock=it.clock)
        await it.all.remember("Ana's", record_id=chosen, if_revision=0)
        mend = breaking(it.providers[1], "remember")
        await wide.remember("everybody's", record_id=chosen, if_revision=0)
        mend()
        assert (await wide.forget(chosen)).record_ids == (chosen,)
        assert [texts(await each.retrieve()) for each in it.each] == [["Ana's"], ["Ana's"]]
        assert (await it.all.forget(chosen)).record_ids == (chosen,)
        assert [texts(await each.retrieve()) for each in it.each] == [[], []]

    async def test_the_next_part_answers_and_that_is_told(self):
        it = await parts()
        kept = await it.all.remember("x")
        breaking(it.providers[0], "retrieve", "get")
        found = await it.all.retrieve()
        assert (texts(found), found.explanation.notes) == (["x"], ("1 (memory) did not answer: the disk is full",))
        assert (await it.all.get(kept.record_id)).text == "x"
        breaking(it.providers[1], "retrieve")
        with pytest.raises(memory.ProviderUnavailable):
            await it.all.retrieve()

    async def test_what_a_part_may_have_missed_is_not_said_to_be_absent(self):
        it = await parts(2, quorum=1)
        mend = breaking(it.providers[1], "remember")
        kept = await it.all.remember("only in the first")
        mend()
        breaking(it.providers[0], "get")
        with pytest.raises(memory.ProviderUnavailable, match="the disk is full"):
            await it.all.get(kept.record_id)

    async def test_merged_reads_have_what_any_has_once(self):
        it = await parts(3, quorum=1, read="merge")
        mend = breaking(it.providers[1], "remember")
        await it.all.remember("billing in some")
        mend()
        await it.all.remember("billing in all")
        for query in (None, "billing"):
            found = await it.all.retrieve(query, exact_total=True)
            assert ({*texts(found)}, found.total, len(found.hits)) == ({"billing in some", "billing in all"}, 2, 2)
        breaking(it.providers[0], "retrieve")
        found = await it.all.retrieve("billing")
        assert (len(found.hits), found.explanation.notes) == (2, ("1 (memory) did not answer: the disk is full",))

    async def test_a_part_that_has_something_else_under_an_id_is_told(self):
        it = await parts()
        kept = await it.all.remember("x")
        await it.each[1].remember("changed behind its back", record_id=kept.record_id)
        with pytest.raises(memory.ProviderUnavailable, match="another one is here"):
            await it.all.remember("y", record_id=kept.record_id)

    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"parts": ["memory"]},
            {"parts": ["memory"] * 9},
            {"parts": ["memory", "memory"], "quorum": 3},
            {"parts": ["memory", "memory"], "quorum": 0},
            {"parts": ["memory", "memory"], "read": "best"},
            {"parts": ["memory", {"name": "tiered", "config": {"short": "memory", "long": "memory"}}]},
        ],
    )
    async def test_a_wrong_configuration_is_told(self, config: dict[str, Any]):
        with pytest.raises(memory.InvalidConfig):
            async with memory.Memory.open("fanout", config, scope=ANA):
                pass

    async def test_parts_whose_vectors_differ_are_refused(self, tmp_path: Any):
        file = {"name": "sqlite", "config": {"path": str(tmp_path / "m.db"), "dimensions": 64}}
        for name, config in (("fanout", {"parts": ["memory", file]}), ("tiered", {"short": "memory", "long": file})):
            with pytest.raises(memory.InvalidConfig, match="different lengths"):
                async with memory.Memory.open(name, config, scope=ANA):
                    pass
