"""Runs as the invoke path leaves them behind, written down without a store: material for packets."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from interlock import approvals, connections, runs
from interlock.kernel import canonical, digest, digest_bytes
from interlock.runs import chain, entries, packet, signing, transitions
from interlock.runs.archive import add, genesis, pack, seal
from interlock.testing import SequentialIds

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2**52), 2**52)
    | st.floats(1e21, allow_infinity=False)
    | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)
"""Any JSON that can be written down. Floats between 2⁵³ and 10²¹ have the text of integers that RFC 8785 lacks."""

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
EXPORT = START + timedelta(hours=1)


class Signer:
    """A signer with a key that is the same in every run of a test."""

    def __init__(self, seed: int = 1, key_id: str = "key_" + "1" * 32, others: "Sequence[Signer]" = ()) -> None:
        self.key_id = key_id
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self._others = others

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self._key.sign(data)).decode()

    def public_keys(self) -> dict[str, str]:
        keys = {self.key_id: base64.b64encode(self._key.public_key().public_bytes_raw()).decode()}
        for other in self._others:
            keys |= other.public_keys()
        return keys


class Story:
    """Tells one run, commit by commit, a second apart; keeps the rows that a ledger would."""

    def __init__(self, *, signer: Signer | None = None, input_: Any = None) -> None:
        self.signer = signer or Signer()
        self.ids = SequentialIds()
        self.now = START
        self.events: list[runs.Event] = []
        self.attempts: list[runs.Attempt] = []
        self.sends: list[runs.Send] = []
        self.artifacts: list[runs.Artifact] = []
        self.decisions: list[runs.Decision] = []
        self.approvals: list[approvals.Approval] = []
        self.run = _run(
            self.ids.new("run"), {"title": "Signal fails", "repo": "acme/rocket"} if input_ is None else input_
        )

    def commit(self, *written: entries.Entry, state: runs.State | None = None, **changes: Any) -> None:
        """One change of the run: given entries, then `run.<state>` for a move that no entry says."""
        changes = {"state": state or self.run.state, "reason": None, "error": None} | changes
        final = changes["state"] in transitions.FINAL
        run = replace(self.run, **changes, updated_at=self.now, finished_at=self.now if final else None)
        log = list(written)
        if state is not None and state not in (runs.State.ACCEPTED, runs.State.RUNNING):
            log.append(entries.run_moved(run))
        events, seq, head = chain.append(self.run, log, ids=self.ids, at=self.now)
        run = replace(run, head_seq=seq, head_hash=head, signature=None, signing_key_id=None)
        if final:
            signature = signing.sign_head(
                self.signer,
                tenant_id=run.tenant_id,
                run_id=run.run_id,
                head_seq=seq,
                head_hash=head,
                state=run.state,
            )
            run = replace(run, signature=signature, signing_key_id=self.signer.key_id)
        self.run = run
        self.events.extend(events)
        self.now += timedelta(seconds=1)

    def decide(self, effect: str) -> entries.Entry:
        """Policy speaks."""
        decision = runs.Decision(
            decision_id=self.ids.new("dec"),
            run_id=self.run.run_id,
            tenant_id="acme",
            number=len(self.decisions) + 1,
            effect=effect,
            reasons=[{"rule_id": "default", "effect": effect, "text": "no rule says otherwise"}],
            facts_json='{"capability_id":"github.issue.create","effect":"create","pressure":{"budget_left":0.5}}',
            policy_digest=digest("policy"),
            at=self.now,
        )
        self.decisions.append(decision)
        return entries.policy_decided(decision)

    def ask(self) -> entries.Entry:
        """A person is asked."""
        binding = approvals.Binding(
            tenant_id="acme",
            actor="local:ada",
            capability_id="github.issue.create",
            manifest_digest=digest("manifest"),
            connection_id="con_" + "c" * 32,
            service="https://api.github.com",
            subject="octo-agent",
            environment="dev",
            targets=("local-http",),
            input_digest=self.run.input_digest,
            role="approver",
        )
        approval = approvals.Approval(
            approval_id=self.ids.new("apr"),
            tenant_id="acme",
            run_id=self.run.run_id,
            binding=binding,
            summary={"title": "Create an issue"},
            state=approvals.State.PENDING,
            requester="local:ada",
            role="approver",
            reviewer=None,
            reason=None,
            edited_input=None,
            created_at=self.now,
            expires_at=self.now + timedelta(hours=24),
            decided_at=None,
            spent_at=None,
            spent_by=None,
        )
        self.approvals.append(approval)
        return entries.approval_moved(approval)

    def settle(self, state: approvals.State, **changes: Any) -> entries.Entry:
        """The approval moves, and the run tells so."""
        self.approvals[-1] = replace(
            self.approvals[-1], state=state, reviewer="local:bob", decided_at=self.now, **changes
        )
        return entries.approval_moved(self.approvals[-1])

    def start(self) -> tuple[entries.Entry, entries.Entry]:
        """An attempt begins, with its first send."""
        attempt = runs.Attempt(
            attempt_id=self.ids.new("att"),
            run_id=self.run.run_id,
            tenant_id="acme",
            number=len(self.attempts) + 1,
            state=runs.AttemptState.RUNNING,
            owner_id=self.ids.new("own"),
            fence=len(self.attempts) + 1,
            lease_id=self.ids.new("lse"),
            started_at=self.now,
            finished_at=None,
            error=None,
        )
        self.attempts.append(attempt)
        lease = connections.Lease(
            lease_id=str(attempt.lease_id),
            tenant_id="acme",
            connection_id="con_" + "c" * 32,
            credential_id="crd_" + "d" * 32,
            run_id=self.run.run_id,
            scopes=frozenset({"repo"}),
            hosts=frozenset({"api.acme.dev:443"}),
            issued_at=self.now,
            expires_at=self.now + timedelta(seconds=300),
        )
        intent = canonical({"method": "POST", "url": "https://api.acme.dev/issues", "body_digest": digest("body")})
        send = runs.Send(
            send_id=self.ids.new("snd"),
            run_id=self.run.run_id,
            attempt_id=attempt.attempt_id,
            tenant_id="acme",
            number=1,
            purpose=runs.Purpose.EFFECT,
            target_class="local-http",
            intent_json=intent.decode(),
            intent_digest=digest_bytes(intent),
            delivery=runs.Delivery.UNKNOWN,
            receipt_json=None,
            started_at=self.now,
            finished_at=None,
        )
        self.sends.append(send)
        return entries.attempt_started(attempt, lease=lease, subject="octo-agent"), entries.send_intended(send)

    def finish(
        self,
        delivery: runs.Delivery = runs.Delivery.RESPONDED,
        state: runs.AttemptState = runs.AttemptState.COMPLETED,
        error: Any = None,
    ) -> list[entries.Entry]:
        """The send is settled, its answer kept, the attempt over."""
        receipt = canonical({"delivery": delivery.value, "status": 201, "evidence_head": digest("evidence")}).decode()
        send = replace(self.sends[-1], delivery=delivery, receipt_json=receipt, finished_at=self.now)
        attempt = replace(self.attempts[-1], state=state, error=error, finished_at=self.now)
        self.sends[-1], self.attempts[-1] = send, attempt
        self.keep("output.json", b'{"number":1}')
        return [
            entries.send_settled(
                runs.SendEnd(send_id=send.send_id, delivery=delivery, receipt_json=receipt, finished_at=self.now)
            ),
            entries.artifact_recorded(self.artifacts[-1]),
            entries.attempt_ended(
                runs.AttemptEnd(attempt_id=attempt.attempt_id, state=state, finished_at=self.now, error=error)
            ),
        ]

    def keep(self, name: str, content: bytes, *, inline: bool = True) -> entries.Entry:
        """An artifact."""
        artifact = runs.Artifact(
            artifact_id=self.ids.new("art"),
            run_id=self.run.run_id,
            attempt_id=self.attempts[-1].attempt_id,
            tenant_id="acme",
            name=name,
            media_type="application/json",
            digest=digest_bytes(content),
            size=len(content),
            content=content if inline else None,
            blob_key=None if inline else "blob",
            redacted=False,
            created_at=self.now,
        )
        self.artifacts.append(artifact)
        return entries.artifact_recorded(artifact)

    def material(self, **changes: Any) -> packet.Material:
        """What a packet is made of."""
        material = packet.Material(
            run=self.run,
            attempts=self.attempts,
            sends=self.sends,
            events=self.events,
            artifacts=self.artifacts,
            decisions=self.decisions,
            approvals=self.approvals,
            connection=_connection(),
            capability={"display_name": "Create an issue", "effect": "create"},
        )
        return replace(material, **changes)

    def packet(self, **changes: Any) -> bytes:
        """The packet of the run as it stands."""
        return packet.build(self.material(**changes), signer=self.signer, keys=self.signer.public_keys(), at=EXPORT)


def completed(**options: Any) -> Story:
    """A plain call that went well: eight events."""
    story = Story(**options)
    story.commit(entries.run_accepted(story.run), story.decide("allow"), *story.start(), state=runs.State.RUNNING)
    story.commit(*story.finish(), state=runs.State.COMPLETED)
    return story


def still_running() -> Story:
    """A call whose answer is not there yet."""
    story = Story()
    story.commit(entries.run_accepted(story.run), story.decide("allow"), *story.start(), state=runs.State.RUNNING)
    return story


def refused(state: runs.State) -> Story:
    """A call that policy denied or shed."""
    story = Story()
    effect = "deny" if state is runs.State.DENIED else "shed"
    story.commit(entries.run_accepted(story.run), story.decide(effect), state=state, reason="default")
    return story


def held() -> Story:
    """A call that waits for a person."""
    story = Story()
    asked = story.decide("ask"), story.ask()
    story.commit(
        entries.run_accepted(story.run),
        *asked,
        state=runs.State.HELD,
        reason="default",
        approval_id=story.approvals[-1].approval_id,
    )
    return story


def approved_with_edit() -> Story:
    """A call that a person corrected and approved, and that then went well."""
    story = held()
    text = canonical({"title": "Signal 7 fails", "repo": "acme/rocket"})
    edited = replace(story.run, input_json=text.decode(), input_digest=digest_bytes(text))
    binding = replace(story.approvals[-1].binding, input_digest=edited.input_digest)
    spent = story.settle(
        approvals.State.SPENT,
        binding=binding,
        edited_input={"title": "Signal 7 fails", "repo": "acme/rocket"},
        spent_by=story.run.run_id,
        spent_at=story.now + timedelta(milliseconds=3),
    )
    story.commit(
        spent,
        entries.input_edited(edited),
        story.decide("allow"),
        *story.start(),
        state=runs.State.RUNNING,
        input_json=edited.input_json,
        input_digest=edited.input_digest,
    )
    story.commit(*story.finish(), state=runs.State.COMPLETED)
    return story


def retried_and_failed() -> Story:
    """Two attempts, the first one's outcome unknown and settled later, the second one failed."""
    story = still_running()
    error = {"code": "read_timeout", "message": "no answer within 30 s"}
    story.commit(
        *story.finish(runs.Delivery.UNKNOWN, runs.AttemptState.LOST, error),
        state=runs.State.WAITING,
        reason="unknown_outcome",
        error=error,
    )
    send = replace(story.sends[-1], delivery=runs.Delivery.REJECTED, finished_at=story.now)
    story.sends[-1] = send
    end = runs.SendEnd(
        send_id=send.send_id, delivery=send.delivery, receipt_json=send.receipt_json, finished_at=story.now
    )
    story.commit(
        ("reconcile.concluded", {"send_id": send.send_id, "verdict": "absent", "matches": 0}),
        entries.send_settled(end),
        state=runs.State.RETRY_SCHEDULED,
        reason="retry",
        error=error,
    )
    newer = replace(story.run, connector_version="1.0.1", manifest_digest=digest("newer manifest"))
    story.commit(
        entries.manifest_changed(newer),
        *story.start(),
        state=runs.State.RUNNING,
        connector_version=newer.connector_version,
        manifest_digest=newer.manifest_digest,
    )
    story.commit(
        *story.finish(runs.Delivery.RESPONDED, runs.AttemptState.FAILED, error),
        state=runs.State.FAILED,
        reason="provider_error",
        error=error,
    )
    return story


def _run(run_id: str, input_: Any) -> runs.Run:
    text = canonical(input_)
    return runs.Run(
        run_id=run_id,
        tenant_id="acme",
        kind=runs.Kind.CAPABILITY,
        origin=runs.Origin.CALL,
        parent_run_id=None,
        capability="github.issue.create",
        connector_id="github",
        connector_version="1.0.0",
        manifest_digest=digest("manifest"),
        connection_id="con_" + "c" * 32,
        actor="local:ada",
        environment="dev",
        trace_id="trace-1",
        targets=("local-http",),
        idempotency_key="issue-1",
        input_json=text.decode(),
        input_digest=digest_bytes(text),
        state=runs.State.ACCEPTED,
        reason=None,
        fence=1,
        head_seq=0,
        head_hash=chain.genesis(run_id),
        attempt_count=0,
        approval_id=None,
        error=None,
        signature=None,
        signing_key_id=None,
        created_at=START,
        updated_at=START,
        finished_at=None,
        deadline_at=START + timedelta(minutes=2),
    )


def _connection() -> connections.Connection:
    return connections.Connection(
        connection_id="con_" + "c" * 32,
        tenant_id="acme",
        connector_id="github",
        profile_id="token",
        name="octo",
        subject="octo-agent",
        state=connections.State.CONNECTED,
        reason=None,
        base_url=None,
        scopes=frozenset({"repo"}),
        current_credential_id="crd_" + "d" * 32,
        revision=1,
        created_by="local:ada",
        created_at=START,
        updated_at=START,
    )


def archive(*stories: Story, signer: Signer | None = None, public_key: str | None = None) -> bytes:
    """An archive of these runs, closed under the signer's seal."""
    signer = signer or Signer()
    opened = runs.Archive(
        archive_id="arc_1", tenant_id="acme", number=1, folder="", name="", runs=0, size=0,
        after=genesis("acme"), head=genesis("acme"), opened_at=START, claimed_until=START,
    )  # fmt: skip
    filled, _, content = add(opened, [(story.run, story.packet()) for story in stories])
    key = public_key or signer.public_keys()[signer.key_id]
    return content + pack((seal(filled, signer, public_key=key, at=EXPORT).seal_json or "").encode())
