"""The event chain of a run: each event's bytes contain the hash of the one before, so none can be changed, dropped,
added or moved without the head telling."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from interlock.kernel import IdSource, canonical, digest_bytes, to_rfc3339
from interlock.runs.entries import Entry
from interlock.runs.model import Event, Run
from interlock.runs.verdict import Problem


class Extension(NamedTuple):
    """Events to write, and the head of the chain once they are written."""

    events: tuple[Event, ...]
    head_seq: int
    head_hash: str


def genesis(run_id: str) -> str:
    """What the first event of a run names as its predecessor: the head of a chain without events (`head_seq` 0)."""
    return digest_bytes(b"interlock/run/v1:" + run_id.encode())


def append(run: Run, entries: Iterable[Entry], *, ids: IdSource, at: datetime) -> Extension:
    """Continue the run's chain from its head with one event per entry, all at the moment `at`.

    The head is taken from the run and not read again: the ledger's compare-and-set on it is the lock. Raises ValueError
    if an entry's data has no canonical JSON.
    """
    told = list(entries)
    run_id, head, moment = run.run_id, run.head_hash, to_rfc3339(at)
    events: list[Event] = []
    for seq, ((kind, data), event_id) in enumerate(
        zip(told, ids.several("evt", len(told)), strict=True), start=run.head_seq + 1
    ):
        if not (kind.isascii() and kind.replace(".", "_").isidentifier()):
            raise ValueError(f"an event's type is a dotted name, not {kind!r}")
        # In canonical JSON. Only the data is unknown: all else is ours, plain ASCII, and is put in its place.
        body = (
            f'{{"at":"{moment}","data":{canonical(data).decode()},"event_id":"{event_id}","prev":"{head}",'
            f'"run_id":"{run_id}","seq":{seq},"type":"{kind}"}}'
        )
        head = digest_bytes(body.encode())
        events.append(
            Event(
                event_id=event_id,
                run_id=run_id,
                tenant_id=run.tenant_id,
                seq=seq,
                type=kind,
                at=at,
                body=body,
                hash=head,
            )
        )
    return Extension(tuple(events), run.head_seq + len(events), head)


def check(
    events: Sequence[Mapping[str, Any]],
    bodies: Sequence[bytes],
    hashes: Sequence[str],
    *,
    run_id: str,
    head_seq: object,
    head_hash: object,
) -> list[Problem]:
    """What is wrong with a whole chain: its events, the bytes of each, and the hash recorded for each.

    Blames one event for one change: the next event names both its content's hash and its recorded hash as long as only
    one of them was touched.
    """
    problems: list[Problem] = []
    seq, before = 0, (genesis(run_id),)
    for place, (facts, body, recorded) in enumerate(zip(events, bodies, hashes, strict=True)):
        seq += 1
        computed = digest_bytes(body)
        fits = computed == recorded
        if not (fits and facts.get("prev") in before and facts.get("seq") == seq and facts.get("run_id") == run_id):
            named = events[place + 1].get("prev") if place + 1 < len(events) else head_hash
            problems.append(_blame(facts, seq=seq, run_id=run_id, fits=fits, hash_changed=named == computed))
            if fits and type(facts.get("seq")) is int:
                seq = facts["seq"]  # go on from there: what follows is not to blame
        before = (recorded,) if fits else (computed, recorded)
    if seq != head_seq or head_hash not in before:
        problems += _blame_head(seq, head_seq, problems)
    return problems


def _blame(facts: Mapping[str, Any], *, seq: int, run_id: str, fits: bool, hash_changed: bool) -> Problem:
    kind = str(facts.get("type"))[:60]
    if not fits:
        what = "its recorded hash was changed" if hash_changed else "its content was changed: it no longer has its hash"
        return Problem(f"event {seq} ({kind})", what)
    where = f"event {str(facts.get('seq'))[:20]} ({kind})"
    if facts.get("run_id") != run_id:
        return Problem(where, "it belongs to another run")
    return Problem(
        where, f"it stands in place {seq} and does not follow the event there: events were moved, added or cut"
    )


def _blame_head(seq: int, head_seq: object, problems: Sequence[Problem]) -> list[Problem]:
    if type(head_seq) is int and seq < head_seq:
        return [Problem("events", f"the chain ends at event {seq}; its head is event {head_seq}: the rest is missing")]
    if problems:
        return []
    return [Problem("head", f"it is not the head of these events, which end at event {seq}")]
