"""What each event says. A record's facts stand in the event that was written in the same commit, so the chain proves the
records: a packet's records are compared with what its events say.

Two rules make that cheap. The moments of a record (`created_at`, `started_at`, `finished_at`, `at`) are the `at` of its
event, so they are not repeated; content (input, intent, receipt, facts, artifact) stands in the event as its digest.
Events of other types may be written freely (`reconcile.concluded`, `run.cancel_requested` …): the chain covers them, and no
record hangs on them.
"""

from collections.abc import Mapping
from typing import TypeAlias

import orjson

from interlock import approvals, connections
from interlock.kernel import JSON, digest, digest_bytes, to_rfc3339
from interlock.runs.ledger import AttemptEnd, SendEnd
from interlock.runs.model import Artifact, Attempt, Decision, Event, Run, Send, State
from interlock.runs.review_errors import LedgerDamaged

Entry: TypeAlias = tuple[str, dict[str, JSON]]
"""An event to be: its type and its data."""

MOVES: Mapping[str, State] = {f"run.{state}": state for state in State}
"""The event types that say in which state the run is from then on. `attempt.started` says `running`, too."""


def run_accepted(run: Run) -> Entry:
    """The first event of every run, also of one that is denied, shed or held in the same breath."""
    return "run.accepted", {
        "tenant_id": run.tenant_id,
        "kind": run.kind.value,
        "origin": run.origin.value,
        "parent_run_id": run.parent_run_id,
        "capability": run.capability,
        "connector_id": run.connector_id,
        "connector_version": run.connector_version,
        "manifest_digest": run.manifest_digest,
        "connection_id": run.connection_id,
        "actor": run.actor,
        "environment": run.environment,
        "trace_id": run.trace_id,
        "targets": list(run.targets),
        "idempotency_key": run.idempotency_key,
        "input_digest": run.input_digest,
        "deadline_at": None if run.deadline_at is None else to_rfc3339(run.deadline_at),
    }


def run_moved(run: Run) -> Entry:
    """The run as it will be: its new state and why. Of every change of state but the one that `attempt_started` says."""
    return f"run.{run.state}", {"approval_id": run.approval_id, "error": run.error, "reason": run.reason}


def input_edited(run: Run) -> Entry:
    """A reviewer changed the input before approving; the run has the new one."""
    return "run.input_edited", {"approval_id": run.approval_id, "input_digest": run.input_digest}


def manifest_changed(run: Run) -> Entry:
    """A retry goes on under a newer manifest of the connector, equal in schemas, effect and scopes."""
    return "run.manifest_changed", {
        "connector_version": run.connector_version,
        "manifest_digest": run.manifest_digest,
    }


def policy_decided(decision: Decision) -> Entry:
    """What policy said, also when it allowed."""
    return "policy.decided", {
        "decision_id": decision.decision_id,
        "number": decision.number,
        "effect": decision.effect,
        "reasons": decision.reasons,
        "facts_digest": digest_bytes(decision.facts_json.encode()),
        "policy_digest": decision.policy_digest,
    }


def approval_moved(approval: approvals.Approval) -> Entry:
    """An approval as it stands now: requested, spent, denied, expired or cancelled."""
    settled = "requested" if approval.state is approvals.State.PENDING else approval.state.value
    return f"approval.{settled}", approval_facts(approval)


def approval_facts(approval: approvals.Approval) -> dict[str, JSON]:
    """What events and packets say of an approval; binding and edited input by their digests."""
    return {
        "approval_id": approval.approval_id,
        "state": approval.state.value,
        "binding_digest": approval.binding_digest,
        "requester": approval.requester,
        "role": approval.role,
        "reviewer": approval.reviewer,
        "reason": approval.reason,
        "edited_input_digest": None if approval.edited_input is None else digest(approval.edited_input),
        "created_at": to_rfc3339(approval.created_at),
        "expires_at": to_rfc3339(approval.expires_at),
        "decided_at": None if approval.decided_at is None else to_rfc3339(approval.decided_at),
        "spent_by": approval.spent_by,
    }


def attempt_started(attempt: Attempt, *, lease: connections.Lease | None = None, subject: str | None = None) -> Entry:
    """A try begins, under this lease, as this subject of the service. The run is `running` from here on."""
    return "attempt.started", {
        "attempt_id": attempt.attempt_id,
        "number": attempt.number,
        "owner_id": attempt.owner_id,
        "fence": attempt.fence,
        "lease_id": attempt.lease_id,
        "lease": None if lease is None else lease_facts(lease),
        "subject": subject,
    }


def lease_facts(lease: connections.Lease) -> dict[str, JSON]:
    """What a lease permits. Never the secret."""
    return {
        "lease_id": lease.lease_id,
        "connection_id": lease.connection_id,
        "credential_id": lease.credential_id,
        "scopes": sorted(lease.scopes),
        "hosts": sorted(lease.hosts),
        "expires_at": to_rfc3339(lease.expires_at),
    }


def attempt_ended(end: AttemptEnd) -> Entry:
    """How the try ended."""
    return "attempt.ended", {"attempt_id": end.attempt_id, "state": end.state.value, "error": end.error}


def send_intended(send: Send) -> Entry:
    """One effect is about to leave; its outcome is unknown until `send.settled`."""
    return "send.intended", {
        "send_id": send.send_id,
        "attempt_id": send.attempt_id,
        "number": send.number,
        "purpose": send.purpose.value,
        "target_class": send.target_class,
        "intent_digest": send.intent_digest,
    }


def send_settled(end: SendEnd) -> Entry:
    """What became known of the effect. May come again when more becomes known; the last one holds."""
    return "send.settled", {
        "send_id": end.send_id,
        "delivery": end.delivery.value,
        "receipt_digest": None if end.receipt_json is None else digest_bytes(end.receipt_json.encode()),
    }


def artifact_recorded(artifact: Artifact) -> Entry:
    """Content was kept, under its digest."""
    return "artifact.recorded", {
        "artifact_id": artifact.artifact_id,
        "attempt_id": artifact.attempt_id,
        "name": artifact.name,
        "media_type": artifact.media_type,
        "digest": artifact.digest,
        "size": artifact.size,
        "redacted": artifact.redacted,
    }


def data_of(event: Event) -> Mapping[str, JSON]:
    """What an event says. Raises LedgerDamaged if its stored body is no event."""
    try:
        data = orjson.loads(event.body)["data"]
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise LedgerDamaged(f"event {event.seq} of {event.run_id}: the stored body is no event") from error
    if not isinstance(data, dict):
        raise LedgerDamaged(f"event {event.seq} of {event.run_id}: its data is no JSON object")
    return data  # pyright: ignore[reportUnknownVariableType] - JSON objects have text keys
