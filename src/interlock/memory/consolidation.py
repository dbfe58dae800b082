"""Making less of what is kept: what the policies would change, without a model, and how it is changed and put back."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from interlock.kernel import canonical
from interlock.memory.embedding import Vector
from interlock.memory.errors import InvalidInput, RecordConflict
from interlock.memory.records import Draft, Key, MemoryClass, Record, stated
from interlock.memory.results import Change, Consolidated, ConsolidationPlan, ConsolidationResult, Contradiction
from interlock.memory.revisions import entry_of, named, restore
from interlock.memory.rows import Rows, searchable
from interlock.memory.scope import Scope
from interlock.memory.words import words

MOST: Final = 10_000
"""Records that one plan looks at, oldest first."""

NEAR: Final = 0.9
"""The least share of words that two texts have in common which say the same."""

WORKING_FOR: Final = timedelta(days=7)
FAINT: Final = 0.2
FAINT_FOR: Final = timedelta(days=90)
WEIGHTY: Final = 0.7

Policy: TypeAlias = Callable[[Sequence[Record], datetime], Iterable[Consolidated]]


def plan(
    scope: Scope, change_id: str, records: Sequence[Record], names: Sequence[str], now: datetime
) -> ConsolidationPlan:
    """What these policies (none: all) would change of these records; each record is changed once, by the first that would.
    Raises InvalidInput for a policy that is none."""
    if unknown := sorted(set(names) - set(POLICIES) - {"contradictions"}):
        known = ", ".join((*POLICIES, "contradictions"))
        raise InvalidInput(f"there is no policy {', '.join(unknown)[:200]}; there are {known}")
    changes: list[Consolidated] = []
    taken: set[Key] = set()
    for name, policy in POLICIES.items():
        if not names or name in names:
            left = [record for record in records if record.key not in taken]
            for change in policy(left, now):
                changes.append(change)
                taken.update(Key(each, change.scope or scope) for each in change.ends)
    told = contradictions(records) if not names or "contradictions" in names else ()
    return ConsolidationPlan(
        change_id=change_id,
        scope=scope,
        planned_at=now,
        changes=tuple(changes),
        contradictions=tuple(told),
        examined=len(records),
    )


def apply(
    rows: Rows,
    made: ConsolidationPlan,
    *,
    new_id: Callable[[], str],
    vector_of: Callable[[Draft], Vector | None],
    now: datetime,
) -> ConsolidationResult:
    """Change it, where every record is as it was when it was planned."""
    ended: list[str] = []
    put: list[str] = []
    skipped: list[str] = []
    for change in made.changes:
        keys = [_key(rows, made.scope, change, record_id) for record_id in change.ends]
        lasts = [None if key is None else rows.find_last(key) for key in keys]
        there = [last for last in lasts if last is not None and last.is_current]
        if [last.revision for last in there] != list(change.revisions):
            skipped.append(f"{', '.join(change.ends)}: changed since it was planned")
            continue
        successor = None
        if change.record is not None:
            record = _successor(change.record, there, new_id(), made.change_id, now)
            rows.add(entry_of(record, Change.CONSOLIDATED), vector_of(change.record))
            successor = record.record_id
            put.append(record.record_id)
        for last in there:
            _end(rows, last, successor, made.change_id, now)
            ended.append(last.record_id)
    status = "applied" if ended else "nothing"
    return _result(made.change_id, made.scope, status, ended, put, skipped)


def undo(rows: Rows, scope: Scope, change_id: str, now: datetime) -> ConsolidationResult | None:
    """Put back what a consolidation ended, and end what it put there, where nobody changed it since; None if there is nothing
    of it."""
    entries = rows.list_changed(change_id)
    if not entries:
        return None
    back: list[str] = []
    gone: list[str] = []
    skipped: list[str] = []
    for entry in entries:
        last = None if entry.record is None else rows.find_last(entry.record.key)
        put = entry.revision == 1  # what it ended has a revision before
        if last is None or last.revision != entry.revision or last.is_current != put:
            skipped.append(f"{entry.record_id}: changed since")
        elif put:
            rows.end(last.key, last.revision, at=now, by=None)
            gone.append(last.record_id)
        else:
            restore(rows, last, now)
            back.append(last.record_id)
    return _result(change_id, scope, "undone" if back or gone else "nothing", gone, back, skipped)


def duplicates(records: Sequence[Record], now: datetime) -> Iterable[Consolidated]:
    """Records of one scope, class and kind with the same words and content."""
    del now
    groups: defaultdict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[(*_sort(record), tuple(words(record.text or "")), canonical(record.content))].append(record)
    for group in groups.values():
        if len(group) > 1:
            yield _merged("duplicates", f"{len(group)} records with the same words", group)


def near_duplicates(records: Sequence[Record], now: datetime) -> Iterable[Consolidated]:
    """Records of one scope, class and kind that share NEAR of their words and have the same content; the longest stays."""
    del now
    sorts: defaultdict[tuple[object, ...], list[tuple[Record, frozenset[str]]]] = defaultdict(list)
    for record in records:
        held = frozenset(words(searchable(record)))
        if held:
            sorts[(*_sort(record), canonical(record.content))].append((record, held))
    for candidates in sorts.values():
        for group in _alike(sorted(candidates, key=lambda each: (-len(each[1]), each[0].record_id))):
            yield _merged("near_duplicates", f"{len(group)} records share {NEAR:.0%} of their words", group)


def decay(records: Sequence[Record], now: datetime) -> Iterable[Consolidated]:
    """Working records after WORKING_FOR, and faint events (importance below FAINT) after FAINT_FOR."""
    for record in records:
        age = now - record.observed_at
        if record.memory_class is MemoryClass.WORKING and record.importance < WEIGHTY and age > WORKING_FOR:
            yield _ended("decay", f"working memory of {age.days} days", record)
        elif record.memory_class is MemoryClass.EPISODIC and record.importance < FAINT and age > FAINT_FOR:
            yield _ended("decay", f"a faint event of {age.days} days", record)


def promotion(records: Sequence[Record], now: datetime) -> Iterable[Consolidated]:
    """Working records that weigh WEIGHTY and have lasted WORKING_FOR become semantic ones."""
    for record in records:
        lasted = now - record.observed_at > WORKING_FOR
        if record.memory_class is MemoryClass.WORKING and record.importance >= WEIGHTY and lasted:
            draft = _draft(record, [record], memory_class=MemoryClass.SEMANTIC)
            yield _change("promotion", f"of importance {record.importance:g}, and still there", [record], draft)


POLICIES: Final[Mapping[str, Policy]] = {
    "duplicates": duplicates,
    "near_duplicates": near_duplicates,
    "promotion": promotion,
    "decay": decay,
}
"""By name, in the order in which they are asked."""


def contradictions(records: Sequence[Record]) -> Iterable[Contradiction]:
    """Facts of one scope and kind whose metadata name one `subject`, and whose words differ. Nobody but a person, or a model
    that one asks, can say which holds."""
    facts: defaultdict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record.memory_class is MemoryClass.SEMANTIC and "subject" in record.metadata:
            facts[(*_sort(record), canonical(record.metadata["subject"]))].append(record)
    for group in facts.values():
        if len({tuple(words(searchable(record))) for record in group}) > 1:
            ids = tuple(sorted(record.record_id for record in group))
            yield Contradiction(record_ids=ids, reason=f"{len(group)} facts about one subject differ")


def _alike(candidates: Sequence[tuple[Record, frozenset[str]]]) -> Iterable[list[Record]]:
    """Groups of those that share NEAR of their words with the first of the group. Two that do have one of their rarest words in
    common, however few of these are looked at beyond the words by which they may differ; so only such are compared."""
    counts = Counter(word for _, held in candidates for word in held)
    holding: defaultdict[str, list[int]] = defaultdict(list)
    rarest: list[list[str]] = []
    for number, (_, held) in enumerate(candidates):
        differ = len(held) - math.ceil(NEAR * len(held))
        rarest.append(sorted(held, key=lambda word: (counts[word], word))[: differ + 1])
        for word in rarest[-1]:
            holding[word].append(number)
    taken: set[int] = set()
    for number, (_, held) in enumerate(candidates):
        if number in taken:
            continue
        near = sorted({other for word in rarest[number] for other in holding[word]} - taken)
        group = [at for at in near if len(held & candidates[at][1]) >= NEAR * len(held | candidates[at][1])]
        if len(group) > 1:
            taken.update(group)
            yield [candidates[at][0] for at in group]


def _sort(record: Record) -> tuple[object, ...]:
    return record.scope, record.memory_class, record.kind


def _merged(policy: str, reason: str, group: Sequence[Record]) -> Consolidated:
    first = max(group, key=lambda record: (len(searchable(record)), record.record_id))
    return _change(policy, reason, group, _draft(first, group))


def _ended(policy: str, reason: str, record: Record) -> Consolidated:
    return _change(policy, reason, [record], None)


def _change(policy: str, reason: str, group: Sequence[Record], draft: Draft | None) -> Consolidated:
    kept = sorted(group, key=lambda record: record.record_id)
    return Consolidated(
        policy=policy,
        reason=reason,
        ends=tuple(record.record_id for record in kept),
        scope=kept[0].scope,
        revisions=tuple(record.revision for record in kept),
        record=draft,
    )


def _draft(first: Record, group: Sequence[Record], *, memory_class: MemoryClass | None = None) -> Draft:
    """One record for all of them."""
    fields = dict(stated(first))
    tags = dict.fromkeys(tag for record in group for tag in record.tags)
    fields["tags"] = tuple(tags)[:100]
    fields["importance"] = max(record.importance for record in group)
    fields["memory_class"] = memory_class or first.memory_class
    return Draft.of(**fields, observed_at=min(record.observed_at for record in group), scope=first.scope)


def _successor(draft: Draft, ended: Sequence[Record], record_id: str, change_id: str, now: datetime) -> Record:
    return Record.of(
        **stated(draft),
        record_id=record_id,
        scope=ended[0].scope,
        revision=1,
        observed_at=draft.observed_at or now,
        recorded_at=now,
        change_id=change_id,
    )


def _key(rows: Rows, scope: Scope, change: Consolidated, record_id: str) -> Key | None:
    """Which record is meant; None if that cannot be told."""
    if change.scope is not None:
        return Key(record_id, change.scope)
    try:
        return named(rows, scope, record_id)
    except RecordConflict:
        return None


def _end(rows: Rows, last: Record, by: str | None, change_id: str, now: datetime) -> None:
    """Its last revision says that it ended, by what, and in which consolidation."""
    rows.end(last.key, last.revision, at=now, by=None)
    ended = last.changed(
        revision=last.revision + 1, recorded_at=now, superseded_at=now, superseded_by=by, change_id=change_id
    )
    rows.add(entry_of(ended, Change.CONSOLIDATED), None)


def _result(
    change_id: str, scope: Scope, status: str, ended: Sequence[str], made: Sequence[str], skipped: Sequence[str]
) -> ConsolidationResult:
    return ConsolidationResult.of(
        change_id=change_id,
        scope=scope,
        status=status,
        ended=tuple(ended),
        made=tuple(made),
        skipped=tuple(skipped),
    )
