"""Asking models, each question a run: judged, bounded, tried again by the error's meaning, and answered once."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

import anyio

from interlock import connections, runs
from interlock.inference import records
from interlock.inference.asked import Asked
from interlock.inference.beginning import Beginning
from interlock.inference.endpoints import Models
from interlock.inference.errors import ModelBusy
from interlock.inference.messages import Request, Usage
from interlock.inference.port import Answered, Purse, Told
from interlock.inference.pursuing import Pursuit
from interlock.kernel import Caller, Fact, InterlockError, Retry, StoreError, Tx

POLL_S: Final = 0.05
_GOES_ON: Final = frozenset({runs.State.RETRY_SCHEDULED})
_UNDER_WAY: Final = frozenset({runs.State.ACCEPTED, runs.State.RUNNING})


class RecordedInference:
    """The `Inference` of an installation."""

    def __init__(
        self,
        wiring: runs.Wiring,
        tasks: runs.Tasks,
        reading: runs.Reading,
        models: Models,
        pending: connections.Pending,
    ) -> None:
        self._wiring = wiring
        self._tasks = tasks
        self._reading = reading
        self._models = models
        self._pending = pending
        self._beginning = Beginning(wiring, tasks, models)

    @property
    def providers(self) -> Sequence[str]:
        """The names of all providers."""
        return self._models.providers

    def most(self, request: Request) -> tuple[Usage, Decimal | None]:
        """As `Inference.most`."""
        return self._models.fetch(request.model).most(request, len(request.canonical))

    async def ask(
        self,
        caller: Caller,
        request: Request,
        *,
        key: str,
        parent_run_id: str | None = None,
        environment: str = "dev",
        timeout_s: float = 120.0,
        told: Told | None = None,
        purse: Purse | None = None,
    ) -> Answered:
        """As `Inference.ask`. Denied and shed raise RefusedByPolicy and OverBudget; what a model without a price would cost, a
        budget in dollars cannot know: ModelUnpriced."""
        endpoint = self._models.fetch(request.model)
        text = request.canonical
        asked = Asked(
            caller=caller,
            request=request,
            task=runs.Task(
                name=f"{records.PREFIX}{endpoint.provider}",
                kind=runs.Kind.INFERENCE,
                input=records.asked(request, text),
                environment=environment,
                idempotency_key=key,
                parent_run_id=parent_run_id,
                deadline_at=self._wiring.clock.now() + timedelta(seconds=timeout_s),
                runtime_class="inference",
                model=request.model,
            ),
            size=len(text),
            endpoint=endpoint,
            told=told,
            timeout_s=timeout_s,
            purse=purse,
        )
        facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": endpoint.provider,
            "gen_ai.request.model": endpoint.name,
        }
        with self._wiring.tracing.span(f"chat {endpoint.name}", role="client", facts=facts) as span:
            try:
                answered = await self._ask(asked)
            except InterlockError as error:
                span.note({"interlock.run.id": error.run_id})
                raise
            span.note(_facts(answered))
            return answered

    async def _ask(self, asked: Asked) -> Answered:
        if (
            self._wiring.budgets.matching(asked.call_of(asked.endpoint))
            and (known := await self._find(asked)) is not None
        ):
            return await self._known(asked, known)
        run_id = self._wiring.ids.new("run")
        with self._wiring.ownership.working(run_id):
            await self._wiring.ownership.begin()
            begun, seat = await self._beginning.admit(asked, run_id)
            if isinstance(begun, runs.Working):
                async with runs.seated(self._wiring, seat):
                    return await self._pursue(asked, begun)
        return await self._known(asked, begun)

    async def _find(self, asked: Asked) -> runs.Run | None:
        """The run that has the question's key. Raises IdempotencyConflict if it is about another question."""
        ledger, task, now = self._wiring.ledger, asked.task, self._wiring.clock.now()
        tenant_id, offered = asked.caller.tenant_id, self._tasks.draw(asked.caller, task)
        assert task.idempotency_key is not None

        def find(tx: Tx) -> runs.Run | None:
            run_id = ledger.find_key(tx, tenant_id, task.name, str(task.idempotency_key), now)
            return None if run_id is None else self._tasks.holder(tx, offered.run, run_id)

        return await self._wiring.store.read(find)

    async def _known(self, asked: Asked, run: runs.Run) -> Answered:
        """What came of the question when it was asked before; if nothing has yet, it is asked once more."""
        while run.state in _UNDER_WAY and self._wiring.clock.now() < asked.deadline_at:
            await self._wiring.clock.sleep(POLL_S)
            run = await self._reading.fetch(asked.caller, run.run_id)
        if run.state in _UNDER_WAY:
            raise ModelBusy(f"{run.run_id} asks the same, and has had no answer in time", run_id=run.run_id)
        if run.state in _GOES_ON:
            with self._wiring.ownership.working(run.run_id):
                try:
                    begun, seat = await self._beginning.go_on(asked, run)
                except runs.StaleRun:
                    return await self._known(asked, await self._reading.fetch(asked.caller, run.run_id))
                async with runs.seated(self._wiring, seat):
                    return await self._pursue(asked, begun)
        outcome = await self._reading.outcome(run)
        if outcome.output is None:
            raise _refused(run, "; ".join(outcome.reasons))
        return records.read(run.run_id, outcome.output)

    async def _pursue(self, asked: Asked, working: runs.Working) -> Answered:
        """Carry it out to its end, whatever that is, and record it."""
        pursuit = Pursuit(self._wiring, self._tasks, self._models, self._pending, asked, working)
        try:
            with anyio.move_on_after(asked.timeout_s) as scope:
                return await pursuit.run()
            assert scope.cancelled_caught
            raise asked.too_late(asked.endpoint)
        except (runs.StaleRun, runs.OwnershipLapsed, StoreError):
            raise  # the run is another process's, or recovery's
        except InterlockError as error:
            raise await pursuit.fail(error) from error.__cause__
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await pursuit.cancel()
            raise


def _facts(answered: Answered) -> dict[str, Fact]:
    usage = answered.answer.usage
    return {
        "interlock.run.id": answered.run_id,
        "gen_ai.response.model": answered.answer.model,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }


def _refused(run: runs.Run, reasons: str) -> InterlockError:
    text = f"{run.capability} is {run.state.value}: {reasons}"
    if (run.reason or "").startswith("budget:"):
        return runs.OverBudget(text, run_id=run.run_id, next_step="Ask again later, or raise the budget's limit.")
    step = "Change the rule that the message names, or ask a model that it allows."
    later = Retry.LATER if run.state is runs.State.SHED else None
    return runs.RefusedByPolicy(text, run_id=run.run_id, next_step=step, retry=later)
