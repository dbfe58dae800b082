"""What comes and goes with the browser: PKCE (RFC 7636), the issuer (RFC 9207), refusals. Pure."""

import base64
import hashlib
import hmac
from typing import Final

from interlock import sdk
from interlock.connections.answer import STANDARD
from interlock.kernel import Secret

VERIFIER_BYTES: Final = 32
"""How much chance a verifier is made of (RFC 7636 §4.1 asks for this many)."""


def verifier(chance: bytes) -> Secret:
    """The PKCE verifier of 32 random bytes. Raises ValueError for fewer."""
    if len(chance) < VERIFIER_BYTES:
        raise ValueError(f"{len(chance)} bytes are too few; a verifier takes {VERIFIER_BYTES}")
    return Secret(_base64url(chance))


def challenge(of: Secret) -> str:
    """What a verifier shows of itself at first: S256."""
    return _base64url(hashlib.sha256(of.reveal().encode("ascii")).digest())


def issuer_fits(asked: str | None, sent: str | None, *, required: bool) -> bool:
    """Whether a callback may come from the provider that was asked, by the name that it has there: `sent` is its parameter `iss`,
    compared as it is.

    One that is sent where no issuer is known proves nothing, and counts as not sent.
    """
    if asked is None or sent is None:
        return not required
    return hmac.compare_digest(sent.encode(), asked.encode())


def refusal(error: str) -> sdk.grants.RefusalCode:
    """What the parameter `error` of a callback means; what no standard names is a misconfiguration."""
    return STANDARD.get(error, "misconfigured")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
