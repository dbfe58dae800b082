"""How a question begins: its run, or the next attempt at it, in one transaction with what it takes of the budgets."""

from interlock import budgets, policy, runs
from interlock.inference import paying
from interlock.inference.asked import Asked
from interlock.inference.endpoints import Models
from interlock.inference.errors import ModelUnpriced
from interlock.kernel import Tx


class _Known(Exception):
    """Carries the run that somebody else asks the same by out of the transaction, which is undone by it."""

    def __init__(self, run: runs.Run) -> None:
        super().__init__(run.run_id)
        self.run = run


class Beginning:
    """Begins questions to models, and what is left of them."""

    def __init__(self, wiring: runs.Wiring, tasks: runs.Tasks, models: Models) -> None:
        self._wiring = wiring
        self._tasks = tasks
        self._models = models

    async def admit(self, asked: Asked, run_id: str) -> tuple[runs.Working | runs.Run, budgets.Reservation | None]:
        """Its run, begun with what it may cost at most, in one transaction; or the run that is not begun, for which nothing is
        reserved: policy or a budget does not let it, or somebody else asks the same. Raises IdempotencyConflict, ModelUnpriced,
        StoreError."""
        call = asked.call_of(asked.endpoint)
        wiring, cost = self._wiring, paying.most_of(self._wiring, asked, asked.endpoint)
        drawn = self._drawn(asked, run_id)
        taken = wiring.budgets.reserve_uncounted(call, holder=run_id)
        first = None if asked.purse is None else asked.purse.first
        if drawn.attempt is None or isinstance(taken, budgets.Exhausted) or (taken is not None and first is None):
            if isinstance(taken, budgets.Exhausted) and drawn.attempt is not None:
                drawn = self._drawn(asked, run_id, taken)
            return await self._tasks.start(drawn, asked.caller), None

        def admit(tx: Tx) -> tuple[runs.Working | runs.Run, budgets.Reservation | None]:
            taken = wiring.budgets.reserve_in(tx, call, holder=run_id, cost=cost, to_settle=True)
            if isinstance(taken, budgets.Exhausted):
                return self._tasks.start_in(tx, self._drawn(asked, run_id, taken), asked.caller), None
            begun = self._tasks.start_in(tx, drawn, asked.caller)
            if isinstance(begun, runs.Run):
                raise _Known(begun)
            if first is not None:
                first(tx)
            return begun, taken

        try:
            return await runs.shielded(wiring.store.write(admit))
        except _Known as known:
            return known.run, None

    async def go_on(self, asked: Asked, run: runs.Run) -> tuple[runs.Working, budgets.Reservation | None]:
        """Begin the next attempt at a question whose process is gone, with the place that it takes and what it may cost; what the
        one before took nobody knows. One for which there is not enough has failed. Raises StaleRun if another hand
        was first, OverBudget, ModelUnpriced, StoreError."""
        counts, call, seats = self._wiring.budgets, asked.call_of(asked.endpoint), list[budgets.Reservation]()
        purses = paying.Paying(wiring=self._wiring, asked=asked, run_id=run.run_id)
        models = (asked.endpoint, *map(self._models.fetch, self._models.fallbacks(asked.request.model)))

        def reserve(tx: Tx) -> None:
            taken = counts.reseat_in(tx, call, holder=run.run_id)
            if isinstance(taken, budgets.Exhausted):
                raise purses.exhausted(taken)
            purses.next(tx, asked.endpoint, None)
            seats[:] = [taken]

        is_paid = paying.is_paid(self._wiring, asked, models)
        try:
            begun = await self._tasks.begin(run, asked.caller, beside=reserve if is_paid else None)
        except (runs.OverBudget, ModelUnpriced) as error:
            error.run_id = run.run_id
            await self._tasks.close(run, runs.State.FAILED, error, beside=lambda tx: purses.over(tx, None))
            raise
        return begun, next(iter(seats), None)

    def _drawn(self, asked: Asked, run_id: str, taken: budgets.Exhausted | None = None) -> runs.Admission:
        refused = None
        if taken is not None:
            effect = policy.Effect.DENY if taken.retry_after is None else policy.Effect.SHED
            refused = policy.Reason(rule_id=f"budget:{taken.budget}", effect=effect, text=taken.text)
        return self._tasks.draw(asked.caller, asked.task, state=runs.State.RUNNING, run_id=run_id, refused=refused)
