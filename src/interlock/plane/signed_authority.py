"""Authority between processes: signed by whoever decides, checked by nodes that were given its public key beforehand."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from interlock.kernel import Clock
from interlock.plane.authority import AuthorityDecision, Nonces, denied, lifetime, permit
from interlock.plane.failures import Failure

if TYPE_CHECKING:  # it takes long to import, and most processes sign nothing for others
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class SignedAuthorizer:
    """Issues authority for nodes elsewhere."""

    def __init__(
        self,
        key_id: str,
        private: "Ed25519PrivateKey",
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._key_id = key_id
        self._private = private
        self._clock = clock
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        return f"SignedAuthorizer({self._key_id})"

    def issue(self, intent_digest: str, *, audience: str, target_class: str, ttl: float = 60.0) -> AuthorityDecision:
        """As `Authorizer.issue`."""
        return permit(
            self._private.sign,
            algorithm="ed25519",
            key_id=self._key_id,
            intent_digest=intent_digest,
            audience=audience,
            target_class=target_class,
            expires_at=self._clock.now() + lifetime(ttl),
            nonce=self._random_bytes(16).hex(),
        )

    def verifier(self) -> "SignatureVerifier":
        """A verifier that trusts this key alone. Give it to one node."""
        return SignatureVerifier({self._key_id: self._private.public_key()}, clock=self._clock)


class SignatureVerifier:
    """Checks decisions against pinned public keys and lets each be used once. Give it to one node, and keep it as long as
    the node lives: a new one has forgotten which nonces were spent."""

    def __init__(self, trusted: Mapping[str, "Ed25519PublicKey"], *, clock: Clock, max_open: int = 200_000) -> None:
        """`trusted`: public keys by key id. `max_open`: how many spent nonces are kept; each key has an equal share."""
        self._trusted = dict(trusted)
        self._books = {key_id: Nonces(clock, max_open=max_open // len(trusted)) for key_id in trusted}

    def spend(
        self, decision: AuthorityDecision, *, intent_digest: str, audience: str, target_class: str
    ) -> Failure | None:
        """As `AuthorityVerifier.spend`."""
        from cryptography.exceptions import InvalidSignature

        key = self._trusted.get(decision.key_id)
        if key is None or decision.algorithm != "ed25519":
            return denied("authority_unknown_key", "the authority was issued under a key that this node does not know")
        try:
            key.verify(bytes.fromhex(decision.proof), decision.statement)
        except (InvalidSignature, ValueError):
            return denied("authority_tampered", "the authority was altered after it was issued")
        book = self._books[decision.key_id]
        return book.spend(decision, intent_digest=intent_digest, audience=audience, target_class=target_class)
