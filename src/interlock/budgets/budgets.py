"""The service: reserve before the call, release after it, close what a service has closed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

from interlock.budgets import holding
from interlock.budgets.model import (
    Call,
    Cap,
    Exhausted,
    Granted,
    Key,
    Limit,
    Reservation,
    Rule,
    block_key,
    seconds_until,
)
from interlock.budgets.records import Records
from interlock.budgets.refusing import Refused, check_ever, check_open, lasts, refusal, windows
from interlock.kernel import Clock, Store, Tx, to_micros

SLOT_RETRY_S = 1.0
"""When to ask again for a slot: nobody knows when the next one comes free, and mostly it is soon."""

SLOT_TTL = timedelta(seconds=60)
"""How long a slot outlives a holder that dies, unless told otherwise."""

MAX_BLOCK = timedelta(hours=1)
"""The longest that a service's word closes a connection: as long as common rate limits' windows. One that means longer says
so again when it is asked, and one that errs (or is in a stranger's hands) does not close a connection for days."""


class Budgets:
    """One installation's budgets. `slot_ttl` is how long a slot outlives a holder that dies; live ones `renew` it."""

    def __init__(
        self,
        store: Store,
        records: Records,
        *,
        clock: Clock,
        rules: tuple[Rule, ...] = (),
        slot_ttl: timedelta = SLOT_TTL,
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._rules = rules
        self._slot_ttl = slot_ttl
        self._numbers = count(1)
        self._blocks: dict[Key, datetime] = {}

    @property
    def counts_turns(self) -> bool:
        """Whether there are rules for turns of agents."""
        return any(rule.counts_turns for rule in self._rules)

    def matching(self, call: Call) -> tuple[Rule, ...]:
        """The rules that count this call, without asking the store."""
        return tuple(rule for rule in self._rules if rule.matches(call))

    async def reserve(
        self, call: Call, *, holder: str, cost: Mapping[str, int] | None = None
    ) -> Reservation | Exhausted:
        """Take what the call needs of every budget that counts it, or nothing at all.

        `holder` (a run id) has at most one slot in each budget, however often it asks: its newest reservation has it.
        `cost` is what the call will spend, by unit. Rates and spends are used up even if the call then fails; slots come
        back by `release`.

        What is more than the whole of a budget is refused for ever, without asking. A blocked connection is refused, whether
        a budget counts the call or not. A call that none counts asks no store, so of the blocks it meets only those that this
        process was told of; a call that one counts meets every process's.
        """
        if any(amount < 0 for amount in (cost or {}).values()):
            raise ValueError(f"a cost cannot be negative: {cost}")
        if (uncounted := self.reserve_uncounted(call, holder=holder)) is not None:
            return uncounted

        def take(tx: Tx) -> Reservation:
            taken = self.reserve_in(tx, call, holder=holder, cost=cost)
            if isinstance(taken, Exhausted):
                raise Refused(taken)
            return taken

        try:
            self._check_unasked(call, cost or {})
            return await self._store.write(take)
        except Refused as refused:
            return refused.exhausted

    def reserve_in(
        self, tx: Tx, call: Call, *, holder: str, cost: Mapping[str, int] | None = None, to_settle: bool = False
    ) -> Reservation | Exhausted:
        """As `reserve`, in the caller's transaction, in which nothing is taken of what is refused. With `to_settle`, `cost` is
        the most that it may spend, and `settle_in` says what it came to."""
        now, spent = self._clock.now(), cost or {}
        keyed, place = self._keyed(call), block_key(call)
        try:
            self._check_unasked(call, spent)
            check_open(place, self._records.find_blocked(tx, place), now)
            self._records.lock(tx, (key for key, _ in keyed))
            for key, rule in keyed:
                self._check_slots(tx, key, rule, holder, now)
                self._check_amounts(tx, key, rule, spent, now)
        except Refused as refused:
            return refused.exhausted
        for key, rule in keyed:
            for limit, window, amount in windows(rule, spent):
                self._records.add(tx, key, limit.value, window.window(now)[0], amount)
        if to_settle:
            for each in holding.wanted([rule for _, rule in keyed], (), call, holder=holder, amounts=spent, now=now):
                self._records.put_hold(tx, each.hold, now)
        return self._seat(tx, keyed, holder, now)

    def reseat_in(self, tx: Tx, call: Call, *, holder: str) -> Reservation | Exhausted:
        """Take the slots alone, for a call of a process that is gone: it was counted when that made it. What that one held of
        them is taken over."""
        now, keyed = self._clock.now(), self._keyed(call)
        try:
            self._records.lock(tx, (key for key, _ in keyed))
            for key, rule in keyed:
                self._check_slots(tx, key, rule, holder, now)
        except Refused as refused:
            return refused.exhausted
        return self._seat(tx, keyed, holder, now)

    def _seat(self, tx: Tx, keyed: Sequence[tuple[Key, Rule]], holder: str, now: datetime) -> Reservation:
        slots = tuple(key for key, rule in keyed if rule.concurrency is not None)
        reservation = Reservation(
            holder=holder,
            # A run changes hands only after its holder was silent for seconds: no two of its reservations share a moment
            # and, within a process, a number.
            reservation_id=f"{to_micros(now):x}-{next(self._numbers):x}" if slots else "",
            slots=slots,
            expires_at=now + self._slot_ttl,
        )
        for key in slots:
            self._records.take_slot(tx, key, reservation, now)
        return reservation

    def reserve_uncounted(self, call: Call, *, holder: str) -> Reservation | Exhausted | None:
        """What `reserve` answers to a call that no budget counts, at once. None if one does."""
        if self.matching(call):
            return None
        now = self._clock.now()
        place = block_key(call)
        try:
            check_open(place, self._blocks.get(place), now)
        except Refused as refused:
            return refused.exhausted
        return Reservation(holder=holder, reservation_id="", slots=(), expires_at=now)

    def hold_in(
        self, tx: Tx, call: Call, *, holder: str, amounts: Mapping[str, int], caps: Sequence[Cap] = ()
    ) -> Exhausted | None:
        """Reserve amounts, by unit, of the spends of the rules that count this call and of its own caps, in the caller's
        transaction: all of them, or nothing, and what is used up. They count as used until `settle_in`, also if the holder
        dies; asked again for the same holder, what it has reserved stands. Rates and slots are not looked at."""
        if any(amount < 0 for amount in amounts.values()):
            raise ValueError(f"an amount cannot be negative: {amounts}")
        now = self._clock.now()
        asked = holding.wanted(self.matching(call), caps, call, holder=holder, amounts=amounts, now=now)
        return holding.hold_all(tx, self._records, asked, now)

    def hold_up_to_in(
        self, tx: Tx, call: Call, *, holder: str, unit: str, most: int, least: int
    ) -> Granted | Exhausted:
        """As `hold_in`, of one unit of which less than the `most` will do, if it is `least` at least: what was reserved. The
        holder has reserved nothing yet."""
        now = self._clock.now()
        asked = holding.wanted(self.matching(call), (), call, holder=holder, amounts={unit: most}, now=now)
        if not asked:
            return Granted(amount=most)
        return holding.hold_up_to(tx, self._records, asked, least=least, now=now)

    def settle_in(self, tx: Tx, *, tenant_id: str, holder: str, amounts: Mapping[str, int] | None) -> None:
        """Count what a holder's reserved amounts came to in their place, also if that is more. Of a unit that is not among them
        (None: of all) nobody knows, and all that was reserved is used. Safe to repeat."""
        self.settle_all_in(tx, tenant_id=tenant_id, came_to={holder: amounts})

    def use_in(self, tx: Tx, call: Call, *, unit: str, amount: int) -> None:
        """Count what was used already, and not reserved, by the rules that count this call: also if that is more than is left."""
        now = self._clock.now()
        spends = [(key, rule.spend) for key, rule in self._keyed(call) if rule.spend and rule.spend.unit == unit]
        self._records.lock(tx, (key for key, _ in spends))
        for key, spend in spends:
            self._records.add(tx, key, Limit.SPEND.value, spend.window(now)[0], amount)

    def give_back_in(self, tx: Tx, *, tenant_id: str, holders: Iterable[str]) -> None:
        """What these holders have reserved came to nothing, whatever it is: it is known that they do nothing."""
        holds = self._records.list_holds(tx, tenant_id, holders)
        nothing = {each.holder: {other.unit: 0 for other in holds} for each in holds}
        self.settle_all_in(tx, tenant_id=tenant_id, came_to=nothing)

    def settle_all_in(self, tx: Tx, *, tenant_id: str, came_to: holding.CameTo) -> None:
        """As `settle_in`, of several holders at once."""
        holding.settle(tx, self._records, tenant_id=tenant_id, came_to=came_to)

    def lock_in(
        self,
        tx: Tx,
        *,
        tenant_id: str,
        calls: Iterable[Call] = (),
        caps: Iterable[Cap] = (),
        holders: Iterable[str] = (),
    ) -> None:
        """Take the locks of all that counts these calls, of these caps, and of what these holders have reserved, before more than
        one thing is done with them in a transaction: in the one order, which what is done with them need not keep."""
        counted = [key for call in calls for key, _ in self._keyed(call)]
        held = [each.key for each in self._records.list_holds(tx, tenant_id, holders)]
        self._records.lock(tx, [*counted, *(cap.key for cap in caps), *held])

    def used_in(self, tx: Tx, cap: Cap) -> int:
        """How much is used of a cap, or reserved."""
        return self._records.used(tx, cap.key, cap.unit, cap.since)

    async def renew(self, reservation: Reservation) -> Reservation:
        """Keep the slots for another `slot_ttl`, also if they had expired: the call is still under way, so it counts."""
        if not reservation:
            return reservation
        now = self._clock.now()
        renewed = replace(reservation, expires_at=now + self._slot_ttl)

        def put(tx: Tx) -> None:
            self._records.lock(tx, renewed.slots)
            for key in renewed.slots:
                self._records.renew_slot(tx, key, renewed, now)

        await self._store.write(put)
        return renewed

    async def release(self, reservation: Reservation) -> None:
        """Give the slots back, except those that a newer reservation of the same holder has. Safe to repeat."""

        def drop(tx: Tx) -> None:
            for key in reservation.slots:
                self._records.drop_slot(tx, key, reservation)

        if reservation:
            await self._store.write(drop)

    async def block(self, call: Call, *, until: datetime) -> None:
        """Close the call's connection until a moment (a service's Retry-After), for MAX_BLOCK from now at most."""
        now = self._clock.now()
        until = min(until, now + MAX_BLOCK)
        if until <= now:
            return
        place = block_key(call)
        current = {key: moment for key, moment in self._blocks.items() if moment > now}
        self._blocks = current | {place: max(until, current.get(place, until))}
        await self._store.write(lambda tx: self._records.block(tx, place, until))

    async def pressure(self, call: Call) -> dict[str, float]:
        """`budget_left`: the least of what is left of any limit on this call, from 0 to 1; 0 for a blocked connection.
        Empty if nothing limits it."""
        now = self._clock.now()
        keyed, place = self._keyed(call), block_key(call)
        if lasts(self._blocks.get(place), now):
            return {"budget_left": 0.0}
        if not keyed:
            return {}

        def least(tx: Tx) -> float:
            if lasts(self._records.find_blocked(tx, place), now):
                return 0.0
            return min(part for key, rule in keyed for part in self._left(tx, key, rule, now))

        return {"budget_left": max(await self._store.read(least), 0.0)}

    def _keyed(self, call: Call) -> list[tuple[Key, Rule]]:
        """The matching rules with their keys, in the order of these."""
        return sorted(((rule.key(call), rule) for rule in self.matching(call)), key=lambda pair: pair[0])

    def _check_unasked(self, call: Call, cost: Mapping[str, int]) -> None:
        """What is known without the store."""
        place = block_key(call)
        check_ever(self._keyed(call), cost)
        check_open(place, self._blocks.get(place), self._clock.now())

    def _check_slots(self, tx: Tx, key: Key, rule: Rule, holder: str, now: datetime) -> None:
        if rule.concurrency is not None:
            others = self._records.list_slots(tx, key, now).keys() - {holder}
            if len(others) >= rule.concurrency:
                text = f"{len(others)} of {rule.concurrency} slots are taken"
                raise refusal(key, Limit.CONCURRENCY, SLOT_RETRY_S, text)

    def _check_amounts(self, tx: Tx, key: Key, rule: Rule, cost: Mapping[str, int], now: datetime) -> None:
        for limit, window, amount in windows(rule, cost):
            start, end = window.window(now)
            used = self._records.used(tx, key, limit.value, start)
            if used + amount > window.limit:
                text = f"{used} of {window.limit} per {window.per_seconds} s are used, {amount} more are asked for"
                raise refusal(key, limit, seconds_until(end, now), text)

    def _left(self, tx: Tx, key: Key, rule: Rule, now: datetime) -> Iterator[float]:
        if rule.concurrency is not None:
            yield 1 - len(self._records.list_slots(tx, key, now)) / rule.concurrency
        for limit, window in ((Limit.RATE, rule.rate), (Limit.SPEND, rule.spend)):
            if window is not None:
                yield 1 - self._records.used(tx, key, limit.value, window.window(now)[0]) / window.limit
