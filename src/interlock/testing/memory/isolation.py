"""Level `core`: scopes. No memory sees, changes or counts what its scope does not cover, whatever it is asked."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from interlock import memory
from interlock.testing.memory.case import NOBODY, NOTHING, SCOPE, Trial, add, case, expect, raises, same, texts

OTHERS: Final = {
    "tenant": memory.Scope(tenant="other", user="ana"),
    "user": memory.Scope(tenant="acme", user="bob"),
    "case": memory.Scope(tenant="Acme", user="ana"),
    "space": memory.Scope(tenant="acme", user="ana "),
    "joined": memory.Scope(tenant="acme:ana", user="ana"),
    "pattern": memory.Scope(tenant="acme", user="an_"),
    "percent": memory.Scope(tenant="%", user="%"),
    "quote": memory.Scope(tenant="acme' OR '1'='1", user="ana"),
    "traversal": memory.Scope(tenant="acme/../acme", user="ana"),
}


async def _secret(trial: Trial) -> memory.Record:
    fields = {"tags": ["t"], "idempotency_key": "k", "memory_class": "semantic"}
    return await trial.mem.remember("a secret of ana", expires_at=trial.clock.now() + timedelta(hours=1), **fields)


def _apart(other: memory.Scope) -> Callable[[Trial], Awaitable[None]]:
    async def act(trial: Trial) -> None:
        kept = await _secret(trial)
        theirs = trial.at(other)
        found = await theirs.retrieve(exact_total=trial.counts)
        same((texts(found), found.total or 0, found.scope_known), (NOTHING, 0, False))
        async with raises(memory.RecordNotFound):
            await theirs.get(kept.record_id)
        expect(not (await theirs.forget(kept.record_id)).existed, "somebody else's record was forgotten")
        async with raises(memory.RecordNotFound):
            await theirs.remember("mine now", record_id=kept.record_id)
        async with raises(memory.RecordNotFound):
            await theirs.remember("mine now", supersedes=kept.record_id)
        own = await theirs.remember("a secret of ana", tags=["t"], idempotency_key="k", memory_class="semantic")
        expect(own.record_id != kept.record_id, "somebody else's record was taken for the same")
        trial.clock.advance(7_200)
        same(await theirs.prune(), 0)
        same((await trial.mem.prune(), texts(await trial.mem.retrieve())), (1, NOTHING))
        same(texts(await theirs.retrieve()), ["a secret of ana"])

    return act


for _name, _scope in OTHERS.items():
    add("core", f"apart-{_name}", f"Another scope sees and changes nothing: {_name}.", _apart(_scope))


def _searched(mode: str) -> Callable[[Trial], Awaitable[None]]:
    async def act(trial: Trial) -> None:
        await _secret(trial)
        for other in OTHERS.values():
            found = await trial.at(other).retrieve("a secret of ana", mode=mode, exact_total=trial.counts)
            same((texts(found), found.total or 0), (NOTHING, 0))

    return act


for _mode in memory.SearchMode:
    add("core", f"apart-in-{_mode}", f"A search ({_mode}) finds nothing of other scopes.", _searched(_mode), _mode)


@case("core")
async def names_are_never_joined(trial: Trial) -> None:
    """The scope `a`, `b:c` is not the scope `a:b`, `c`, nor do their ids or keys meet."""
    for left, right in ((("a", "b:c"), ("a:b", "c")), (("a", "b/c"), ("a/b", "c")), (('a"', ',"b'), ("a", '","b'))):
        one = trial.at(memory.Scope(tenant="joined", user=left[0], agent=left[1]))
        other = trial.at(memory.Scope(tenant="joined", user=right[0], agent=right[1]))
        await one.remember("one", idempotency_key="k")
        same(texts(await other.retrieve()), [])
        await other.remember("other", idempotency_key="k")
        same((texts(await one.retrieve()), texts(await other.retrieve())), (["one"], ["other"]))


@case("core")
async def a_wider_scope_sees_the_narrower(trial: Trial) -> None:
    """What is in a session is seen by its user and its tenant, and not by the next session."""
    narrow = trial.mem.narrowed(agent="helper", session="s1")
    kept = await narrow.remember("said in s1")
    same(kept.scope, memory.Scope(tenant="acme", user="ana", agent="helper", session="s1"))
    for scope in (memory.Scope(tenant="acme"), SCOPE, memory.Scope(tenant="acme", session="s1"), narrow.scope):
        same(texts(await trial.at(scope).retrieve()), ["said in s1"])
    for names in ({"session": "s2"}, {"agent": "other"}):
        same(texts(await trial.mem.narrowed(**names).retrieve()), [])
    await trial.mem.remember("said by ana")
    same(texts(await narrow.retrieve()), ["said in s1"])


@case("core")
async def the_same_in_two_scopes_is_two_records(trial: Trial) -> None:
    """What is one record in one scope is another one in another, also a narrower one."""
    fields: dict[str, Any] = {"memory_class": "semantic", "idempotency_key": "k"}
    one = await trial.mem.remember("x", **fields)
    other = await trial.mem.narrowed(session="s1").remember("x", **fields)
    expect(one.record_id != other.record_id, "a narrower scope's record was taken for the same")


@case("core")
async def an_unknown_scope_is_told_from_an_empty_one(trial: Trial) -> None:
    """A scope in which nothing was ever kept is not known; one in which all was forgotten is."""
    expect(not (await trial.mem.retrieve()).scope_known, "a scope that nobody used is known")
    kept = await trial.mem.remember("x")
    expect((await trial.mem.retrieve(tags_any=["none"])).scope_known, "a scope that was used is not known")
    await trial.mem.forget(kept.record_id)
    expect((await trial.mem.retrieve()).scope_known, "a scope that was used is not known")
    expect(not (await trial.mem.narrowed(session="s1").retrieve()).scope_known, "a scope that nobody used is known")


@case("core", "ingest")
async def a_batch_stays_in_its_scope(trial: Trial) -> None:
    """A batch with a record for another scope is refused, and nothing of it is kept."""
    drafts = [memory.Draft(text="mine"), memory.Draft(text="theirs", scope=OTHERS["tenant"])]
    async with raises(memory.ScopeDenied):
        await trial.mem.ingest(drafts)
    same(texts(await trial.mem.retrieve()), [])
    same(texts(await trial.at(OTHERS["tenant"]).retrieve()), [])
    session = SCOPE.narrowed(session="s1")
    await trial.mem.ingest([memory.Draft(text="here", scope=session)])
    same((await trial.mem.retrieve()).records[0].scope, session)


@case("core", "history")
async def history_stays_in_its_scope(trial: Trial) -> None:
    """The history of another scope's record is not told, also when it was forgotten."""
    kept = await _secret(trial)
    for _ in range(2):
        async with raises(memory.RecordNotFound):
            await trial.at(OTHERS["user"]).history(kept.record_id)
        await trial.mem.forget(kept.record_id)


@case("core", "explain_retrieval", "text")
async def explanations_stay_in_their_scope(trial: Trial) -> None:
    """An explanation names no candidates and no near misses of other scopes."""
    await _secret(trial)
    await trial.at(OTHERS["user"]).remember("a secret of bob")
    for own in (trial.mem, trial.at(OTHERS["user"])):
        told = (await own.explain("secret", mode="text", min_score=1_000.0)).explanation
        same((sum(told.candidates.values()), len(told.near_misses)), (1, 1))


@case("core", "consolidate")
async def consolidation_stays_in_its_scope(trial: Trial) -> None:
    """A plan is made of, and changes, only what the scope covers."""
    for scope in (SCOPE, OTHERS["tenant"]):
        for _ in range(2):
            await trial.at(scope).remember("the same words", kind="fact")
    plan = await trial.mem.plan_consolidation()
    same(plan.examined, 2)
    async with raises(memory.ScopeDenied):
        await trial.at(OTHERS["tenant"]).apply_consolidation(plan)
    await trial.mem.apply_consolidation(plan)
    theirs = trial.at(OTHERS["tenant"])
    same(len((await theirs.retrieve()).hits), 2)
    of_nobody = await _told(lambda: theirs.undo_consolidation("cns_nobody"), "cns_nobody")
    same(await _told(lambda: theirs.undo_consolidation(plan.change_id), plan.change_id), of_nobody)


BOB: Final = OTHERS["user"]
TENANT: Final = memory.Scope(tenant=SCOPE.tenant)


async def _told(act: Callable[[], Awaitable[object]], record_id: str) -> str:
    """What somebody is told who asks for this id, without the id itself."""
    try:
        answer = await act()
    except memory.MemoryFault as error:
        return str(error.to_json()).replace(record_id, "…")
    return str(answer.to_json() if isinstance(answer, memory.Value) else answer).replace(record_id, "…")


def _asks(mem: memory.Memory, record_id: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """All that can be asked about an id."""
    asks: dict[str, Callable[[], Awaitable[object]]] = {
        "get": lambda: mem.get(record_id),
        "revise": lambda: mem.remember("x", record_id=record_id),
        "revise a revision": lambda: mem.remember("x", record_id=record_id, if_revision=1),
        "supersede": lambda: mem.remember("x", supersedes=record_id),
        "derive": lambda: mem.remember("x", provenance={"derived_from": [record_id]}),
        "forget": lambda: mem.forget(record_id),
    }
    if mem.capabilities().supports("history"):
        asks["history"] = lambda: mem.history(record_id)
    if mem.capabilities().supports("ingest"):
        asks["ingest"] = lambda: mem.ingest([memory.Draft(text="x", record_id=record_id)])
    if mem.capabilities().supports("consolidate"):
        asks["apply"] = lambda: mem.apply_consolidation(_ending(mem.scope, record_id))
    return asks


def _ending(scope: memory.Scope, record_id: str) -> memory.ConsolidationPlan:
    """A plan that somebody made up."""
    end = memory.Consolidated(policy="decay", reason="made up", ends=(record_id,), revisions=(1,))
    moment = "2026-01-01T00:00:00Z"
    return memory.ConsolidationPlan.of(change_id="cns_made_up", scope=scope, planned_at=moment, changes=(end,))


@case("core")
async def an_id_of_others_is_like_one_of_nobody(trial: Trial) -> None:
    """Whatever is asked about the id of another scope's record, which is there or was forgotten, the answer is that for an id
    which nobody has."""
    kept = await _secret(trial)
    for other in (*OTHERS.values(), SCOPE.narrowed(session="s1")):
        mem = trial.at(other)
        for forgotten in (False, True):
            record_id = kept.record_id
            if forgotten:
                record_id = (await trial.mem.remember("gone")).record_id
                await trial.mem.forget(record_id)
            of_nobody = _asks(mem, NOBODY)
            for name, ask in _asks(mem, record_id).items():
                same((name, await _told(ask, record_id)), (name, await _told(of_nobody[name], NOBODY)))
    same(texts(await trial.mem.retrieve()), ["a secret of ana"])


@case("core", "chosen_ids")
async def an_id_in_two_scopes_is_of_two_records(trial: Trial) -> None:
    """A copy in another scope is revised, superseded and forgotten for itself: whoever has it learns nothing of the first, nor
    that there is one."""
    kept = await _secret(trial)
    for other in OTHERS.values():
        theirs = trial.at(other)
        made = await theirs.remember("a copy", record_id=kept.record_id, if_revision=0)
        same((made.record_id, made.revision, made.scope), (kept.record_id, 1, other))
        same((await theirs.remember("revised", record_id=kept.record_id, if_revision=1)).revision, 2)
        derived = await theirs.remember("derived", provenance={"derived_from": [kept.record_id]})
        same(sorted(map(str, texts(await theirs.retrieve()))), ["derived", "revised"])
        gone = await theirs.forget(kept.record_id)
        same((gone.record_ids, gone.revisions, gone.traces), ((kept.record_id, derived.record_id), 3, 0))
        same((await trial.mem.get(kept.record_id), texts(await theirs.retrieve())), (kept, NOTHING))
    if trial.mem.capabilities().supports("history"):
        same(len(await trial.mem.history(kept.record_id)), 1)


@case("core", "chosen_ids")
async def of_several_with_an_id_the_own_one_is_meant(trial: Trial) -> None:
    """Where several have an id, it names the one in the scope itself; one of several in narrower scopes it does not name, and
    nothing is done."""
    chosen, wide = "mem_" + "c" * 32, trial.at(TENANT)
    bob = trial.at(BOB)
    await trial.mem.remember("Ana's", record_id=chosen, if_revision=0)
    same((await wide.get(chosen)).text, "Ana's")
    await bob.remember("Bob's", record_id=chosen, if_revision=0)
    async with raises(memory.RecordConflict):
        await wide.get(chosen)
    async with raises(memory.RecordConflict):
        await wide.forget(chosen)
    async with raises(memory.RecordConflict):
        await wide.remember("x", record_id=chosen)
    same((await wide.remember("Bob's, again", record_id=chosen, scope=BOB)).revision, 2)
    await wide.remember("everybody's", record_id=chosen, if_revision=0)
    same((await wide.get(chosen)).text, "everybody's")
    same(sorted(map(str, texts(await wide.retrieve()))), ["Ana's", "Bob's, again", "everybody's"])
    for _ in range(2):  # what was its own stays meant, so that who repeats it forgets nothing else
        await wide.forget(chosen)
    same((texts(await trial.mem.retrieve()), texts(await bob.retrieve())), (["Ana's"], ["Bob's, again"]))


@case("core", "chosen_ids")
async def records_with_one_id_are_listed_each(trial: Trial) -> None:
    """From a wider scope all records with one id are found, page by page and each once, whatever the order."""
    chosen, at = "mem_" + "c" * 32, trial.clock.now()
    scopes = [SCOPE, BOB, TENANT, SCOPE.narrowed(session="s1"), SCOPE.narrowed(agent="s1")]
    for number, scope in enumerate(scopes):
        kept = {"record_id": chosen, "if_revision": 0, "observed_at": at}
        await trial.at(scope).remember(f"the same of {number}", **kept)
    wide = trial.at(TENANT)
    modes = [None, *(mode for mode in memory.SearchMode if mode in wide.capabilities().guarantees.search_modes)]
    for asked in [{"order": "oldest"}, {"order": "newest"}, *({"mode": mode} for mode in modes if mode)]:
        text = "same" if "mode" in asked else None
        seen: list[memory.Scope] = []
        cursor: str | None = None
        while True:
            page = await wide.retrieve(text, limit=2, cursor=cursor, **asked)
            seen += [record.scope for record in page.records]
            if (cursor := page.cursor) is None:
                break
        same((len(seen), set(seen)), (len(scopes), set(scopes)))


@case("core", "chosen_ids")
async def links_lead_to_what_is_seen_from_where_they_are(trial: Trial) -> None:
    """What a record was made of, or replaced by, is what its own scope sees under that id: forgetting another one with that id
    touches it not."""
    chosen, wide = "mem_" + "c" * 32, trial.at(TENANT)
    await trial.mem.remember("Ana's", record_id=chosen, if_revision=0)
    derived = await trial.mem.remember("of Ana's", provenance={"derived_from": [chosen]})
    await wide.remember("everybody's", record_id=chosen, if_revision=0)
    of_all = await wide.remember("of everybody's", provenance={"derived_from": [chosen]})
    gone = await wide.forget(chosen)
    same((gone.record_ids, gone.traces), ((chosen, of_all.record_id), 0))
    same(await trial.mem.get(derived.record_id), derived)
    same((await trial.mem.forget(chosen)).record_ids, (chosen, derived.record_id))


@case("core")
async def what_a_wider_scope_made_of_it_is_not_told(trial: Trial) -> None:
    """Whoever forgets a record learns nothing of what a wider scope made of it."""
    kept = await trial.mem.remember("Ana's")
    await trial.at(TENANT).remember("of all", provenance={"derived_from": [kept.record_id]})
    gone = await trial.mem.forget(kept.record_id)
    same((gone.record_ids, gone.traces), ((kept.record_id,), 0))


@case("lifecycle", "transfer")
async def a_copy_of_an_export_is_independent(trial: Trial) -> None:
    """What is imported into another scope under the ids that it has in the first is accepted as if nobody had them, and is
    forgotten for itself."""
    kept = await trial.mem.remember("one")
    (entry,) = await trial.mem.hand_over()
    for other in (BOB, OTHERS["tenant"]):
        theirs = trial.at(other)
        moved = kept.changed(scope=other)
        result = await theirs.take_over([entry.changed(record=moved, digest=moved.digest)])
        same([item.status for item in result.items], [memory.IngestStatus.ACCEPTED])
        same(await theirs.get(kept.record_id), moved)
        same((await theirs.forget(kept.record_id)).record_ids, (kept.record_id,))
        same(await trial.mem.get(kept.record_id), kept)


@case("lifecycle", "transfer")
async def records_with_one_id_are_handed_over_each(trial: Trial) -> None:
    """From a wider scope all records with one id are handed over, together."""
    kept = await trial.mem.remember("one")
    (entry,) = await trial.mem.hand_over()
    moved = kept.changed(scope=BOB)
    await trial.at(BOB).take_over([entry.changed(record=moved, digest=moved.digest)])
    told = await trial.at(TENANT).hand_over(limit=1)
    same([each.record and each.record.scope for each in told], [SCOPE, BOB])
    same(await trial.at(TENANT).hand_over(after=kept.record_id), ())
