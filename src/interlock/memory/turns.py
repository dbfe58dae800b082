"""Before a turn: what helps with it, put where a model can read it. After a turn: what is new in it, kept."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from interlock.kernel import digest
from interlock.memory.captures import LONGEST, Policy, Turn, captured
from interlock.memory.echoes import Known, Passage, passages
from interlock.memory.errors import InvalidInput, MemoryFault
from interlock.memory.framing import framed
from interlock.memory.keeping import ONCE
from interlock.memory.memories import Memory
from interlock.memory.queries import MAX_LIMIT, Query
from interlock.memory.ranking import tokens
from interlock.memory.records import Draft, Provenance, Record
from interlock.memory.results import Ingested, IngestRequest, IngestStatus, RetrieveResult
from interlock.memory.rows import searchable, texts_in
from interlock.memory.words import terms

WINDOW: Final = 500
"""Recalled records that are kept in mind to tell what is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What was recalled for a turn. `prompt` is it for a model, empty if there is nothing: put it beside what the user says and
    never among the instructions. `records` are those in it, `result` all that was found."""

    prompt: str
    tokens: int
    records: tuple[Record, ...]
    result: RetrieveResult | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """A passage that was not learned, since it only says again what was recalled: the digest of its words as they are compared,
    and the records that say them."""

    digest: str
    record_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What became of a turn: `drafts` and `items` are what was new and what came of each; `echoes` what was not."""

    drafts: tuple[Draft, ...]
    items: tuple[Ingested, ...]
    echoes: tuple[Echo, ...]

    @property
    def record_ids(self) -> tuple[str, ...]:
        """The records that are new."""
        kept = (item.record_id for item in self.items if item.status is IngestStatus.ACCEPTED)
        return tuple(record_id for record_id in kept if record_id is not None)


class Turns:
    """A memory around the turns of an agent: `before` recalls, `after` learns, with any provider. A provider that has a way of
    its own (`HooksTurns`) is asked for it; what is recalled is bounded and what is learned is held against it all the same.

        turns = memory.Turns(mem)
        recalled = await turns.before("which answers do I like?")
        …                                                        # the model sees recalled.prompt as data
        await turns.after(memory.Turn(turn_id="t1", said=[…]))
    """

    def __init__(self, mem: Memory, *, policy: Policy | None = None, entries: int = 8, max_tokens: int = 800) -> None:
        """At most so many entries, and about so many tokens with their frame, are put before a model. Raises InvalidInput."""
        if not (1 <= entries <= MAX_LIMIT and 64 <= max_tokens <= 1_000_000):
            raise InvalidInput(f"entries are from 1 to {MAX_LIMIT}, max_tokens from 64 to 1000000")
        self._mem = mem
        self._policy = policy or captured()
        self._entries = entries
        self._max_tokens = max_tokens
        self._in_mind: OrderedDict[str, Record] = OrderedDict()

    async def before(self, text: str) -> Recalled:
        """What helps with this. A text without a word recalls nothing. Raises what `Memory.retrieve` does."""
        asked = text[:LONGEST]
        if not terms(asked):
            return Recalled(prompt="", tokens=0, records=(), result=None)
        if self._mem.capabilities().supports("turn_hooks"):
            result = await self._mem.before_turn(asked)
        else:
            result = await self._mem.retrieve(Query.of(text=asked, limit=self._entries))
        self.keep_in_mind(result.records)
        prompt, records = framed(result.records[: self._entries], self._max_tokens)
        return Recalled(prompt=prompt, tokens=tokens(prompt), records=tuple(records), result=result)

    def keep_in_mind(self, records: Iterable[Record]) -> None:
        """Say that these were recalled in another way, by a tool for one, so that they are not learned as new either."""
        for record in records:
            self._in_mind[record.record_id] = record
            self._in_mind.move_to_end(record.record_id)
        while len(self._in_mind) > WINDOW:
            self._in_mind.popitem(last=False)

    async def after(self, turn: Turn) -> Learned:
        """Keep what the policy takes from a turn, without what only says again what was recalled, in this turn or one before.
        What is not from the user (`source`) and is said with words of a recalled text is derived from that record, and is
        forgotten with it. Done again for the same turn, it changes nothing. Raises what `Memory.ingest` does."""
        return await self._learn(self._policy(turn), turn.turn_id)

    async def note(self, draft: Draft, *, turn_id: str) -> Learned:
        """Keep one thing, as `after` would: for what a model notes down itself. `turn_id` is the turn's, or the call's."""
        return await self._learn([draft], turn_id)

    async def _learn(self, given: Iterable[Draft], turn_id: str) -> Learned:
        known = Known(self._in_mind.values())
        drafts: list[Draft] = []
        echoes: list[Echo] = []
        for number, draft in enumerate(given):
            new, old = _sifted(searchable(draft)[:LONGEST], known)
            echoes += (Echo(digest=each.digest, record_ids=by) for each, by in old)
            if new or not old:
                drafts.append(_from_turn(draft, turn_id, number, new if old else None, known))
        items = await self._keep(drafts) if drafts else ()
        return Learned(drafts=tuple(drafts), items=tuple(items), echoes=tuple(echoes))

    async def _keep(self, drafts: Sequence[Draft]) -> Sequence[Ingested]:
        request = IngestRequest.of(records=tuple(drafts))
        has = self._mem.capabilities()
        if has.supports("turn_hooks"):
            return (await self._mem.after_turn(request)).items
        if has.supports("ingest"):
            return (await self._mem.ingest(request)).items
        return [await self._kept(draft) for draft in drafts]

    async def _kept(self, draft: Draft) -> Ingested:
        try:
            record = await self._mem.remember(draft)
        except MemoryFault as error:
            if error.retryable:
                raise
            return Ingested(status=IngestStatus.REJECTED, code=error.code, reason=error.message)
        return Ingested(status=IngestStatus.ACCEPTED, record_id=record.record_id)


def _sifted(text: str, known: Known) -> tuple[str, list[tuple[Passage, tuple[str, ...]]]]:
    """What is new in a text, and the passages that are not, with the records that say them."""
    new: list[str] = []
    old: list[tuple[Passage, tuple[str, ...]]] = []
    for passage in passages(text):
        if not passage.words:
            continue
        if by := known.echoed(passage):
            old.append((passage, by))
        else:
            new.append(passage.text)
    return "".join(new).strip(), old


def _from_turn(draft: Draft, turn_id: str, number: int, text: str | None, known: Known) -> Draft:
    """The draft with where it is from, and with this text in place of its own."""
    said = searchable(draft) if text is None else text
    derived = dict.fromkeys(draft.provenance.derived_from)
    if not (draft.source or "").startswith("user"):
        derived |= dict.fromkeys(each for part in passages(said[:LONGEST]) for each in known.touched(part))
    key = None if draft.memory_class in ONCE else f"turn:{digest([turn_id, number])[7:39]}"
    return draft.changed(
        text=draft.text if text is None else text,
        content={} if text is not None or (draft.text and _repeats(draft.content, known)) else draft.content,
        provenance=Provenance(
            source_turn=draft.provenance.source_turn or turn_id,
            span=None if text is not None else draft.provenance.span,
            derived_from=tuple(derived),
        ),
        idempotency_key=draft.idempotency_key or key,
    )


def _repeats(content: object, known: Known) -> bool:
    return any(known.echoed(each) for text in texts_in(content) for each in passages(text))
