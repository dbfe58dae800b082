"""What a turn may take: reserved at its most in the transaction that says what is about to be done, settled at what it came to in
the one that tells of it. Of what nobody knows, all that was reserved is used."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Final, TypeAlias

from interlock import budgets, inference, runs
from interlock.agents import turns
from interlock.agents.harness.asking import NAME, Asked, asked_for, is_guest
from interlock.agents.harness.means import Means
from interlock.kernel import Caller, InterlockError, StoreError, Tx

USD: Final = "usd_micros"
TOKENS: Final = "tokens"
MODEL_CALLS: Final = "model_calls"
OPERATION_CALLS: Final = "operation_calls"
TIME: Final = "milliseconds"

BESIDE: Final = ":beside:"
"""What the keys begin with of time that was spent and not reserved. No intent's does."""

LEAST_S: Final = 0.01
"""Nothing begins for which there is less time than this."""

MICROS: Final = 1_000_000

NOTHING: Final[Mapping[str, int]] = {USD: 0, TOKENS: 0, MODEL_CALLS: 0, OPERATION_CALLS: 0}

Amounts: TypeAlias = Mapping[str, int]
Holding: TypeAlias = Callable[[Tx], None]
"""Reserves in a transaction. Raises runs.OverBudget, and then the transaction is to be undone."""


MOST_ABOVE: Final = 16
"""Runs above a turn that are looked at: agents ask agents, and no deeper than that."""


@dataclass(slots=True, kw_only=True)
class Leg:
    """A stretch of a turn's work, which time is reserved for before it begins: `granted_s`, which may be less than was asked for
    because `budget` has no more. None: nothing counts it."""

    holder: str
    asked_s: float
    granted_s: float | None = None
    budget: str | None = None


class Spending:
    """The limits of one turn: its spec's own and those of the turns that have asked for it, and those of the installation's rules
    for agents and sessions. A turn in no session takes of that of the turn that has asked for it."""

    def __init__(self, means: Means, run: runs.Run, asked: Asked, *, with_caps: bool = True) -> None:
        """Without caps the rules alone count: for what is asked about a turn that is over."""
        self._with_caps = with_caps
        self._means = means
        self._run = run
        self._turns = [(run, asked)]

    async def look_up(self) -> None:
        """Find the turns that have asked for this one, before anything is reserved. Raises StoreError."""

        def read(tx: Tx) -> list[tuple[runs.Run, Asked]]:
            found: list[tuple[runs.Run, Asked]] = []
            each: runs.Run | None = self._run
            for _ in range(MOST_ABOVE):
                if each is None or each.parent_run_id is None:
                    break
                each = self._means.wiring.ledger.find_run(tx, self._run.tenant_id, each.parent_run_id)
                if each is not None and each.kind is runs.Kind.AGENT_TURN and not is_guest(each):
                    found.append((each, asked_for(each)))
            return found

        if self._run.parent_run_id is not None:
            self._turns[1:] = await self._means.wiring.store.read(read)

    @cached_property
    def _call(self) -> budgets.Call:
        sessions = (each.session_id for _, each in self._turns if each.session_id is not None)
        run = self._run
        return budgets.Call(
            tenant_id=run.tenant_id,
            capability_id=run.capability,
            connector_id=NAME.rstrip("."),
            connection_id=None,
            effect="execute",
            environment=run.environment,
            agent_id=self._turns[0][1].spec.id,
            session_id=next(sessions, self._turns[-1][0].run_id),
        )

    @cached_property
    def _caps(self) -> tuple[budgets.Cap, ...]:
        return tuple(cap for run, asked in self._turns for cap in _caps(run, asked)) if self._with_caps else ()

    @cached_property
    def units(self) -> frozenset[str]:
        """What is counted of the turn at all; of nothing else is anything written."""
        rules = self._means.wiring.budgets.matching(self._call)
        spent = {rule.spend.unit for rule in rules if rule.spend is not None}
        return frozenset({each.unit for each in self._caps} | spent)

    def asking(self, key: str, request: inference.Request) -> Holding | None:
        """Reserves what one attempt at an answer may come to; None if nothing counts it. Raises inference.ModelUnpriced if
        dollars are counted and nobody knows them."""
        amounts = {MODEL_CALLS: 1}
        if self.units & {USD, TOKENS}:
            usage, dollars = self._means.inference.most(request)
            amounts[TOKENS] = usage.tokens
            if USD in self.units:
                if dollars is None:
                    raise inference.ModelUnpriced(
                        f"a budget of the turn counts dollars, and nobody knows what {request.model} costs"
                    )
                amounts[USD] = inference.micros(dollars)
        return self._holding({key: amounts})

    def purse(self, key: str, *, first: Holding | None = None) -> inference.Purse:
        """What counts further attempts at the answer, and those that have none; and the first one, if that is reserved with the
        question's own run."""
        return _Purse(spending=self, key=key, first=first)

    def holding(self, key: str, amounts: Amounts) -> Holding | None:
        """Reserves these; None if nothing counts them."""
        return self._holding({key: amounts})

    def doing(self, intents: Iterable[turns.Perform]) -> Holding | None:
        """Reserves a call for each; None if nothing counts it."""
        return self._holding({each.key: {OPERATION_CALLS: 1} for each in intents})

    def leg(self, key: str, seconds: float) -> Leg:
        """A stretch that takes so long at most, not begun."""
        return Leg(holder=f"{key}:time", asked_s=seconds)

    def timed(self, leg: Leg, holding: Holding | None) -> Holding | None:
        """Reserves the leg's time with what is to be reserved besides."""
        if TIME not in self.units:
            return holding

        def hold(tx: Tx) -> None:
            self.lock(tx, leg.holder)
            if holding is not None:
                holding(tx)
            self.settle(tx, {leg.holder: None})  # that of a process that is gone
            most, counts = ceil(leg.asked_s * 1000), self._means.wiring.budgets
            taken = counts.hold_up_to_in(
                tx, self._call, holder=self._holder(leg.holder), unit=TIME, most=most, least=ceil(LEAST_S * 1000)
            )
            if isinstance(taken, budgets.Exhausted):
                raise self._refused(taken)
            leg.granted_s, leg.budget = taken.amount / 1000, taken.budget

        return hold

    def _refused(self, taken: budgets.Exhausted) -> runs.OverBudget:
        return runs.OverBudget(
            taken.text,
            retry_after=taken.retry_after,
            next_step="Raise the limit that the message names, or ask for less.",
            run_id=self._run.run_id,
        )

    def _holding(self, wanted: Mapping[str, Amounts]) -> Holding | None:
        counted = {key: {unit: each[unit] for unit in each if unit in self.units} for key, each in wanted.items()}
        if not any(counted.values()):
            return None

        def hold(tx: Tx) -> None:
            self.lock(tx, *counted)
            for key, amounts in counted.items():
                taken = self._means.wiring.budgets.hold_in(
                    tx, self._call, holder=self._holder(key), amounts=amounts, caps=self._caps
                )
                if taken is not None:
                    raise self._refused(taken)

        return hold

    def settle(self, tx: Tx, came_to: Mapping[str, Amounts | None]) -> None:
        """What intents, by their keys, came to; None: nobody knows."""
        if not self.units or not came_to:
            return
        counts = self._means.wiring.budgets
        beside = sum((amounts or {}).get(TIME, 0) for key, amounts in came_to.items() if key.startswith(BESIDE))
        if beside:
            self.lock(tx, *came_to)
            counts.use_in(tx, self._call, unit=TIME, amount=beside)
        known = {self._holder(key): each for key, each in came_to.items() if not key.startswith(BESIDE)}
        counts.settle_all_in(tx, tenant_id=self._run.tenant_id, came_to=known)

    def is_undone(self, tx: Tx, run_id: str) -> bool:
        """Whether it is known that what policy held has never been done, and never will be."""
        run = self._means.wiring.ledger.find_run(tx, self._run.tenant_id, run_id)
        return run is not None and run.attempt_count == 0 and run.state in runs.FINAL

    def lock(self, tx: Tx, *keys: str) -> None:
        """Take the locks of all that counts the turn, and of what these intents have reserved, before more than one thing is done
        about them: in one order, as every transaction does."""
        holders, tenant_id = [self._holder(key) for key in keys], self._run.tenant_id
        self._means.wiring.budgets.lock_in(
            tx, tenant_id=tenant_id, calls=[self._call], caps=self._caps, holders=holders
        )

    def _holder(self, key: str) -> str:
        return holder_of(self._run, key)


def holder_of(run: runs.Run, key: str) -> str:
    """Who holds what is reserved for an intent of a turn."""
    return f"{run.run_id}:{key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Purse:
    spending: Spending
    key: str
    first: Holding | None

    @property
    def units(self) -> frozenset[str]:
        return self.spending.units

    def lock(self, tx: Tx) -> None:
        self.spending.lock(tx, self.key)

    def hold(self, tx: Tx, most: Amounts) -> None:
        if (holding := self.spending.holding(self.key, most)) is not None:
            holding(tx)

    def settle(self, tx: Tx, came_to: Amounts | None) -> None:
        self.spending.settle(tx, {self.key: came_to})


async def ask_beside(
    means: Means,
    spending: Spending,
    caller: Caller,
    run: runs.Run,
    request: inference.Request,
    *,
    key: str,
    timeout_s: float,
) -> inference.Answered:
    """Ask a model something that is no step of the turn, and is counted as one: a call on record, below the turn's run. Raises as
    `Inference.ask`, OverBudget and ModelUnpriced."""
    store, holding = means.wiring.store, spending.asking(key, request)
    try:
        came = await means.inference.ask(
            caller,
            request,
            key=key,
            parent_run_id=run.run_id,
            environment=run.environment,
            timeout_s=timeout_s,
            purse=spending.purse(key, first=holding) if holding is not None else None,
        )
    except StoreError:
        raise
    except InterlockError:
        await store.write(lambda tx: spending.settle(tx, {key: NOTHING}))  # what attempts took is settled already
        raise
    await store.write(lambda tx: spending.settle(tx, {key: answered(came)}))
    return came


def _caps(run: runs.Run, asked: Asked) -> Iterable[budgets.Cap]:
    limits = asked.spec.controls.budgets
    known = {
        USD: None if limits.usd is None else round(limits.usd * MICROS),
        TOKENS: limits.tokens,
        MODEL_CALLS: limits.model_calls,
        OPERATION_CALLS: limits.operation_calls,
    }
    key = budgets.Key(tenant_id=run.tenant_id, budget=":turn", subject=run.run_id)
    for unit, limit in known.items():
        if limit is not None:
            yield budgets.Cap(key=key, unit=unit, limit=limit, since=run.created_at)


def answered(came: inference.Answered) -> Amounts:
    """What an answer came to. Its tokens, and what they cost, are not among it if nobody knows."""
    words = {TOKENS: came.answer.usage.tokens} if came.answer.is_counted else {}
    cost = {} if came.cost is None else {USD: inference.micros(came.cost)}
    return {MODEL_CALLS: 1, **words, **cost}
