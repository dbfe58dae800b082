import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

import fix_review
from fix_review import Story
from interlock import approvals, runs
from interlock.kernel import Tx, canonical, digest, digest_bytes
from interlock.runs import packet, signing
from interlock.runs.review_errors import LedgerDamaged


def _records(story: Story, **changes: Any) -> dict[str, Any]:
    return orjson.loads(story.packet(**changes))["records"]


def test_a_packet_is_canonical_json_with_the_events_as_they_were_hashed() -> None:
    story = fix_review.completed()
    data = story.packet()
    assert data == canonical(orjson.loads(data))
    links = orjson.loads(data)["events"]
    assert [digest_bytes(canonical(link["body"])) for link in links] == [link["hash"] for link in links]
    assert [link["hash"] for link in links] == [event.hash for event in story.events]


def test_a_plain_call_has_eight_events() -> None:
    assert [event.type for event in fix_review.completed().events] == [
        "run.accepted",
        "policy.decided",
        "attempt.started",
        "send.intended",
        "send.settled",
        "artifact.recorded",
        "attempt.ended",
        "run.completed",
    ]


def test_the_same_material_gives_the_same_packet() -> None:
    assert fix_review.completed().packet() == fix_review.completed().packet()


def test_it_holds_what_a_reviewer_asks_for() -> None:
    records = _records(fix_review.completed())
    assert records["run"]["input"] == {"repo": "acme/rocket", "title": "Signal fails"}
    assert records["decisions"][0]["reasons"][0]["rule_id"] == "default"
    assert records["attempts"][0]["lease"]["hosts"] == ["api.acme.dev:443"]
    assert records["attempts"][0]["subject"] == "octo-agent"
    assert records["sends"][0]["receipt"]["status"] == 201
    assert records["connection"]["state"] == "connected"
    assert records["artifacts"][0]["content"] == {"text": '{"number":1}'}
    assert records["head"]["signature"]


def test_an_open_run_has_an_unsigned_head_and_an_open_attempt() -> None:
    records = _records(fix_review.still_running())
    assert records["head"]["signature"] is None
    assert records["run"]["state"] == "running"
    assert (records["attempts"][0]["state"], records["attempts"][0]["finished_at"]) == ("running", None)
    assert (records["sends"][0]["delivery"], records["sends"][0]["receipt"]) == ("unknown", None)


def test_binary_content_is_base64_and_large_content_is_named_by_digest() -> None:
    story = fix_review.still_running()
    story.commit(story.keep("image", b"\xff\x00"), story.keep("log", b"x" * 100_000, inline=False))
    image, log = _records(story)["artifacts"]
    assert image["content"] == {"base64": base64.b64encode(b"\xff\x00").decode()}
    assert log["content"] is None
    assert (log["digest"], log["size"]) == (digest_bytes(b"x" * 100_000), 100_000)


def test_an_edited_input_is_there_with_the_consent() -> None:
    story = fix_review.approved_with_edit()
    records = _records(story)
    (approval,) = records["approvals"]
    assert approval["edited_input"] == records["run"]["input"] == {"repo": "acme/rocket", "title": "Signal 7 fails"}
    assert digest(approval["binding"]) == approval["binding_digest"]
    assert (approval["state"], approval["reviewer"]) == ("spent", "local:bob")


def test_internal_columns_stay_out() -> None:
    record = _records(fix_review.completed())["run"]
    assert not record.keys() & {"fence", "updated_at", "head_seq", "signature", "input_json"}


def test_the_projection_names_evidence_and_governance_by_reference() -> None:
    story = fix_review.approved_with_edit()
    projection = _records(story)["projection"]
    assert projection["packet_ref"] == f"interlock://v1/packet/{story.run.run_id}"
    assert projection["selected_attempt"]["ref"] == f"interlock://v1/attempt/{story.attempts[-1].attempt_id}"
    assert [item["kind"] for item in projection["evidence"]] == ["artifact", "event"]
    assert [act["kind"] for act in projection["governance"]] == ["policy_decision", "approval", "policy_decision"]
    assert {act["evidence"][0]["id"] for act in projection["governance"]} <= {event.event_id for event in story.events}


def test_a_denial_is_governance_whoever_denied() -> None:
    (act,) = _records(fix_review.refused(runs.State.DENIED))["projection"]["governance"]
    assert act["kind"] == "denial"
    story = fix_review.held()
    story.commit(
        story.settle(approvals.State.DENIED, reason="no"), state=runs.State.DENIED, reason="denied_by_reviewer"
    )
    acts = _records(story)["projection"]["governance"]
    assert [act["kind"] for act in acts] == ["policy_decision", "denial"]


def test_the_keys_of_head_and_seal_are_there_and_no_others() -> None:
    old, bystander = fix_review.Signer(2, "key_" + "2" * 32), fix_review.Signer(3, "key_" + "3" * 32)
    story = fix_review.completed(signer=old)
    story.signer = fix_review.Signer(others=(old, bystander))
    assert [key["key_id"] for key in _records(story)["keys"]] == ["key_" + "1" * 32, "key_" + "2" * 32]


def test_a_packet_that_could_not_verify_is_not_sealed() -> None:
    story = fix_review.completed(signer=fix_review.Signer(2, "key_" + "2" * 32))
    story.signer = fix_review.Signer()
    with pytest.raises(LedgerDamaged, match="no signing key key_2222"):
        story.packet()


DAMAGED: dict[str, Callable[[Story], Any]] = {
    "input": lambda story: {"run": replace(story.run, input_json="{")},
    "receipt": lambda story: {"sends": [replace(story.sends[0], receipt_json="nope")]},
    "number": lambda story: {"run": replace(story.run, input_json="9007199254740993")},
    "event": lambda story: {"events": [story.events[0], replace(story.events[1], body="[]"), *story.events[2:]]},
    "data": lambda story: {"events": [*story.events[:2], replace(story.events[2], body='{"data":1}')]},
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_rows_that_are_not_json_are_a_damaged_ledger(damage: str) -> None:
    story = fix_review.completed()
    with pytest.raises(LedgerDamaged, match=r"not JSON|no event|no JSON object|no canonical JSON"):
        story.packet(**DAMAGED[damage](story))


class PagedLedger:
    """Just the reads that a packet needs."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def list_events(
        self, tx: object, tenant_id: str, run_id: str, after_seq: int = 0, limit: int = 1000
    ) -> list[runs.Event]:
        assert (tx, tenant_id, run_id) == ("tx", "acme", self._story.run.run_id)
        return self._story.events[after_seq : after_seq + min(limit, 3)]

    def __getattr__(self, name: str) -> Callable[[object, str, str], Any]:
        def rows(tx: object, tenant_id: str, run_id: str) -> Any:
            return getattr(self._story, name.removeprefix("list_"))

        return rows


def test_reading_gathers_every_page_of_events() -> None:
    story = fix_review.completed()
    ledger, connection = cast("runs.Ledger", PagedLedger(story)), story.material().connection
    material = packet.read(ledger, cast("Tx", "tx"), story.run, connection=connection)
    assert material == story.material(approvals=(), capability=None)


def test_a_trust_file_survives_its_round_trip() -> None:
    trust = signing.Trust(fix_review.Signer(others=(fix_review.Signer(2, "key_2"),)).public_keys())
    assert signing.Trust.parse(trust.dump()) == trust


KEY = {"algorithm": "ed25519", "key_id": "key_1", "public_key": base64.b64encode(b"k" * 32).decode()}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not JSON"),
        (b"[]", "contract"),
        (canonical({"contract": "interlock.trust/v2", "keys": [KEY]}), "contract"),
        (canonical({"contract": signing.TRUST_CONTRACT, "keys": []}), "names no keys"),
        (canonical({"contract": signing.TRUST_CONTRACT, "keys": ["key"]}), "exactly algorithm"),
        (canonical({"contract": signing.TRUST_CONTRACT, "keys": [KEY | {"comment": ""}]}), "exactly algorithm"),
        (canonical({"contract": signing.TRUST_CONTRACT, "keys": [KEY | {"algorithm": "rsa"}]}), "must be ed25519"),
        (canonical({"contract": signing.TRUST_CONTRACT, "keys": [KEY | {"key_id": ""}]}), "key_id"),
        (canonical({"contract": signing.TRUST_CONTRACT, "keys": [KEY | {"public_key": "AAAA"}]}), "32 bytes"),
        (canonical({"contract": signing.TRUST_CONTRACT, "keys": [KEY | {"public_key": "é"}]}), "32 bytes"),
        (
            canonical({"contract": signing.TRUST_CONTRACT, "keys": [KEY, KEY | {"public_key": "A" * 43 + "="}]}),
            "twice with different keys",
        ),
        (b" " * 1_100_000, "the limit is"),
    ],
)
def test_a_bad_trust_file_is_refused_with_the_place(content: bytes, complaint: str) -> None:
    with pytest.raises(signing.InvalidTrust, match=complaint):
        signing.Trust.parse(content)
