"""What a person or the operator gives for a profile, and what of it, and of what was granted, is sealed. Pure."""

import re
from typing import Final

from interlock import sdk
from interlock.connections.answer import Tokens
from interlock.connections.errors import GrantRefused, InvalidGrant
from interlock.connections.model import MAX_SECRET_LENGTH
from interlock.kernel import MIN_SECRET_LENGTH, Secret

_MAX_TEXT: Final = 2000
_SHOWN: Final = re.compile(r"[\x21-\x7e]+(?: +[\x21-\x7e]+)*")
_KEPT: Final = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*")


def checked(profile: sdk.AuthProfile, given: sdk.fill.Values, *, connector_id: str) -> dict[str, sdk.fill.Value]:
    """The values of the profile's fields, with defaults; what is a secret is a Secret, and nothing else is.

    Raises InvalidGrant with every problem at once. No message holds a part of a secret.
    """
    fields = {field.name: field for field in profile.fields}
    problems = [f"{name[:50]!r} is no field of this profile" for name in sorted(given.keys() - fields.keys())]
    values: dict[str, sdk.fill.Value] = {}
    for name, field in fields.items():
        stated = given.get(name)
        text = stated.reveal() if isinstance(stated, Secret) else stated
        text = text or field.default
        if text is not None:
            values[name] = Secret(text) if field.secret else text
            problems += _problems(profile, field, text)
        elif not field.optional:
            problems.append(f"the {'secret ' if field.secret else ''}field {name!r} is missing")
    if problems := problems or _unfit(profile, values):
        raise InvalidGrant(connector_id, problems)
    return values


def only_field(profile: sdk.AuthProfile) -> str | None:
    """The field that a single text is for: the only one that has to be given, else None."""
    needed = [field.name for field in profile.fields if not field.optional and field.default is None]
    return needed[0] if len(needed) == 1 else None


def sealed(profile: sdk.AuthProfile, given: sdk.fill.Values, tokens: Tokens | None = None) -> dict[str, Secret]:
    """All that a version of the credential holds: the secrets that were given, those that were granted, and what is derived
    of both. Raises GrantRefused if something is missing that requests are to show."""
    granted = {} if tokens is None else tokens.secrets()
    values = {**given, **granted}
    secrets = {name: value for name, value in values.items() if isinstance(value, Secret)}
    for name, formula in profile.derive.items():
        if set(sdk.fill.holes(formula)) <= values.keys():
            value = sdk.fill.evaluate(formula, values)
            secrets[name] = value if isinstance(value, Secret) else Secret(value)
    missing = [name for name in profile.shown_fields if name not in secrets]
    if missing:
        reason = "misconfigured" if tokens is None else "unreadable_answer"
        raise GrantRefused(reason, f"requests are to show {missing[0]!r}, which nobody gave")
    return {name: secret for name, secret in secrets.items() if name in profile.durable_fields}


def _unfit(profile: sdk.AuthProfile, values: sdk.fill.Values) -> list[str]:
    """What is wrong with client certificates and their keys."""
    places = [each for each in profile.apply if isinstance(each, sdk.CertificatePlace)]
    given = [(each, values.get(each.chain_field), values.get(each.key_field)) for each in places]
    found = [
        _pair(place, chain.reveal().encode(), key.reveal().encode())
        for place, chain, key in given
        if isinstance(chain, Secret) and isinstance(key, Secret)
    ]
    return [each for each in found if each is not None]


def _pair(place: sdk.CertificatePlace, chain: bytes, key: bytes) -> str | None:
    from cryptography import x509  # here, so that importing the room stays quick
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        shown = x509.load_pem_x509_certificates(chain)[0].public_key()
    except (ValueError, UnsupportedAlgorithm):
        return f"{place.chain_field!r} holds no certificate (PEM)"
    try:
        held = load_pem_private_key(key, None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return f"{place.key_field!r} holds no private key (PEM, without a password)"
    return None if held.public_key() == shown else f"{place.key_field!r} is not the key of {place.chain_field!r}"


def _problems(profile: sdk.AuthProfile, field: sdk.Field, text: str) -> list[str]:
    name = repr(field.name)
    if field.secret and not MIN_SECRET_LENGTH <= len(text) <= MAX_SECRET_LENGTH:
        return [f"{name} has {len(text)} characters; a secret has {MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH}"]
    if len(text) > MAX_SECRET_LENGTH or (len(text) > _MAX_TEXT and not field.secret):
        return [f"{name} has {len(text)} characters; the limit is {_MAX_TEXT}"]
    if field.name in profile.written_fields and not _SHOWN.fullmatch(text):
        # It travels in a header or in an address: a line break would let it write headers of its own.
        return [f"{name} may hold only visible ASCII, and no blank at either end"]
    if not (_KEPT.fullmatch(text) if field.secret else text.isprintable()):
        return [f"{name} holds characters that no text has"]
    if field.choices and text not in field.choices:
        return [f"{name} is one of {', '.join(field.choices)}"]
    if field.pattern is not None and not sdk.fits(field.pattern, text):
        return [
            f"{name} does not have the form that the profile asks for"
            + (f", such as {field.example}" if field.example else "")
        ]
    return []
