"""Held runs: a reviewer's yes executes them, a no ends them."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

from interlock import approvals, budgets, policy
from interlock.kernel import JSON, Caller, InterlockError, Tx
from interlock.runs import drawing, entries, rebuilding, waking
from interlock.runs.beginning import begin
from interlock.runs.call import Call
from interlock.runs.entries import Entry
from interlock.runs.errors import RunNotHeld, of_run, over_budget
from interlock.runs.execution import Execution
from interlock.runs.journal import Move, Records
from interlock.runs.model import Decision, Run, State
from interlock.runs.preparing import GOES_ON, check_actor, judge, prepare
from interlock.runs.reading import Reading
from interlock.runs.request import Outcome
from interlock.runs.reserving import reserved
from interlock.runs.sandboxing import confined
from interlock.runs.transitions import FINAL
from interlock.runs.wiring import Wiring

_log = logging.getLogger(__name__)


class Holding:
    """What happens to held runs."""

    def __init__(self, wiring: Wiring, reading: Reading, execution: Execution) -> None:
        self._wiring = wiring
        self._reading = reading
        self._execution = execution

    async def approve(
        self, caller: Caller, approval_id: str, *, edited_input: Mapping[str, JSON] | None = None
    ) -> approvals.Approval:
        """Say yes, perhaps to an edited input, which is validated and judged before it is accepted. A turn of an agent goes on
        by itself if it was left to workers, and else when it is resumed.

        Raises as `approvals.approve`, with `run_id` set to the run that an earlier decision is about; catalog.InvalidInput; and
        approvals.InvalidEdit if policy denies the edited call, which the run's chain then tells.
        """
        approval = await self._wiring.approvals.fetch_approval(caller, approval_id)
        edit = None if edited_input is None else dict(edited_input)
        async with self._naming_the_run(caller, approval):
            return await self._approve(caller, approval, edit)

    async def _approve(
        self, caller: Caller, approval: approvals.Approval, edit: dict[str, JSON] | None
    ) -> approvals.Approval:
        approval_id = approval.approval_id
        run = None if approval.run_id is None else await self._reading.fetch(caller, approval.run_id)
        if run is not None and waking.is_turn(run):
            if edit is not None:
                self._wiring.edits.check(run, approval, edit)
            return await waking.decided(
                self._wiring,
                run,
                lambda tx: self._wiring.approvals.approve_in(tx, caller, approval_id=approval_id, edited_input=edit),
            )
        if run is None or run.state is not State.HELD:
            return await self._wiring.approvals.approve(caller, approval_id, edited_input=edit)
        await check_actor(self._wiring, caller, run)
        if edit is not None:
            await self._check_edit(run, edit)
        approved = approval

        def consent(tx: Tx) -> None:
            nonlocal approved
            approved = self._wiring.approvals.approve_in(tx, caller, approval_id=approval_id, edited_input=edit)
            waking.note_parent(tx, self._wiring, run)

        await self._wiring.journal(run).write(
            lambda: [entries.approval_moved(approved)], at=self._wiring.clock.now(), beside=consent
        )
        if not await self._is_handed(run):
            return approved
        try:
            await self.execute(caller, run.run_id)  # by workers, who wait for nothing more
        except InterlockError as error:
            # The yes stands; `execute` says so again to whoever asks for it.
            _log.warning("%s is approved, and cannot be queued: %s", run.run_id, error)
        return await self._wiring.approvals.fetch_approval(caller, approval_id)

    async def _is_handed(self, run: Run) -> bool:
        return await self._wiring.store.read(lambda tx: self._wiring.handed.knows(tx, run))

    @asynccontextmanager
    async def _naming_the_run(self, caller: Caller, approval: approvals.Approval) -> AsyncGenerator[None]:
        """Whoever comes too late to decide hears how the run stands: who asked anew could have it done twice."""
        try:
            yield
        except approvals.AlreadyDecided as error:
            if approval.run_id is None:
                raise
            run = await self._reading.fetch(caller, approval.run_id)
            raise approvals.AlreadyDecided(
                f"{error.message}; its run {run.run_id} is {run.state}",
                next_step=_how_it_goes_on(run),
                run_id=run.run_id,
                details=error.details,
            ) from error

    async def _check_edit(self, run: Run, edit: Mapping[str, JSON]) -> None:
        call, last = await self._call(run, edit)
        verdict, facts = await judge(self._wiring, call)
        if verdict.effect is not policy.Effect.DENY:
            return
        at, ids = self._wiring.clock.now(), self._wiring.ids
        decided = drawing.decision(call, run.run_id, last.number + 1, verdict, facts, ids=ids, at=at)
        await self._wiring.journal(run).write(
            [entries.policy_decided(decided)], at=at, records=Records(decisions=(decided,))
        )
        texts = "; ".join(each.text for each in verdict.reasons if each.effect is policy.Effect.DENY)
        raise approvals.InvalidEdit(f"policy denies the edited input: {texts}", run_id=run.run_id)

    async def deny(self, caller: Caller, approval_id: str, *, reason: str) -> approvals.Approval:
        """Say no, also to what was approved and not executed: the held run is denied in the same transaction, for good. A turn of
        an agent goes on, as after a yes, and its model is told.

        Raises as `approvals.deny`.
        """
        approval = await self._wiring.approvals.fetch_approval(caller, approval_id)
        async with self._naming_the_run(caller, approval):
            return await self._deny(caller, approval, reason)

    async def _deny(self, caller: Caller, approval: approvals.Approval, reason: str) -> approvals.Approval:
        approval_id = approval.approval_id
        run = None if approval.run_id is None else await self._reading.fetch(caller, approval.run_id)
        if run is not None and waking.is_turn(run):
            return await waking.decided(
                self._wiring,
                run,
                lambda tx: self._wiring.approvals.deny_in(tx, caller, approval_id=approval_id, reason=reason),
            )
        if run is None or run.state is not State.HELD:
            return await self._wiring.approvals.deny(caller, approval_id, reason=reason)
        await check_actor(self._wiring, caller, run)
        at = self._wiring.clock.now()
        denied = replace(approval, state=approvals.State.DENIED, reviewer=caller.actor, reason=reason, decided_at=at)

        def settle(tx: Tx) -> None:
            nonlocal denied
            denied = self._wiring.approvals.deny_in(tx, caller, approval_id=approval_id, reason=reason)
            self._wiring.handed.moved(tx, run, State.DENIED, "approval_denied")
            waking.note_parent(tx, self._wiring, run)

        await self._wiring.journal(run).write(
            lambda: [entries.approval_moved(denied)],
            at=at,
            move=Move(state=State.DENIED, reason="approval_denied"),
            beside=settle,
        )
        return denied

    async def execute(self, caller: Caller, run_id: str) -> Outcome:
        """Execute a held run whose approval was given, spending it. Raises RunNotHeld, OverBudget, ManifestChanged,
        SandboxNotEnforced, what spending raises, and what the call fails with."""
        run = await self._reading.fetch(caller, run_id)
        if run.state in (State.QUEUED, State.RETRY_SCHEDULED):
            return await self._reading.outcome(run)  # approved already, and left to workers
        facts = {"interlock.run.id": run_id, "interlock.capability": run.capability}
        with self._wiring.tracing.span(f"execute {run.capability}", parent=run.traceparent, facts=facts):
            return await self._execute(caller, run)

    async def _execute(self, caller: Caller, run: Run) -> Outcome:
        run_id = run.run_id
        if waking.is_turn(run):
            raise RunNotHeld(
                f"{run_id} is a turn of an agent, which spends its approvals itself",
                next_step=_resumed(run),
                run_id=run_id,
            )
        if run.state is not State.HELD or run.approval_id is None:
            raise RunNotHeld(f"{run_id} is {run.state}, not held", run_id=run_id)
        approval = await self._wiring.approvals.fetch_approval(caller, run.approval_id)
        edited = cast("Mapping[str, JSON] | None", approval.edited_input)
        call, last = await self._call(run, edited)
        verdict, facts = await judge(self._wiring, call)
        at = self._wiring.clock.now()
        decided = drawing.decision(call, run_id, last.number + 1, verdict, facts, ids=self._wiring.ids, at=at)
        if verdict.effect not in GOES_ON:
            return await self._refuse(run, approval, verdict, decided)
        with of_run(run_id):
            call = confined(call, verdict, self._wiring)
        role = approval.role if verdict.role is None else verdict.role
        spending = _Spending(self._wiring.approvals, run, call, approval, decided, call.binding(role=role))
        if await self._is_handed(run):
            with of_run(run_id):
                return await self._spend_and_queue(spending)
        async with reserved(self._wiring, call.budget_call, holder=run_id, cost=call.request.cost) as taken:
            if isinstance(taken, budgets.Exhausted):
                raise over_budget(taken, run_id=run_id)
            with self._wiring.ownership.working(run_id), of_run(run_id):
                return await self._spend_and_run(spending)

    async def _spend_and_queue(self, spending: "_Spending") -> Outcome:
        """Workers carry it out."""
        run, journal = spending.run, self._wiring.journal(spending.run)

        def spend(tx: Tx) -> None:
            spending.spend(tx)
            self._wiring.handed.released(tx, run)

        await journal.write(
            spending.told,
            at=spending.decided.at,
            move=replace(spending.move, state=State.QUEUED),
            records=Records(decisions=(spending.decided,)),
            beside=spend,
        )
        return await self._reading.outcome(journal.run)

    async def _spend_and_run(self, spending: "_Spending") -> Outcome:
        wiring, run, call, decided = self._wiring, spending.run, spending.call, spending.decided
        facts = call.facts(started_at=decided.at, idempotency_key=run.run_id)
        begun = await begin(
            wiring, call, run_id=run.run_id, number=run.attempt_count + 1, fence=run.fence, at=decided.at, facts=facts
        )
        journal = self._wiring.journal(run)
        await journal.write(
            lambda: [*spending.told(), *begun.entries(call)],
            at=decided.at,
            move=replace(spending.move, state=State.RUNNING),
            records=replace(begun.records(), decisions=(decided,)),
            beside=spending.spend,
        )
        ending = await self._execution.run(call, journal, begun, facts)
        if ending.error is not None:
            raise ending.error
        return Outcome(
            run_id=run.run_id,
            state=journal.run.state,
            capability=run.capability,
            output=ending.output,
            approval_id=spending.approval.approval_id,
        )

    async def _refuse(
        self, run: Run, approval: approvals.Approval, verdict: policy.Decision, decided: Decision
    ) -> Outcome:
        """Policy has changed its mind since the run was held; the approval is of no use any more."""
        state = State.DENIED if verdict.effect is policy.Effect.DENY else State.SHED
        cancelled: approvals.Approval | None = None

        def cancel(tx: Tx) -> None:
            nonlocal cancelled
            cancelled = self._wiring.approvals.cancel(
                tx, tenant_id=run.tenant_id, approval_id=approval.approval_id, reason=f"policy: {state}"
            )
            self._wiring.handed.moved(tx, run, state, drawing.leading(verdict, verdict.effect))

        def told() -> list[Entry]:
            moved = [] if cancelled is None else [entries.approval_moved(cancelled)]
            return [entries.policy_decided(decided), *moved]

        journal = self._wiring.journal(run)
        await journal.write(
            told,
            at=decided.at,
            move=Move(state=state, reason=drawing.leading(verdict, verdict.effect)),
            records=Records(decisions=(decided,)),
            beside=cancel,
        )
        return await self._reading.outcome(journal.run)

    async def _call(self, run: Run, edited: Mapping[str, JSON] | None) -> tuple[Call, Decision]:
        """The call as it would be made now, and the last decision on it."""
        decisions = await self._wiring.store.read(
            lambda tx: self._wiring.ledger.list_decisions(tx, run.tenant_id, run.run_id)
        )
        requester, request = rebuilding.asked(run, decisions[-1])
        capability = await self._wiring.catalog.fetch_for(run.tenant_id, run.capability)
        rebuilding.same_contract(run, decisions[-1], capability)
        if edited is not None:
            request = replace(request, input=edited)
        return await prepare(self._wiring, requester, request, capability), decisions[-1]


@dataclass(slots=True)
class _Spending:
    """An approval about to be spent for its run."""

    desk: approvals.Approvals
    run: Run
    call: Call
    approval: approvals.Approval
    decided: Decision
    binding: approvals.Binding

    def spend(self, tx: Tx) -> None:
        self.approval = self.desk.spend(
            tx,
            tenant_id=self.run.tenant_id,
            approval_id=self.approval.approval_id,
            binding_digest=self.binding.digest,
            spent_by=self.run.run_id,
        )

    def told(self) -> list[Entry]:
        run, call = self.run, self.call
        edited = replace(run, input_json=call.input_json, input_digest=call.input_digest)
        changed = [] if call.input_digest == run.input_digest else [entries.input_edited(edited)]
        return [entries.approval_moved(self.approval), *changed, entries.policy_decided(self.decided)]

    @property
    def move(self) -> Move:
        return Move(input_json=self.call.input_json, input_digest=self.call.input_digest)


def _resumed(run: Run) -> str:
    return f"`interlock agent resume {run.run_id}` goes on with it; one that was left to workers goes on by itself."


def _how_it_goes_on(run: Run) -> str:
    show = f"`interlock runs show {run.run_id}`"
    if run.state in FINAL:
        return f"{show} shows what came of it."
    if run.state is State.HELD and waking.is_turn(run):
        return _resumed(run)
    if run.state is State.HELD:
        return (
            f"`interlock approvals approve {run.approval_id}` executes what was approved; `interlock approvals deny "
            f"{run.approval_id} --reason TEXT` takes it back."
        )
    return f"Do not ask anew. {show} shows how it stands; `interlock runs recover` goes on if the process that ran it is gone."
