"""Level `temporal`: what was so, what was known, and when."""

from datetime import timedelta

from interlock import memory
from interlock.testing.memory.case import Trial, case, raises, same, texts


@case("temporal", "temporal")
async def what_is_so_now(trial: Trial) -> None:
    """Without a word about time only what is valid now is seen; validity begins at its first moment and ends before its last."""
    now = trial.clock.now()
    hour = timedelta(hours=1)
    await trial.mem.remember("always")
    await trial.mem.remember("past", valid_to=now)
    await trial.mem.remember("present", valid_from=now, valid_to=now + hour)
    await trial.mem.remember("future", valid_from=now + hour)
    seen = {*texts(await trial.mem.retrieve())}
    same(seen, {"always", "present"})
    trial.clock.advance(3_600)
    same({*texts(await trial.mem.retrieve())}, {"always", "future"})
    same(len((await trial.mem.retrieve(as_of="any")).hits), 4)


@case("temporal", "temporal")
async def what_was_so_then(trial: Trial) -> None:
    """`as_of` tells what was so in the world at a moment."""
    now = trial.clock.now()
    year = timedelta(days=365)
    await trial.mem.remember("Ana lived in Paris", valid_from=now - 5 * year, valid_to=now - 2 * year)
    await trial.mem.remember("Ana lives in Lyon", valid_from=now - 2 * year)
    for years, due in ((6, []), (5, ["Ana lived in Paris"]), (3, ["Ana lived in Paris"]), (2, ["Ana lives in Lyon"])):
        same(texts(await trial.mem.retrieve(as_of=now - years * year)), due)


@case("temporal", "temporal", "text")
async def searches_are_of_their_time(trial: Trial) -> None:
    """A search sees what was so at the moment that it asks for, by the words that were so then."""
    now = trial.clock.now()
    first = await trial.mem.remember("office in Paris", memory_class="semantic", valid_from=now)
    trial.clock.advance(10)
    await trial.mem.remember("office in Lyon", memory_class="semantic", supersedes=first.record_id)
    same(texts(await trial.mem.retrieve("office", mode="text")), ["office in Lyon"])
    same(texts(await trial.mem.retrieve("office", mode="text", as_of=now)), ["office in Paris"])


@case("temporal", "temporal")
async def what_was_known_then(trial: Trial) -> None:
    """`known_at` tells what was recorded at a moment, as it was recorded then."""
    times = [trial.clock.now()]
    kept = await trial.mem.remember("first")
    for text in ("second", "third"):
        trial.tick()
        times.append(trial.clock.now())
        await trial.mem.remember(text, record_id=kept.record_id)
    for at, due in zip(times, ("first", "second", "third"), strict=True):
        same(texts(await trial.mem.retrieve(known_at=at)), [due])
    same(texts(await trial.mem.retrieve(known_at=times[0] - timedelta(seconds=1))), [])


@case("temporal", "temporal")
async def both_times_are_apart(trial: Trial) -> None:
    """What was so, as it was known at another time."""
    now = trial.clock.now()
    year = timedelta(days=365)
    kept = await trial.mem.remember("CEO is Kim", valid_from=now - year)
    trial.tick()
    await trial.mem.remember("CEO is Lee", record_id=kept.record_id, valid_from=now - year)
    same(texts(await trial.mem.retrieve(as_of=now - year / 2)), ["CEO is Lee"])
    same(texts(await trial.mem.retrieve(as_of=now - year / 2, known_at=now)), ["CEO is Kim"])


@case("temporal", "temporal")
async def superseded_is_no_longer_so(trial: Trial) -> None:
    """What a new record supersedes ends where the new one begins, and says what took its place."""
    old = await trial.mem.remember("Paris", memory_class="semantic")
    trial.tick()
    new = await trial.mem.remember("Lyon", memory_class="semantic", supersedes=old.record_id)
    same(texts(await trial.mem.retrieve()), ["Lyon"])
    got = await trial.mem.get(old.record_id)
    same((got.superseded_by, got.valid_to, new.valid_from), (new.record_id, trial.clock.now(), trial.clock.now()))


@case("temporal", "temporal")
async def superseded_comes_back_when_its_successor_is_forgotten(trial: Trial) -> None:
    """Forgetting what took a record's place makes that the last word again."""
    old = await trial.mem.remember("Paris", memory_class="semantic")
    trial.tick()
    new = await trial.mem.remember("Lyon", memory_class="semantic", supersedes=old.record_id)
    trial.tick()
    gone = await trial.mem.forget(new.record_id)
    same((gone.restored_ids, gone.traces), ((old.record_id,), 0))
    same(texts(await trial.mem.retrieve()), ["Paris"])


@case("temporal", "temporal")
async def times_out_of_range_are_refused(trial: Trial) -> None:
    """A validity that ends before it begins is refused."""
    now = trial.clock.now()
    async with raises(memory.InvalidInput):
        await trial.mem.remember("x", valid_from=now, valid_to=now - timedelta(seconds=1))
    same(texts(await trial.mem.retrieve()), [])
