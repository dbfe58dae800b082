"""A person's yes to what a turn wants: asked for in the transaction that holds the turn, spent in the one that tells of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, cast

from interlock import approvals, kernel, runs
from interlock.agents import turns
from interlock.agents.harness import journal
from interlock.agents.harness.asking import Asked
from interlock.agents.harness.means import Means
from interlock.agents.harness.pen import Pen
from interlock.agents.terms import thawed
from interlock.kernel import JSON, Tx

SHOWN: Final = 4000
"""Characters of an input or an answer that a reviewer is shown in the request; the run has all of it."""

NOBODY: Final = "nobody has decided in time"
_OVER: Final = (approvals.State.EXPIRED, approvals.State.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consenting:
    """The approvals of one turn."""

    means: Means
    pen: Pen
    asked: Asked

    def request(self, tx: Tx, consents: Sequence[turns.Consent]) -> list[approvals.Approval]:
        """Ask for each."""
        return [self._request(tx, each) for each in consents]

    def _request(self, tx: Tx, consent: turns.Consent) -> approvals.Approval:
        run, operation = self.pen.working.journal.run, self.pen.plan.find(consent.operation or "")
        approval = None if operation is None else operation.approval
        expires = None if approval is None else approval.expires_after_s
        summary: dict[str, JSON] = {
            "capability": self._name(consent),
            "display_name": consent.operation or f"the {consent.boundary} of {self.asked.spec.id}",
            "effect": None if operation is None else operation.idempotency.value,
            "actor": run.actor,
            "agent": self.asked.spec.id,
            "fingerprint": self.pen.plan.fingerprint,
            "environment": run.environment,
            "session_id": self.asked.session_id,
            "call_id": consent.call_id,
            "input": self._shown(consent),
            "reasons": [each for each in (consent.reason, approval and approval.message) if each],
            "control": consent.control,
        }
        return self.means.wiring.approvals.request(
            tx,
            binding=self._binding(consent),
            summary=summary,
            run_id=run.run_id,
            expires_after=None if expires is None else timedelta(seconds=expires),
        )

    def _name(self, consent: turns.Consent) -> str:
        return f"{self.asked.name}.{consent.operation or consent.boundary}"

    def _binding(self, consent: turns.Consent) -> approvals.Binding:
        run = self.pen.working.journal.run
        return approvals.Binding(
            tenant_id=run.tenant_id,
            actor=run.actor,
            capability_id=self._name(consent),
            manifest_digest=self.pen.plan.fingerprint,
            connection_id=None,
            service="",
            subject=f"{run.run_id}:{consent.key}",  # this call of this turn: the same in another one is another question
            environment=run.environment,
            targets=(),
            input_digest=kernel.digest(self._input(consent)),
            role=consent.role or self.means.wiring.policy.reviewer,
        )

    def _input(self, consent: turns.Consent) -> JSON:
        """What exactly is consented to."""
        if consent.call_id is not None:
            return cast("JSON", thawed(consent.arguments))
        state = self.pen.sheet.state
        if consent.boundary == "input":
            return {"text": state.input}
        return {"text": "" if state.concluded is None else state.concluded.message.text}

    def _shown(self, consent: turns.Consent) -> JSON:
        if consent.call_id is not None:
            return self._input(consent)
        return {"text": str(cast("dict[str, JSON]", self._input(consent))["text"])[:SHOWN]}

    async def take(self) -> bool:
        """Take what people have decided so far: each yes is spent in the transaction that tells of it. Whether anything was.
        Raises what spending raises, UnexpectedEvent, StaleRun and StoreError."""
        moved: list[approvals.Approval] = []

        def drawn(tx: Tx) -> list[tuple[turns.AnyEvent, dict[str, JSON]]]:
            moved.clear()
            events: list[tuple[turns.AnyEvent, dict[str, JSON]]] = []
            for consent, found in self._decisions(tx):
                events.append((self._decision(tx, consent, found, moved), {"key": consent.key}))
            return events

        if not await self.means.wiring.store.read(lambda tx: bool(self._decisions(tx))):
            return False
        await self.pen.decide(
            drawn,
            lambda: [runs.approval_moved(each) for each in moved],
            lambda: moved[-1].approval_id if moved else None,
        )
        return True

    def is_decided(self, tx: Tx, put_off: Sequence[turns.Perform]) -> bool:
        """Whether everything that the turn waits for was decided: what it asked itself, and about what policy holds."""
        desk, sheet, tenant_id = self.means.wiring.approvals, self.pen.sheet, self.pen.working.journal.run.tenant_id
        ids = [sheet.asked[each.key] for each in sheet.wanted if each.key in sheet.asked]
        ids += [str(sheet.put_off[each.key]["approval_id"]) for each in put_off]
        found = [desk.find_in(tx, tenant_id=tenant_id, approval_id=each) for each in ids]
        return all(each is not None and each.state is not approvals.State.PENDING for each in found)

    def _decisions(self, tx: Tx) -> list[tuple[turns.Consent, approvals.Approval]]:
        desk, tenant_id = self.means.wiring.approvals, self.pen.working.journal.run.tenant_id
        found: list[tuple[turns.Consent, approvals.Approval]] = []
        for each in self.pen.sheet.wanted:
            approval_id = self.pen.sheet.asked.get(each.key) if isinstance(each, turns.Consent) else None
            approval = approval_id and desk.find_in(tx, tenant_id=tenant_id, approval_id=approval_id)
            if approval and approval.state is not approvals.State.PENDING:
                found.append((cast("turns.Consent", each), approval))
        return found

    def _decision(
        self, tx: Tx, consent: turns.Consent, found: approvals.Approval, moved: list[approvals.Approval]
    ) -> turns.Decided:
        run = self.pen.working.journal.run
        if found.state is approvals.State.DENIED:
            return turns.Decided(call_id=consent.call_id, approved=False, reason=found.reason)
        if found.state in _OVER:
            return turns.Decided(call_id=consent.call_id, approved=False, reason=NOBODY)
        binding, edited = self._binding(consent), found.edited_input
        if edited is not None:
            binding = replace(binding, input_digest=kernel.digest(edited))
        try:
            spent = self.means.wiring.approvals.spend(
                tx,
                tenant_id=run.tenant_id,
                approval_id=found.approval_id,
                binding_digest=binding.digest,
                spent_by=run.run_id,
            )
        except approvals.ApprovalExpired:  # since it was looked up
            return turns.Decided(call_id=consent.call_id, approved=False, reason=NOBODY)
        moved.append(spent)
        arguments = cast("dict[str, JSON] | None", edited)
        return turns.Decided(call_id=consent.call_id, approved=True, reason=spent.reason, arguments=arguments)


def requested(approval: approvals.Approval, consent: turns.Consent) -> list[runs.Entry]:
    """What the chain tells of a consent that is asked for."""
    return [runs.approval_moved(approval), journal.asked(consent, approval.approval_id)]
