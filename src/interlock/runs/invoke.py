"""Invoke: from a request to an outcome, by the one path that every door uses."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

from interlock import approvals, budgets, catalog, policy, sdk
from interlock.kernel import JSON, Caller, InterlockError, Redactor, StoreError, Tx
from interlock.runs import drawing, entries
from interlock.runs.beginning import begin
from interlock.runs.call import Call, Given, check_input, refuse_secrets
from interlock.runs.entries import Entry
from interlock.runs.errors import IdempotencyConflict, OutcomeUnsaved, of_run
from interlock.runs.execution import Execution
from interlock.runs.ledger import WRITTEN, Admission
from interlock.runs.model import Decision, Run, State
from interlock.runs.reading import Reading
from interlock.runs.releasing import release
from interlock.runs.request import Outcome, Request
from interlock.runs.reserving import reserved
from interlock.runs.revalidation import Revalidation
from interlock.runs.sandboxing import confined
from interlock.runs.shield import shielded
from interlock.runs.targets import targeted
from interlock.runs.wiring import Wiring

NO_CONNECTION = "none"
"""The type of an auth profile that needs no connection."""

GOES_ON = frozenset({policy.Effect.ALLOW, policy.Effect.ASK})
"""Verdicts under which the effect may come about."""

_POLL = 0.05
_GRACE = timedelta(seconds=5)


class _KeyTaken(Exception):
    """Another run has claimed the idempotency key in the meantime."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A call under its verdict, about to become a run."""

    call: Call
    run_id: str
    verdict: policy.Decision
    pressure: Mapping[str, float]


class Invoker:
    """Admits requests and carries them out."""

    def __init__(self, wiring: Wiring, reading: Reading, execution: Execution) -> None:
        self._wiring = wiring
        self._reading = reading
        self._execution = execution

    async def invoke(self, caller: Caller, request: Request) -> Outcome:
        """Check, decide, do once, record. Held, denied and shed come back as values.

        Raises what is wrong with the request before anything is written (unknown capability, invalid input, no usable
        connection, idempotency conflict), and with `run_id` set: what the service or the plane failed with, and
        UnknownOutcome when nobody can tell whether a write happened.
        """
        capability = self._wiring.catalog.fetch(request.capability)
        given = check_input(capability, request.input)
        await self._check_parent(caller, request)
        if request.idempotency_key is not None:
            known = await self._known(caller, request)
            if known is not None:
                return await self._told_again(caller, request, given.digest, known)
        call = await self.prepare(caller, request, capability, given)
        verdict, pressure = await self.judge(call)
        if verdict.effect in GOES_ON:
            call = confined(call, verdict, self._wiring)
        judged = Judged(call=call, run_id=self._wiring.ids.new("run"), verdict=verdict, pressure=pressure)
        try:
            match verdict.effect:
                case policy.Effect.DENY | policy.Effect.SHED:
                    return await self._refuse(judged)
                case policy.Effect.ASK:
                    return await self._ask(judged)
                case policy.Effect.ALLOW:
                    return await self._execute(judged)
        except _KeyTaken as taken:
            run = await self._reading.fetch(caller, taken.run_id)
            return await self._told_again(caller, request, given.digest, run)

    async def prepare(
        self, caller: Caller, request: Request, capability: catalog.Capability, given: Given | None = None
    ) -> Call:
        """Look up the connection. `given` is the request's input, if it was checked before. Raises catalog.InvalidInput,
        InputHoldsSecret, TargetRefused, sdk.InvalidArgument, and as `connections.resolve`."""
        wiring, operation = self._wiring, capability.operation
        request = targeted(request, operation)
        given = given or check_input(capability, request.input)
        if operation.command is not None:
            sdk.build_command(operation, operation.command, given.value)
        resolved, redactor, revalidation = None, Redactor(), None
        if request.connection is not None or any(profile.type != NO_CONNECTION for profile in capability.manifest.auth):
            resolved = await wiring.connections.resolve(
                caller,
                connector_id=capability.connector_id,
                scopes=frozenset(operation.scopes),
                connection=request.connection,
            )
            redactor = Redactor(await wiring.connections.secrets_of(resolved))
            refuse_secrets(request, given, redactor)
            if operation.http is not None and operation.http.conditional:
                revalidation = Revalidation(
                    wiring.validators,
                    wiring.store,
                    wiring.clock,
                    tenant_id=caller.tenant_id,
                    connection_id=resolved.connection.connection_id,
                )
        return Call(
            caller=caller,
            request=request,
            capability=capability,
            resolved=resolved,
            redactor=redactor,
            given=given,
            revalidation=revalidation,
        )

    async def judge(self, call: Call) -> tuple[policy.Decision, Mapping[str, float]]:
        """Ask policy, under the present pressure."""
        pressure = {**self._wiring.pressure.readings(), **await self._wiring.budgets.pressure(call.budget_call)}
        return self._wiring.policy.decide(call.policy_facts(pressure)), pressure

    async def _check_parent(self, caller: Caller, request: Request) -> None:
        if request.parent_run_id is not None:
            await self._reading.fetch(caller, request.parent_run_id)

    # -- a key that is known

    async def _known(self, caller: Caller, request: Request) -> Run | None:
        """The run that holds the request's idempotency key."""
        key, ledger, now = cast("str", request.idempotency_key), self._wiring.ledger, self._wiring.clock.now()

        def find(tx: Tx) -> Run | None:
            run_id = ledger.find_key(tx, caller.tenant_id, request.capability, key, now)
            return None if run_id is None else ledger.find_run(tx, caller.tenant_id, run_id)

        return await self._wiring.store.read(find)

    async def _told_again(self, caller: Caller, request: Request, input_digest: str, run: Run) -> Outcome:
        """The outcome of the run that holds the key; if it is still at work, once that is done."""
        if run.actor != caller.actor or await self._reading.admitted_input_digest(run) != input_digest:
            different = "actor" if run.actor != caller.actor else "input"
            raise IdempotencyConflict(
                f"the idempotency key {request.idempotency_key!r} of {request.capability} belongs to {run.run_id}, "
                f"which has another {different}",
                run_id=run.run_id,
            )
        clock = self._wiring.clock
        give_up = clock.now() + request.timeout + _GRACE
        while run.state in (State.ACCEPTED, State.RUNNING) and clock.now() < give_up:
            await clock.sleep(_POLL)
            run = await self._reading.fetch(caller, run.run_id)
        return replace(await self._reading.outcome(run), replayed=True)

    # -- what policy said

    async def _refuse(self, judged: Judged) -> Outcome:
        deny = judged.verdict.effect is policy.Effect.DENY
        run, decided = self._draw(judged)
        run = replace(run, finished_at=run.created_at)
        moved = replace(
            run,
            state=State.DENIED if deny else State.SHED,
            reason=drawing.leading(judged.verdict, judged.verdict.effect),
        )
        admission = self._draw_admission(judged, moved, [entries.run_moved(moved)], decided)
        return self._value(await self._commit(admission), judged)

    async def _ask(self, judged: Judged) -> Outcome:
        """Hold the run for a reviewer, unless an approval for exactly this is there and unspent."""
        wiring, call = self._wiring, judged.call
        binding = call.binding(role=self._role(judged))
        usable = await wiring.store.read(
            lambda tx: wiring.approvals.find_usable(tx, tenant_id=binding.tenant_id, binding_digest=binding.digest)
        )
        if usable is not None:
            # Another call may spend it first: then this one is asked about by itself.
            with suppress(approvals.AlreadySpent, approvals.ApprovalExpired):
                return await self._execute(judged, approval_id=usable.approval_id)

        def hold(tx: Tx) -> Run:
            run, decided = self._draw(judged)
            approval = wiring.approvals.request(
                tx,
                binding=binding,
                summary=drawing.summary(call, judged.verdict),
                run_id=judged.run_id,
                expires_after=judged.verdict.expires_after,
            )
            held = replace(
                run,
                # The clock of a held run starts when it is executed.
                deadline_at=None,
                state=State.HELD,
                reason=drawing.leading(judged.verdict, policy.Effect.ASK),
                approval_id=approval.approval_id,
            )
            told = [entries.approval_moved(approval), entries.run_moved(held)]
            return self._admit_in(tx, self._draw_admission(judged, held, told, decided))

        return self._value(await wiring.store.write(hold), judged)

    async def _execute(self, judged: Judged, *, approval_id: str | None = None) -> Outcome:
        call, ownership = judged.call, self._wiring.ownership
        async with reserved(self._wiring, call, holder=judged.run_id) as taken:
            if not isinstance(taken, budgets.Exhausted):
                with ownership.working(judged.run_id):
                    return await self._carry_out(judged, approval_id)
        reason = policy.Reason(rule_id=f"budget:{taken.budget}", effect=policy.Effect.SHED, text=taken.text)
        shed = replace(judged.verdict, effect=policy.Effect.SHED, reasons=(reason, *judged.verdict.reasons), role=None)
        return await self._refuse(replace(judged, verdict=shed))

    async def _carry_out(self, judged: Judged, approval_id: str | None) -> Outcome:
        wiring, call, run_id = self._wiring, judged.call, judged.run_id
        accepted, decided = self._draw(judged)
        run = accepted.moved(state=State.RUNNING, attempt_count=1, approval_id=approval_id)
        at = run.created_at
        facts = call.facts(started_at=at, idempotency_key=run_id)
        begun = await begin(wiring, call, run_id=run_id, number=1, fence=run.fence, at=at, facts=facts)
        rows = begun.records()

        def draw(before: list[Entry]) -> Admission:
            drawn = self._draw_admission(judged, run, [*before, *begun.entries(call)], decided)
            return replace(drawn, attempt=rows.attempt, send=rows.send, lease=rows.lease)

        def spend(tx: Tx) -> Run:
            spent = wiring.approvals.spend(
                tx,
                tenant_id=run.tenant_id,
                approval_id=cast("str", approval_id),
                binding_digest=call.binding(role=self._role(judged)).digest,
                spent_by=run_id,
            )
            release(tx, wiring, spent, reason="approval_spent_elsewhere")
            return self._admit_in(tx, draw([entries.approval_moved(spent)]))

        # A store that fails may have admitted the run all the same; any other error says that there is none.
        with of_run(run_id, only=StoreError):
            try:
                run = await (self._commit(draw([])) if approval_id is None else shielded(wiring.store.write(spend)))
            except StoreError as error:
                raise _unanswered(judged, error) from error
        journal = wiring.journal(run)
        with of_run(run_id):
            ending = await self._execution.run(call, journal, begun, facts)
            if ending.error is not None:
                raise ending.error
        return self._value(journal.run, judged, output=ending.output)

    def _role(self, judged: Judged) -> str:
        return judged.verdict.role or self._wiring.policy.reviewer

    # -- drawing and admitting

    def _draw(self, judged: Judged) -> tuple[Run, Decision]:
        at = self._wiring.clock.now()
        decided = drawing.decision(
            judged.call, judged.run_id, 1, judged.verdict, judged.pressure, ids=self._wiring.ids, at=at
        )
        return drawing.new_run(judged.call, judged.run_id, at), decided

    def _draw_admission(self, judged: Judged, run: Run, told: list[Entry], decided: Decision) -> Admission:
        return drawing.admission(judged.call, run, told, decided, signer=self._wiring.signer, ids=self._wiring.ids)

    def _value(self, run: Run, judged: Judged, *, output: JSON = None) -> Outcome:
        return Outcome(
            run_id=run.run_id,
            state=run.state,
            capability=run.capability,
            output=output,
            reasons=tuple(reason.text for reason in judged.verdict.reasons),
            approval_id=run.approval_id,
        )

    async def _commit(self, admission: Admission) -> Run:
        """Admit on the hot path; under a shield, so that a cancelled caller still learns what to undo."""
        clock = self._wiring.clock
        before = clock.monotonic()
        admitted = await shielded(self._wiring.ledger.admit(admission))
        self._wiring.pressure.average("store_latency_ms", (clock.monotonic() - before) * 1000)
        if admitted.run_id != admission.run.run_id:
            raise _KeyTaken(admitted.run_id)
        return admission.run

    def _admit_in(self, tx: Tx, admission: Admission) -> Run:
        admitted = self._wiring.ledger.admit_in(tx, admission)
        if admitted.run_id != admission.run.run_id:
            raise _KeyTaken(admitted.run_id)
        return admission.run


def _unanswered(judged: Judged, error: StoreError) -> InterlockError:
    """What the store's failure means to a caller, who must not ask again for a write that recovery may carry out."""
    call = judged.call
    if error.details.get(WRITTEN) != "unknown" or call.operation.effect is sdk.Effect.READ:
        return error
    return OutcomeUnsaved(
        f"whether {call.capability.capability_id} was admitted is unknown, and if it was, recovery carries it out: "
        f"{error.message}",
        next_step="Mend the store, then run `interlock runs recover`. If `interlock runs show RUN` knows no such run, it was "
        "not admitted, and may be asked for again.",
        run_id=judged.run_id,
        details={"cause": error.to_json()},
    )
