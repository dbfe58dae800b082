"""Authority: bound, expiring, spent once."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fix_plane import Intents
from interlock import plane, testing

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


AnyAuthorizer = plane.Authorizer | plane.SignedAuthorizer


def signed(intents: Intents, key_id: str = "key-1") -> plane.SignedAuthorizer:
    return plane.SignedAuthorizer(key_id, Ed25519PrivateKey.generate(), clock=intents.clock)


def issue(authorizer: AnyAuthorizer, ttl: float = 60.0) -> plane.AuthorityDecision:
    return authorizer.issue(DIGEST, audience="n", target_class="c", ttl=ttl)


def code(
    verifier: plane.AuthorityVerifier,
    decision: plane.AuthorityDecision,
    *,
    intent_digest: str = DIGEST,
    audience: str = "n",
    target_class: str = "c",
) -> str | None:
    failure = verifier.spend(decision, intent_digest=intent_digest, audience=audience, target_class=target_class)
    if failure is None:
        return None
    assert failure.failure_class is plane.FailureClass.AUTHORITY_DENIED
    return failure.code


@pytest.fixture(name="authorizer", params=["mac", "signature"])
def _authorizer(request: pytest.FixtureRequest, intents: Intents) -> AnyAuthorizer:
    return plane.Authorizer(clock=intents.clock) if request.param == "mac" else signed(intents)


def test_serves_once(authorizer: AnyAuthorizer):
    verifier = authorizer.verifier()
    decision = issue(authorizer)
    assert code(verifier, decision) is None
    assert code(verifier, decision) == "authority_replayed"


def test_serves_only_what_it_was_issued_for(authorizer: AnyAuthorizer):
    verifier = authorizer.verifier()
    decision = issue(authorizer)
    assert code(verifier, decision, intent_digest=OTHER) == "authority_wrong_intent"
    assert code(verifier, decision, audience="m") == "authority_wrong_audience"
    assert code(verifier, decision, target_class="d") == "authority_wrong_target"
    assert code(verifier, decision) is None, "a refusal does not use it up"


def test_expires(authorizer: AnyAuthorizer, intents: Intents):
    verifier = authorizer.verifier()
    decision = issue(authorizer, ttl=10)
    intents.clock.advance(10)
    assert code(verifier, decision) == "authority_expired"


def test_a_spent_nonce_is_kept_until_it_could_not_be_replayed(authorizer: AnyAuthorizer, intents: Intents):
    verifier = authorizer.verifier()
    long, short = issue(authorizer, ttl=100), issue(authorizer, ttl=1)
    assert code(verifier, long) is None
    assert code(verifier, short) is None
    intents.clock.advance(50)
    assert code(verifier, issue(authorizer)) is None
    assert code(verifier, long) == "authority_replayed"


def test_a_full_memory_refuses_rather_than_forgets(intents: Intents):
    verifier = plane.MacVerifier("k", b"0" * 32, clock=intents.clock, max_open=1)
    authorizer = plane.Authorizer(clock=intents.clock, random_bytes=lambda size: b"0" * size)
    twin = plane.MacVerifier(issue(authorizer).key_id, b"0" * 32, clock=intents.clock, max_open=0)
    assert code(twin, issue(authorizer)) == "authority_backlog"
    assert code(verifier, issue(authorizer)) == "authority_unknown_key"


def test_room_is_made_by_expiry(intents: Intents):
    counter = iter(range(100))
    authorizer = plane.Authorizer(clock=intents.clock, random_bytes=lambda size: bytes([next(counter)]) * size)
    verifier = plane.MacVerifier(issue(authorizer).key_id, b"\0" * 32, clock=intents.clock, max_open=1)
    assert code(verifier, issue(authorizer, ttl=5)) is None
    assert code(verifier, issue(authorizer)) == "authority_backlog"
    intents.clock.advance(5)
    assert code(verifier, issue(authorizer)) is None


def test_one_key_does_not_use_up_the_memory_of_another(intents: Intents):
    keys = {name: Ed25519PrivateKey.generate() for name in ("a", "b")}
    a, b = (plane.SignedAuthorizer(name, key, clock=intents.clock) for name, key in keys.items())
    trusted = {name: key.public_key() for name, key in keys.items()}
    verifier = plane.SignatureVerifier(trusted, clock=intents.clock, max_open=2)
    assert code(verifier, issue(a)) is None
    assert code(verifier, issue(a)) == "authority_backlog"
    assert code(verifier, issue(b)) is None


def test_a_signature_counts_only_under_a_pinned_key(intents: Intents):
    ours, theirs = signed(intents), signed(intents, "key-2")
    forged = issue(signed(intents))
    assert code(ours.verifier(), issue(theirs)) == "authority_unknown_key"
    assert code(ours.verifier(), forged) == "authority_tampered", "another key under the same id"
    assert code(ours.verifier(), issue(plane.Authorizer(clock=intents.clock))) == "authority_unknown_key"


def test_one_proof_does_not_stand_for_the_other(intents: Intents):
    ours = signed(intents)
    decision = issue(ours).model_copy(update={"algorithm": "hmac-sha256"})
    assert code(ours.verifier(), decision) == "authority_unknown_key"


def test_a_life_that_no_issuer_may_give_is_refused(intents: Intents):
    private, now = Ed25519PrivateKey.generate(), intents.clock.now()
    ahead = testing.ManualClock(now + timedelta(seconds=61))
    decision = issue(plane.SignedAuthorizer("key-1", private, clock=ahead), ttl=plane.MAX_TTL)
    verifier = plane.SignatureVerifier({"key-1": private.public_key()}, clock=intents.clock)
    assert code(verifier, decision) == "authority_too_long"


def test_another_process_means_another_key(authorizer: AnyAuthorizer, intents: Intents):
    assert code(plane.Authorizer(clock=intents.clock).verifier(), issue(authorizer)) == "authority_unknown_key"


@pytest.mark.parametrize(
    "change",
    [
        {"intent_digest": OTHER},
        {"audience": "m"},
        {"target_class": "d"},
        {"nonce": "0" * 32},
        {"proof": "0" * 64},
        {"proof": "0" * 128},
    ],
)
def test_tampering_shows(authorizer: AnyAuthorizer, change: dict[str, Any]):
    altered = issue(authorizer).model_copy(update=change)
    failure = authorizer.verifier().spend(
        altered, intent_digest=altered.intent_digest, audience=altered.audience, target_class=altered.target_class
    )
    assert failure is not None
    assert failure.code == "authority_tampered"


@given(seconds=st.floats(min_value=0.000001, max_value=10**6))
def test_expiry_cannot_be_moved(seconds: float):
    authorizer = plane.Authorizer(clock=testing.ManualClock())
    decision = issue(authorizer)
    moved = decision.model_copy(update={"expires_at": decision.expires_at + timedelta(seconds=seconds)})
    expected = None if moved.expires_at == decision.expires_at else "authority_tampered"
    assert code(authorizer.verifier(), moved) == expected


@pytest.mark.parametrize("ttl", [0, -1, 301])
def test_no_authority_lives_long(authorizer: AnyAuthorizer, ttl: float):
    with pytest.raises(ValueError, match="300 seconds"):
        issue(authorizer, ttl)


def test_the_key_does_not_print(intents: Intents):
    authorizer = plane.Authorizer(clock=intents.clock, random_bytes=lambda size: b"K" * size)
    assert "KKKK" not in repr(authorizer)
