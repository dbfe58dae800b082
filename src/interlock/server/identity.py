"""Who a client is: by its certificate, which TLS has verified, or by the key that has signed the request."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from interlock import plane
from interlock.kernel import Clock, digest_bytes
from interlock.server.errors import Unauthenticated

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_BEARER: Final = re.compile(r"Bearer ([A-Za-z0-9_-]{1,4096})")
_CONTENT_DIGEST: Final = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_WRITABLE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,190}")
_EMPTY: Final = digest_bytes(b"")


class Clients:
    """Knows clients by their certificates, which TLS has verified by now, and by the tokens of trusted keys."""

    def __init__(
        self,
        node_id: str,
        *,
        listed: "Iterable[x509.Certificate]",
        token_keys: "Mapping[str, Ed25519PublicKey]",
        clock: Clock,
    ) -> None:
        """`listed`: the certificates that TLS trusts, of authorities and of single clients. `token_keys`: public keys by
        key id."""
        self._node_id = node_id
        self._tokens = plane.SignatureVerifier(token_keys, clock=clock)
        self._name = lru_cache(maxsize=1024)(Names(listed).name)

    def identify(
        self, certificate: bytes | None, authorization: str | None, *, method: str, target: str, body_digest: str
    ) -> str:
        """As whom the client is known. A token serves for one request: this method, this target, this body. Raises
        Unauthenticated, which says the same whatever is wrong."""
        if certificate is not None:
            return self._name(certificate)
        decision = _read(authorization)
        if decision is not None:
            wanted = plane.request_digest(method, target, body_digest)
            refused = self._tokens.spend(
                decision, intent_digest=wanted, audience=self._node_id, target_class=plane.NODE_REQUEST
            )
            if refused is None:
                return f"key:{decision.key_id}"
        raise Unauthenticated("this node does not know who is asking")


class Names:
    """What the holders of certificates are called. A name may be chosen by whoever makes a certificate: it counts only
    where an authority has vouched for it, and only beside the authority's own."""

    def __init__(self, listed: "Iterable[x509.Certificate]") -> None:
        """`listed`: as `Clients` has it."""
        self._listed = list(listed)

    def name(self, certificate: bytes) -> str:
        """Subject and issuer (RFC 4514) of a certificate (DER) that a listed authority has signed, so that a renewed one is
        the same client. The fingerprint of any other: of one that is listed itself, that comes from an authority below, or
        whose authority shares its name with another."""
        from cryptography import x509

        shown = x509.load_der_x509_certificate(certificate)
        if shown not in self._listed and self._is_vouched_for(shown):
            # No semicolon stands in either name without a backslash before it.
            text = f"{shown.subject.rfc4514_string()}; {shown.issuer.rfc4514_string()}"
            if shown.subject and _WRITABLE.fullmatch(text):
                return f"cert:{text}"
        return f"cert:sha256:{hashlib.sha256(certificate).hexdigest()}"

    def _is_vouched_for(self, shown: "x509.Certificate") -> bool:
        from cryptography.exceptions import InvalidSignature

        namesakes = [each for each in self._listed if each.subject == shown.issuer]
        if not namesakes or any(each.public_key() != namesakes[0].public_key() for each in namesakes):
            return False
        try:
            shown.verify_directly_issued_by(namesakes[0])
        except (InvalidSignature, TypeError, ValueError):
            return False
        return True


def claimed_digest(header: str | None) -> str:
    """The digest of the body that a request promises (RFC 9530). Raises Unauthenticated."""
    if header is None:
        return _EMPTY
    match = _CONTENT_DIGEST.fullmatch(header)
    if match is None:
        raise Unauthenticated("this node does not know who is asking")
    return "sha256:" + base64.b64decode(match[1]).hex()


def _read(authorization: str | None) -> plane.AuthorityDecision | None:
    match = _BEARER.fullmatch(authorization or "")
    if match is None:
        return None
    try:
        text = base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
        return plane.AuthorityDecision.model_validate_json(text)
    except ValueError:
        return None
