"""The shapes in which providers answer: JSON or a form, numbers as texts, moments in three ways. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import parse_qsl

from interlock import plane, sdk
from interlock.connections.grant import LOOPBACK
from interlock.kernel import JSON, Secret, from_rfc3339, read_json

TOKEN: Final = re.compile(r"[\x20-\x7e]{1,16384}")
"""What RFC 6749 lets a token be (appendix A.12), and no longer than what can be kept."""
_MOST_BYTES: Final = 1_048_576
_MOST_FIELDS: Final = 200
_LONGEST: Final = timedelta(days=36_600)
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `headers` have names in lower case; `asked_at` is when the request left, from which lifetimes count, so
    that a slow answer does not lengthen them."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    asked_at: datetime


def document(rule: sdk.grants.TokenAnswer, answer: Answer) -> JSON:
    """The body as data, None if it is not any."""
    if len(answer.body) > _MOST_BYTES:
        return None
    form = rule.format
    if form == "auto":
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        looks_like_json = answer.body.lstrip()[:1] in (b"{", b"[")
        form = "json" if kind.endswith("json") or looks_like_json else "form"
        if kind.endswith("html"):
            return None
    try:
        # Leniently: a number somewhere in it that we could not keep is none of our business.
        return read_json(answer.body) if form == "json" else _form(answer.body)
    except ValueError:
        return None


def _form(body: bytes) -> JSON:
    """Raises ValueError for what is no form, or says something twice (RFC 6749 §3.2)."""
    pairs = parse_qsl(
        body.decode("ascii").strip(), keep_blank_values=True, strict_parsing=True, max_num_fields=_MOST_FIELDS
    )
    found: dict[str, JSON] = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def at(document: JSON, pointer: str | None) -> JSON:
    found = None if pointer is None else sdk.read_pointer(document, pointer)
    return None if isinstance(found, sdk.Missing) else found


def text_at(document: JSON, pointer: str | None) -> str | None:
    """A text that can travel in a header, or a number as one. What cannot counts as not there."""
    found = at(document, pointer)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    return found if isinstance(found, str) and TOKEN.fullmatch(found) else None


def token_at(document: JSON, pointer: str | None) -> Secret | None:
    text = text_at(document, pointer)
    return None if text is None else Secret(text)


def error_at(document: JSON, pointer: str | None) -> str | None:
    """What the provider calls the error; None where it says that there is none, in one of the ways in which they do."""
    found = at(document, pointer)
    if not found or found == "0":
        return None
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else "unnamed"


def extras(rule: sdk.grants.TokenAnswer, document: JSON) -> dict[str, Secret]:
    found = {name: token_at(document, pointer) for name, pointer in rule.extra.items()}
    return {name: secret for name, secret in found.items() if secret is not None}


def scopes(rule: sdk.grants.TokenAnswer, document: JSON) -> frozenset[str] | None:
    found = at(document, rule.scope)
    if isinstance(found, str):
        found = found.split(rule.scope_separator)
    if not isinstance(found, list | tuple):
        return None
    return frozenset(part.strip() for part in found if isinstance(part, str) and part.strip())


def end(rule: sdk.grants.TokenAnswer, document: JSON, answer: Answer) -> datetime | None:
    """When the token ends, by our clock: a provider's moment counts from the provider's present, where it tells that. One that
    is past is now: such a token is not taken for one without an end."""
    seconds = number(at(document, rule.expires_in))
    if seconds is not None and rule.expires_in_unit == "ms":
        seconds /= 1000
    if seconds is None and (moment := _moment(rule, at(document, rule.expires_at))) is not None:
        seconds = (moment - (_date(answer.headers.get("date")) or answer.asked_at)).total_seconds()
        if seconds <= 0:
            return answer.asked_at
    if seconds is None and rule.lifetime_seconds is not None:
        seconds = float(rule.lifetime_seconds)
    if seconds is None or not 0 < seconds <= _LONGEST.total_seconds():
        return None
    return answer.asked_at + timedelta(seconds=seconds)


def _moment(rule: sdk.grants.TokenAnswer, found: JSON) -> datetime | None:
    try:
        if rule.expires_at_format == "rfc3339":
            return from_rfc3339(found) if isinstance(found, str) else None
        seconds = number(found) or None  # 0 is no moment: so some say that there is no end
        scale = 1000 if rule.expires_at_format == "epoch_ms" else 1
        return None if seconds is None else datetime.fromtimestamp(seconds / scale, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def number(found: JSON) -> float | None:
    """A number that is not below 0, also as a text."""
    if isinstance(found, str) and _NUMBER.fullmatch(text := found.strip()):
        return float(text)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if 0 <= found <= 1e18 else None


def _date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def web_at(document: JSON, pointer: str | None) -> str | None:
    """An address that a person may be sent to."""
    text = text_at(document, pointer)
    if text is None:
        return None
    try:
        url = plane.parse_url(text if text.count("/") > 2 else f"{text}/")
    except ValueError:
        return None
    return url.text if url.scheme == "https" or url.host in LOOPBACK else None
