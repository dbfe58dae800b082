"""What is put to the test of a verifier: itself, and one of whom it trusts."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from interlock import plane
from interlock.kernel import Clock


class AuthorityIssuer(Protocol):
    """Who decides, and signs decisions."""

    def issue(
        self, intent_digest: str, *, audience: str, target_class: str, ttl: float = 60.0
    ) -> plane.AuthorityDecision:
        """Permit one execution, for `ttl` seconds by the clock that it was made with."""
        ...


@dataclass(frozen=True, slots=True)
class AuthoritySubject:
    """A verifier of authority. `make` gives a new issuer with a key of its own, and a new verifier that trusts that key
    and no other; both go by the clock."""

    make: Callable[[Clock], tuple[AuthorityIssuer, plane.AuthorityVerifier]]


@dataclass(frozen=True, slots=True)
class AttestationSubject:
    """A verifier of attestations. `make` gives a new attester with a key of its own, and a new verifier that trusts that
    key and no other, and goes by the clock."""

    make: Callable[[Clock], tuple[plane.Signer, plane.AttestationVerifier]]


VerifierSubject: TypeAlias = AuthoritySubject | AttestationSubject

OpenVerifierSubject: TypeAlias = Callable[[], AbstractAsyncContextManager[VerifierSubject]]
"""Makes a verifier ready for the test. This is what an entry point of the group `interlock.conformance.verifiers` names."""
