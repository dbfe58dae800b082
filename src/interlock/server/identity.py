"""Who a client is: the subject of its certificate, or the key that has signed the request."""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from interlock import plane
from interlock.kernel import Clock, digest_bytes
from interlock.server.errors import Unauthenticated

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_BEARER: Final = re.compile(r"Bearer ([A-Za-z0-9_-]{1,4096})")
_CONTENT_DIGEST: Final = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_SUBJECT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,190}")
_EMPTY: Final = digest_bytes(b"")


class Clients:
    """Knows clients by their certificates, which TLS has verified by now, and by the tokens of trusted keys."""

    def __init__(self, node_id: str, *, token_keys: "Mapping[str, Ed25519PublicKey]", clock: Clock) -> None:
        """`token_keys`: public keys by key id."""
        self._node_id = node_id
        self._tokens = plane.SignatureVerifier(token_keys, clock=clock)

    def identify(
        self, certificate: bytes | None, authorization: str | None, *, method: str, target: str, body_digest: str
    ) -> str:
        """As whom the client is known. A token serves for one request: this method, this target, this body. Raises
        Unauthenticated, which says the same whatever is wrong."""
        if certificate is not None:
            return subject_of(certificate)
        decision = _read(authorization)
        if decision is not None:
            wanted = plane.request_digest(method, target, body_digest)
            refused = self._tokens.spend(
                decision, intent_digest=wanted, audience=self._node_id, target_class=plane.NODE_REQUEST
            )
            if refused is None:
                return f"key:{decision.key_id}"
        raise Unauthenticated("this node does not know who is asking")


def claimed_digest(header: str | None) -> str:
    """The digest of the body that a request promises (RFC 9530). Raises Unauthenticated."""
    if header is None:
        return _EMPTY
    match = _CONTENT_DIGEST.fullmatch(header)
    if match is None:
        raise Unauthenticated("this node does not know who is asking")
    return "sha256:" + base64.b64decode(match[1]).hex()


@lru_cache(maxsize=1024)
def subject_of(certificate: bytes) -> str:
    """The subject of a certificate (DER) as RFC 4514 writes it; its fingerprint where there is none that can be written."""
    from cryptography import x509

    subject = x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    if _SUBJECT.fullmatch(subject):
        return f"cert:{subject}"
    return f"cert:sha256:{hashlib.sha256(certificate).hexdigest()}"


def _read(authorization: str | None) -> plane.AuthorityDecision | None:
    match = _BEARER.fullmatch(authorization or "")
    if match is None:
        return None
    try:
        text = base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
        return plane.AuthorityDecision.model_validate_json(text)
    except ValueError:
        return None
