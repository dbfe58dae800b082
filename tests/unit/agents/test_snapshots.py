"""Snapshots of turns: only what an installation signed comes back, and each that does not says why."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fix_connections import NOW
from interlock import agents, inference
from interlock.agents import snapshots, turns
from interlock.kernel import JSON, InterlockError, canonical

SPEC = agents.agent("desk", "Answer.", model="test:one")
PLAN = turns.Plan(SPEC)


class Key:
    """A signing key."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        self._key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> str:
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self._key.sign(data)).decode()


OURS, THEIRS = Key("key_1"), Key("key_2")
TRUSTED = {OURS.key_id: OURS.public}


def state() -> turns.State:
    begun = turns.State(turn_id="run_1", fingerprint=PLAN.fingerprint)
    begun, _ = turns.step(PLAN, begun, turns.Began(input="hello", conversation=(inference.said("before"),)))
    answer = inference.Message(role=inference.Role.MODEL, parts=(inference.Text(text="Good day."),))
    answered = turns.Answered(
        answer=inference.Answer(message=answer, finish=inference.Finish.STOP, model="m"), took_s=0.1
    )
    return turns.step(PLAN, begun, answered)[0]


def taken(signer: Key = OURS) -> bytes:
    return snapshots.dump(signer, state(), tenant_id="t1", agent_id="desk", journal_seq=7, taken_at=NOW)


def load(data: bytes, **more: Any) -> snapshots.Snapshot:
    given: dict[str, Any] = {"keys": TRUSTED, "tenant_id": "t1", **more}
    return snapshots.load(data, **given)


def signed(said: dict[str, JSON], signer: Key = OURS) -> bytes:
    """A document of any content, signed as one of ours."""
    said = {**said, "key_id": signer.key_id}
    return canonical({**said, "signature": signer.sign(canonical(said))})


def test_what_was_signed_comes_back_whole():
    found = load(taken(), fingerprint=SPEC.fingerprint)
    assert (found.state, found.agent_id, found.journal_seq, found.taken_at) == (state(), "desk", 7, NOW)
    assert found.key_id == "key_1"
    spaced = json.dumps(json.loads(taken()), indent=2).encode()
    assert load(spaced).state == state()


@given(st.data())
def test_nothing_that_was_changed_is_read(data: st.DataObject):
    whole = taken()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = whole[:at] + bytes([byte]) + whole[at + 1 :]
    if byte == whole[at]:
        assert load(changed).state == state()
        return
    with pytest.raises(InterlockError) as refused:
        load(changed)
    assert refused.value.code in {"invalid_snapshot", "snapshot_tampered", "foreign_snapshot", "snapshot_too_new"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"tenant_id": "t2"}, snapshots.SnapshotTampered),
        ({"fingerprint": "sha256:0"}, snapshots.SnapshotTampered),
        ({"journal_seq": 8}, snapshots.SnapshotTampered),
        ({"signature": None}, snapshots.SnapshotTampered),
        ({"signature": "AAAA"}, snapshots.SnapshotTampered),
        ({"key_id": "key_2"}, snapshots.ForeignSnapshot),
        ({"contract": "interlock.agent-snapshot/v2"}, snapshots.SnapshotTooNew),
        ({"contract": "interlock.packet/v1"}, snapshots.InvalidSnapshot),
        ({"more": 1}, snapshots.SnapshotTampered),
    ],
)
def test_each_way_to_be_wrong_has_an_error_of_its_own(change: dict[str, JSON], error: type[InterlockError]):
    with pytest.raises(error):
        load(canonical({**json.loads(taken()), **change}))


def test_what_is_of_others_is_told_apart():
    with pytest.raises(snapshots.ForeignSnapshot, match="not trusted"):
        load(taken(THEIRS))
    with pytest.raises(snapshots.ForeignSnapshot, match="another tenant", check=lambda it: "--tenant" in it.next_step):
        load(taken(), tenant_id="t2")
    assert load(taken(THEIRS), keys={**TRUSTED, THEIRS.key_id: THEIRS.public}).key_id == "key_2"
    other = agents.agent("desk", "Answer politely.", model="test:one")
    with pytest.raises(snapshots.SnapshotOfAnother, match=other.fingerprint):
        load(taken(), fingerprint=other.fingerprint)


def test_an_older_form_is_migrated_once_its_signature_holds():
    now = json.loads(taken())
    del now["signature"]
    old = {name: value for name, value in now.items() if name != "journal_seq"} | {
        "contract": "interlock.agent-snapshot/v0",
        "seq": 7,
    }

    def migrate(said: dict[str, JSON]) -> dict[str, JSON]:
        return {**{name: each for name, each in said.items() if name != "seq"}, "journal_seq": said["seq"]}

    assert load(signed(old), migrations={0: migrate}).journal_seq == 7
    with pytest.raises(snapshots.InvalidSnapshot, match="version 0"):
        load(signed(old))
    with pytest.raises(snapshots.SnapshotTampered):
        load(canonical({**json.loads(signed(old)), "seq": 8}), migrations={0: migrate})


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b'"x"', b"\xff", b'{"contract": "interlock.agent-snapshot/v1"}', b"{" * 10_000],
    ids=str,
)
def test_what_is_no_snapshot_is_refused(data: bytes):
    with pytest.raises(snapshots.InvalidSnapshot):
        load(data)


def test_what_we_signed_and_is_no_state_is_refused():
    said = json.loads(taken())
    del said["signature"]
    changes: list[dict[str, JSON]] = [
        {"state": {}},
        {"state": {**said["state"], "fingerprint": "f"}},
        {"taken_at": "now"},
        {"extra": 1},
    ]
    for wrong in changes:
        with pytest.raises(snapshots.InvalidSnapshot):
            load(signed({**said, **wrong}))
