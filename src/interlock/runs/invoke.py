"""Invoke: from a request to an outcome, by the one path that every door uses."""

from contextlib import suppress
from dataclasses import replace

from interlock import approvals, budgets, catalog, policy
from interlock.kernel import JSON, Caller, InterlockError
from interlock.runs.admitting import Admitting, Entered, Judged, KeyTaken
from interlock.runs.beginning import begin
from interlock.runs.call import check_input
from interlock.runs.errors import of_run
from interlock.runs.execution import Execution
from interlock.runs.model import Kind, Run, State
from interlock.runs.preparing import GOES_ON, judge, prepare
from interlock.runs.reading import Reading
from interlock.runs.request import Outcome, Request
from interlock.runs.reserving import reserved
from interlock.runs.retelling import find_known, tell_again
from interlock.runs.sandboxing import confined
from interlock.runs.wiring import Wiring


class _GoneMeanwhile(Exception):
    """The approval that was to be spent is no longer there: another call was first, or it was withdrawn. Nothing was
    admitted; the call is asked about by itself."""


class Invoker:
    """Admits requests and carries them out."""

    def __init__(self, wiring: Wiring, reading: Reading, execution: Execution) -> None:
        self._wiring = wiring
        self._reading = reading
        self._execution = execution
        self._admitting = Admitting(wiring)

    async def invoke(self, caller: Caller, request: Request) -> Outcome:
        """Check, decide, do once, record. Held, denied and shed come back as values.

        Raises what is wrong with the request before anything is written (unknown capability, invalid input, no usable
        connection, idempotency conflict), and with `run_id` set: what the service or the plane failed with, and
        UnknownOutcome when nobody can tell whether a write happened.
        """
        return await self._admit(caller, request, None)

    async def submit(self, caller: Caller, request: Request, *, entered: Entered) -> Outcome:
        """Check and decide as `invoke` does, and leave the rest to workers: `entered` writes what is theirs, of a run that is
        queued or held. Raises what is wrong with the request."""
        return await self._admit(caller, request, entered)

    async def _admit(self, caller: Caller, request: Request, entered: Entered | None) -> Outcome:
        wiring = self._wiring
        capability = await wiring.catalog.fetch_for(caller.tenant_id, request.capability)
        if capability.is_proxy:
            request = replace(request, kind=Kind.PROXY)
        verb, role = ("invoke", "internal") if entered is None else ("enqueue", "producer")
        facts = {"interlock.capability": capability.capability_id, "interlock.tenant.id": caller.tenant_id}
        with wiring.tracing.span(f"{verb} {capability.capability_id}", role=role, facts=facts) as span:
            try:
                outcome = await self._decide(caller, request.traced(wiring.tracing.traceparent()), capability, entered)
            except InterlockError as error:
                span.note({"interlock.run.id": error.run_id})
                raise
            span.note({"interlock.run.id": outcome.run_id, "interlock.run.state": outcome.state.value})
            return outcome

    async def _decide(
        self, caller: Caller, request: Request, capability: catalog.Capability, entered: Entered | None
    ) -> Outcome:
        wiring = self._wiring
        given = check_input(capability, request.input)
        if request.parent_run_id is not None:
            await self._reading.fetch(caller, request.parent_run_id)
        if (known := await find_known(wiring, caller, request)) is not None:
            return await tell_again(wiring, self._reading, caller, request, given.digest, known)
        call = await prepare(wiring, caller, request, capability, given)
        verdict, facts = await judge(wiring, call)
        if verdict.effect in GOES_ON:
            call = confined(call, verdict, wiring)
        judged = Judged(call=call, run_id=wiring.ids.new("run"), verdict=verdict, facts=facts)
        try:
            match verdict.effect:
                case policy.Effect.DENY | policy.Effect.SHED:
                    return _value(await self._admitting.refuse(judged), judged)
                case policy.Effect.ASK:
                    return await self._ask(judged, entered)
                case policy.Effect.ALLOW:
                    return await self._allow(judged, entered)
        except KeyTaken as taken:
            run = await self._reading.fetch(caller, taken.run_id)
            return await tell_again(wiring, self._reading, caller, request, given.digest, run)

    async def _allow(self, judged: Judged, entered: Entered | None, *, approval_id: str | None = None) -> Outcome:
        """Do it, or have workers do it."""
        if entered is None:
            return await self._execute(judged, approval_id=approval_id)
        try:
            return _value(await self._admitting.queue(judged, approval_id=approval_id, entered=entered), judged)
        except (approvals.AlreadySpent, approvals.ApprovalExpired, approvals.ApprovalDenied) as error:
            raise _GoneMeanwhile from error

    async def _ask(self, judged: Judged, entered: Entered | None) -> Outcome:
        """Hold the run for a reviewer, unless an approval for exactly this is there and unspent."""
        wiring, binding = self._wiring, judged.call.binding(role=self._admitting.role(judged))
        usable = await wiring.store.read(
            lambda tx: wiring.approvals.find_usable(tx, tenant_id=binding.tenant_id, binding_digest=binding.digest)
        )
        if usable is not None:
            with suppress(_GoneMeanwhile):
                return await self._allow(judged, entered, approval_id=usable.approval_id)
        return _value(await self._admitting.hold(judged, entered=entered), judged)

    async def _execute(self, judged: Judged, *, approval_id: str | None = None) -> Outcome:
        call = judged.call
        async with reserved(self._wiring, call.budget_call, holder=judged.run_id, cost=call.request.cost) as taken:
            if not isinstance(taken, budgets.Exhausted):
                with self._wiring.ownership.working(judged.run_id):
                    return await self._carry_out(judged, approval_id)
        effect = policy.Effect.DENY if taken.retry_after is None else policy.Effect.SHED
        reason = policy.Reason(rule_id=f"budget:{taken.budget}", effect=effect, text=taken.text)
        refused = replace(judged.verdict, effect=effect, reasons=(reason, *judged.verdict.reasons), role=None)
        judged = replace(judged, verdict=refused)
        return _value(await self._admitting.refuse(judged), judged, retry_after=taken.retry_after)

    async def _carry_out(self, judged: Judged, approval_id: str | None) -> Outcome:
        call, run_id = judged.call, judged.run_id
        accepted, decided = self._admitting.draw(judged)
        run = accepted.moved(state=State.RUNNING, attempt_count=1, approval_id=approval_id)
        at = run.created_at
        facts = call.facts(started_at=at, idempotency_key=run_id)
        begun = await begin(self._wiring, call, run_id=run_id, number=1, fence=run.fence, at=at, facts=facts)
        try:
            journal = self._wiring.journal(await self._admitting.begin(judged, run, decided, begun))
        except (approvals.AlreadySpent, approvals.ApprovalExpired, approvals.ApprovalDenied) as error:
            raise _GoneMeanwhile from error
        with of_run(run_id):
            ending = await self._execution.run(call, journal, begun, facts)
            if ending.error is not None:
                raise ending.error
        return _value(journal.run, judged, output=ending.output)


def _value(run: Run, judged: Judged, *, output: JSON = None, retry_after: float | None = None) -> Outcome:
    return Outcome(
        run_id=run.run_id,
        state=run.state,
        capability=run.capability,
        output=output,
        reasons=tuple(reason.text for reason in judged.verdict.reasons),
        approval_id=run.approval_id,
        retry_after_seconds=retry_after,
    )
