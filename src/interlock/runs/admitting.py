"""A judged call becomes a run, in one commit: denied, shed, held, or at work with its first attempt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from interlock import approvals, policy, sdk
from interlock.kernel import InterlockError, StoreError, Tx
from interlock.runs import drawing, entries
from interlock.runs.beginning import Begun
from interlock.runs.call import Call
from interlock.runs.entries import Entry
from interlock.runs.errors import OutcomeUnsaved, of_run
from interlock.runs.ledger import WRITTEN, Admission, Admitted
from interlock.runs.model import Decision, Run, State
from interlock.runs.releasing import release
from interlock.runs.shield import shielded
from interlock.runs.wiring import Wiring

LATENCY = "store_latency_ms"
"""The reading that admissions feed."""


Entered: TypeAlias = Callable[[Tx, Run], object]
"""Writes what belongs to a run that was just admitted, in the same transaction."""


class KeyTaken(Exception):
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
    facts: policy.Facts


class Admitting:
    """Draws runs and commits them, each under a shield, so that a cancelled caller still learns what to undo. All of it
    raises KeyTaken and StoreError."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def role(self, judged: Judged) -> str:
        """Whose consent the call needs."""
        return judged.verdict.role or self._wiring.policy.reviewer

    def draw(self, judged: Judged) -> tuple[Run, Decision]:
        """The run as it is accepted, and the decision on it."""
        at = self._wiring.clock.now()
        decided = drawing.decision(
            judged.call, judged.run_id, 1, judged.verdict, judged.facts, ids=self._wiring.ids, at=at
        )
        return drawing.new_run(judged.call, judged.run_id, at), decided

    async def refuse(self, judged: Judged) -> Run:
        """Put on record that policy, or a budget, said no."""
        deny = judged.verdict.effect is policy.Effect.DENY
        run, decided = self.draw(judged)
        run = replace(run, finished_at=run.created_at)
        moved = replace(
            run,
            state=State.DENIED if deny else State.SHED,
            reason=drawing.leading(judged.verdict, judged.verdict.effect),
        )
        return await self._commit(self._admission(judged, moved, [entries.run_moved(moved)], decided))

    async def hold(self, judged: Judged, *, entered: Entered | None = None) -> Run:
        """Hold it, and ask for consent. `entered` writes what is the workers', if they are to carry it out."""
        wiring, call = self._wiring, judged.call

        def hold(tx: Tx) -> Run:
            run, decided = self.draw(judged)
            approval = wiring.approvals.request(
                tx,
                binding=call.binding(role=self.role(judged)),
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
            run = self._admit_in(tx, self._admission(judged, held, told, decided))
            if entered is not None:
                entered(tx, run)
            return run

        with wiring.pressure.timing(LATENCY, wiring.clock):
            return await wiring.store.write(hold)

    async def queue(self, judged: Judged, *, approval_id: str | None, entered: Entered) -> Run:
        """Have workers carry it out: `entered` writes what is theirs, in the same transaction. Raises also what spending the
        run's approval raises."""
        wiring = self._wiring

        def queue(tx: Tx) -> Run:
            accepted, decided = self.draw(judged)
            told: list[Entry] = []
            if approval_id is not None:
                told.append(entries.approval_moved(self._spend(tx, judged, approval_id)))
            queued = replace(accepted, deadline_at=None, state=State.QUEUED, approval_id=approval_id)
            run = self._admit_in(tx, self._admission(judged, queued, [*told, entries.run_moved(queued)], decided))
            entered(tx, run)
            return run

        with wiring.pressure.timing(LATENCY, wiring.clock):
            return await shielded(wiring.store.write(queue))

    def _spend(self, tx: Tx, judged: Judged, approval_id: str) -> approvals.Approval:
        """The approval, spent for this run and no other."""
        spent = self._wiring.approvals.spend(
            tx,
            tenant_id=judged.call.caller.tenant_id,
            approval_id=approval_id,
            binding_digest=judged.call.binding(role=self.role(judged)).digest,
            spent_by=judged.run_id,
        )
        release(tx, self._wiring, spent, reason="approval_spent_elsewhere")
        return spent

    async def begin(self, judged: Judged, accepted: Run, decided: Decision, begun: Begun) -> Run:
        """Set it to work: with its attempt and, of an operation that is data, its first send. Raises also what spending the
        run's approval raises, and OutcomeUnsaved for a write that may have been admitted."""
        wiring, rows = self._wiring, begun.records()

        def drawn(before: Sequence[Entry]) -> Admission:
            admission = self._admission(judged, accepted, [*before, *begun.entries(judged.call)], decided)
            return replace(admission, attempt=rows.attempt, send=rows.send, lease=rows.lease)

        def spend(tx: Tx, approval_id: str) -> Run:
            return self._admit_in(tx, drawn([entries.approval_moved(self._spend(tx, judged, approval_id))]))

        try:
            if (approval_id := accepted.approval_id) is None:
                return await self._commit(drawn([]))
            with wiring.pressure.timing(LATENCY, wiring.clock):
                return await shielded(wiring.store.write(lambda tx: spend(tx, approval_id)))
        except StoreError as error:
            if error.details.get(WRITTEN) != "unknown":
                raise  # there is no such run, so none is named
            with of_run(judged.run_id):
                raise _unanswered(judged, error) from error

    def _admission(self, judged: Judged, run: Run, told: Sequence[Entry], decided: Decision) -> Admission:
        return drawing.admission(judged.call, run, told, decided, signer=self._wiring.signer, ids=self._wiring.ids)

    async def _commit(self, admission: Admission) -> Run:
        """Admit on the hot path."""
        with self._wiring.pressure.timing(LATENCY, self._wiring.clock):
            admitted = await shielded(self._wiring.ledger.admit(admission))
        return _own(admission, admitted)

    def _admit_in(self, tx: Tx, admission: Admission) -> Run:
        return _own(admission, self._wiring.ledger.admit_in(tx, admission))


def _own(admission: Admission, admitted: Admitted) -> Run:
    if admitted.run_id != admission.run.run_id:
        raise KeyTaken(admitted.run_id)
    return admission.run


def _unanswered(judged: Judged, error: StoreError) -> InterlockError:
    """What a lost answer means to a caller, who must not ask again for a write that recovery may carry out."""
    call = judged.call
    if call.operation.effect is sdk.Effect.READ:
        return error
    return OutcomeUnsaved(
        f"whether {call.capability.capability_id} was admitted is unknown, and if it was, recovery carries it out: "
        f"{error.message}",
        next_step="Mend the store, then run `interlock runs recover`. If `interlock runs show RUN` knows no such run, it was "
        "not admitted, and may be asked for again.",
        details={"cause": error.to_json()},
    )
