"""Level `core`: what every provider does."""

from datetime import timedelta
from typing import Any

from interlock import memory
from interlock.testing.memory.case import NOBODY, SCOPE, Trial, add, case, expect, raises, same, texts

ODD = {
    "emoji": "🎉 done 👩‍👩‍👧 ok",
    "combining": "e\u0301 and \u00e9",
    "right-to-left": "שלום world مرحبا",
    "no-spaces": "東京タワーへ行く",
    "astral": "𝔸𝕤𝕥𝕣𝕒𝕝 \U0010ffff",
    "zero-width": "a\u200bb\ufeffc",
    "line-ends": "one\r\ntwo\tthree\n",
    "quotes": 'it\'s "so" `here` \\ there',
    "sql": "'); DROP TABLE revisions; --",
    "fts": 'NEAR("a" b, 2) AND {x y} : c* OR -^',
    "percent": "100%_ like [a-z]%",
    "json": '{"a": [1, null]}',
    "long": "word " * 10_000,
}


@case("core")
async def what_is_remembered_is_got(trial: Trial) -> None:
    """What is remembered can be got by its id, at once and whole."""
    draft = memory.Draft.of(
        text="Ana prefers short answers",
        content={"a": [1, {"b": None}], "c": "ü"},
        memory_class="semantic",
        kind="preference",
        tags=["style", "answers"],
        source="chat",
        importance=0.75,
        provenance={"source_turn": "t1", "span": "short answers"},
        metadata={"lang": "en", "n": 1.5},
    )
    kept = await trial.mem.remember(draft)
    for name in ("text", "content", "memory_class", "kind", "tags", "source", "importance", "provenance", "metadata"):
        same(getattr(kept, name), getattr(draft, name))
    same((kept.scope, kept.revision, kept.is_current), (SCOPE, 1, True))
    same((kept.observed_at, kept.recorded_at), (trial.clock.now(), trial.clock.now()))
    same(await trial.mem.get(kept.record_id), kept)


@case("core")
async def what_is_remembered_is_found_at_once(trial: Trial) -> None:
    """A list shows what was remembered, if reads follow writes."""
    expect(trial.mem.capabilities().guarantees.read_your_writes, "nothing is promised, so nothing is held")
    await trial.mem.remember("one")
    same(texts(await trial.mem.retrieve()), ["one"])


def _odd(text: str) -> Any:
    async def act(trial: Trial) -> None:
        kept = await trial.mem.remember(text)
        same((await trial.mem.get(kept.record_id)).text, text)
        same(texts(await trial.mem.retrieve(text_contains=text[:20])), [text])

    return act


for _name, _text in ODD.items():
    add("core", f"text-{_name}", f"A text comes back as it was: {_name}.", _odd(_text))


@case("core")
async def a_record_may_have_no_text(trial: Trial) -> None:
    """Content alone is enough."""
    kept = await trial.mem.remember(memory.Draft.of(content={"n": [1, 2]}))
    same((await trial.mem.get(kept.record_id)).content, {"n": [1, 2]})
    same([record.text for record in (await trial.mem.retrieve()).records], [None])


@case("core")
async def what_is_not_there_is_not_found(trial: Trial) -> None:
    """An id that is nobody's raises RecordNotFound, which says whether the scope is known."""
    for known in (False, True):
        try:
            await trial.mem.get(NOBODY)
            raise AssertionError("nothing was raised")
        except memory.RecordNotFound as error:
            same(error.details["scope_known"], known)
            same((error.operation, error.provider), ("get", trial.mem.info().name))
        await trial.mem.remember("something")


@case("core")
async def an_id_may_be_any_text(trial: Trial) -> None:
    """An id that was never one is not found, and no error of another kind."""
    for odd in ("", "x", "' OR 1=1 --", "mem_" + "0" * 40, "é\n", "mem_\0", "mem_\ud800", "x" * 1_000_000):
        async with raises(memory.RecordNotFound):
            await trial.mem.get(odd)
        expect(not (await trial.mem.forget(odd)).existed, "something was forgotten")


@case("core")
async def forgotten_is_gone(trial: Trial) -> None:
    """What was forgotten cannot be got or found, and no trace of it is left."""
    kept = await trial.mem.remember("a secret plan")
    await trial.mem.remember("another")
    gone = await trial.mem.forget(kept.record_id)
    same((gone.record_ids, gone.existed, gone.traces), ((kept.record_id,), True, 0))
    async with raises(memory.RecordNotFound):
        await trial.mem.get(kept.record_id)
    same(texts(await trial.mem.retrieve()), ["another"])


@case("core")
async def forgetting_the_only_record_leaves_no_trace(trial: Trial) -> None:
    """Also where nothing else is kept, nothing of what was forgotten is left, and what comes next is new."""
    for _ in range(2):
        kept = await trial.mem.remember("a secret plan", tags=["t"])
        same((await trial.mem.forget(kept.record_id)).traces, 0)
        same(texts(await trial.mem.retrieve(text_contains="secret plan")), [])
        for mode in trial.mem.capabilities().guarantees.search_modes:
            same(texts(await trial.mem.retrieve("secret plan", mode=mode)), [])


@case("core")
async def forgetting_twice_is_no_error(trial: Trial) -> None:
    """Of a record that is not there nothing is forgotten."""
    kept = await trial.mem.remember("x")
    await trial.mem.forget(kept.record_id)
    expect(not (await trial.mem.forget(kept.record_id)).existed, "it was forgotten twice")
    expect(not (await trial.mem.forget(NOBODY)).existed, "what never was there was forgotten")


@case("core")
async def forgotten_may_be_said_again(trial: Trial) -> None:
    """What was forgotten can be remembered anew, as a new record."""
    first = await trial.mem.remember("x", memory_class="semantic", idempotency_key="k")
    await trial.mem.forget(first.record_id)
    again = await trial.mem.remember("x", memory_class="semantic", idempotency_key="k")
    expect(again.record_id != first.record_id, "the forgotten id is there again")
    same(texts(await trial.mem.retrieve()), ["x"])


@case("core")
async def what_was_made_of_it_is_forgotten_with_it(trial: Trial) -> None:
    """Forgetting removes what was derived, at any distance."""
    source = await trial.mem.remember("source")
    child = await trial.mem.remember("child", provenance=memory.Provenance(derived_from=(source.record_id,)))
    grandchild = await trial.mem.remember("grandchild", provenance=memory.Provenance(derived_from=(child.record_id,)))
    await trial.mem.remember("stranger")
    gone = await trial.mem.forget(source.record_id)
    same(set(gone.record_ids), {source.record_id, child.record_id, grandchild.record_id})
    same((set(gone.derived_ids), gone.traces), ({child.record_id, grandchild.record_id}, 0))
    same(texts(await trial.mem.retrieve()), ["stranger"])


@case("core")
async def sources_must_be_there(trial: Trial) -> None:
    """Nothing can be derived from what is not in the scope."""
    other = await trial.at(memory.Scope(tenant="other")).remember("theirs")
    for source in (NOBODY, other.record_id):
        async with raises(memory.RecordNotFound):
            await trial.mem.remember("x", provenance=memory.Provenance(derived_from=(source,)))
    same(texts(await trial.mem.retrieve()), [])


@case("core")
async def a_fact_said_twice_is_one_record(trial: Trial) -> None:
    """Semantic and procedural records that say the same are one."""
    for kind in ("semantic", "procedural"):
        first = await trial.mem.remember("Water boils", memory_class=kind, tags=["b", "a"])
        trial.tick()
        again = await trial.mem.remember("Water boils", memory_class=kind, tags=["a", "b"])
        same(again.record_id, first.record_id)
    same(len((await trial.mem.retrieve()).hits), 2)


@case("core")
async def an_event_twice_is_two_records(trial: Trial) -> None:
    """Episodic and working records are each their own."""
    for kind in ("episodic", "working"):
        first = await trial.mem.remember("yes", memory_class=kind)
        again = await trial.mem.remember("yes", memory_class=kind)
        expect(first.record_id != again.record_id, "they became one")
    same(len((await trial.mem.retrieve()).hits), 4)


@case("core")
async def a_key_makes_it_once(trial: Trial) -> None:
    """With an idempotency key it is the same record however often it is sent; for anything else the key conflicts."""
    first = await trial.mem.remember("x", idempotency_key="k1")
    same(await trial.mem.remember("x", idempotency_key="k1"), first)
    async with raises(memory.RecordConflict):
        await trial.mem.remember("y", idempotency_key="k1")
    other = await trial.at(memory.Scope(tenant="other")).remember("y", idempotency_key="k1")
    expect(other.record_id != first.record_id, "another tenant has the same key")
    same(texts(await trial.mem.retrieve()), ["x"])


@case("core")
async def a_revision_replaces_the_one_before(trial: Trial) -> None:
    """A draft with the record's id is its next revision."""
    first = await trial.mem.remember("Paris", kind="home")
    trial.tick()
    second = await trial.mem.remember("Lyon", kind="home", record_id=first.record_id, if_revision=1)
    same((second.record_id, second.revision, second.observed_at), (first.record_id, 2, first.observed_at))
    same((await trial.mem.get(first.record_id)).text, "Lyon")
    same(texts(await trial.mem.retrieve()), ["Lyon"])
    same(texts(await trial.mem.retrieve(text_contains="paris")), [])


@case("core")
async def compare_and_set(trial: Trial) -> None:
    """A revision of a record that is at another one by now is a conflict, and changes nothing."""
    first = await trial.mem.remember("one")
    await trial.mem.remember("two", record_id=first.record_id, if_revision=1)
    async with raises(memory.RecordConflict):
        await trial.mem.remember("three", record_id=first.record_id, if_revision=1)
    same((await trial.mem.get(first.record_id)).text, "two")


@case("core")
async def a_revision_that_changes_nothing_is_none(trial: Trial) -> None:
    """To say of a record what it says already makes no revision."""
    first = await trial.mem.remember("one", tags=["a"])
    again = await trial.mem.remember("one", tags=["a"], record_id=first.record_id)
    same(again.revision, 1)


@case("core")
async def what_is_not_there_cannot_be_revised(trial: Trial) -> None:
    """Revising or superseding what is not there, or is forgotten, raises RecordNotFound."""
    kept = await trial.mem.remember("x")
    await trial.mem.forget(kept.record_id)
    for record_id in (NOBODY, kept.record_id):
        async with raises(memory.RecordNotFound):
            await trial.mem.remember("y", record_id=record_id)
        async with raises(memory.RecordNotFound):
            await trial.mem.remember("y", supersedes=record_id)
    same(texts(await trial.mem.retrieve()), [])


@case("core", "chosen_ids")
async def a_copy_keeps_its_id(trial: Trial) -> None:
    """With `if_revision` 0 a new record has the id that it brings along, once: an id that is or was taken in its scope is a
    conflict, and nothing changes. In another scope it is another record's."""
    chosen, other = "mem_" + "c" * 32, trial.at(memory.Scope(tenant="other"))
    kept = await trial.mem.remember("one", record_id=chosen, if_revision=0, memory_class="semantic")
    same((kept.record_id, kept.revision, await trial.mem.get(chosen)), (chosen, 1, kept))
    theirs = await other.remember("theirs", record_id=chosen, if_revision=0)
    same((theirs.record_id, await other.get(chosen), await trial.mem.get(chosen)), (chosen, theirs, kept))
    for _ in range(2):
        for mem in (trial.mem, other):
            async with raises(memory.RecordConflict):
                await mem.remember("two", record_id=chosen, if_revision=0)
        await trial.mem.forget(chosen)
    same(texts(await trial.mem.retrieve()), [])
    same(texts(await other.retrieve()), ["theirs"])


@case("core", "chosen_ids")
async def a_copy_may_take_a_place_and_have_a_key(trial: Trial) -> None:
    """What brings its id along may supersede another record, and is one by its idempotency key."""
    old = await trial.mem.remember("Paris", memory_class="semantic")
    trial.tick()
    draft = memory.Draft.of(
        text="Lyon", record_id="mem_" + "c" * 32, if_revision=0, supersedes=old.record_id, idempotency_key="k"
    )
    kept = await trial.mem.remember(draft)
    same(await trial.mem.remember(draft), kept)
    same((kept.record_id, texts(await trial.mem.retrieve())), ("mem_" + "c" * 32, ["Lyon"]))


@case("core")
async def expired_is_not_seen(trial: Trial) -> None:
    """What has expired is not got and not found, and `prune` removes it, once."""
    at = trial.clock.now() + timedelta(seconds=10)
    kept = await trial.mem.remember("soon over", expires_at=at)
    await trial.mem.remember("stays", expires_at=at + timedelta(seconds=1))
    same(len((await trial.mem.retrieve()).hits), 2)
    trial.clock.advance(10)
    same(texts(await trial.mem.retrieve()), ["stays"])
    async with raises(memory.RecordNotFound):
        await trial.mem.get(kept.record_id)
    same(await trial.mem.prune(), 1)
    same(await trial.mem.prune(), 0)
    same(texts(await trial.mem.retrieve()), ["stays"])


@case("core")
async def pruning_removes_many(trial: Trial) -> None:
    """Pruning takes all that has expired, however many."""
    at = trial.clock.now() + timedelta(seconds=1)
    for number in range(30):
        await trial.mem.remember(f"{number}", expires_at=at)
    trial.clock.advance(2)
    same(await trial.mem.prune(), 30)
    same(texts(await trial.mem.retrieve()), [])


@case("core")
async def observed_when_it_says(trial: Trial) -> None:
    """What was observed earlier, or will be, keeps its time to the microsecond."""
    for days in (-365_000, -1, 0, 1, 365_000):
        at = trial.clock.now() + timedelta(days=days, microseconds=123_457)
        kept = await trial.mem.remember("x", observed_at=at)
        same((kept.observed_at, (await trial.mem.get(kept.record_id)).observed_at), (at, at))


@case("core")
async def what_is_handed_out_is_the_caller_s(trial: Trial) -> None:
    """Changing what was answered changes nothing that is kept."""
    kept = await trial.mem.remember(memory.Draft.of(text="x", content={"a": [1]}, metadata={"b": {"c": 1}}))
    kept.content["a"].append(2)
    got = await trial.mem.get(kept.record_id)
    same(got.content, {"a": [1]})
    got.content["a"].append(3)
    same((await trial.mem.retrieve()).records[0].content, {"a": [1]})


@case("core")
async def it_says_who_it_is(trial: Trial) -> None:
    """Its name, what it offers, and that it is well; nothing that is broken."""
    info = trial.mem.info()
    same((info.name, info.capabilities), (trial.mem.capabilities().provider, trial.mem.capabilities()))
    same(info.capabilities.broken, frozenset[str]())
    expect(info.capabilities.offered.issuperset(memory.REQUIRED), "something required is not offered")
    health = await trial.mem.health()
    expect(health.ok, f"it says that it is not well: {health.detail}")
    for name in memory.ProviderInfo.from_json(info.model_dump_json()).config:
        expect("key" not in name and "password" not in name, f"{name} may be a secret")


@case("core", "durable")
async def what_was_kept_is_there_after_a_restart(trial: Trial) -> None:
    """Everything is there when it is opened again: records, revisions, keys, and that what was forgotten is not."""
    kept = await trial.mem.remember("stays", tags=["t"], idempotency_key="k", memory_class="semantic")
    revised = await trial.mem.remember("two", record_id=(await trial.mem.remember("one")).record_id)
    gone = await trial.mem.remember("gone")
    await trial.mem.forget(gone.record_id)
    mem = await trial.reopen()
    same(await mem.get(kept.record_id), kept)
    same(await mem.get(revised.record_id), revised)
    same(
        (await mem.remember("stays", tags=["t"], idempotency_key="k", memory_class="semantic")).record_id,
        kept.record_id,
    )
    same(len((await mem.retrieve()).hits), 2)
    async with raises(memory.RecordNotFound):
        await mem.get(gone.record_id)
