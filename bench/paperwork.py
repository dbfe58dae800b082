"""The ledger's part of one direct call, by the product's own hands: what is written before the effect and after it."""

from dataclasses import replace
from datetime import timedelta

from bench.subject import Rooms
from interlock import policy, runs
from interlock.kernel import canonical, digest_bytes
from interlock.runs import chain, drawing, entries
from interlock.runs.journal import Journal, Move, Records

_DIGEST = digest_bytes(b"bench")
_INTENT = canonical(
    {
        "allowed_hosts": ["api.acme.dev:443"],
        "body_digest": _DIGEST,
        "body_size": 103,
        "contract": "interlock.http-intent/v1",
        "headers": [["accept", "application/json"], ["content-type", "application/json"]],
        "method": "POST",
        "timeouts": {"connect_ms": 10000, "pool_ms": 10000, "read_ms": 30000, "total_ms": 60000, "write_ms": 15000},
        "url": "https://api.acme.dev/tickets",
    }
)
_RECEIPT = canonical(
    {
        "body_digest": _DIGEST,
        "body_size": 102,
        "bytes_sent": 312,
        "contract": "interlock.receipt/v1",
        "delivery": "responded",
        "evidence": [{"data": {"status": 201}, "hash": _DIGEST, "prev": _DIGEST, "seq": 1, "type": "finished"}],
        "headers": [["content-type", "application/json"], ["content-length", "102"]],
        "status": 201,
    }
).decode()
_OUTPUT = b'{"author":"octo-agent","labels":["track"],"number":7,"state":"open","title":"Signal 7 fails"}'


class Paperwork:
    """Writes whole runs: an admission with decision, lease, attempt, send and four events; an outcome with the send's and
    the attempt's end, an artifact, four events and the signed head. Only the intent and the receipt are made beforehand."""

    def __init__(self, rooms: Rooms) -> None:
        self._wiring = rooms.wiring
        self._call = rooms.call

    async def once(self) -> runs.Run:
        """One run, from nothing to completed."""
        admission = await self.admit()
        return await self._finish(admission.run, admission)

    async def admit(self) -> runs.Admission:
        """A run that has begun."""
        admission = self._admission()
        await self._wiring.ledger.admit(admission)
        return admission

    def _admission(self) -> runs.Admission:
        wiring, call = self._wiring, self._call
        assert call.resolved is not None
        at, run_id = wiring.clock.now(), wiring.ids.new("run")
        verdict = wiring.policy.decide(facts := call.policy_facts({}))
        assert verdict.effect is policy.Effect.ALLOW
        decided = drawing.decision(call, run_id, 1, verdict, facts, ids=wiring.ids, at=at)
        run = drawing.new_run(call, run_id, at).moved(state=runs.State.RUNNING, attempt_count=1)
        scopes, hosts = frozenset(call.operation.scopes), frozenset({call.host})
        lease = wiring.connections.lease(call.resolved, scopes=scopes, hosts=hosts, run_id=run_id)
        attempt = runs.Attempt(
            attempt_id=wiring.ids.new("att"),
            run_id=run_id,
            tenant_id=run.tenant_id,
            number=1,
            state=runs.AttemptState.RUNNING,
            owner_id=wiring.ownership.owner_id,
            fence=1,
            lease_id=lease.lease_id,
            started_at=at,
            finished_at=None,
            error=None,
        )
        send = runs.Send(
            send_id=wiring.ids.new("snd"),
            run_id=run_id,
            attempt_id=attempt.attempt_id,
            tenant_id=run.tenant_id,
            number=1,
            purpose=runs.Purpose.EFFECT,
            target_class="local-http",
            intent_json=_INTENT.decode(),
            intent_digest=digest_bytes(_INTENT),
            delivery=runs.Delivery.UNKNOWN,
            receipt_json=None,
            started_at=at,
            finished_at=None,
        )
        told = [entries.attempt_started(attempt, lease=lease, subject=call.subject), entries.send_intended(send)]
        drawn = drawing.admission(call, run, told, decided, signer=wiring.signer, ids=wiring.ids)
        return replace(drawn, attempt=attempt, send=send, lease=lease)

    async def _finish(self, run: runs.Run, admission: runs.Admission) -> runs.Run:
        wiring, attempt, send = self._wiring, admission.attempt, admission.send
        assert attempt is not None
        assert send is not None
        at = wiring.clock.now()
        journal = Journal(run, store=wiring.store, ledger=wiring.ledger, signer=wiring.signer, ids=wiring.ids)
        artifact = runs.Artifact(
            artifact_id=wiring.ids.new("art"),
            run_id=attempt.run_id,
            attempt_id=attempt.attempt_id,
            tenant_id=attempt.tenant_id,
            name="output",
            media_type="application/json",
            digest=digest_bytes(_OUTPUT),
            size=len(_OUTPUT),
            content=_OUTPUT,
            blob_key=None,
            redacted=False,
            created_at=at,
        )
        attempt_end = runs.AttemptEnd(attempt_id=attempt.attempt_id, state=runs.AttemptState.COMPLETED, finished_at=at)
        send_end = runs.SendEnd(
            send_id=send.send_id, delivery=runs.Delivery.RESPONDED, receipt_json=_RECEIPT, finished_at=at
        )
        await journal.write(
            [entries.send_settled(send_end), entries.artifact_recorded(artifact), entries.attempt_ended(attempt_end)],
            at=at,
            move=Move(state=runs.State.COMPLETED),
            records=Records(attempt_end=attempt_end, send_end=send_end, artifacts=(artifact,)),
        )
        return journal.run

    async def long_run(self, events: int) -> runs.Run:
        """A completed run with that many events, most of them small notes."""
        wiring, admission = self._wiring, await self.admit()
        run = admission.run
        left = events - run.head_seq - 4
        while left:
            size, at = min(left, 500), wiring.clock.now() + timedelta(microseconds=1)
            notes: list[entries.Entry] = [
                ("step.noted", {"number": number, "text": "x" * 120, "digest": _DIGEST}) for number in range(size)
            ]
            events_, seq, head = chain.append(run, notes, ids=wiring.ids, at=at)
            after = replace(run, head_seq=seq, head_hash=head, updated_at=at)
            await wiring.ledger.apply(runs.Change(before=run, after=after, events=events_))
            run, left = after, left - size
        return await self._finish(run, admission)
