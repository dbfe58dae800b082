"""Level `lifecycle`: out of one memory and into another."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from interlock import memory
from interlock.testing.memory.case import SCOPE, Trial, case, raises, same, texts

S = memory.IngestStatus


@asynccontextmanager
async def _other(trial: Trial) -> AsyncGenerator[memory.Memory]:
    """The oracle, empty."""
    async with memory.Memory.open("memory", scope=SCOPE, clock=trial.clock) as mem:
        yield mem


async def _lived(trial: Trial, mem: memory.Memory) -> None:
    """Some of everything that can become of a record."""
    revised = await mem.remember("one", tags=["t"], metadata={"n": 1.5}, idempotency_key="k")
    trial.tick()
    await mem.remember("two", record_id=revised.record_id)
    old = await mem.remember("Paris", memory_class="semantic", valid_from=trial.clock.now() - timedelta(days=9))
    trial.tick()
    await mem.remember("Lyon", memory_class="semantic", supersedes=old.record_id, content={"a": [1, None, "ü"]})
    await mem.remember("derived", provenance={"derived_from": [revised.record_id], "source_turn": "t1"})
    await mem.narrowed(session="s1").remember("of a session")
    for _ in range(2):
        await mem.remember("said twice", kind="fact")
    trial.tick()
    if mem.capabilities().supports("consolidate"):
        await mem.apply_consolidation(await mem.plan_consolidation(["duplicates"]))


@case("lifecycle", "transfer")
async def what_is_handed_over_is_taken_over_exactly(trial: Trial) -> None:
    """Into another memory and back, every revision is the same: ids, texts, times, and what took the place of what."""
    async with _other(trial) as source:
        await _lived(trial, source)
        entries = await source.hand_over()
        result = await trial.mem.take_over(entries)
        same({item.status for item in result.items}, {S.ACCEPTED})
        same(await trial.mem.hand_over(), entries)
        same(texts(await trial.mem.retrieve()), texts(await source.retrieve()))
    async with _other(trial) as target:
        await target.take_over(await trial.mem.hand_over())
        same(await target.hand_over(), entries)


@case("lifecycle", "transfer", "text")
async def what_was_taken_over_is_found(trial: Trial) -> None:
    """It is searched, revised and forgotten like anything else."""
    async with _other(trial) as source:
        kept = await source.remember("the billing service failed")
        await trial.mem.take_over(await source.hand_over())
    same(texts(await trial.mem.retrieve("billing", mode="text")), ["the billing service failed"])
    same((await trial.mem.remember("it is well", record_id=kept.record_id, if_revision=1)).revision, 2)
    same((await trial.mem.forget(kept.record_id)).traces, 0)


@case("lifecycle", "transfer")
async def taken_over_again_it_changes_nothing(trial: Trial) -> None:
    """A second time everything is a duplicate; what was replaced there since is replaced here, too."""
    async with _other(trial) as source:
        first = await source.remember("one")
        before = await source.hand_over()
        await trial.mem.take_over(before)
        same([item.status for item in (await trial.mem.take_over(before)).items], [S.DUPLICATE])
        trial.tick()
        await source.remember("two", record_id=first.record_id)
        await trial.mem.take_over(await source.hand_over())
        same(await trial.mem.hand_over(), await source.hand_over())


@case("lifecycle", "transfer")
async def what_was_forgotten_stays_so(trial: Trial) -> None:
    """What was forgotten here is neither handed over nor brought back, and what is another record here stays as it is."""
    gone, kept = await trial.mem.remember("gone"), await trial.mem.remember("kept")
    entries = await trial.mem.hand_over()
    await trial.mem.forget(gone.record_id)
    await trial.mem.remember("kept, and revised", record_id=kept.record_id)
    result = await trial.mem.take_over(entries)
    same([(item.status, item.code) for item in result.items], [(S.REJECTED, "memory_conflict"), (S.DUPLICATE, None)])
    same({entry.record_id for entry in await trial.mem.hand_over()}, {kept.record_id})
    foreign = entries[1].changed(record=kept.changed(text="foreign"), digest=kept.changed(text="foreign").digest)
    same([item.status for item in (await trial.mem.take_over([foreign])).items], [S.REJECTED])
    same(texts(await trial.mem.retrieve()), ["kept, and revised"])


@case("lifecycle", "transfer")
async def nothing_moves_out_of_its_scope(trial: Trial) -> None:
    """Only what the scope covers is handed over, and what it does not cover is not taken."""
    await trial.mem.remember("Ana's")
    bob = trial.at(memory.Scope(tenant=SCOPE.tenant, user="bob"))
    await bob.remember("Bob's")
    same([entry.record and entry.record.text for entry in await trial.mem.hand_over()], ["Ana's"])
    async with raises(memory.ScopeDenied):
        await bob.take_over(await trial.mem.hand_over())
    async with _other(trial) as source:
        narrow = source.narrowed(session="s1")
        await narrow.remember("of a session")
        await trial.mem.take_over(await source.hand_over())
    same(len(await trial.mem.hand_over()), 2)
    same(len(await trial.mem.narrowed(session="s1").hand_over()), 1)


@case("lifecycle", "transfer")
async def it_is_handed_over_page_by_page(trial: Trial) -> None:
    """So many records at a time, all revisions of each, in the order of their ids; what has expired is left out."""
    kept = [await trial.mem.remember(f"{number}") for number in range(5)]
    await trial.mem.remember("revised", record_id=kept[1].record_id)
    await trial.mem.remember("goes", expires_at=trial.clock.now() + timedelta(seconds=1))
    trial.clock.advance(2)
    seen: list[tuple[str, int]] = []
    after: str | None = None
    while entries := await trial.mem.hand_over(after=after, limit=2):
        seen += [(entry.record_id, entry.revision) for entry in entries]
        after = entries[-1].record_id
    due = [(record.record_id, 1) for record in kept]
    same(seen, sorted([*due, (kept[1].record_id, 2)]))
