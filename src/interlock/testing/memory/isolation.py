"""Level `core`: scopes. No memory sees, changes or counts what its scope does not cover, whatever it is asked."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from interlock import memory
from interlock.testing.memory.case import NOTHING, SCOPE, Trial, add, case, expect, raises, same, texts

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
    same(len((await trial.at(OTHERS["tenant"]).retrieve()).hits), 2)
