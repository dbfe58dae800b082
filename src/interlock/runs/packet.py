"""The review packet: all that is known of one run in one canonical JSON text, which proves itself.

    {"contract": "interlock.packet/v1",
     "events":  [{"body": …, "hash": …}, …]       the chain, each body byte for byte as it was hashed
     "records": {run, attempts, sends, …, head, keys, projection}
     "seal":    {digests of all records, key, signature}}

Three proofs overlap: the chain proves the events, the events prove the records (see `entries`), and the seal, signed at
export, proves every byte and so also what no event speaks of (the connection as it is now, the capability's description).
The head's own signature is older than the seal: it was made when the run ended, so it speaks against whoever changed the
database between then and the export. A run that has not ended has no such signature, and the packet says so.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import orjson

from interlock import approvals, connections
from interlock.kernel import JSON, Tx, canonical, digest_bytes, to_rfc3339
from interlock.runs import entries, signing
from interlock.runs.ledger import AttemptEnd, Ledger, SendEnd
from interlock.runs.model import Artifact, Attempt, Decision, Event, Run, Send
from interlock.runs.projection import project
from interlock.runs.review_errors import LedgerDamaged

CONTRACT = "interlock.packet/v1"
SEAL_CONTRACT = "interlock.seal/v1"
_PAGE = 1000
_Approvals: TypeAlias = Sequence[approvals.Approval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a packet is made of. `connection` is the connection as it is now; `capability` is the catalog's description
    of the operation that ran."""

    run: Run
    attempts: Sequence[Attempt]
    sends: Sequence[Send]
    events: Sequence[Event]
    artifacts: Sequence[Artifact]
    decisions: Sequence[Decision]
    approvals: _Approvals = ()
    connection: connections.Connection | None = None
    capability: Mapping[str, JSON] | None = None


def read(
    ledger: Ledger,
    tx: Tx,
    run: Run,
    *,
    approvals: _Approvals = (),
    connection: connections.Connection | None = None,
    capability: Mapping[str, JSON] | None = None,
) -> Material:
    """Gather a run's records on one snapshot."""
    events: list[Event] = []
    while page := ledger.list_events(
        tx, run.tenant_id, run.run_id, after_seq=events[-1].seq if events else 0, limit=_PAGE
    ):
        events.extend(page)
    return Material(
        run=run,
        attempts=ledger.list_attempts(tx, run.tenant_id, run.run_id),
        sends=ledger.list_sends(tx, run.tenant_id, run.run_id),
        events=events,
        artifacts=ledger.list_artifacts(tx, run.tenant_id, run.run_id),
        decisions=ledger.list_decisions(tx, run.tenant_id, run.run_id),
        approvals=approvals,
        connection=connection,
        capability=capability,
    )


def build(material: Material, *, signer: signing.Signer, keys: Mapping[str, str], at: datetime) -> bytes:
    """The packet, sealed by `signer` at the moment `at`; `keys` are all public ones by their ids. Raises LedgerDamaged if a
    stored text has no canonical JSON, or if the key that signed the head is gone: without it nobody could verify.

    A run whose records contradict its events gets its packet all the same: to say so is the verifier's task.
    """
    run = material.run
    records = {name: _canonical(value, name) for name, value in _records(material, signer.key_id, keys).items()}
    statement: dict[str, JSON] = {
        "contract": SEAL_CONTRACT,
        "digests": {name: digest_bytes(record) for name, record in records.items()},
        "exported_at": to_rfc3339(at),
        "key_id": signer.key_id,
        "run_id": run.run_id,
        "tenant_id": run.tenant_id,
    }
    seal = canonical({**statement, "signature": signer.sign(canonical(statement))})
    parts = ",".join(f'"{name}":{records[name].decode()}' for name in sorted(records))
    # One join: the events of a long run are many megabytes, and each further copy of them all would show.
    pieces = [f'{{"body":{event.body},"hash":"{event.hash}"}}' for event in material.events] or [""]
    pieces[0] = f'{{"contract":"{CONTRACT}","events":[{pieces[0]}'
    pieces[-1] += f'],"records":{{{parts}}},"seal":{seal.decode()}}}'
    return ",".join(pieces).encode()


def _records(material: Material, sealed_by: str, keys: Mapping[str, str]) -> dict[str, JSON]:
    run = material.run
    key_ids = {sealed_by, run.signing_key_id or sealed_by}
    if lost := key_ids - keys.keys():
        raise LedgerDamaged(f"the store has no signing key {', '.join(sorted(lost))[:100]}, which signed {run.run_id}")
    return {
        "run": _run(run),
        "attempts": _attempts(material),
        "sends": [_send(send) for send in material.sends],
        "artifacts": [_artifact(artifact) for artifact in material.artifacts],
        "decisions": [_decision(decision) for decision in material.decisions],
        "approvals": [_approval(approval) for approval in material.approvals],
        "connection": None if material.connection is None else _connection(material.connection),
        "capability": material.capability,
        "head": {
            "head_hash": run.head_hash,
            "head_seq": run.head_seq,
            "key_id": run.signing_key_id,
            "signature": run.signature,
        },
        "keys": signing.key_list({key_id: keys[key_id] for key_id in key_ids}),
        "projection": project(
            run, attempts=material.attempts, events=material.events, artifacts=material.artifacts
        ).to_json(),
    }


def _run(run: Run) -> dict[str, JSON]:
    return {
        **entries.run_accepted(run)[1],
        **entries.run_moved(run)[1],
        "run_id": run.run_id,
        "state": run.state.value,
        "created_at": to_rfc3339(run.created_at),
        "finished_at": _moment(run.finished_at),
        "input": _parse(run.input_json, "the run's input"),
    }


def _attempts(material: Material) -> list[JSON]:
    # What an attempt was allowed stands in its event only; the ledger's row names the lease and nothing more.
    begun: dict[JSON, Mapping[str, JSON]] = {}
    for event in material.events:
        if event.type == "attempt.started":
            data = entries.data_of(event)
            begun[data.get("attempt_id")] = data
    records: list[JSON] = []
    for attempt in material.attempts:
        data = begun.get(attempt.attempt_id, {})
        moment = attempt.finished_at or attempt.started_at
        end = AttemptEnd(attempt_id=attempt.attempt_id, state=attempt.state, finished_at=moment, error=attempt.error)
        records.append(
            {
                **entries.attempt_started(attempt)[1],
                **entries.attempt_ended(end)[1],
                "lease": data.get("lease"),
                "subject": data.get("subject"),
                "started_at": to_rfc3339(attempt.started_at),
                "finished_at": _moment(attempt.finished_at),
            }
        )
    return records


def _send(send: Send) -> JSON:
    end = SendEnd(
        send_id=send.send_id,
        delivery=send.delivery,
        receipt_json=send.receipt_json,
        finished_at=send.finished_at or send.started_at,
    )
    where = f"send {send.send_id}"
    return {
        **entries.send_intended(send)[1],
        **entries.send_settled(end)[1],
        "started_at": to_rfc3339(send.started_at),
        "finished_at": _moment(send.finished_at),
        "intent": _parse(send.intent_json, where),
        "receipt": None if send.receipt_json is None else _parse(send.receipt_json, where),
    }


def _artifact(artifact: Artifact) -> JSON:
    """Text stays readable; other content is base64; large content is in the blob store, under the digest."""
    content: JSON = None
    if artifact.content is not None:
        try:
            content = {"text": artifact.content.decode()}
        except UnicodeDecodeError:
            content = {"base64": base64.b64encode(artifact.content).decode()}
    return {
        **entries.artifact_recorded(artifact)[1],
        "created_at": to_rfc3339(artifact.created_at),
        "content": content,
    }


def _decision(decision: Decision) -> JSON:
    return {
        **entries.policy_decided(decision)[1],
        "at": to_rfc3339(decision.at),
        "facts": _parse(decision.facts_json, f"decision {decision.decision_id}"),
    }


def _approval(approval: approvals.Approval) -> JSON:
    return {
        **entries.approval_facts(approval),
        "binding": approval.binding.to_json(),
        "edited_input": approval.edited_input,
        "summary": approval.summary,
    }


def _connection(connection: connections.Connection) -> JSON:
    return {
        "connection_id": connection.connection_id,
        "connector_id": connection.connector_id,
        "profile_id": connection.profile_id,
        "name": connection.name,
        "subject": connection.subject,
        "base_url": connection.base_url,
        "scopes": sorted(connection.scopes),
        "state": connection.state.value,
        "reason": connection.reason,
        "created_by": connection.created_by,
        "created_at": to_rfc3339(connection.created_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)


def _canonical(value: JSON, where: str) -> bytes:
    try:
        return canonical(value)
    except ValueError as error:
        raise LedgerDamaged(f"{where}: {error}") from error


def _parse(text: str, where: str) -> JSON:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise LedgerDamaged(f"{where}: the stored text is not JSON ({error})") from error
