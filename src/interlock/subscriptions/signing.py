"""Standard Webhooks: keys, and the three headers that a message is signed with. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlock.kernel import Secret
from interlock.subscriptions.model import Scheme

_SYMMETRIC: Final = "whsec_"
_PRIVATE: Final = "whsk_"
_PUBLIC: Final = "whpk_"
_BYTES: Final = 32


def new_key(scheme: Scheme, random_bytes: Callable[[int], bytes]) -> Secret:
    """A fresh key: `whsec_…`, which the receiver has to be told, or `whsk_…`, whose `public_key` it is told."""
    raw = random_bytes(_BYTES)
    if scheme is Scheme.HMAC:
        return Secret(_SYMMETRIC + _base64(raw))
    return Secret(_PRIVATE + _base64(raw + _public(Ed25519PrivateKey.from_private_bytes(raw))))


def public_key(key: Secret) -> str | None:
    """`whpk_…`, which is no secret; None for a symmetric key."""
    return _PUBLIC + _base64(_raw(key)[_BYTES:]) if _is_private(key) else None


def headers(keys: Sequence[Secret], *, message_id: str, at: datetime, body: bytes) -> tuple[tuple[str, str], ...]:
    """The headers of a try at that moment, with a signature by each of the keys."""
    timestamp = str(int(at.timestamp()))
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    return (
        ("webhook-id", message_id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", " ".join(_sign(key, content) for key in keys)),
    )


def _sign(key: Secret, content: bytes) -> str:
    if _is_private(key):
        signature = Ed25519PrivateKey.from_private_bytes(_raw(key)[:_BYTES]).sign(content)
        return f"{Scheme.ED25519},{_base64(signature)}"
    return f"{Scheme.HMAC},{_base64(hmac.digest(_raw(key), content, hashlib.sha256))}"


def _is_private(key: Secret) -> bool:
    return key.reveal().startswith(_PRIVATE)


def _raw(key: Secret) -> bytes:
    return base64.b64decode(key.reveal().partition("_")[2])


def _public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
