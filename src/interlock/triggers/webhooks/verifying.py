"""Whether a request is from whom it says: a manifest's `Verification`, carried out over the bytes as they came.

Pure: the moment and the secrets are given. Nothing that is refused says more than a word of a closed list.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from interlock import sdk
from interlock.kernel import InvalidJson, Secret, digest_bytes, from_micros, from_rfc3339
from interlock.triggers.webhooks import keys
from interlock.triggers.webhooks.incoming import Incoming, Twice

MAX_SIGNATURES: Final = 20
"""Entries of a header that are looked at; one that has more is refused."""

_ID: Final = re.compile(r"[\x21-\x7e]{1,255}")
_DIGITS: Final = re.compile(r"[0-9]{1,16}")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")


class Reason(StrEnum):
    """Why a delivery is refused."""

    MISSING_HEADER = "missing_header"
    REPEATED_HEADER = "repeated_header"
    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    BAD_TIMESTAMP = "bad_timestamp"
    STALE = "stale"
    FUTURE = "future"
    KEYLESS = "keyless"
    UNKNOWN_KEY = "unknown_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A delivery whose origin is proven. `dedupe_key` is equal for what is the same delivery: of its id, if whoever changed that
    would break the proof, else of what was signed. `key_number` counts the route's secrets, the present one first."""

    delivery_id: str | None
    dedupe_key: str
    digest: str
    signed_at: datetime | None
    key_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A delivery whose origin is not proven."""

    reason: Reason
    delivery_id: str | None = None


class _No(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Verifier:
    """One verification under a route's secrets, the present one first, which are read once. Raises keys.UnreadableKey."""

    def __init__(self, verification: sdk.Verification, secrets: Sequence[Secret]) -> None:
        self._said = verification
        self._keys = [keys.read(verification, each) for each in secrets]
        self._content = _compiled(verification.content)
        self._check: Callable[[Incoming, datetime], tuple[int, bytes, datetime | None]] = {
            "jwt": self._by_jwt,
            "token": self._by_token,
            "basic": self._by_token,
            "unsigned": self._unsigned,
        }.get(verification.algorithm, self._by_signature)

    def verify(self, request: Incoming, *, now: datetime) -> Verified | Refused:
        """What the request proves."""
        delivery_id = self._find_id(request)
        try:
            if not self._keys and self._said.algorithm != "unsigned":
                raise _No(Reason.KEYLESS)
            number, content, signed_at = self._check(request, now)
        except Twice:
            return Refused(reason=Reason.REPEATED_HEADER, delivery_id=delivery_id)
        except _No as no:
            return Refused(reason=no.reason, delivery_id=delivery_id)
        digest = digest_bytes(content)
        return Verified(
            delivery_id=delivery_id,
            dedupe_key=id_key(delivery_id) if delivery_id is not None and self._said.covers_id else digest,
            digest=digest,
            signed_at=signed_at,
            key_number=number,
        )

    # -- the ways

    def _by_signature(self, request: Incoming, now: datetime) -> tuple[int, bytes, datetime | None]:
        header = _needed(request, self._said.header or "")
        pairs = _pairs(header) if self._said.shape == "pairs" else {}
        stamp = self._stamp_text(request, pairs)
        content = self._build(request, stamp)
        candidates = [each for each in map(self._decode, self._candidates(header, pairs)) if each is not None]
        if not candidates:
            raise _No(Reason.MALFORMED)
        # Every key and every signature is tried, so that the time does not tell which of them was right.
        right = [
            number
            for number, key in enumerate(self._keys)
            if any([key.verifies(content, candidate) for candidate in candidates])  # noqa: C419 - all of them, always
        ]
        if not right:
            raise _No(Reason.BAD_SIGNATURE)
        return right[0], content, self._check_time(request, stamp, now)

    def _by_token(self, request: Incoming, now: datetime) -> tuple[int, bytes, datetime | None]:
        if (place := self._said.pointer) is not None:
            shown = self._tokens_in_body(request, place)
        else:
            shown = [_after(_needed(request, self._said.header or ""), self._said.prefix)]
        right = [number for number, key in enumerate(self._keys) if all([key.equals(each) for each in shown])]  # noqa: C419
        if not right:
            raise _No(Reason.BAD_SIGNATURE)
        return right[0], request.body, None

    def _tokens_in_body(self, request: Incoming, place: str) -> list[str]:
        """The tokens: one for every element of the list that a `*` stands for, or the body is no proof of all of it."""
        value = request.value
        if isinstance(value, InvalidJson):
            raise _No(Reason.MALFORMED)
        above, star, _ = place.partition("/*")
        found, held = sdk.read_pointer(value, place), sdk.read_pointer(value, above)
        shown = found if star and isinstance(found, list) else [found]
        wanted = len(held) if star and isinstance(held, list) else 1
        texts = [each for each in shown if isinstance(each, str)]
        if len(texts) != wanted or not texts:
            raise _No(Reason.MALFORMED)
        return texts

    def _by_jwt(self, request: Incoming, now: datetime) -> tuple[int, bytes, datetime | None]:
        assert self._said.claims is not None
        token = _after(_needed(request, self._said.header or ""), self._said.prefix)
        audience = self._said.claims.audience or request.url.partition("?")[0]
        for number, key in enumerate(self._keys):
            if key.vouches(token, self._said.claims, audience=audience, now=now):
                return number, request.body, None
        fetched = self._said.claims.keys_url is not None
        raise _No(Reason.UNKNOWN_KEY if fetched and keys.names_another(token, self._keys) else Reason.BAD_SIGNATURE)

    def _unsigned(self, request: Incoming, now: datetime) -> tuple[int, bytes, datetime | None]:
        return 0, request.body, None

    # -- parts

    def _find_id(self, request: Incoming) -> str | None:
        """The delivery's id, if it has one that can be kept."""
        if (place := self._said.delivery_id) is None:
            return None
        if place.header is not None:
            try:
                found: object = request.header(place.header)
            except Twice:
                return None
        else:
            found = (
                None if isinstance(request.value, InvalidJson) else sdk.read_pointer(request.value, place.pointer or "")
            )
        text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
        return text if _ID.fullmatch(text) else None

    def _candidates(self, header: str, pairs: Mapping[str, Sequence[str]]) -> list[str]:
        """The texts that may be the signature."""
        prefix = self._said.prefix
        if self._said.shape == "raw":
            return [_after(header, prefix)]
        if self._said.shape == "pairs":
            found = [*pairs.get(self._said.pair, ())]
        else:
            entries = [each.strip() for each in header.split(self._said.separator)]
            found = [each.removeprefix(prefix) for each in entries if each.startswith(prefix)]
        if len(found) > MAX_SIGNATURES:
            raise _No(Reason.MALFORMED)
        return found

    def _decode(self, text: str) -> bytes | None:
        if self._said.encoding == "hex":
            return bytes.fromhex(text) if _HEX.fullmatch(text) else None
        try:
            return base64.b64decode(text, validate=True) or None
        except (binascii.Error, ValueError):
            return None

    def _stamp_text(self, request: Incoming, pairs: Mapping[str, Sequence[str]]) -> str | None:
        """The timestamp as it was sent. One in the body is read once the body is proven."""
        place = self._said.timestamp
        if place is None or place.pointer is not None:
            return None
        if place.header is not None:
            return _needed(request, place.header)
        found = pairs.get(place.pair or "", ())
        if len(found) != 1:
            raise _No(Reason.MALFORMED)
        return found[0]

    def _check_time(self, request: Incoming, stamp: str | None, now: datetime) -> datetime | None:
        place = self._said.timestamp
        if place is None:
            return None
        if place.pointer is not None:
            found = None if isinstance(request.value, InvalidJson) else sdk.read_pointer(request.value, place.pointer)
            stamp = str(found) if isinstance(found, str | int) else ""
        signed_at = _moment(stamp or "", place.unit)
        tolerance = timedelta(seconds=place.tolerance_seconds)
        if signed_at is None:
            raise _No(Reason.BAD_TIMESTAMP)
        if signed_at < now - tolerance:
            raise _No(Reason.STALE)
        if signed_at > now + tolerance:
            raise _No(Reason.FUTURE)
        return signed_at

    def _build(self, request: Incoming, stamp: str | None) -> bytes:
        """What was signed, if the request is what the service sent."""
        return b"".join(
            part if isinstance(part, bytes) else self._fill(part[0], request, stamp) for part in self._content
        )

    def _fill(self, hole: str, request: Incoming, stamp: str | None) -> bytes:
        match hole:
            case "body":
                return request.body
            case "timestamp":
                return (stamp or "").encode("latin-1")
            case "id":
                place = self._said.delivery_id
                return _needed(request, (place.header if place else None) or "").encode("latin-1")
            case "url":
                return request.url.encode()
            case "method":
                return request.method.encode()
            case "form":
                return self._form(request)
            case _:
                return _needed(request, hole.removeprefix("header:")).encode("latin-1")

    def _form(self, request: Incoming) -> bytes:
        """The fields of a form; nothing of a body whose digest is in the URL. Of any other body nothing would be signed."""
        place = self._said.digest_parameter
        stated = None if place is None else request.parameter(place)
        if stated is not None and stated.lower() != hashlib.sha256(request.body).hexdigest():
            raise _No(Reason.BAD_SIGNATURE)
        if request.form is not None:
            return "".join(f"{name}{value}" for name, value in sorted(request.form)).encode()
        if stated is None:
            raise _No(Reason.MALFORMED)
        return b""


def id_key(delivery_id: str) -> str:
    """By which a delivery with that id is known."""
    return f"id:{digest_bytes(delivery_id.encode())}"


def _compiled(content: str) -> list[bytes | tuple[str]]:
    """The template as constants, and holes in tuples."""
    parts: list[bytes | tuple[str]] = []
    at = 0
    for hole in sdk.HOLE.finditer(content):
        parts += [content[at : hole.start()].encode(), (hole[1],)]
        at = hole.end()
    return [*parts, content[at:].encode()]


def _needed(request: Incoming, name: str) -> str:
    if not (found := request.header(name)):
        raise _No(Reason.MISSING_HEADER)
    return found


def _after(text: str, prefix: str) -> str:
    if not text.startswith(prefix):
        raise _No(Reason.MALFORMED)
    return text.removeprefix(prefix)


def _pairs(header: str) -> dict[str, list[str]]:
    """`k=v` by commas; a key may stand more than once."""
    found: dict[str, list[str]] = {}
    for entry in header.split(",", MAX_SIGNATURES * 4):
        name, equals, value = entry.partition("=")
        if not equals:
            raise _No(Reason.MALFORMED)
        found.setdefault(name.strip(), []).append(value.strip())
    return found


def _moment(text: str, unit: str) -> datetime | None:
    """The moment, or None for what is none in that unit."""
    try:
        if unit == "rfc3339":
            return from_rfc3339(text)
        if _DIGITS.fullmatch(text) is None:
            return None
        return from_micros(int(text) * (1_000_000 if unit == "s" else 1000))
    except (ValueError, OverflowError):
        return None
