"""The service: reserve before the call, release after it, close what a service has closed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from interlock.budgets.model import Call, Exhausted, Key, Limit, Rate, Reservation, Rule, seconds_until
from interlock.budgets.records import Records
from interlock.kernel import Clock, Store, Tx

SLOT_RETRY_S = 1.0
"""When to ask again for a slot: nobody knows when the next one comes free, and mostly it is soon."""


class _Refused(Exception):
    """Carries the answer out of the transaction, which is undone by it."""

    def __init__(self, exhausted: Exhausted) -> None:
        super().__init__(exhausted.text)
        self.exhausted = exhausted


class Budgets:
    """One installation's budgets. `slot_ttl` is how long a slot outlives a holder that dies; live ones `renew` it."""

    def __init__(
        self,
        store: Store,
        records: Records,
        *,
        clock: Clock,
        rules: tuple[Rule, ...] = (),
        slot_ttl: timedelta = timedelta(seconds=60),
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._rules = rules
        self._slot_ttl = slot_ttl

    def matching(self, call: Call) -> tuple[Rule, ...]:
        """The rules that count this call, without asking the store."""
        return tuple(rule for rule in self._rules if rule.matches(call))

    async def reserve(
        self, call: Call, *, holder: str, cost: Mapping[str, int] | None = None
    ) -> Reservation | Exhausted:
        """Take what the call needs of every budget that counts it, or nothing at all.

        `holder` (a run id) has at most one slot in each budget, however often it asks. `cost` is what the call will
        spend, by unit. Rates and spends are used up even if the call then fails; slots come back by `release`.
        """
        if any(amount < 0 for amount in (cost or {}).values()):
            raise ValueError(f"a cost cannot be negative: {cost}")
        now = self._clock.now()
        keyed = self._keyed(call)
        expires_at = now + self._slot_ttl

        def take(tx: Tx) -> None:
            for key, rule in keyed:
                self._take(tx, key, rule, holder, cost or {}, now)

        if keyed:
            try:
                await self._store.write(take)
            except _Refused as refused:
                return refused.exhausted
        slots = tuple(key for key, rule in keyed if rule.concurrency is not None)
        return Reservation(holder=holder, slots=slots, expires_at=expires_at)

    async def renew(self, reservation: Reservation) -> Reservation:
        """Keep the slots for another `slot_ttl`, also if they had expired: the call is still under way, so it counts."""
        if not reservation:
            return reservation
        now = self._clock.now()
        renewed = replace(reservation, expires_at=now + self._slot_ttl)

        def put(tx: Tx) -> None:
            for key in renewed.slots:
                self._records.lock(tx, key)
                self._records.put_slot(tx, key, renewed.holder, renewed.expires_at, now)

        await self._store.write(put)
        return renewed

    async def release(self, reservation: Reservation) -> None:
        """Give the slots back. Safe to repeat."""

        def drop(tx: Tx) -> None:
            for key in reservation.slots:
                self._records.drop_slot(tx, key, reservation.holder)

        if reservation:
            await self._store.write(drop)

    async def block(self, call: Call, *, until: datetime) -> None:
        """Close every budget that counts this call, for its subject, until a moment (a service's Retry-After)."""
        keyed = self._keyed(call)

        def close(tx: Tx) -> None:
            for key, _ in keyed:
                self._records.block(tx, key, until)

        if keyed:
            await self._store.write(close)

    async def pressure(self, call: Call) -> dict[str, float]:
        """`budget_left`: the least of what is left of any limit on this call, from 0 to 1. Empty if nothing limits it."""
        now = self._clock.now()
        keyed = self._keyed(call)
        if not keyed:
            return {}
        left = await self._store.read(
            lambda tx: min(part for key, rule in keyed for part in self._left(tx, key, rule, now))
        )
        return {"budget_left": max(left, 0.0)}

    def _keyed(self, call: Call) -> list[tuple[Key, Rule]]:
        """The matching rules with their keys, in the one order in which every transaction locks them."""
        return sorted(((rule.key(call), rule) for rule in self.matching(call)), key=lambda pair: pair[0])

    def _take(self, tx: Tx, key: Key, rule: Rule, holder: str, cost: Mapping[str, int], now: datetime) -> None:
        blocked_until = self._records.lock(tx, key)
        if blocked_until is not None and blocked_until > now:
            raise _refuse(key, Limit.BLOCKED, seconds_until(blocked_until, now), "the service said to come back later")
        if rule.concurrency is not None:
            others = self._records.list_slots(tx, key, now).keys() - {holder}
            if len(others) >= rule.concurrency:
                raise _refuse(
                    key, Limit.CONCURRENCY, SLOT_RETRY_S, f"{len(others)} of {rule.concurrency} slots are taken"
                )
            self._records.put_slot(tx, key, holder, now + self._slot_ttl, now)
        for limit, window, amount in _amounts(rule, cost):
            start, end = window.window(now)
            used = self._records.used(tx, key, limit.value, start)
            if used + amount > window.limit:
                text = f"{used} of {window.limit} per {window.per_seconds} s are used, {amount} more are asked for"
                raise _refuse(key, limit, seconds_until(end, now), text)
            self._records.add(tx, key, limit.value, start, amount)

    def _left(self, tx: Tx, key: Key, rule: Rule, now: datetime) -> Iterator[float]:
        blocked_until = self._records.find_blocked(tx, key)
        yield 0.0 if blocked_until is not None and blocked_until > now else 1.0
        if rule.concurrency is not None:
            yield 1 - len(self._records.list_slots(tx, key, now)) / rule.concurrency
        for limit, window in ((Limit.RATE, rule.rate), (Limit.SPEND, rule.spend)):
            if window is not None:
                yield 1 - self._records.used(tx, key, limit.value, window.window(now)[0]) / window.limit


def _amounts(rule: Rule, cost: Mapping[str, int]) -> Iterator[tuple[Limit, Rate, int]]:
    if rule.rate is not None:
        yield Limit.RATE, rule.rate, 1
    if rule.spend is not None:
        yield Limit.SPEND, rule.spend, cost.get(rule.spend.unit, 0)


def _refuse(key: Key, limit: Limit, retry_after: float, why: str) -> _Refused:
    text = f"budget {key.budget!r} for {key.subject}: {limit.value}: {why}"
    return _Refused(Exhausted(budget=key.budget, limit=limit, subject=key.subject, retry_after=retry_after, text=text))
