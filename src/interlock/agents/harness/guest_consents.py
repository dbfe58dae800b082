"""People's yes to what a guest's loop wants: asked for in the transaction that holds the turn, spent in the one that tells of
it."""

from dataclasses import dataclass, replace
from typing import cast

from interlock import approvals, kernel, runs
from interlock.agents.harness import guest_journal
from interlock.agents.harness.asking import GUEST_CONTRACT
from interlock.agents.harness.consenting import NOBODY
from interlock.agents.harness.guest_journal import Consent, GuestSheet, Said
from interlock.agents.harness.means import Means
from interlock.kernel import JSON, Tx


async def is_waited_for(means: Means, run: runs.Run, sheet: GuestSheet) -> bool:
    """Whether somebody is still asked about the turn."""
    ids = [str(each["approval_id"]) for each in sheet.asked.values()]

    def read(tx: Tx) -> bool:
        desk = means.wiring.approvals
        found = [desk.find_in(tx, tenant_id=run.tenant_id, approval_id=each) for each in ids]
        return any(each is not None and each.state is approvals.State.PENDING for each in found)

    return await means.wiring.store.read(read)


def requested(consent: Consent, approval: approvals.Approval) -> list[runs.Entry]:
    """What the chain tells of a consent that is asked for."""
    return [runs.approval_moved(approval), guest_journal.asked(consent, approval.approval_id)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestConsents:
    """The approvals of one turn."""

    means: Means
    working: runs.Working
    sheet: GuestSheet

    def request(self, tx: Tx, consent: Consent) -> approvals.Approval:
        """Ask for it."""
        run = self.working.journal.run
        summary: dict[str, JSON] = {
            "capability": f"{run.capability}.{consent.name}",
            "display_name": consent.name,
            "effect": None,
            "actor": run.actor,
            "agent": run.capability,
            "environment": run.environment,
            "call_id": consent.call_id,
            "input": dict(consent.arguments),
            "input_schema": consent.schema,
            "reasons": [consent.reason],
        }
        return self.means.wiring.approvals.request(
            tx, binding=self._binding(consent), summary=summary, run_id=run.run_id
        )

    def _binding(self, consent: Consent) -> approvals.Binding:
        run = self.working.journal.run
        return approvals.Binding(
            tenant_id=run.tenant_id,
            actor=run.actor,
            capability_id=f"{run.capability}.{consent.name}",
            manifest_digest=kernel.digest([GUEST_CONTRACT, run.capability, run.input_digest]),
            connection_id=None,
            service="",
            subject=f"{run.run_id}:{consent.key}",
            environment=run.environment,
            targets=(),
            input_digest=kernel.digest(dict(consent.arguments)),
            role=self.means.wiring.policy.reviewer,
        )

    async def take(self) -> None:
        """Take what people have decided: each yes is spent in the transaction that tells of it. Raises what spending raises,
        StaleRun and StoreError."""
        if not self.sheet.asked:
            return
        moved: list[approvals.Approval] = []
        told: list[runs.Entry] = []

        def write(tx: Tx) -> None:
            moved.clear()
            told.clear()
            for key, data in self.sheet.asked.items():
                if (said := self._said(tx, key, data, moved)) is not None:
                    told.append(guest_journal.decided(key, said))

        await self.means.tasks.note(
            self.working,
            lambda: [*(runs.approval_moved(each) for each in moved), *told],
            approval_id=lambda: moved[-1].approval_id if moved else None,
            beside=write,
        )
        for kind, data in told:
            guest_journal.follow(self.sheet, kind, data)

    def _said(self, tx: Tx, key: str, data: guest_journal.Data, moved: list[approvals.Approval]) -> Said | None:
        desk, tenant_id = self.means.wiring.approvals, self.working.journal.run.tenant_id
        approval_id = str(data["approval_id"])
        found = desk.find_in(tx, tenant_id=tenant_id, approval_id=approval_id)
        if found is None or found.state in (approvals.State.EXPIRED, approvals.State.CANCELLED):
            return Said(approved=False, reason=NOBODY)
        if found.state is approvals.State.PENDING:
            return None
        if found.state is approvals.State.DENIED:
            return Said(approved=False, reason=found.reason)
        binding = self._binding(guest_journal.consent_of(key, data))
        edited = cast("dict[str, JSON] | None", found.edited_input)
        if edited is not None:
            binding = replace(binding, input_digest=kernel.digest(edited))
        try:
            spent = desk.spend(
                tx,
                tenant_id=tenant_id,
                approval_id=approval_id,
                binding_digest=binding.digest,
                spent_by=self.working.journal.run.run_id,
            )
        except approvals.ApprovalExpired:  # since it was looked up
            return Said(approved=False, reason=NOBODY)
        moved.append(spent)
        return Said(approved=True, reason=spent.reason, arguments=edited)
