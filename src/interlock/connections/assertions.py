"""JWTs that we sign, to show who we are (RFC 7523, GitHub Apps)."""

import base64
import binascii
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from interlock import sdk
from interlock.connections.errors import GrantRefused
from interlock.kernel import JSON, Secret

if TYPE_CHECKING:
    from joserfc.jwk import Key

_SKEW: Final = timedelta(seconds=60)
"""By how much a provider's clock may be behind ours."""


def signed(assertion: sdk.grants.Assertion, values: sdk.fill.Values, *, audience: str) -> Secret:
    """The assertion, signed, with what the values make of its texts; `epoch` among them is the moment, `random` its id.

    Raises GrantRefused, `misconfigured`, for a key that cannot sign so. No message holds a part of a key.
    """
    from joserfc import jwt  # here, so that importing the room stays quick
    from joserfc.errors import JoseError

    at = int(_text("{epoch}", values) or 0)
    texts = {
        "iss": assertion.issuer,
        "sub": assertion.subject,
        "aud": assertion.audience or audience,
        "jti": "{random}",
        **assertion.claims,
    }
    claims: dict[str, JSON] = {name: text for name, said in texts.items() if (text := _text(said, values)) is not None}
    claims |= {"iat": at - int(_SKEW.total_seconds()), "exp": at + assertion.lifetime_seconds}
    header = {"alg": assertion.algorithm, "typ": "JWT"}
    if (key_id := _text(assertion.key_id, values)) is not None:
        header["kid"] = key_id
    try:
        return Secret(jwt.encode(header, claims, _key(assertion, values), algorithms=[assertion.algorithm]))
    except (JoseError, ValueError, TypeError):
        # From nothing: what a library says of a key may hold some of it.
        problem = f"the value {assertion.key!r} is no key that {assertion.algorithm} signs with"
        raise GrantRefused("misconfigured", problem) from None


def _text(template: str | None, values: sdk.fill.Values) -> str | None:
    try:
        value = None if template is None else sdk.fill.fill(template, values)
    except sdk.fill.Unfilled as error:
        raise GrantRefused("misconfigured", str(error)) from None
    return value.reveal() if isinstance(value, Secret) else value


def _key(assertion: sdk.grants.Assertion, values: sdk.fill.Values) -> "Key":
    """Raises ValueError and JoseError."""
    from joserfc import jwk

    value = values.get(assertion.key)
    text = value.reveal() if isinstance(value, Secret) else value
    if not text:
        raise GrantRefused("misconfigured", f"{{{assertion.key}}} has no value")
    match assertion.algorithm:
        case "RS256" | "PS256":
            return jwk.RSAKey.import_key(text)
        case "ES256":
            return jwk.ECKey.import_key(text)
        case "Ed25519":
            return jwk.OKPKey.import_key(text)
        case "HS256":
            return jwk.OctKey.import_key(_bytes(assertion.key_encoding, text))


def _bytes(encoding: str, text: str) -> bytes:
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        return base64.b64decode(text, validate=True) if encoding == "base64" else text.encode()
    except binascii.Error as error:
        raise ValueError("undecodable") from error
