"""A route's secret, as the key that its verification needs."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from interlock import sdk
from interlock.kernel import RequestError, Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from joserfc.jwk import KeySet

LEEWAY_SECONDS: Final = 60
"""By how much an issuer's clock may differ from ours."""


class UnreadableKey(RequestError):
    """A webhook's secret is not written as its verification says."""

    code = "unreadable_webhook_key"
    next_step = "Give the secret as the service shows it: `interlock connectors show CONNECTOR` says in which form."


class Key(Protocol):
    """What proves origins."""

    def verifies(self, content: bytes, signature: bytes) -> bool:
        """Whether it is the signature of the content."""
        ...

    def equals(self, shown: str) -> bool:
        """Whether it is the secret itself."""
        ...

    def vouches(self, token: str, claims: sdk.Claims, *, audience: str, now: datetime) -> bool:
        """Whether the JWT is signed, and says what it has to."""
        ...

    def has(self, key_id: str) -> bool:
        """Whether a key of that id is among them."""
        ...


class _Never:
    def has(self, key_id: str) -> bool:
        return False

    def verifies(self, content: bytes, signature: bytes) -> bool:
        return False

    def equals(self, shown: str) -> bool:
        return False

    def vouches(self, token: str, claims: sdk.Claims, *, audience: str, now: datetime) -> bool:
        return False


class _Shared(_Never):
    """A secret that both sides have."""

    def __init__(self, key: bytes, sign: Callable[[bytes, bytes], bytes]) -> None:
        self._key = key
        self._sign = sign

    def verifies(self, content: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self._sign(self._key, content), signature)

    def equals(self, shown: str) -> bool:
        return hmac.compare_digest(self._key, shown.encode())


class _Ed25519(_Never):
    def __init__(self, key: "Ed25519PublicKey") -> None:
        self._key = key

    def verifies(self, content: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


class _P256(_Never):
    def __init__(self, key: "EllipticCurvePublicKey") -> None:
        self._key = key

    def verifies(self, content: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            self._key.verify(signature, content, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class _Issuer(_Never):
    def __init__(self, key_set: "KeySet") -> None:
        self._keys = key_set

    def has(self, key_id: str) -> bool:
        return any(each.kid == key_id for each in self._keys.keys)

    def vouches(self, token: str, claims: sdk.Claims, *, audience: str, now: datetime) -> bool:
        from joserfc import jwt
        from joserfc.errors import JoseError

        demands: Mapping[str, Any] = {
            "iss": {"essential": True, "values": list(claims.issuers)},
            "aud": {"essential": True, "value": audience},
            "exp": {"essential": True},
            **{name: {"essential": True, "value": value} for name, value in claims.equal.items()},
        }
        try:
            found = jwt.decode(token, self._keys, algorithms=list(claims.algorithms))
            jwt.JWTClaimsRegistry(now=int(now.timestamp()), leeway=LEEWAY_SECONDS, **demands).validate(found.claims)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            return False
        return True


def read(verification: sdk.Verification, secret: Secret) -> Key:
    """The key. Raises UnreadableKey, from nothing, so that no traceback holds a part of it."""
    algorithm = verification.algorithm
    try:
        raw = secret.reveal().strip()
        if not raw:
            raise ValueError
        if algorithm == "jwt":
            return _Issuer(_key_set(raw))
        if algorithm == "ecdsa_p256":
            return _P256(_p256(raw))
        key = _decoded(raw, verification.key)
        if algorithm == "ed25519":
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

            return _Ed25519(Ed25519PublicKey.from_public_bytes(key))
        if algorithm == "basic":
            key = b"Basic " + base64.b64encode(key)
        return _Shared(key, _SIGN.get(algorithm, _hmac("sha256")))
    except (ValueError, TypeError):
        pass
    raise UnreadableKey(f"the secret is no {_FORMS[verification.key]}")


def names_another(token: str, known: Sequence[Key]) -> bool:
    """Whether a JWT says that it was signed by a key which is not among these."""
    import orjson

    head = token.partition(".")[0]
    try:
        said = orjson.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except ValueError:
        return False
    key_id = cast("Mapping[str, object]", said).get("kid") if isinstance(said, dict) else None
    return isinstance(key_id, str) and not any(each.has(key_id) for each in known)


def check(verification: sdk.Verification, secret: Secret) -> None:
    """Raises UnreadableKey for a secret that is not written as it has to be."""
    read(verification, secret)


def _hmac(name: str) -> Callable[[bytes, bytes], bytes]:
    return lambda key, content: hmac.digest(key, content, name)


_SIGN: Final[Mapping[str, Callable[[bytes, bytes], bytes]]] = {
    "hmac_sha1": _hmac("sha1"),
    "hmac_sha256": _hmac("sha256"),
    "hmac_sha512": _hmac("sha512"),
    "sha256": lambda key, content: hashlib.sha256(key + content).digest(),
}
_FORMS: Final[Mapping[str, str]] = {
    "text": "text",
    "base64": "base64",
    "hex": "hex",
    "whsec": "base64 after whsec_",
    "whpk": "base64 after whpk_",
    "spki": "public key on P-256 (PEM, or base64 of DER)",
    "jwks": "JWK set",
}


def _decoded(text: str, form: str) -> bytes:
    """Raises ValueError for what is not written so, or is empty."""
    if form == "text":
        return text.encode()
    if form == "hex":
        found = bytes.fromhex(text)
    else:
        coded = text.removeprefix(f"{form}_")
        found = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    if not found:
        raise ValueError
    return found


def _p256(text: str) -> "EllipticCurvePublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        key = (
            load_pem_public_key(text.encode())
            if text.startswith("-----")
            else load_der_public_key(_decoded(text, "base64"))
        )
    except UnsupportedAlgorithm as error:
        raise ValueError from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError  # noqa: TRY004 - it is the text that is wrong
    return key


def _key_set(text: str) -> "KeySet":
    import orjson
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    try:
        return KeySet.import_key_set(orjson.loads(text))
    except (JoseError, KeyError, AttributeError) as error:
        raise ValueError from error
