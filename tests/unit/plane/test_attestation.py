"""Attestations: no claim without its proof, no proof that is old, foreign, altered or used before."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from interlock import plane, testing

PROVEN = plane.CLASSES[plane.LOCAL_BUBBLEWRAP]


class Signer:
    """An attester's key."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        self._private = Ed25519PrivateKey.generate()

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self._private.sign(data)).decode()

    @property
    def public(self) -> str:
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()


class World:
    """An attester, and a node that trusts it."""

    def __init__(self, **options: Any) -> None:
        self.clock = testing.ManualClock()
        self.signer = Signer("key-a")
        self.verifier = plane.AttestationVerifier({"key-a": self.signer.public}, clock=self.clock, **options)

    def mint(self, signer: Signer | None = None, **fields: Any) -> plane.Attestation:
        defaults: dict[str, Any] = {
            "target_id": "box",
            "target_class": plane.LOCAL_BUBBLEWRAP,
            "shown": PROVEN,
            "nonce": self.verifier.challenge("box"),
            "now": self.clock.now(),
            "life": timedelta(minutes=5),
        }
        return plane.mint(signer or self.signer, **defaults | fields)

    def target(self, attestation: plane.Attestation, target_id: str = "box") -> plane.TargetDescriptor:
        return plane.TargetDescriptor(
            target_id=target_id, lane_id="process", attestation=attestation, health=plane.Health.READY
        )


def code(failure: plane.Failure | None) -> str | None:
    return None if failure is None else failure.code


@pytest.fixture
def world() -> World:
    return World()


@given(st.sampled_from(sorted(plane.CLASSES)), st.frozensets(st.sampled_from(plane.Property)))
def test_a_class_is_never_claimed_beyond_what_was_shown(target_class: str, shown: frozenset[plane.Property]):
    world = World()
    if plane.CLASSES[target_class] <= shown:
        assert world.mint(target_class=target_class, shown=shown).properties == tuple(sorted(shown))
        return
    with pytest.raises(ValueError, match="was not shown"):
        world.mint(target_class=target_class, shown=shown)
    whole = world.mint(target_class=target_class, shown=plane.CLASSES[target_class])
    with pytest.raises(ValueError, match="stands for"):
        whole.model_copy(update={"properties": tuple(sorted(shown))})


def test_a_proof_holds_until_it_expires(world: World):
    attestation = world.mint()
    target = world.target(attestation)
    assert code(world.verifier.holds(target)) == "attestation_unknown"
    assert world.verifier.accept(attestation) is None
    assert world.verifier.holds(target) is None
    world.clock.advance(299)
    assert world.verifier.holds(target) is None
    world.clock.advance(1)
    assert code(world.verifier.holds(target)) == "attestation_stale"


def test_a_challenge_is_answered_once(world: World):
    attestation = world.mint()
    assert world.verifier.accept(attestation) is None
    assert code(world.verifier.accept(attestation)) == "attestation_replayed"
    assert code(world.verifier.accept(world.mint(nonce="ab" * 16))) == "attestation_replayed"
    assert code(world.verifier.accept(world.mint(nonce=None))) == "attestation_replayed"
    other = world.verifier.challenge("other")
    assert code(world.verifier.accept(world.mint(nonce=other))) == "attestation_replayed"
    late = world.mint()
    world.clock.advance(300)
    assert code(world.verifier.accept(late)) == "attestation_replayed"


def test_an_altered_proof_is_refused(world: World):
    for change in (
        {"properties": (*sorted(PROVEN), "more")},
        {"target_class": plane.LOCAL_LANDLOCK},
        {"expires_at": world.clock.now() + timedelta(minutes=50)},
        {"signature": "A" * 86 + "=="},
        {"signature": None},
    ):
        assert code(world.verifier.accept(world.mint().model_copy(update=change))) == "attestation_tampered"


def test_only_pinned_keys_count(world: World):
    assert code(world.verifier.accept(world.mint(Signer("key-b")))) == "attestation_unknown_key"
    assert code(world.verifier.accept(world.mint(Signer("key-a")))) == "attestation_tampered"


def test_another_proof_than_the_accepted_one_does_not_hold(world: World):
    assert world.verifier.accept(world.mint()) is None
    assert code(world.verifier.holds(world.target(world.mint()))) == "attestation_unknown"
    assert code(world.verifier.holds(world.target(world.mint(), target_id="other"))) == "attestation_foreign"


def test_a_hosts_own_word_is_shown_as_that(world: World):
    bare = plane.mint(
        None,
        target_id="box",
        target_class=plane.LOCAL_BUBBLEWRAP,
        shown=PROVEN,
        nonce=world.verifier.challenge("box"),
        now=world.clock.now(),
        life=timedelta(minutes=5),
    )
    assert (bare.attested_by, bare.signature) == ("self", None)
    assert world.verifier.accept(bare) is None
    own = World(own="key-a")
    signed = own.mint()
    assert own.verifier.attested_by(signed) == "self"
    assert world.verifier.attested_by(signed) == "key-a"
    strict = World(own="key-a", accept_self=False)
    assert code(strict.verifier.accept(strict.mint())) == "attestation_self"


def test_no_proof_counts_for_long(world: World):
    for life in (timedelta(0), timedelta(hours=2)):
        with pytest.raises(ValueError, match="counts for up to"):
            world.mint(life=life)
    longer = world.mint().model_copy(update={"expires_at": world.clock.now() + timedelta(hours=2)})
    assert code(world.verifier.accept(longer)) == "attestation_too_long"
