"""What a turn may take: reserved at its most in the transaction that says what is about to be done, settled at what it came to in
the one that tells of it. Of what nobody knows, all that was reserved is used."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Final, TypeAlias

from interlock import budgets, inference, runs
from interlock.agents import turns
from interlock.agents.harness.asking import NAME, Asked, asked_for
from interlock.agents.harness.means import Means
from interlock.kernel import Tx

USD: Final = "usd_micros"
TOKENS: Final = "tokens"
MODEL_CALLS: Final = "model_calls"
OPERATION_CALLS: Final = "operation_calls"

MICROS: Final = 1_000_000

Amounts: TypeAlias = Mapping[str, int]
Holding: TypeAlias = Callable[[Tx], None]
"""Reserves in a transaction. Raises runs.OverBudget, and then the transaction is to be undone."""


MOST_ABOVE: Final = 16
"""Runs above a turn that are looked at: agents ask agents, and no deeper than that."""


class Spending:
    """The limits of one turn: its spec's own and those of the turns that have asked for it, and those of the installation's rules
    for agents and sessions. A turn in no session takes of that of the turn that has asked for it."""

    def __init__(self, means: Means, run: runs.Run, asked: Asked) -> None:
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
                if each is not None and each.kind is runs.Kind.AGENT_TURN:
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
        return tuple(cap for run, asked in self._turns for cap in _caps(run, asked))

    @cached_property
    def units(self) -> frozenset[str]:
        """What is counted of the turn at all; of nothing else is anything written."""
        rules = self._means.wiring.budgets.matching(self._call)
        spent = {rule.spend.unit for rule in rules if rule.spend is not None}
        return frozenset({each.unit for each in self._caps} | spent)

    def asking(self, intent: turns.Ask, request: inference.Request) -> Holding | None:
        """Reserves what an answer may come to; None if nothing counts it. Raises inference.ModelUnpriced if dollars are
        counted and nobody knows them."""
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
        return self._holding({intent.key: amounts})

    def doing(self, intents: Iterable[turns.Perform]) -> Holding | None:
        """Reserves a call for each; None if nothing counts it."""
        return self._holding({each.key: {OPERATION_CALLS: 1} for each in intents})

    def _holding(self, wanted: Mapping[str, Amounts]) -> Holding | None:
        counted = {key: {unit: each[unit] for unit in each if unit in self.units} for key, each in wanted.items()}
        if not any(counted.values()):
            return None

        def hold(tx: Tx) -> None:
            for key, amounts in counted.items():
                taken = self._means.wiring.budgets.hold_in(
                    tx, self._call, holder=self._holder(key), amounts=amounts, caps=self._caps
                )
                if taken is not None:
                    raise runs.OverBudget(
                        taken.text,
                        retry_after=taken.retry_after,
                        next_step="Raise the limit that the message names, or ask for less.",
                        run_id=self._run.run_id,
                    )

        return hold

    def settle(self, tx: Tx, came_to: Mapping[str, Amounts | None]) -> None:
        """What intents, by their keys, came to; None: nobody knows."""
        if self.units:
            for key, amounts in came_to.items():
                self._means.wiring.budgets.settle_in(
                    tx, tenant_id=self._run.tenant_id, holder=self._holder(key), amounts=amounts
                )

    def _holder(self, key: str) -> str:
        return f"{self._run.run_id}:{key}"


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
    """What an answer came to. What it cost is not among it if nobody knows."""
    cost = {} if came.cost is None else {USD: inference.micros(came.cost)}
    return {MODEL_CALLS: 1, TOKENS: came.answer.usage.tokens, **cost}
