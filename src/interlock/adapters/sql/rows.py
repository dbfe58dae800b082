"""The ledger's values as rows, and back. A row is a tuple in the order of its table's columns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, TypeAlias, cast

import orjson
from sqlalchemy import RowMapping, Table

from interlock import connections, runs
from interlock.adapters.sql import tables
from interlock.kernel import JSON, canonical, to_micros

Record: TypeAlias = Mapping[str, Any] | RowMapping
"""One row as SQLAlchemy reads it (`Result.mappings()`), moments already datetimes."""

SqlRow: TypeAlias = tuple[str | int | bytes | bool | None, ...]
"""One row as the drivers take it."""


def pack(value: JSON) -> str:
    """JSON for a text column."""
    return canonical(value).decode()


def unpack(text: str) -> Any:
    """What `pack` wrote."""
    return orjson.loads(text)


def pack_set(names: Iterable[str]) -> str:
    """A set of names for a text column: always in the same order."""
    return pack(sorted(names))


def optional(value: JSON) -> str | None:
    """JSON for a text column that may be empty."""
    return None if value is None else pack(value)


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _read(record: Record, **read: object) -> dict[str, Any]:
    """A record's values by name, with those that need more than the column type put in."""
    return {**cast("Mapping[str, Any]", record), **read}


def read_optional(text: str | None) -> Any:
    """What `optional` wrote."""
    return None if text is None else unpack(text)


def run_row(run: runs.Run) -> SqlRow:
    return (
        run.run_id,
        run.tenant_id,
        run.kind.value,
        run.origin.value,
        run.parent_run_id,
        run.capability,
        run.connector_id,
        run.connector_version,
        run.manifest_digest,
        run.connection_id,
        run.actor,
        run.environment,
        run.trace_id,
        pack(list(run.targets)),
        run.idempotency_key,
        run.input_json,
        run.input_digest,
        run.state.value,
        run.reason,
        run.fence,
        run.head_seq,
        run.head_hash,
        run.attempt_count,
        run.approval_id,
        optional(run.error),
        run.signature,
        run.signing_key_id,
        to_micros(run.created_at),
        to_micros(run.updated_at),
        _micros(run.finished_at),
        _micros(run.deadline_at),
        run.traceparent,
    )


def run_from(record: Record) -> runs.Run:
    return runs.Run(**_of_run(record))


def listed_from(record: Record) -> runs.Listed:
    return runs.Listed(**_of_run(record))


def _of_run(record: Record) -> dict[str, Any]:
    return _read(
        record,
        kind=runs.Kind(record["kind"]),
        origin=runs.Origin(record["origin"]),
        state=runs.State(record["state"]),
        targets=tuple(unpack(record["targets"])),
        error=read_optional(record["error"]),
    )


def attempt_row(attempt: runs.Attempt) -> SqlRow:
    return (
        attempt.attempt_id,
        attempt.run_id,
        attempt.tenant_id,
        attempt.number,
        attempt.state.value,
        attempt.owner_id,
        attempt.fence,
        attempt.lease_id,
        to_micros(attempt.started_at),
        _micros(attempt.finished_at),
        optional(attempt.error),
    )


def attempt_from(record: Record) -> runs.Attempt:
    return runs.Attempt(
        **_read(record, state=runs.AttemptState(record["state"]), error=read_optional(record["error"])),
    )


def send_row(send: runs.Send) -> SqlRow:
    return (
        send.send_id,
        send.run_id,
        send.attempt_id,
        send.tenant_id,
        send.number,
        send.purpose.value,
        send.target_class,
        send.intent_json,
        send.intent_digest,
        send.delivery.value,
        send.receipt_json,
        to_micros(send.started_at),
        _micros(send.finished_at),
    )


def send_from(record: Record) -> runs.Send:
    return runs.Send(
        **_read(record, purpose=runs.Purpose(record["purpose"]), delivery=runs.Delivery(record["delivery"])),
    )


def event_row(event: runs.Event) -> SqlRow:
    return (
        event.run_id,
        event.seq,
        event.event_id,
        event.tenant_id,
        event.type,
        to_micros(event.at),
        event.body,
        event.hash,
    )


def event_from(record: Sequence[Any]) -> runs.Event:
    """From a row in the table's order: a run may have ten thousand, and names would cost more than all the rest."""
    run_id, seq, event_id, tenant_id, kind, at, body, digest = record
    return runs.Event(
        event_id=event_id, run_id=run_id, tenant_id=tenant_id, seq=seq, type=kind, at=at, body=body, hash=digest
    )


def artifact_row(artifact: runs.Artifact) -> SqlRow:
    return (
        artifact.artifact_id,
        artifact.run_id,
        artifact.attempt_id,
        artifact.tenant_id,
        artifact.name,
        artifact.media_type,
        artifact.digest,
        artifact.size,
        artifact.content,
        artifact.blob_key,
        artifact.redacted,
        to_micros(artifact.created_at),
    )


def artifact_from(record: Record) -> runs.Artifact:
    return runs.Artifact(**_read(record))


def decision_row(decision: runs.Decision) -> SqlRow:
    return (
        decision.decision_id,
        decision.run_id,
        decision.tenant_id,
        decision.number,
        decision.effect,
        pack(decision.reasons),
        decision.facts_json,
        decision.policy_digest,
        to_micros(decision.at),
    )


def decision_from(record: Record) -> runs.Decision:
    return runs.Decision(**_read(record, reasons=unpack(record["reasons"])))


def lease_row(lease: connections.Lease) -> SqlRow:
    return (
        lease.lease_id,
        lease.tenant_id,
        lease.connection_id,
        lease.credential_id,
        lease.run_id,
        pack_set(lease.scopes),
        pack_set(lease.hosts),
        to_micros(lease.issued_at),
        to_micros(lease.expires_at),
        _micros(lease.revoked_at),
    )


def lease_from(record: Record) -> connections.Lease:
    return connections.Lease(
        **_read(record, scopes=frozenset(unpack(record["scopes"])), hosts=frozenset(unpack(record["hosts"]))),
    )


MOVING: Final = (
    "state",
    "reason",
    "fence",
    "head_seq",
    "head_hash",
    "attempt_count",
    "approval_id",
    "error",
    "signature",
    "signing_key_id",
    "updated_at",
    "finished_at",
    "deadline_at",
)
"""What nearly every change sets."""

EDITABLE: Final = (
    "connector_version",
    "manifest_digest",
    "connection_id",
    "targets",
    "input_json",
    "input_digest",
)
"""What a change seldom sets, kept apart because the input may be large. All else about a run stays as admitted."""

_editable = attrgetter(*EDITABLE)


def moving_row(run: runs.Run) -> SqlRow:
    return (
        run.state.value,
        run.reason,
        run.fence,
        run.head_seq,
        run.head_hash,
        run.attempt_count,
        run.approval_id,
        optional(run.error),
        run.signature,
        run.signing_key_id,
        to_micros(run.updated_at),
        _micros(run.finished_at),
        _micros(run.deadline_at),
    )


def editable_row(change: runs.Change) -> SqlRow | None:
    """The seldom columns, or None if the change leaves them as they are."""
    if _editable(change.before) == _editable(change.after):
        return None
    run = change.after
    return (
        run.connector_version,
        run.manifest_digest,
        run.connection_id,
        pack(list(run.targets)),
        run.input_json,
        run.input_digest,
    )


def attempt_end_row(change: runs.Change) -> SqlRow:
    end = change.attempt_end
    assert end is not None
    return (end.state.value, to_micros(end.finished_at), optional(end.error), end.attempt_id, change.after.run_id)


def send_end_row(change: runs.Change) -> SqlRow:
    end = change.send_end
    assert end is not None
    return (end.delivery.value, end.receipt_json, to_micros(end.finished_at), end.send_id, change.after.run_id)


def dependants(items: Sequence[runs.Admission | runs.Change]) -> dict[Table, list[SqlRow]]:
    """What is inserted along with runs, by table, parents before children; tables without rows are left out."""
    found: dict[Table, list[SqlRow]] = {
        tables.leases: [lease_row(item.lease) for item in items if item.lease],
        tables.attempts: [attempt_row(item.attempt) for item in items if item.attempt],
        tables.sends: [send_row(item.send) for item in items if item.send],
        tables.events: [event_row(event) for item in items for event in item.events],
        tables.decisions: [decision_row(decision) for item in items for decision in item.decisions],
        tables.artifacts: [
            artifact_row(artifact) for item in items if isinstance(item, runs.Change) for artifact in item.artifacts
        ],
    }
    return {table: lines for table, lines in found.items() if lines}
