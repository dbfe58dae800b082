"""What a question takes of budgets, attempt by attempt: each may cost, whatever comes of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from interlock import budgets, runs
from interlock.inference.asked import Asked
from interlock.inference.endpoints import Endpoint, micros
from interlock.inference.errors import ModelUnpriced
from interlock.kernel import Tx

TOKENS: Final = "tokens"
USD: Final = "usd_micros"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paying:
    """The budgets of one question: those of the rules for `inference.…`, and its `purse`."""

    wiring: runs.Wiring
    asked: Asked
    run_id: str

    def next(self, tx: Tx, endpoint: Endpoint, came_to: Mapping[str, int] | None) -> None:
        """The attempt before came to that (None: nobody knows, so all that was reserved), and another one begins, at this model.
        Raises OverBudget, ModelUnpriced."""
        self._lock(tx, endpoint)
        self.over(tx, came_to)
        most, counts = most_of(self.wiring, self.asked, endpoint), self.wiring.budgets
        own = counts.hold_in(tx, self.asked.call_of(endpoint), holder=self.run_id, amounts=most)
        if isinstance(own, budgets.Exhausted):
            raise self.exhausted(own)
        if self.asked.purse is not None:
            self.asked.purse.hold(tx, most)

    def exhausted(self, taken: budgets.Exhausted) -> runs.OverBudget:
        """That there is not enough for another attempt."""
        return runs.OverBudget(
            f"the question is not asked once more: {taken.text}",
            retry_after=taken.retry_after,
            next_step="Ask again later, or raise the budget's limit.",
            run_id=self.run_id,
        )

    def _lock(self, tx: Tx, endpoint: Endpoint) -> None:
        """All that the attempt before and the next one are counted by, those of the rules for `inference.…` always first: another
        model is counted by other rules, and whoever asks that one first must not wait for this while this waits for them."""
        tenant_id, call = self.asked.caller.tenant_id, self.asked.call_of(endpoint)
        self.wiring.budgets.lock_in(tx, tenant_id=tenant_id, calls=[call], holders=[self.run_id])
        if self.asked.purse is not None:
            self.asked.purse.lock(tx)

    def over(self, tx: Tx, came_to: Mapping[str, int] | None) -> None:
        """There is no answer, and no other attempt."""
        self.settle(tx, came_to)
        if self.asked.purse is not None:
            self.asked.purse.settle(tx, came_to)

    def settle(self, tx: Tx, came_to: Mapping[str, int] | None) -> None:
        """It came to that, of which whoever has given a purse tells it."""
        tenant_id = self.asked.caller.tenant_id
        self.wiring.budgets.settle_in(tx, tenant_id=tenant_id, holder=self.run_id, amounts=came_to)


def is_paid(wiring: runs.Wiring, asked: Asked, models: Iterable[Endpoint]) -> bool:
    """Whether anything may be reserved for it, by whichever of these models it is answered."""
    return asked.purse is not None or any(wiring.budgets.matching(asked.call_of(each)) for each in models)


def units_of(wiring: runs.Wiring, asked: Asked, endpoint: Endpoint) -> frozenset[str]:
    """What is counted of asking that model."""
    rules = wiring.budgets.matching(asked.call_of(endpoint))
    own = {rule.spend.unit for rule in rules if rule.spend is not None}
    return frozenset(own | (asked.purse.units if asked.purse is not None else frozenset()))


def most_of(wiring: runs.Wiring, asked: Asked, endpoint: Endpoint) -> dict[str, int]:
    """The most that one attempt may come to, of what is counted. Raises ModelUnpriced, ModelRefused."""
    units = units_of(wiring, asked, endpoint) & {TOKENS, USD}
    if not units:
        return {}
    usage, dollars = endpoint.most(asked.request, asked.size)
    if USD in units and dollars is None:
        raise ModelUnpriced(f"a budget counts what {endpoint.ref} costs, and nobody knows its price")
    return {TOKENS: usage.tokens, USD: micros(dollars or Decimal(0))}
