"""Does operations, each as its class allows: what may have been done before is done again, asked about, or left to a person."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import ceil
from typing import Final, TypeAlias, cast

import anyio

from interlock import dispatch, kernel, runs
from interlock.agents import turns
from interlock.agents.functions import FUNCTION, Functions
from interlock.agents.harness import journal
from interlock.agents.harness.asking import Asked
from interlock.agents.harness.means import Means
from interlock.agents.harness.pen import Pen
from interlock.agents.harness.spending import LEAST_S, OPERATION_CALLS, Leg
from interlock.agents.operations import Idempotency, Operation
from interlock.agents.sources import Found, Happened, Held, Invocation, NotHappened, OperationSource, Unclear
from interlock.agents.terms import thawed
from interlock.kernel import JSON, InterlockError, StoreError, UnknownOutcome, is_interruption

GRACE_S: Final = 2.0
"""How long an operation may take to end once it is told to."""

AGAIN: Final = frozenset({Idempotency.PURE, Idempotency.IDEMPOTENT, Idempotency.DEDUPE})
"""What may be asked for again of what may have been done."""

OURS: Final = (StoreError, runs.StaleRun, runs.OwnershipLapsed, runs.OutcomeUnsaved)
"""What says nothing of an operation: the attempt ends, and the next one finds out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """An operation of which nobody can tell whether it was done."""

    intent: turns.Perform
    reason: str


_RUNS_ON: Final = "it was stopped in the middle of it, and something that it has begun may still go on"

_Came: TypeAlias = turns.Performed | Held | Doubt


class Performing:
    """Does the operations of one attempt at a turn."""

    def __init__(self, means: Means, pen: Pen, asked: Asked) -> None:
        self._means = means
        self._pen = pen
        self._asked = asked
        self._places = anyio.CapacityLimiter(asked.spec.runtime_defaults.parallel_operations)

    async def perform(self, intents: Sequence[turns.Perform]) -> Sequence[Doubt]:
        """Do them, side by side, and write down what comes of each; of which nobody can tell. What policy holds is noted, and
        stays to be done. Raises OverBudget if they are more than the turn may do, and then none is done; what says nothing of
        an operation, UnexpectedEvent, StaleRun and StoreError."""
        begun = self._pen.sheet.intended
        doubts = [
            Doubt(intent=each, reason="the process that did it went away before it could tell")
            for each in intents
            if each.key in begun and each.idempotency is Idempotency.UNSAFE_ONCE
        ]
        todo = [each for each in intents if not any(each is doubt.intent for doubt in doubts)]
        # What is done once at most is written down right before: what still waits for its place was not begun.
        early = [each for each in todo if not self._is_late(each, len(todo))]
        leg, spending = self._leg(todo), self._pen.spending
        holding = spending.doing(todo) if leg is None else spending.timed(leg, spending.doing(todo))
        if early:
            await self._pen.intend(early, again=begun, holding=holding)
        elif holding is not None:
            await self._means.wiring.store.write(holding)
        with self._pen.working_for(leg) if leg is not None else nullcontext():
            return [*doubts, *await self._perform_all(todo, begun)]

    def in_doubt(self, intents: Iterable[turns.Perform], reason: str) -> Sequence[Doubt]:
        """Those that were begun, and may have been done with an effect that nobody has told of."""
        begun, harmless = self._pen.sheet.intended, (Idempotency.PURE, Idempotency.IDEMPOTENT)
        return [
            Doubt(intent=each, reason=reason)
            for each in intents
            if each.key in begun and each.idempotency not in harmless
        ]

    def _leg(self, todo: Sequence[turns.Perform]) -> Leg | None:
        """The time that doing them may take: as long as one, for all that have a place at once."""
        defaults = self._asked.spec.runtime_defaults
        waves = ceil(len(todo) / defaults.parallel_operations)
        most = min(defaults.operation_timeout_s * waves, self._pen.left_s())
        return self._pen.spending.leg(todo[0].key, most) if todo and most >= LEAST_S else None

    async def _perform_all(self, todo: Sequence[turns.Perform], begun: frozenset[str]) -> Sequence[Doubt]:
        doubts: list[Doubt] = []
        failures: list[BaseException] = []

        async def one(intent: turns.Perform) -> None:
            try:
                async with self._places:
                    if failures:
                        return
                    if self._is_late(intent, len(todo)):
                        await self._pen.intend([intent])
                    came = await self._do(intent, again=intent.key in begun)
                if isinstance(came, Doubt):
                    doubts.append(came)
                else:
                    await self._note(intent, came)
            except BaseException as error:
                if is_interruption(error) or isinstance(error, anyio.get_cancelled_exc_class()):
                    raise
                failures.append(error)  # what the others have done is written down all the same

        async with anyio.create_task_group() as tasks:
            for each in todo:
                tasks.start_soon(one, each)
        if failures:
            raise failures[0]
        return doubts

    def _is_late(self, intent: turns.Perform, count: int) -> bool:
        once = intent.idempotency is Idempotency.UNSAFE_ONCE
        return once and count > self._asked.spec.runtime_defaults.parallel_operations

    async def _note(self, intent: turns.Perform, came: turns.Performed | Held) -> None:
        pen = self._pen
        if isinstance(came, Held):
            entry = journal.put_off(intent, run_id=came.run_id, approval_id=came.approval_id)
            pen.note(entry, pen.sheet.putting_off(intent.key, entry[1]))
        else:
            pen.came_to(intent.key, {OPERATION_CALLS: 0 if came.failed and await self._is_undone(intent) else 1})
            pen.happened(came, key=intent.key)
            if isinstance(next(iter(pen.sheet.wanted), None), turns.Ask | turns.End):
                return  # it was the last one, and is committed with what is done next, at once
        await pen.save()

    async def _is_undone(self, intent: turns.Perform) -> bool:
        """Whether policy held it, and it is known that it was never done."""
        spending, held = self._pen.spending, self._pen.sheet.held.get(intent.key)
        if held is None or OPERATION_CALLS not in spending.units:
            return False
        return await self._means.wiring.store.read(lambda tx: spending.is_undone(tx, held))

    # -- one of them

    async def _do(self, intent: turns.Perform, *, again: bool) -> _Came:
        self._pen.check_hold()
        operation = self._pen.plan.find(intent.operation)
        assert operation is not None
        source = self._means.registry.find_source(operation.source.kind)
        if source is None:
            return self._failed(intent, f"nobody here does operations of the kind {operation.source.kind}")
        seconds, why = self._time()
        invocation = self._invocation(operation, intent, again=again, timeout_s=seconds)
        if seconds < LEAST_S:
            if not again:
                return self._failed(intent, f"It was not begun: no time is left of {why}.")
            unseen, late = await self._was_cut(source, invocation), f"no time is left of {why}"
            return await self._in_doubt(source, invocation, intent, late, runs_on=False, unseen=unseen)
        facts: dict[str, kernel.Fact] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": operation.name,
            "gen_ai.tool.call.id": intent.call_id[:200],
            "interlock.idempotency": operation.idempotency.value,
            "interlock.again": again,
        }
        with self._means.wiring.tracing.span(f"execute_tool {operation.name}", facts=facts) as span:
            came = await self._done(source, invocation, intent, again=again, why=why)
            if isinstance(came, Doubt):
                span.fail(UnknownOutcome.code)
            elif isinstance(came, turns.Performed) and came.failed:
                span.fail("failed")
            return came

    def _time(self) -> tuple[float, str]:
        """How long an operation may take now, and which limit says so."""
        limit, (left, shortage) = self._asked.spec.runtime_defaults.operation_timeout_s, self._pen.left()
        if limit <= left:
            return limit, "runtime_defaults.operation_timeout_s"
        return max(0.0, left), shortage.limit

    async def _done(
        self, source: OperationSource, invocation: Invocation, intent: turns.Perform, *, again: bool, why: str
    ) -> _Came:
        if again and intent.idempotency is Idempotency.RECONCILE:
            found = await self._reconciled(source, invocation, unseen=await self._was_cut(source, invocation))
            if isinstance(found, Happened):
                return self._came(intent, invocation.operation, found.output)
            if isinstance(found, Unclear):
                return Doubt(intent=intent, reason=found.reason)
        return await self._tried(source, invocation, intent, why=why)

    async def _was_cut(self, source: OperationSource, invocation: Invocation) -> bool:
        """Whether something may still run of what an earlier attempt has left: of a function that was stopped by a process that
        lived on."""
        if not isinstance(source, Functions):
            return False
        wiring, now = self._means.wiring, self._pen.working.attempt
        known = await wiring.store.read(lambda tx: wiring.ledger.list_attempts(tx, now.tenant_id, now.run_id))
        before = max((each for each in known if each.number < now.number), key=lambda each: each.number)
        if before.owner_id == now.owner_id:
            return not source.waits_for(invocation)
        return before.state is not runs.AttemptState.LOST

    async def _tried(
        self, source: OperationSource, invocation: Invocation, intent: turns.Perform, *, why: str
    ) -> _Came:
        runs_on, time = False, anyio.CancelScope(deadline=anyio.current_time() + invocation.timeout_s)
        try:
            with time:
                output = await self._held(source, invocation)
                if isinstance(output, Held):
                    return output
                return self._came(intent, invocation.operation, output)
            late = f"it took longer than {invocation.timeout_s:g} s ({why}), and was stopped"
        except dispatch.LeftBehind:
            if not time.cancel_called:
                raise  # the whole turn is to stop
            late = f"it took longer than {invocation.timeout_s:g} s ({why}), and then did not end"
            runs_on = True
        except OURS:
            raise
        except UnknownOutcome as error:
            late = error.message
        except InterlockError as error:
            return self._failed(intent, error.message)
        except BaseException as error:
            if is_interruption(error) or isinstance(error, anyio.get_cancelled_exc_class()):
                raise
            # Its type alone: what a stranger's exception says may be anything, and a model would read it.
            return self._failed(intent, f"{intent.operation} raised {type(error).__name__}")
        cut = time.cancelled_caught
        if cut and intent.idempotency is Idempotency.DEDUPE and not invocation.again:
            # The same key, once more: what was done by then is told again, and not done.
            self._pen.check_hold()
            seconds, why = self._time()
            return await self._tried(source, replace(invocation, again=True, timeout_s=seconds), intent, why=why)
        unseen = cut and isinstance(source, Functions) and not source.waits_for(invocation)
        return await self._in_doubt(source, invocation, intent, late, runs_on=runs_on, unseen=unseen)

    async def _held(self, source: OperationSource, invocation: Invocation) -> JSON | Held:
        if source.kind != FUNCTION:
            return await source.perform(invocation)
        # A stranger's code, which may not end when it is cancelled.
        return await dispatch.held(source.perform(invocation), grace=GRACE_S, is_busy=lambda: False)

    async def _in_doubt(
        self,
        source: OperationSource,
        invocation: Invocation,
        intent: turns.Perform,
        reason: str,
        *,
        runs_on: bool,
        unseen: bool,
    ) -> _Came:
        """It was stopped in the middle of it, or says itself that it does not know. What did not end then, and `runs_on`, is not
        asked about: that it was not done yet proves nothing. Nor does it of what may run on `unseen`."""
        match intent.idempotency:
            case Idempotency.PURE | Idempotency.IDEMPOTENT:
                return self._failed(intent, f"{reason}. It may be asked for again.")
            case Idempotency.RECONCILE if not runs_on:
                found = await self._reconciled(source, invocation, unseen=unseen)
                if isinstance(found, Happened):
                    return self._came(intent, invocation.operation, found.output)
                if isinstance(found, NotHappened):
                    return self._failed(intent, f"{reason}. It was not done.")
                return Doubt(intent=intent, reason=f"{reason}; {found.reason}")
            case _:
                return Doubt(intent=intent, reason=reason)

    async def _reconciled(self, source: OperationSource, invocation: Invocation, *, unseen: bool) -> Found:
        """`unseen`: something of it may still run, so that it is not done yet proves nothing."""
        try:
            with anyio.fail_after(self._asked.spec.runtime_defaults.operation_timeout_s):
                found = await source.reconcile(invocation)
            return Unclear(reason=_RUNS_ON) if unseen and isinstance(found, NotHappened) else found
        except OURS:
            raise
        except TimeoutError:
            return Unclear(reason="finding out took too long")
        except InterlockError as error:
            return Unclear(reason=f"it cannot be found out: {error.message}")
        except BaseException as error:
            if is_interruption(error) or isinstance(error, anyio.get_cancelled_exc_class()):
                raise
            return Unclear(reason=f"finding out raised {type(error).__name__}")

    def _invocation(self, operation: Operation, intent: turns.Perform, *, again: bool, timeout_s: float) -> Invocation:
        working, asked = self._pen.working, self._asked
        run = working.journal.run
        return Invocation(
            operation=operation,
            arguments=cast("dict[str, JSON]", thawed(intent.arguments)),
            key=intent.key,
            again=again,
            caller=working.caller,
            environment=run.environment,
            turn_id=run.run_id,
            session_id=asked.session_id,
            agent_id=asked.spec.id,
            context=asked.context,
            timeout_s=timeout_s,
            memory=asked.spec.memory,
            seen=asked.seen(),
        )

    def _came(self, intent: turns.Perform, operation: Operation, output: JSON) -> turns.Performed:
        problems = self._pen.plan.output_mismatches(operation, output)
        if problems:
            return self._failed(intent, f"what it returned does not fit: {'; '.join(problems[:10])}")
        text = output if isinstance(output, str) else kernel.canonical(output).decode()
        return turns.Performed(call_id=intent.call_id, text=text, took_s=self._pen.took_s())

    def _failed(self, intent: turns.Perform, text: str) -> turns.Performed:
        return turns.Performed(call_id=intent.call_id, text=text, failed=True, took_s=self._pen.took_s())
