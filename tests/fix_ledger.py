"""A builder of ledger values for tests: whole admissions and the changes that follow them, chained and consistent."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from interlock import connections, dispatch, runs
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.kernel import Tx, canonical, digest, to_rfc3339

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Builder:
    """Makes values with fresh ids; time moves one millisecond with every moment that is asked for."""

    def __init__(self, tenant_id: str = "default", prefix: int = 0) -> None:
        """`prefix` keeps the ids of several builders on one store apart."""
        self.tenant_id = tenant_id
        self._numbers = count(prefix * 10**9 + 1)
        self._moments = count()

    def id(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers):032x}"

    def now(self) -> datetime:
        return START + timedelta(milliseconds=next(self._moments))

    def run(self, **fields: Any) -> runs.Run:
        now = self.now()
        run_id = self.id("run")
        input_json = canonical({"repo": "acme/shop", "title": "Door is stuck"}).decode()
        values: dict[str, Any] = {
            "run_id": run_id,
            "tenant_id": self.tenant_id,
            "kind": runs.Kind.CAPABILITY,
            "origin": runs.Origin.CALL,
            "parent_run_id": None,
            "capability": "github.issue.create",
            "connector_id": "github",
            "connector_version": "1.0.0",
            "manifest_digest": digest("manifest"),
            "connection_id": None,
            "actor": "local:tester",
            "environment": "dev",
            "trace_id": run_id.removeprefix("run_"),
            "targets": ("local",),
            "idempotency_key": None,
            "input_json": input_json,
            "input_digest": digest(input_json),
            "state": runs.State.RUNNING,
            "reason": None,
            "fence": 1,
            "head_seq": 0,
            "head_hash": hashlib.sha256(run_id.encode()).hexdigest(),
            "attempt_count": 1,
            "approval_id": None,
            "error": None,
            "signature": None,
            "signing_key_id": None,
            "created_at": now,
            "updated_at": now,
            "finished_at": None,
            "deadline_at": None,
        }
        return runs.Run(**(values | fields))

    def chain(self, run: runs.Run, *types: str) -> tuple[runs.Run, tuple[runs.Event, ...]]:
        """The run with its head moved over new events of these types, and the events."""
        made: list[runs.Event] = []
        seq, head = run.head_seq, run.head_hash
        for kind in types:
            seq, at, event_id = seq + 1, self.now(), self.id("evt")
            data = {"note": "x" * 120, "state": run.state.value, "attempt": run.attempt_count}
            link = {"at": to_rfc3339(at), "data": data, "event_id": event_id, "prev": head, "seq": seq, "type": kind}
            body = canonical({**link, "run_id": run.run_id})
            head = hashlib.sha256(body).hexdigest()
            made.append(
                runs.Event(
                    event_id=event_id,
                    run_id=run.run_id,
                    tenant_id=run.tenant_id,
                    seq=seq,
                    type=kind,
                    at=at,
                    body=body.decode(),
                    hash=head,
                )
            )
        return replace(run, head_seq=seq, head_hash=head), tuple(made)

    def attempt(self, run: runs.Run, **fields: Any) -> runs.Attempt:
        values: dict[str, Any] = {
            "attempt_id": self.id("att"),
            "run_id": run.run_id,
            "tenant_id": run.tenant_id,
            "number": run.attempt_count,
            "state": runs.AttemptState.RUNNING,
            "owner_id": "own_" + "0" * 32,
            "fence": run.fence,
            "lease_id": None,
            "started_at": self.now(),
            "finished_at": None,
            "error": None,
        }
        return runs.Attempt(**(values | fields))

    def send(self, attempt: runs.Attempt, **fields: Any) -> runs.Send:
        intent = {"method": "POST", "url": "https://api.example.test/repos/acme/shop/issues", "headers": ["a" * 200]}
        values: dict[str, Any] = {
            "send_id": self.id("snd"),
            "run_id": attempt.run_id,
            "attempt_id": attempt.attempt_id,
            "tenant_id": attempt.tenant_id,
            "number": 1,
            "purpose": runs.Purpose.EFFECT,
            "target_class": "local",
            "intent_json": canonical(intent).decode(),
            "intent_digest": digest(intent),
            "delivery": runs.Delivery.UNKNOWN,
            "receipt_json": None,
            "started_at": self.now(),
            "finished_at": None,
        }
        return runs.Send(**(values | fields))

    def decision(self, run: runs.Run, **fields: Any) -> runs.Decision:
        values: dict[str, Any] = {
            "decision_id": self.id("dec"),
            "run_id": run.run_id,
            "tenant_id": run.tenant_id,
            "number": 1,
            "effect": "allow",
            "reasons": [{"rule": "reads", "text": "reads are allowed"}],
            "facts_json": canonical({"actor": run.actor, "capability": run.capability, "scopes": ["repo"]}).decode(),
            "policy_digest": digest("policy"),
            "at": self.now(),
        }
        return runs.Decision(**(values | fields))

    def artifact(self, run: runs.Run, attempt_id: str | None = None, **fields: Any) -> runs.Artifact:
        content = b'{"number":7,"state":"open","title":"Door is stuck"}'
        values: dict[str, Any] = {
            "artifact_id": self.id("art"),
            "run_id": run.run_id,
            "attempt_id": attempt_id,
            "tenant_id": run.tenant_id,
            "name": "output",
            "media_type": "application/json",
            "digest": "sha256:" + hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "content": content,
            "blob_key": None,
            "redacted": False,
            "created_at": self.now(),
        }
        return runs.Artifact(**(values | fields))

    def admission(
        self, *, key: str | None = None, key_days: float = 30, lease: connections.Lease | None = None, **fields: Any
    ) -> runs.Admission:
        """A run that begins at once: decision, attempt, first send, four events."""
        offered = self.run(idempotency_key=key, **fields)
        run, events = self.chain(offered, "run.accepted", "policy.decided", "attempt.started", "send.recorded")
        attempt = self.attempt(run, lease_id=lease and lease.lease_id)
        return runs.Admission(
            run=run,
            events=events,
            decisions=(self.decision(run),),
            attempt=attempt,
            send=self.send(attempt),
            lease=lease and replace(lease, run_id=run.run_id),
            key_expires_at=None if key is None else run.created_at + timedelta(days=key_days),
        )

    def completion(self, admission: runs.Admission, **fields: Any) -> runs.Change:
        """The end of such a run: three events, an artifact, attempt and send ended."""
        before, attempt, send = admission.run, admission.attempt, admission.send
        assert attempt is not None
        assert send is not None
        now = self.now()
        ended = replace(before, **({"state": runs.State.COMPLETED, "updated_at": now, "finished_at": now} | fields))
        after, events = self.chain(ended, "send.answered", "artifact.kept", "run.completed")
        receipt = canonical({"delivery": "responded", "evidence": ["b" * 150], "status": 201}).decode()
        return runs.Change(
            before=before,
            after=after,
            events=events,
            attempt_end=runs.AttemptEnd(
                attempt_id=attempt.attempt_id, state=runs.AttemptState.COMPLETED, finished_at=now
            ),
            send_end=runs.SendEnd(
                send_id=send.send_id, delivery=runs.Delivery.RESPONDED, receipt_json=receipt, finished_at=now
            ),
            artifacts=(self.artifact(after, attempt.attempt_id),),
        )

    def note(self, before: runs.Run, *types: str, **fields: Any) -> runs.Change:
        """A change with nothing but events (and the given fields of the run)."""
        after, events = self.chain(replace(before, **fields), *(types or ("run.noted",)))
        return runs.Change(before=before, after=after, events=events)

    def connect(self, tx: Tx) -> connections.Lease:
        """Write a connection with a credential, and give a lease on it that is not written yet."""
        session, now = sql.connection(tx), self.now()
        connection_id, credential_id = self.id("con"), self.id("crd")
        session.execute(
            tables.connections.insert().values(
                connection_id=connection_id,
                tenant_id=self.tenant_id,
                connector_id="github",
                profile_id="token",
                name=connection_id,
                state="connected",
                scopes='["repo"]',
                revision=1,
                created_by="local:tester",
                created_at=now,
                updated_at=now,
            )
        )
        session.execute(
            tables.credentials.insert().values(
                credential_id=credential_id,
                connection_id=connection_id,
                tenant_id=self.tenant_id,
                version=1,
                key_id=self.id("key"),
                fields='["token"]',
                created_at=now,
            )
        )
        return connections.Lease(
            lease_id=self.id("lse"),
            tenant_id=self.tenant_id,
            connection_id=connection_id,
            credential_id=credential_id,
            run_id=None,
            scopes=frozenset({"repo"}),
            hosts=frozenset({"api.example.test:443"}),
            issued_at=now,
            expires_at=now + timedelta(seconds=300),
        )


def dead_letter(run_id: str, tenant_id: str = "t1") -> dispatch.Due:
    """Work of a handler that is given up."""
    return dispatch.Due(
        run_id=run_id,
        tenant_id=tenant_id,
        lane="handlers",
        capability="handler.triage",
        connection_id=None,
        rank=0,
        priority=dispatch.Priority.NORMAL,
        due_at=START,
        number=1,
        tries=1,
        crashes=0,
        retry=dispatch.RetryPolicy(),
        standing=dispatch.Standing.DEAD,
        why="failed",
        deadline_at=None,
        submitted_at=START,
    )


@pytest.fixture
def builder() -> Builder:
    """Ledger values for this test."""
    return Builder()
