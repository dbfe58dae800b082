"""Level `lifecycle`: batches, history, consolidation."""

from datetime import timedelta

import anyio

from interlock import memory
from interlock.testing.memory.case import NOTHING, Trial, case, expect, raises, same, texts

S = memory.IngestStatus


@case("lifecycle", "ingest")
async def a_batch_tells_what_became_of_each(trial: Trial) -> None:
    """Each record of a batch is accepted, a duplicate or rejected, in the order of the request, with the reason."""
    drafts = [
        memory.Draft(text="one"),
        memory.Draft.of(text="fact", memory_class="semantic"),
        memory.Draft.of(text="fact", memory_class="semantic"),
        memory.Draft(text="x", record_id="mem_" + "f" * 32),
        memory.Draft(text="last"),
    ]
    result = await trial.mem.ingest(drafts)
    same([item.status for item in result.items], [S.ACCEPTED, S.ACCEPTED, S.DUPLICATE, S.REJECTED, S.ACCEPTED])
    same((result.items[2].record_id, result.items[3].code), (result.items[1].record_id, "memory_record_not_found"))
    expect(result.items[3].reason, "no reason is told")
    same({*texts(await trial.mem.retrieve())}, {"one", "fact", "last"})


@case("lifecycle", "ingest")
async def an_atomic_batch_is_whole_or_nothing(trial: Trial) -> None:
    """With one record rejected, an atomic batch keeps nothing, and says which it was."""
    drafts = [memory.Draft(text="one"), memory.Draft(text="x", record_id="mem_" + "f" * 32)]
    result = await trial.mem.ingest(drafts, atomic=True)
    same([item.status for item in result.items], [S.REJECTED, S.REJECTED])
    same((result.items[1].code, texts(await trial.mem.retrieve())), ("memory_record_not_found", NOTHING))
    same((await trial.mem.ingest(drafts[:1], atomic=True)).items[0].status, S.ACCEPTED)


@case("lifecycle", "ingest")
async def a_batch_sent_twice_is_kept_once(trial: Trial) -> None:
    """With idempotency keys a batch can be repeated."""
    drafts = [memory.Draft(text=f"{number}", idempotency_key=f"{number}") for number in range(5)]
    first = await trial.mem.ingest(drafts)
    again = await trial.mem.ingest(drafts)
    same([item.record_id for item in again.items], [item.record_id for item in first.items])
    same({item.status for item in again.items}, {S.DUPLICATE})


@case("lifecycle", "history")
async def history_has_every_revision(trial: Trial) -> None:
    """All revisions are told, oldest first, with what made them and from when to when they were the last word."""
    kept = await trial.mem.remember("one")
    for text in ("two", "three"):
        trial.tick()
        await trial.mem.remember(text, record_id=kept.record_id)
    entries = await trial.mem.history(kept.record_id)
    same([entry.revision for entry in entries], [1, 2, 3])
    same([entry.record.text if entry.record else None for entry in entries], ["one", "two", "three"])
    same([entry.change.value for entry in entries], ["remembered", "revised", "revised"])
    ends = [entry.record.superseded_at if entry.record else None for entry in entries]
    same(ends, [entries[1].at, entries[2].at, None])


@case("lifecycle", "history")
async def of_the_forgotten_only_that_it_was_is_left(trial: Trial) -> None:
    """The history of a forgotten record has its id, its digest and the moment, and none of its words."""
    kept = await trial.mem.remember("a secret")
    await trial.mem.remember("a secret, revised", record_id=kept.record_id)
    await trial.mem.forget(kept.record_id)
    entries = await trial.mem.history(kept.record_id)
    same([(entry.change.value, entry.record) for entry in entries], [("forgotten", None)])
    expect("secret" not in str([entry.to_json() for entry in entries]), "its words are still told")


@case("lifecycle", "history")
async def of_the_expired_only_that_it_was_is_left(trial: Trial) -> None:
    """What was pruned leaves an entry that says so."""
    kept = await trial.mem.remember("x", expires_at=trial.clock.now() + timedelta(seconds=1))
    trial.clock.advance(2)
    await trial.mem.prune()
    same([entry.change.value for entry in await trial.mem.history(kept.record_id)], ["expired"])


@case("lifecycle")
async def two_writers_on_one_record(trial: Trial) -> None:
    """Of many that revise one record at once from the same revision, one does it."""
    kept = await trial.mem.remember("start")
    ended: list[str] = []

    async def write(number: int) -> None:
        try:
            await trial.mem.remember(f"{number}", record_id=kept.record_id, if_revision=1)
            ended.append("done")
        except memory.RecordConflict:
            ended.append("conflict")

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(write, number)
    same(sorted(ended), ["conflict"] * 7 + ["done"])
    same((await trial.mem.get(kept.record_id)).revision, 2)


@case("lifecycle")
async def many_send_one_key_at_once(trial: Trial) -> None:
    """However many send the same key at once, there is one record."""
    seen: set[str] = set()

    async def send() -> None:
        seen.add((await trial.mem.remember("x", idempotency_key="k")).record_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(send)
    same((len(seen), len((await trial.mem.retrieve()).hits)), (1, 1))


@case("lifecycle", "consolidate")
async def a_plan_changes_nothing(trial: Trial) -> None:
    """A plan tells what it would do, and why; nothing is done until it is applied."""
    for _ in range(3):
        await trial.mem.remember("the same words", kind="fact")
    plan = await trial.mem.plan_consolidation()
    same((len(plan.changes) > 0, plan.examined), (True, 3))
    expect(all(change.reason for change in plan.changes), "a change without a reason")
    same(len((await trial.mem.retrieve()).hits), 3)


@case("lifecycle", "consolidate", "history")
async def what_was_consolidated_can_be_put_back(trial: Trial) -> None:
    """An applied plan makes less of it; undone, everything says again what it said."""
    kept = [await trial.mem.remember("the same words", kind="fact") for _ in range(3)]
    result = await trial.mem.apply_consolidation(await trial.mem.plan_consolidation())
    same((result.status, texts(await trial.mem.retrieve())), ("applied", ["the same words"]))
    same((await trial.mem.undo_consolidation(result.change_id)).status, "undone")
    same({record.record_id for record in (await trial.mem.retrieve()).records}, {record.record_id for record in kept})


@case("lifecycle", "consolidate")
async def a_plan_that_is_too_late_changes_nothing(trial: Trial) -> None:
    """What somebody changed since the plan was made is left as it is, and told."""
    kept = [await trial.mem.remember("the same words", kind="fact") for _ in range(2)]
    plan = await trial.mem.plan_consolidation()
    for record in kept:
        await trial.mem.remember(f"other words {record.record_id}", record_id=record.record_id)
    result = await trial.mem.apply_consolidation(plan)
    same((result.status, len(result.skipped) > 0, len((await trial.mem.retrieve()).hits)), ("nothing", True, 2))


@case("lifecycle", "consolidate")
async def an_unknown_policy_is_refused(trial: Trial) -> None:
    """A policy that nobody knows is an error and not passed over."""
    async with raises(memory.InvalidInput):
        await trial.mem.plan_consolidation(["no-such-policy"])
