"""The verifiers that can be put to the test by name: ours, and those of installed packages."""

import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from interlock import plane
from interlock.conformance.shelf import Shelf
from interlock.conformance.verifier_subject import (
    AttestationSubject,
    AuthorityIssuer,
    AuthoritySubject,
    VerifierSubject,
)
from interlock.kernel import Clock, digest_bytes


class _Key:
    """A key for the moment."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self.private = Ed25519PrivateKey.generate()
        self.public = base64.b64encode(self.private.public_key().public_bytes_raw()).decode()
        self.key_id = f"conformance-{digest_bytes(self.public.encode())[-16:]}"

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self.private.sign(data)).decode()


def _by_mac(clock: Clock) -> tuple[AuthorityIssuer, plane.AuthorityVerifier]:
    issuer = plane.Authorizer(clock=clock)
    return issuer, issuer.verifier()


def _by_signature(clock: Clock) -> tuple[AuthorityIssuer, plane.AuthorityVerifier]:
    signer = _Key()
    issuer = plane.SignedAuthorizer(signer.key_id, signer.private, clock=clock)
    return issuer, issuer.verifier()


def _attesting(clock: Clock) -> tuple[plane.Signer, plane.AttestationVerifier]:
    signer = _Key()
    return signer, plane.AttestationVerifier({signer.key_id: signer.public}, clock=clock)


@asynccontextmanager
async def _open(subject: VerifierSubject) -> AsyncGenerator[VerifierSubject]:
    yield subject


_OURS: Final[Mapping[str, VerifierSubject]] = {
    "attestation": AttestationSubject(_attesting),
    "authority-mac": AuthoritySubject(_by_mac),
    "authority-signature": AuthoritySubject(_by_signature),
}

VERIFIERS: Final[Shelf[VerifierSubject]] = Shelf(
    "verifier", {name: partial(_open, subject) for name, subject in _OURS.items()}
)
"""Every verifier that can be tried here."""
