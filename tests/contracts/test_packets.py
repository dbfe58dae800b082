"""What a ledger gives back must be what was written: the packet of a run read from a store is, byte for byte, that of the run."""

from dataclasses import replace

import pytest

import fix_review
from interlock import runs
from interlock.adapters import sql
from interlock.kernel import Tx
from interlock.runs import entries, packet, signing
from interlock.runs.verify import verify

pytestmark = pytest.mark.anyio

ERROR = {"code": "read_timeout", "message": "no answer \u2028 é \U0001f682", "details": {"seconds": 1.0, "ratio": 2.5}}


async def test_a_packet_from_the_store_is_the_packet_of_the_run(store: sql.SqlStore, ledger: sql.SqlLedger) -> None:
    story = fix_review.Story(input_={"title": "é\U0001f682", "weight": 0.25, "deep": [{"a": [None, True, -1]}]})
    story.commit(entries.run_accepted(story.run), story.decide("allow"), *story.start(), state=runs.State.RUNNING)
    begun, known = story.run, len(story.events)
    await ledger.admit(
        runs.Admission(
            run=begun,
            events=tuple(story.events),
            decisions=tuple(story.decisions),
            attempt=story.attempts[0],
            send=story.sends[0],
        )
    )
    story.commit(
        *story.finish(runs.Delivery.UNKNOWN, runs.AttemptState.FAILED, ERROR),
        state=runs.State.FAILED,
        reason="read_timeout",
        error=ERROR,
    )
    attempt, send = story.attempts[0], story.sends[0]
    assert attempt.finished_at is not None
    await ledger.apply(
        runs.Change(
            before=begun,
            after=story.run,
            events=tuple(story.events[known:]),
            attempt_end=runs.AttemptEnd(
                attempt_id=attempt.attempt_id, state=attempt.state, finished_at=attempt.finished_at, error=attempt.error
            ),
            send_end=runs.SendEnd(
                send_id=send.send_id,
                delivery=send.delivery,
                receipt_json=send.receipt_json,
                finished_at=attempt.finished_at,
            ),
            artifacts=tuple(story.artifacts),
        )
    )

    def read(tx: Tx) -> packet.Material:
        run = ledger.find_run(tx, story.run.tenant_id, story.run.run_id)
        assert run is not None
        return packet.read(ledger, tx, run)

    read_back = packet.build(
        await store.read(read), signer=story.signer, keys=story.signer.public_keys(), at=fix_review.EXPORT
    )
    assert read_back == story.packet(connection=None, capability=None)
    assert verify(read_back, trust=signing.Trust(story.signer.public_keys())).ok
    changed = replace(await store.read(read), decisions=())
    assert verify(
        packet.build(changed, signer=story.signer, keys=story.signer.public_keys(), at=fix_review.EXPORT)
    ).problems
