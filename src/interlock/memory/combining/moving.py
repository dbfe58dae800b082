"""Records between a short-term and a long-term memory: which one has them, and how a consolidation moves them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias, cast

from interlock.memory.errors import MemoryFault, RecordConflict, RecordNotFound
from interlock.memory.provider import Consolidates, Provider
from interlock.memory.records import Draft, Record, stated
from interlock.memory.results import Consolidated, ConsolidationPlan, ConsolidationResult
from interlock.memory.scope import Scope

Tiers: TypeAlias = tuple[Provider, Provider]
"""The short-term memory and the long-term one."""

PROMOTION = "promotion"
"""The policy whose records move."""


async def placed(tiers: Tiers, scope: Scope, record_id: str) -> Scope:
    """In which scope the record is that an id names: as each of the two says, in both together. The scope itself if neither has
    any. Raises RecordConflict for one of several."""
    there: set[Scope] = set()
    for tier in tiers:
        with suppress(RecordNotFound):
            there.add((await tier.get(scope, record_id)).scope)
    if len(there) > 1 and scope not in there:
        raise RecordConflict(
            f"several records in narrower scopes have the id {record_id[:100]}",
            next_step="Narrow the memory to the user, the agent or the session whose record is meant.",
        )
    return scope if len(there) != 1 else there.pop()


async def found(tiers: Tiers, scope: Scope, record_id: str) -> Record:
    """The record where it is current, else where it once was. Raises RecordNotFound, RecordConflict."""
    scope = await placed(tiers, scope, record_id)
    ended: Record | None = None
    missing: list[RecordNotFound] = []
    for tier in tiers:
        try:
            record = await tier.get(scope, record_id)
        except RecordNotFound as error:
            missing.append(error)
            continue
        if record.is_current:
            return record
        ended = ended or record
    if ended is not None:
        return ended
    known = any(error.details.get("scope_known") for error in missing)
    raise RecordNotFound(missing[0].message, details={"scope_known": known})


async def holder(tiers: Tiers, scope: Scope, record_id: str) -> Provider | None:
    """Which of them has the record."""
    ended: Provider | None = None
    for tier in tiers:
        try:
            record = await tier.get(scope, record_id)
        except RecordNotFound:
            continue
        if record.is_current:
            return tier
        ended = ended or tier
    return ended


async def applied(tiers: Tiers, scope: Scope, plan: ConsolidationPlan) -> ConsolidationResult:
    """Carry it out: what is promoted is put into the long-term memory before it ends in the short-term one, so that it is never
    in neither. Stopped in between it is in both, until the promotion is applied again."""
    short, long = tiers
    here: list[Consolidated] = []
    there: list[Consolidated] = []
    moved: dict[str, Scope] = {}
    skipped: list[str] = []
    for change in plan.changes:
        where = change.scope or scope
        if await holder(tiers, where, change.ends[0]) is long:
            if await _moved_since(tiers, where, change.ends[0], plan):
                skipped.append(f"{change.ends[0]}: promoted since it was planned")
            else:
                there.append(change)
        elif change.policy != PROMOTION or change.record is None:
            here.append(change)
        elif moved.get(change.ends[0], where) != where:  # what comes of them is told by their ids
            skipped.append(f"{change.ends[0]}: a record of another scope with this id is promoted; plan for each scope")
        elif (why := await _put(short, long, where, change, change.record)) is not None:
            skipped.append(f"{change.ends[0]}: {why}")
        else:
            moved[change.ends[0]] = where
            here.append(change.changed(record=None))
    results = [
        await cast("Consolidates", tier).apply_consolidation(scope, plan.changed(changes=tuple(changes)))
        for tier, changes in ((short, here), (long, there))
    ]
    for record_id, where in moved.items():
        if record_id not in results[0].ended:  # somebody changed it in between, and it stays where it is
            await long.forget(where, record_id)
    made = [record_id for record_id in moved if record_id in results[0].ended]
    return _together(plan.change_id, scope, "applied", results, made=made, skipped=skipped)


async def _moved_since(tiers: Tiers, scope: Scope, record_id: str, plan: ConsolidationPlan) -> bool:
    """Whether the revision that was planned for may be one of the short-term memory: in the long-term one they begin anew."""
    try:
        await tiers[0].get(scope, record_id)
    except RecordNotFound:
        return False
    return (await tiers[1].get(scope, record_id)).recorded_at >= plan.planned_at


async def _put(short: Provider, long: Provider, scope: Scope, change: Consolidated, draft: Draft) -> str | None:
    """Put what is promoted into the long-term memory; or why it is not."""
    record_id = change.ends[0]
    try:
        record = await short.get(scope, record_id)
        if not record.is_current or (record.revision,) != change.revisions:
            return "changed since it was planned"
        try:
            await long.remember(scope, draft.changed(record_id=record_id, if_revision=0))
        except RecordConflict:  # put there before, by one that was stopped; or taken back since, by whoever undid it
            there = await long.get(scope, record_id)
            if not there.is_current or stated(there) != stated(draft):
                raise
    except MemoryFault as error:
        return error.message
    return None


async def undone(tiers: Tiers, scope: Scope, change_id: str) -> ConsolidationResult:
    """Each puts back what it ended. What was promoted leaves the long-term memory, unless somebody changed it there since; then
    it stays promoted. Raises RecordNotFound where neither knows of it."""
    results, missing = dict[int, ConsolidationResult](), list[RecordNotFound]()
    for at, tier in enumerate(tiers):
        try:
            results[at] = await cast("Consolidates", tier).undo_consolidation(scope, change_id)
        except RecordNotFound as error:
            missing.append(error)
    if not results:
        raise missing[0]
    gone: list[str] = []
    skipped: list[str] = []
    for record_id in results[0].made if 0 in results else ():
        left = await _taken_back(tiers, scope, change_id, record_id)
        if isinstance(left, str):
            skipped.append(f"{record_id}: {left}")
        elif left:
            gone.append(record_id)
    stays = {each.partition(":")[0] for each in skipped}
    told = [each.changed(made=tuple(one for one in each.made if one not in stays)) for each in results.values()]
    return _together(change_id, scope, "undone", told, ended=gone, skipped=skipped)


async def _taken_back(tiers: Tiers, scope: Scope, change_id: str, record_id: str) -> bool | str:
    """Whether what came back into the short-term memory left the long-term one, which it may never have been in; or why not."""
    short, long = tiers
    try:
        again = await short.get(scope, record_id)
        record = await long.get(again.scope, record_id)
    except RecordNotFound:
        return False
    except RecordConflict as error:
        return error.message
    if record.scope != again.scope:  # another one with this id
        return False
    if record.revision == 1:
        await long.forget(record.scope, record_id)
        return True
    end = Consolidated(
        policy=PROMOTION,
        reason="changed since it was promoted",
        ends=(record_id,),
        revisions=(again.revision,),
        scope=again.scope,
    )
    plan = ConsolidationPlan(change_id=change_id, scope=scope, planned_at=again.recorded_at, changes=(end,))
    await cast("Consolidates", short).apply_consolidation(scope, plan)
    return "changed since"


def _together(
    change_id: str,
    scope: Scope,
    done: str,
    results: Sequence[ConsolidationResult],
    *,
    ended: Sequence[str] = (),
    made: Sequence[str] = (),
    skipped: Sequence[str] = (),
) -> ConsolidationResult:
    all_ended = [*(each for one in results for each in one.ended), *ended]
    all_made = [*(each for one in results for each in one.made), *made]
    return ConsolidationResult.of(
        change_id=change_id,
        scope=scope,
        status=done if all_ended or all_made else "nothing",
        ended=tuple(all_ended),
        made=tuple(all_made),
        skipped=(*(each for one in results for each in one.skipped), *skipped),
    )
