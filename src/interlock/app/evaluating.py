"""Cases of agents, taken as turns and held against what is expected of them."""

from collections.abc import Awaitable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol

from interlock import agents, inference, runs
from interlock.kernel import JSON, Caller, InterlockError, StoreError

if TYPE_CHECKING:
    from interlock.app.assembly import Parts

SCRIPTED: Final = "fake"
"""The provider of models that say a case's script: `fake:` and the case's number."""

_MODEL: Final = "the model of the cases"
_GRADING_SECONDS: Final = 120.0


class Turns(Protocol):
    """What of `il.agents` it takes."""

    def run(
        self, spec: agents.Spec, text: str, *, context: Mapping[str, JSON] | None = None
    ) -> Awaitable[agents.harness.Turn]: ...
    def fetch(self, run_id: str) -> Awaitable[agents.harness.Turn]: ...
    def replay(self, run_id: str) -> Awaitable[agents.harness.Sheet]: ...


class Evaluating:
    """Takes a suite's cases, one after the other, each a turn as any other."""

    def __init__(self, parts: "Parts", caller: Caller, turns: Turns, harness: agents.harness.Harness) -> None:
        self._parts = parts
        self._harness = harness
        self._caller = caller
        self._turns = turns

    async def evaluate(self, spec: agents.Spec, suite: agents.evals.Suite) -> agents.evals.Report:
        """What came of all of them. Raises StoreError, InvalidSpec for a model that is none."""
        asked = spec if suite.model is None else agents.asking(spec, suite.model, source=_MODEL)
        found = [await self._case(asked, suite, number, case) for number, case in enumerate(suite.cases)]
        return agents.evals.Report(agent_id=spec.id, fingerprint=spec.fingerprint, model=asked.model, cases=found)

    async def _case(
        self, spec: agents.Spec, suite: agents.evals.Suite, number: int, case: agents.evals.Case
    ) -> agents.evals.CaseReport:
        asked = spec if case.script is None else agents.asking(spec, f"{SCRIPTED}:{number}", source=_MODEL)
        try:
            seen = await self._take(asked, case)
            findings = [each for expected in case.expect for each in agents.evals.judge(expected, seen)]
            grader = suite.grader or asked.model
            questions = [each.graded for each in case.expect if each.graded is not None]
            findings += [await self._grade(grader, question, case, seen) for question in questions]
        except StoreError:
            raise
        except InterlockError as error:
            return agents.evals.CaseReport(name=case.name, error=error.to_json())
        return agents.evals.CaseReport(name=case.name, findings=tuple(findings), seen=seen)

    async def _take(self, spec: agents.Spec, case: agents.evals.Case) -> agents.evals.Seen:
        try:
            turn = await self._turns.run(spec, case.input, context=case.context)
        except InterlockError as error:
            if error.run_id is None or isinstance(error, StoreError):
                raise
            turn = await self._turns.fetch(error.run_id)  # it failed, which may be what is expected
        state = agents.turns.State(turn_id=turn.run_id, fingerprint=spec.fingerprint)
        if turn.phase is not agents.turns.Phase.NEW:
            state = (await self._turns.replay(turn.run_id)).state
        if turn.state in (runs.State.HELD, runs.State.WAITING):
            await self._parts.steering.cancel(self._caller, turn.run_id, reason="its case is over")
        return agents.evals.seen(state, run_id=turn.run_id, ended=turn.state.value, usd=await self._cost(turn.run_id))

    async def _cost(self, run_id: str) -> float | None:
        """What the models of a turn cost, None if that is not known of all of them."""
        parts, tenant_id = self._parts, self._caller.tenant_id
        answered = await parts.store.read(
            lambda tx: parts.wiring.ledger.list_told_below(
                tx, tenant_id, run_id, runs.Kind.INFERENCE, inference.ANSWERED
            )
        )
        costs = [runs.data_of(each)["cost_usd"] for each in answered]
        known = [Decimal(str(each)) for each in costs if each is not None]
        return float(sum(known)) if len(known) == len(costs) else None

    async def _grade(
        self, model: str, question: str, case: agents.evals.Case, seen: agents.evals.Seen
    ) -> agents.evals.Finding:
        """What a model says of it: a call on record, below the turn's run."""
        answered = await self._harness.ask_about(
            self._caller,
            seen.run_id,
            agents.evals.grading(model, question, case, seen),
            key=f"{seen.run_id}:graded:{question[:200]}",
            timeout_s=_GRADING_SECONDS,
        )
        grade = agents.evals.read_grade(answered.answer)
        return agents.evals.Finding(held=grade.holds, text=f"{question}: {grade.why}")
