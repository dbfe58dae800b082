"""Attestations: minted from what a probe showed, signed, bound to a nonce; accepted only under keys that were pinned."""

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from interlock.kernel import Clock, canonical
from interlock.plane.classes import unproved
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.signatures import Signer, is_signed
from interlock.plane.targets import SELF_ATTESTED, Attestation, TargetDescriptor

MAX_LIFE: Final = timedelta(hours=1)
"""No attestation counts longer: what was probed may have changed."""

_CHALLENGE_LIFE: Final = timedelta(minutes=5)
_MAX_CHALLENGES: Final = 10_000


def statement(attestation: Attestation) -> bytes:
    """The bytes that an attestation's signature is over: all of it but the signature."""
    record = attestation.record()
    del record["signature"]
    return canonical(record)


def mint(
    signer: Signer | None,
    *,
    target_id: str,
    target_class: str,
    shown: Iterable[str],
    nonce: str | None,
    now: datetime,
    life: timedelta,
) -> Attestation:
    """An attestation of what was shown. Without a signer it is the host's own word, unsigned. Raises ValueError if the
    class stands for something that was not shown, or for a life that is too long."""
    properties = tuple(sorted(set(shown)))
    if missing := unproved(target_class, properties):
        raise ValueError(f"{target_id} is no {target_class}: it was not shown to have {', '.join(missing)}")
    if not timedelta(0) < life <= MAX_LIFE:
        raise ValueError(f"an attestation counts for up to {MAX_LIFE}, not {life}")
    bare = Attestation(
        target_id=target_id,
        target_class=target_class,
        properties=properties,
        attested_by=SELF_ATTESTED if signer is None else signer.key_id,
        attested_at=now,
        expires_at=now + life,
        nonce=nonce,
    )
    return bare if signer is None else bare.model_copy(update={"signature": signer.sign(statement(bare))})


class AttestationVerifier:
    """Accepts attestations for one node. `trusted` are the attesters' public keys (32 bytes in base64) by key id, known
    from elsewhere; `own` is the key id by which this very host signs: what it signs is shown as `self`, and so is what
    is not signed at all. With `accept_self` False, such a word does not do."""

    def __init__(
        self,
        trusted: Mapping[str, str],
        *,
        clock: Clock,
        own: str | None = None,
        accept_self: bool = True,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._trusted = dict(trusted)
        self._clock = clock
        self._own = own
        self._accept_self = accept_self
        self._random_bytes = random_bytes
        self._asked: dict[str, tuple[str, datetime]] = {}
        self._accepted: dict[str, str] = {}

    def challenge(self, target_id: str) -> str:
        """A nonce for that target's next attestation; it is good once, and for five minutes."""
        now = self._clock.now()
        self._asked = {nonce: asked for nonce, asked in self._asked.items() if asked[1] > now}
        if len(self._asked) >= _MAX_CHALLENGES:
            raise ValueError(f"{_MAX_CHALLENGES} challenges are open")
        nonce = self._random_bytes(16).hex()
        self._asked[nonce] = (target_id, now + _CHALLENGE_LIFE)
        return nonce

    def accept(self, attestation: Attestation) -> Failure | None:
        """Take an attestation as the answer to a challenge, or say why not."""
        asked = self._asked.pop(attestation.nonce or "", None)
        if asked is None or asked[0] != attestation.target_id or asked[1] <= self._clock.now():
            return _refused("attestation_replayed", "the attestation answers no open challenge")
        refused = self._judge(attestation)
        if refused is None:
            self._accepted[asked[0]] = attestation.digest
        return refused

    def holds(self, target: TargetDescriptor) -> Failure | None:
        """Whether the target's attestation is one that was accepted and still counts: asked at every dispatch."""
        attestation = target.attestation
        if attestation.target_id != target.target_id:
            return _refused("attestation_foreign", f"the attestation is not that of target {target.target_id}")
        if self._accepted.get(target.target_id) != attestation.digest:
            return _refused("attestation_unknown", f"the attestation of target {target.target_id} was never accepted")
        return self._judge(attestation)

    def attested_by(self, attestation: Attestation) -> str:
        """Whose word it is: the key id of another, or `self`."""
        return SELF_ATTESTED if attestation.attested_by in (SELF_ATTESTED, self._own) else attestation.attested_by

    def _judge(self, attestation: Attestation) -> Failure | None:
        now = self._clock.now()
        if not attestation.attested_at <= now < attestation.expires_at:
            return _refused("attestation_stale", f"the attestation of target {attestation.target_id} does not hold now")
        if attestation.expires_at - attestation.attested_at > MAX_LIFE:
            return _refused("attestation_too_long", f"an attestation counts for up to {MAX_LIFE}")
        if self.attested_by(attestation) == SELF_ATTESTED and not self._accept_self:
            return _refused("attestation_self", f"target {attestation.target_id} has only its own host's word")
        if attestation.attested_by == SELF_ATTESTED:
            return None
        key = self._trusted.get(attestation.attested_by)
        if key is None:
            return _refused("attestation_unknown_key", f"no pinned key is called {attestation.attested_by[:80]!r}")
        if attestation.signature is None or not is_signed(statement(attestation), attestation.signature, key):
            return _refused("attestation_tampered", "the attestation is not what its attester signed")
        return None


def _refused(code: str, message: str) -> Failure:
    return Failure.of(FailureClass.TARGET_UNAVAILABLE, message, code=code)
