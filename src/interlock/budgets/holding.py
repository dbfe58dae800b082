"""Amounts that are not known before a call: reserved at their most in the transaction that announces it, and settled at what they
came to in the one that tells of it. Until then, also if nobody ever does, what is reserved counts as used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from interlock.budgets.model import Call, Cap, Exhausted, Granted, Hold, Key, Limit, Rule, seconds_until
from interlock.budgets.records import Records
from interlock.kernel import Tx

CameTo: TypeAlias = Mapping[str, Mapping[str, int] | None]
"""By holder, what came of its amounts, by unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An amount, and the limit under which it is wanted. `until` is when the window ends; None: never."""

    hold: Hold
    limit: int
    until: datetime | None
    per_seconds: int | None


def wanted(
    rules: Sequence[Rule], caps: Sequence[Cap], call: Call, *, holder: str, amounts: Mapping[str, int], now: datetime
) -> list[Wanted]:
    """What a holder wants of each limit, in the one order in which every transaction locks them."""
    found = [*_of_rules(rules, call, holder, amounts, now), *_of_caps(caps, holder, amounts)]
    return sorted(found, key=lambda each: (each.hold.key, each.hold.counter))


def _of_rules(
    rules: Sequence[Rule], call: Call, holder: str, amounts: Mapping[str, int], now: datetime
) -> Iterator[Wanted]:
    for rule in rules:
        if rule.spend is None or not (amount := amounts.get(rule.spend.unit, 0)):
            continue
        start, end = rule.spend.window(now)
        hold = Hold(
            holder=holder,
            key=rule.key(call),
            counter=Limit.SPEND.value,
            unit=rule.spend.unit,
            window_start=start,
            amount=amount,
        )
        yield Wanted(hold=hold, limit=rule.spend.limit, until=end, per_seconds=rule.spend.per_seconds)


def _of_caps(caps: Sequence[Cap], holder: str, amounts: Mapping[str, int]) -> Iterator[Wanted]:
    for cap in caps:
        if amount := amounts.get(cap.unit, 0):
            hold = Hold(
                holder=holder, key=cap.key, counter=cap.unit, unit=cap.unit, window_start=cap.since, amount=amount
            )
            yield Wanted(hold=hold, limit=cap.limit, until=None, per_seconds=None)


def hold_all(tx: Tx, records: Records, asked: Sequence[Wanted], now: datetime) -> Exhausted | None:
    """Reserve all of it, or say what is used up; then nothing was written. What the holder has reserved already stands for what
    it asks for now: it is the same call, of which nobody knows how far it came."""
    if not asked:
        return None
    records.lock(tx, (each.hold.key for each in asked))
    first = asked[0].hold
    known = {_place(each) for each in records.list_holds(tx, first.key.tenant_id, [first.holder])}
    fresh = [each for each in asked if _place(each.hold) not in known]
    for each in fresh:
        hold = each.hold
        used = records.used(tx, hold.key, hold.counter, hold.window_start)
        if used + hold.amount > each.limit:
            return _exhausted(each, used, now)
    for each in fresh:
        hold = each.hold
        records.add(tx, hold.key, hold.counter, hold.window_start, hold.amount)
        records.put_hold(tx, hold, now)
    return None


def hold_up_to(tx: Tx, records: Records, asked: Sequence[Wanted], *, least: int, now: datetime) -> Exhausted | Granted:
    """Reserve of each limit what is asked for, or what is left of the tightest, if that is `least` at least. Something has to
    be asked for."""
    records.lock(tx, (each.hold.key for each in asked))
    left: list[tuple[int, int, Wanted]] = []
    for each in asked:
        used = records.used(tx, each.hold.key, each.hold.counter, each.hold.window_start)
        left.append((each.limit - used, used, each))
    room, used, tightest = min(left, key=lambda each: each[0])
    amount = min(room, tightest.hold.amount)
    if amount < least:
        return _exhausted(tightest, used, now)
    for each in asked:
        hold = replace(each.hold, amount=amount)
        records.add(tx, hold.key, hold.counter, hold.window_start, amount)
        records.put_hold(tx, hold, now)
    short = amount < tightest.hold.amount
    return Granted(amount=amount, budget=tightest.hold.key.budget.lstrip(":") if short else None)


def settle(tx: Tx, records: Records, *, tenant_id: str, came_to: CameTo) -> None:
    """What each holder has reserved came to these amounts. Of a unit that is not among them (None: of all) nobody knows what it
    came to, so all that was reserved is used. Nothing happens the second time."""
    holds = records.list_holds(tx, tenant_id, came_to)
    if not holds:
        return
    records.lock(tx, (each.key for each in holds))
    for each in records.list_holds(tx, tenant_id, came_to):
        amounts = came_to[each.holder]
        used = each.amount if amounts is None else amounts.get(each.unit, each.amount)
        if used != each.amount:
            records.change(tx, each, used - each.amount)
    for holder in sorted({each.holder for each in holds}):
        records.drop_holds(tx, tenant_id, holder)


def _place(hold: Hold) -> tuple[Key, str]:
    return hold.key, hold.counter


def _exhausted(asked: Wanted, used: int, now: datetime) -> Exhausted:
    hold = asked.hold
    never = asked.until is None or hold.amount > asked.limit
    per = "" if asked.per_seconds is None else f" per {asked.per_seconds} s"
    name = hold.key.budget.lstrip(":")
    text = (
        f"budget {name!r} for {hold.key.subject}: {hold.unit}: {used} of {asked.limit}{per} are used or reserved, "
        f"up to {hold.amount} more are asked for"
    )
    return Exhausted(
        budget=name,
        limit=Limit.SPEND,
        subject=hold.key.subject,
        retry_after=None if never else seconds_until(asked.until or now, now),
        text=text,
    )
