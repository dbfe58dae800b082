import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fix_review
from fix_review import Story
from interlock import approvals, runs
from interlock.kernel import canonical, digest, digest_bytes
from interlock.runs import chain, entries, envelope, packet, signing
from interlock.runs.verdict import Status
from interlock.runs.verify import verify

STORIES: dict[str, Callable[[], Story]] = {
    "completed": fix_review.completed,
    "running": fix_review.still_running,
    "denied": lambda: fix_review.refused(runs.State.DENIED),
    "shed": lambda: fix_review.refused(runs.State.SHED),
    "held": fix_review.held,
    "approved": fix_review.approved_with_edit,
    "failed": fix_review.retried_and_failed,
}
PACKETS = {name: story().packet() for name, story in STORIES.items()}
TRUST = signing.Trust(fix_review.Signer().public_keys())
INTACT = (Status.VERIFIED, Status.INTACT_SIGNER_UNKNOWN)
SMALL, LARGE = PACKETS["denied"], PACKETS["approved"]


def _wheres(data: bytes) -> set[str]:
    return {problem.where for problem in verify(data, trust=TRUST).problems}


def _reseal(value: dict[str, Any], signer: fix_review.Signer) -> bytes:
    """What somebody with a key of their own can do to a changed packet."""
    statement = {name: item for name, item in value["seal"].items() if name != "signature"}
    public = {key["key_id"]: key["public_key"] for key in value["records"]["keys"]} | signer.public_keys()
    value["records"]["keys"] = signing.key_list(public)
    statement["digests"] = {name: digest(record) for name, record in value["records"].items()}
    statement["key_id"] = signer.key_id
    value["seal"] = statement | {"signature": signer.sign(canonical(statement))}
    return canonical(value)


@pytest.mark.parametrize("name", STORIES)
def test_a_packet_of_any_run_verifies(name: str) -> None:
    verdict = verify(PACKETS[name], trust=TRUST)
    assert (verdict.status, verdict.problems, verdict.ok) == (Status.VERIFIED, (), True)
    assert verdict.ended == (name not in ("running", "held"))
    assert verdict.signers == (fix_review.Signer().key_id,)
    assert (verdict.tenant_id, verdict.exported_at) == ("acme", "2026-01-01T13:00:00.000000Z")


@pytest.mark.parametrize("name", STORIES)
def test_without_trusted_keys_the_signer_is_unknown(name: str) -> None:
    verdict = verify(PACKETS[name])
    assert (verdict.status, verdict.ok) == (Status.INTACT_SIGNER_UNKNOWN, False)


@given(content=fix_review.JSON_VALUES)
def test_any_content_verifies(content: Any) -> None:
    story = fix_review.Story(input_={"value": content})
    accepted = entries.run_accepted(story.run)
    story.commit(accepted, ("note", {"x": content}), story.decide("deny"), state=runs.State.DENIED, reason="no")
    assert verify(story.packet(capability={"content": content}), trust=TRUST).problems == ()


def test_every_single_changed_byte_of_a_small_packet_is_found() -> None:
    for at, byte in enumerate(SMALL):
        changed = SMALL[:at] + bytes([byte ^ 1]) + SMALL[at + 1 :]
        verdict = verify(changed, trust=TRUST)
        assert verdict.status not in INTACT, at
        assert verdict.problems, at


@given(at=st.integers(0, len(LARGE) - 1), byte=st.integers(0, 255))
def test_any_changed_byte_is_found(at: int, byte: int) -> None:
    changed = LARGE[:at] + bytes([byte]) + LARGE[at + 1 :]
    assert (verify(changed, trust=TRUST).status in INTACT) == (changed == LARGE)


@given(at=st.integers(0, len(LARGE)), insert=st.binary(min_size=1, max_size=4))
def test_any_inserted_bytes_are_found(at: int, insert: bytes) -> None:
    harmless = at == len(LARGE) and insert == b"\n"
    assert (verify(LARGE[:at] + insert + LARGE[at:]).status in INTACT) == harmless


@pytest.mark.parametrize("name", STORIES)
def test_one_line_feed_after_the_end_is_no_alteration(name: str) -> None:
    assert verify(PACKETS[name] + b"\n", trust=TRUST) == verify(PACKETS[name], trust=TRUST)
    for more in (b"\n\n", b"\r\n", b" ", b"\n ", b" \n", b"\0"):
        assert verify(PACKETS[name] + more, trust=TRUST).status is Status.MALFORMED
    assert verify(b"\n" + PACKETS[name], trust=TRUST).status is Status.MALFORMED
    for byte in range(256):
        assert (verify(PACKETS[name] + bytes([byte])).status in INTACT) == (byte == ord("\n"))


@given(start=st.integers(0, len(LARGE) - 1), count=st.integers(1, 200))
def test_any_removed_bytes_are_found(start: int, count: int) -> None:
    assert verify(LARGE[:start] + LARGE[start + count :]).status not in INTACT


@pytest.mark.parametrize("event", range(1, 9))
def test_a_changed_character_in_an_event_names_that_event_alone(event: int) -> None:
    data = PACKETS["completed"]
    links = orjson.loads(data)["events"]
    event_id = links[event - 1]["body"]["event_id"].encode()
    at = data.index(b'"event_id":"' + event_id) + 20
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    (problem,) = verify(changed, trust=TRUST).problems
    assert problem.where == f"event {event} ({links[event - 1]['body']['type']})"


@pytest.mark.parametrize(
    ("find", "where"),
    [
        ('"text":"{\\"number\\":1', "artifact art_"),
        ('"receipt":{"delivery":"responde', "send snd_"),
        ('"body_digest":"sha256:0', "send snd_"),
        ('"pressure":{"budget_left":0.', "decision dec_"),
        ('"display_name":"Create an issu', "capability"),
        ('"connection":{"base_url":null,"connection_id":"con_c', "connection"),
        ('"input":{"repo":"acm', "run"),
        ('"subject":"octo-agen', "attempt att_"),
        ('"public_key":"iojj3XQ', "keys"),
        ('"head_seq":', "head"),
        ('"exported_at":"2026-01-01T1', "seal"),
        ('"selected_attempt":{"id":"att_0', "projection"),
    ],
)
def test_a_changed_character_in_a_record_names_that_record(find: str, where: str) -> None:
    # After the events: the same words stand there, too.
    data = PACKETS["completed"]
    start = data.index(b'],"records":{')
    at = data.find(find.encode(), start)
    if at < 0:
        at = data.index(find[:-1].encode(), start) - 1
    at += len(find)
    changed = data[:at] + (b"1" if data[at : at + 1] != b"1" else b"2") + data[at + 1 :]
    verdict = verify(changed, trust=TRUST)
    assert verdict.status is Status.ALTERED
    assert verdict.problems[0].where.startswith(where), verdict.problems


@given(length=st.integers(0, len(LARGE) - 1))
def test_a_truncated_packet_is_malformed(length: int) -> None:
    verdict = verify(LARGE[:length], trust=TRUST)
    assert verdict.status is Status.MALFORMED


def test_a_truncated_packet_is_called_so_and_says_where_it_ends() -> None:
    second = LARGE.index(b'"seq":2')
    (problem,) = verify(LARGE[:second]).problems
    assert problem == ("event 2", f"cut short, or damaged at its end, after {second} bytes")
    assert verify(LARGE[:-1]).problems[0].where == "seal"
    assert verify(LARGE[: LARGE.index(b'"sends":[{') + 20]).problems[0].where == "sends"


def test_a_packet_signed_again_by_another_key_is_a_wrong_signer() -> None:
    value = orjson.loads(PACKETS["running"])
    value["records"]["capability"]["effect"] = "read"
    stranger = fix_review.Signer(9, "key_" + "9" * 32)
    forged = _reseal(value, stranger)
    verdict = verify(forged, trust=TRUST)
    assert verdict.status is Status.WRONG_SIGNER
    assert "not among the keys you trust" in verdict.problems[0].what
    assert verify(forged).status is Status.INTACT_SIGNER_UNKNOWN


def test_another_key_under_the_trusted_name_is_a_wrong_signer() -> None:
    value = orjson.loads(PACKETS["running"])
    verdict = verify(_reseal(value, fix_review.Signer(9)), trust=TRUST)
    assert verdict.status is Status.WRONG_SIGNER
    assert "another public key than the one you trust" in verdict.problems[0].what


def test_a_history_written_anew_by_another_key_is_a_wrong_signer() -> None:
    stranger = fix_review.Signer(9, "key_" + "9" * 32)
    assert verify(fix_review.completed(signer=stranger).packet(), trust=TRUST).status is Status.WRONG_SIGNER


def test_both_keys_of_a_rotation_must_be_trusted() -> None:
    old = fix_review.Signer(2, "key_" + "2" * 32)
    story = fix_review.completed(signer=old)
    story.signer = fix_review.Signer(others=(old,))
    data = story.packet()
    assert verify(data, trust=signing.Trust(story.signer.public_keys())).ok
    verdict = verify(data, trust=TRUST)
    assert (verdict.status, verdict.problems[0].where) == (Status.WRONG_SIGNER, "head")
    assert verdict.signers == (story.signer.key_id, old.key_id)


def test_a_head_signed_by_a_lost_key_is_not_believed() -> None:
    old = fix_review.Signer(2, "key_" + "2" * 32)
    story = fix_review.completed(signer=old)
    story.signer = fix_review.Signer(others=(old,))
    packet = orjson.loads(story.packet())
    packet["records"]["keys"] = [key for key in packet["records"]["keys"] if key["key_id"] != old.key_id]
    assert _wheres(_reseal(packet, fix_review.Signer())) == {"head"}


@pytest.mark.parametrize(("contract", "status"), [
    ("interlock.packet/v2", Status.NEWER_VERSION),
    ("interlock.packet/v10", Status.NEWER_VERSION),
    ("interlock.packet/v0", Status.MALFORMED),
    ("interlock.packet/v", Status.MALFORMED),
    ("interlock.packet/v²", Status.MALFORMED),
    ("interlock.head/v2", Status.MALFORMED),
    ("2", Status.MALFORMED),
    (2, Status.MALFORMED),
    (None, Status.MALFORMED),
])  # fmt: skip
def test_the_contract_tells_newer_versions_from_other_things(contract: Any, status: Status) -> None:
    verdict = verify(canonical({"contract": contract, "whatever": []}))
    assert (verdict.status, verdict.problems[0].where) == (status, "contract")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"contract":"interlock.packet/v1"}',
        b'{"contract":"interlock.packet/v1","events":{},"records":{},"seal":{}}',
        b'{"contract":"interlock.packet/v1","events":[1],"records":{},"seal":{}}',
        b'{"contract":"interlock.packet/v1","events":[{"body":{},"hash":"x"}],"records":{},"seal":{}}',
        b'{"contract":"interlock.packet/v1","events":[' + b"[" * 500 + b"]" * 500 + b'],"records":{},"seal":{}}',
        b'{"contract":"interlock.packet/v1","events":[],"records":{"a":' + b"[" * 900 + b"]" * 900 + b'},"seal":{}}',
    ],
)  # fmt: skip
def test_what_is_no_packet_is_malformed(data: bytes) -> None:
    assert verify(data).status is Status.MALFORMED


PARTS = ["run", "head", "keys", "sends", "artifacts", "approvals", "decisions", "attempts"]
NONSENSE: list[Any] = [None, [], [1], [{}], {}, "x", 0, True]


@given(records=st.dictionaries(st.sampled_from(PARTS), st.sampled_from(NONSENSE)))
def test_nonsense_in_the_right_shape_is_altered_and_never_raises(records: Any) -> None:
    data = canonical({"contract": packet.CONTRACT, "events": [], "records": records, "seal": {"digests": []}})
    assert verify(data).status is Status.ALTERED


def _places(value: dict[Any, Any] | list[Any]) -> Iterator[tuple[Any, Any]]:
    """Every object or list inside a value, with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        inner: Any = value[key]
        if isinstance(inner, dict | list):
            yield from _places(cast("dict[Any, Any] | list[Any]", inner))


@pytest.mark.parametrize("other", [["completed"], {"a": 1}, 7, None], ids=["list", "object", "number", "null"])
def test_a_field_of_another_kind_is_found_wherever_it_is(other: Any) -> None:
    value = orjson.loads(PACKETS["completed"])
    for container, key in _places(value):
        was, container[key] = container[key], other
        if was != other:
            assert verify(canonical(value), trust=TRUST).status not in INTACT, (key, other)
        container[key] = was
    value["records"]["run"]["state"] = other
    assert verify(canonical(value), trust=TRUST).status is Status.ALTERED


def test_a_packet_beyond_the_limit_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MAX_BYTES", len(LARGE) - 1)
    assert "the limit is" in verify(LARGE).problems[0].what


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (b'"seq":2', b'"seq":2,"seq":2', "event 2 (policy.decided)"),
        (b'"seq":2', b'"seq": 2', "event 2 (policy.decided)"),
        (b'"event_id"', b'"\\u0065vent_id"', "event 1 (run.accepted)"),
        (b'"seq":2', b'"seq":3,"seq":2', "event 2 (policy.decided)"),
        (b',"hash"', b', "hash"', "event 1"),
        (b'"sends":[]', b'"sends":[ ]', "sends"),
        (b'"sends":[]', b'"sends":[],"sends":[]', "sends"),
        (b'"}}', b'"}}\n\n', "seal"),
    ],
)
def test_one_value_has_one_text(old: bytes, new: bytes, where: str) -> None:
    assert old in SMALL
    assert (
        verify(SMALL.replace(old, new, 1) if old != b'"}}' else SMALL + b"\n\n", trust=TRUST).problems[0].where == where
    )


def test_events_cannot_be_moved_dropped_or_repeated() -> None:
    value = orjson.loads(PACKETS["completed"])
    links = value["events"]
    for told in (links[:3] + links[4:], links[:-1], [*links, links[-1]], [links[1], links[0], *links[2:]], []):
        assert verify(canonical(value | {"events": told}), trust=TRUST).status is Status.ALTERED


def test_a_body_that_looks_like_the_seam_of_events_does_not_confuse() -> None:
    seam: list[Any] = [{"body": {}, "hash": digest("x")}, {"body": {"y": 1}, "hash": digest("y")}]
    story = fix_review.completed()
    story.commit(("note", {"list": seam, "text": '"},{"body":'}), ("note", {"end": seam[:1]}), state=runs.State.DEAD)
    assert verify(story.packet(), trust=TRUST).problems == ()


# What somebody does in the database, before the export, with no key: the packet is sealed all the same, and tells.


Tampering = Callable[[Any], Any]


def _changed(**facts: Any) -> Tampering:
    return lambda row: [replace(row, **facts)]


def _removed(_: Any) -> list[Any]:
    return []


def _run_changed(**facts: Any) -> Tampering:
    return lambda run: replace(run, **facts)


FORGED = b'{"number":2}'
TAMPERED: list[tuple[str, Tampering, str]] = [
    ("sends", _changed(delivery=runs.Delivery.NOT_SENT), "send"),
    ("sends", _changed(receipt_json='{"status":200}'), "send"),
    ("sends", _changed(intent_json='{"url":"https://example.org"}'), "send"),
    ("sends", _changed(receipt_json=None), "send"),
    ("sends", _removed, "send"),
    ("attempts", _changed(state=runs.AttemptState.FAILED), "attempt"),
    ("attempts", _changed(owner_id="own_x"), "attempt"),
    ("attempts", _changed(finished_at=None), "attempt"),
    ("attempts", _removed, "attempt"),
    ("artifacts", _changed(content=FORGED), "artifact"),
    ("artifacts", _changed(content=FORGED, digest=digest_bytes(FORGED)), "artifact"),
    ("artifacts", _changed(redacted=True), "artifact"),
    ("artifacts", lambda row: [row, replace(row, artifact_id="art_x")], "artifact"),
    ("decisions", _changed(effect="deny"), "decision"),
    ("decisions", _changed(facts_json="{}"), "decision"),
    ("decisions", _changed(reasons=[]), "decision"),
    ("run", _run_changed(actor="local:eve"), "run"),
    ("run", _run_changed(input_json="{}"), "run"),
    ("run", _run_changed(reason="because"), "run"),
    ("run", _run_changed(finished_at=None), "run"),
    ("run", _run_changed(state=runs.State.RUNNING), "run"),
    ("run", _run_changed(signature=None), "head"),
    ("run", _run_changed(head_seq=9), "events"),
    ("run", _run_changed(head_hash=digest("")), "head"),
    ("events", _changed(hash=digest("")), "event"),
    ("events", _removed, "events"),
]


@pytest.mark.parametrize(("rows", "tamper", "where"), TAMPERED)
def test_a_changed_row_is_found_and_named(rows: str, tamper: Tampering, where: str) -> None:
    story = fix_review.completed()
    kept = getattr(story, rows)
    told = tamper(kept) if rows == "run" else [*kept[:-1], *tamper(kept[-1])]
    verdict = verify(story.packet(**{rows: told}), trust=TRUST)
    assert verdict.status is Status.ALTERED
    assert verdict.problems[0].where.split(" ")[0] == where


def test_a_chain_rewritten_without_the_key_fails_at_the_signed_head() -> None:
    story = fix_review.completed()
    signed = story.run
    story.run = replace(story.run, head_seq=0, head_hash=chain.genesis(story.run.run_id))
    told = [(event.type, orjson.loads(event.body)["data"]) for event in story.events]
    told[1][1]["reasons"] = []
    story.decisions = [replace(story.decisions[0], reasons=[])]
    events, seq, head = chain.append(story.run, told, ids=story.ids, at=fix_review.START)
    run = replace(signed, head_seq=seq, head_hash=head)
    assert "head" in _wheres(story.packet(run=run, events=events))


def test_an_open_run_with_a_signature_is_altered() -> None:
    story = fix_review.still_running()
    run = replace(story.run, signature=story.signer.sign(b""), signing_key_id=story.signer.key_id)
    assert _wheres(story.packet(run=run)) == {"head"}


def test_an_approval_may_have_moved_on_while_its_run_was_held() -> None:
    story = fix_review.held()
    story.settle(approvals.State.EXPIRED)
    assert verify(story.packet(), trust=TRUST).ok
    story.approvals[-1] = replace(story.approvals[-1], requester="local:eve")
    assert any(where.startswith("approval apr_") for where in _wheres(story.packet()))


def test_a_spent_approval_may_not_move() -> None:
    story = fix_review.approved_with_edit()
    story.approvals[-1] = replace(story.approvals[-1], reviewer="local:eve")
    (where,) = _wheres(story.packet())
    assert where == f"approval {story.approvals[-1].approval_id}"


def test_events_that_lack_what_their_type_must_say_are_named() -> None:
    story = fix_review.still_running()
    story.commit(("send.settled", {"delivery": "responded"}))
    assert _wheres(story.packet()) == {"events"}


def test_a_seal_of_another_run_does_not_fit() -> None:
    value = orjson.loads(PACKETS["running"])
    value["seal"]["run_id"] = "run_" + "0" * 32
    assert _wheres(_reseal(value, fix_review.Signer())) == {"seal"}


def test_records_may_not_be_added_or_left_out_after_sealing() -> None:
    value = orjson.loads(PACKETS["running"])
    del value["records"]["projection"]
    value["records"]["zebra"] = {}
    assert _wheres(canonical(value)) == {"projection", "zebra"}


def test_records_that_this_version_does_not_know_are_covered_by_the_seal() -> None:
    value = orjson.loads(PACKETS["running"])
    value["records"]["trigger"] = {"trigger_id": "trg_1"}
    data = _reseal(value, fix_review.Signer())
    assert verify(data, trust=TRUST).ok
    assert _wheres(data.replace(b"trg_1", b"trg_2")) == {"trigger"}


def test_spare_bits_of_base64_are_no_room_for_changes() -> None:
    story = fix_review.still_running()
    story.commit(story.keep("image", b"\xff"))
    data = story.packet()
    assert b'"base64":"/w=="' in data
    assert base64.b64decode("/x==") == b"\xff"
    assert _wheres(data.replace(b'"/w=="', b'"/x=="')) == {"artifacts"}


@pytest.mark.parametrize("content", [b'{"base64":"/w="}', b'{"text":7}', b'{"base64":"/w==","text":"x"}', b"[]", b"7"])
def test_content_in_no_known_form_is_named(content: Any) -> None:
    story = fix_review.still_running()
    story.commit(story.keep("image", b"\xff"))
    data = story.packet().replace(b'{"base64":"/w=="}', content)
    assert _wheres(data) >= {f"artifact {story.artifacts[0].artifact_id}"}


def test_the_verdict_is_json() -> None:
    verdict = verify(SMALL, trust=TRUST)
    assert orjson.loads(orjson.dumps(verdict.to_json()))["status"] == "verified"


def test_an_emptied_seal_is_not_told_as_changed_keys() -> None:
    start = SMALL.index(b'"seal":{') + len(b'"seal":')
    problems = verify(SMALL[:start] + b"{}}").problems
    assert "seal" in {each.where for each in problems}
    assert not any("they were changed" in each.what for each in problems)
