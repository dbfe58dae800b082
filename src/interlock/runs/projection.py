"""A run in references: what a reviewer is to look at, without the content."""

from collections.abc import Mapping, Sequence

from interlock.runs import entries, refs
from interlock.runs.model import Artifact, Attempt, Event, Run

_ACTS: Mapping[str, tuple[refs.GovernanceKind, str]] = {
    "policy.decided": ("policy_decision", "decision_id"),
    "approval.spent": ("approval", "approval_id"),
    "approval.denied": ("denial", "approval_id"),
}
"""Events that record an act of governance: its kind, and the fact that names it. A decision that denies is a denial."""


def project(
    run: Run, *, attempts: Sequence[Attempt], events: Sequence[Event], artifacts: Sequence[Artifact]
) -> refs.ReviewProjection:
    """The projection of a run: its last attempt counts, its artifacts and its last event are the evidence, policy's
    decisions and people's approvals are the governance. Raises LedgerDamaged."""
    subject = refs.SubjectRef(kind="run", id=run.run_id)
    packet_ref = refs.derive("packet", run.run_id)

    def evidence(kind: refs.SubjectKind, id_: str) -> refs.EvidenceRef:
        return refs.EvidenceRef(kind=kind, id=id_, packet_ref=packet_ref, subject=subject)

    governance: list[refs.GovernanceRef] = []
    for event in (event for event in events if event.type in _ACTS):
        kind, id_ = _act(event)
        proof = (evidence("event", event.event_id),)
        governance.append(refs.GovernanceRef(kind=kind, id=id_, subject=subject, evidence=proof))
    return refs.ReviewProjection(
        packet_ref=packet_ref,
        subject=subject,
        selected_attempt=refs.SubjectRef(kind="attempt", id=attempts[-1].attempt_id) if attempts else None,
        evidence=(
            *(evidence("artifact", artifact.artifact_id) for artifact in artifacts),
            *(evidence("event", event.event_id) for event in events[-1:]),
        ),
        governance=tuple(governance),
    )


def _act(event: Event) -> tuple[refs.GovernanceKind, str]:
    """What an act of governance was, and of which decision or approval."""
    kind, name = _ACTS[event.type]
    data = entries.data_of(event)
    return ("denial" if data.get("effect") == "deny" else kind), str(data.get(name))
