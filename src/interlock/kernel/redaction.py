"""Redaction by value: whatever is known to be secret is removed wherever it turns up, under any key name.

Key names are no evidence (`page_token` is harmless, a token inside an error message is not), so only values count,
together with the forms that encoders turn them into.
"""

import base64
import json
import re
from collections.abc import Iterable
from typing import cast
from urllib.parse import quote, quote_plus

from interlock.kernel.canonical import JSON
from interlock.kernel.secret import Secret

REDACTED = "[redacted]"
MIN_SECRET_LENGTH = 8
"""Shorter secrets are refused where they enter: to redact them would shred ordinary text."""

_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+")
"""What JSON and URLs write as it is (RFC 3986 §2.3)."""
_URLSAFE = str.maketrans("+/", "-_")


class Redactor:
    """Removes a fixed set of secrets from text, bytes and JSON. Immutable; make one per call from the lease."""

    __slots__ = ("_forms", "_forms_bytes")

    def __init__(self, secrets: Iterable[Secret] = (), *, forms: Iterable[str] = ()) -> None:
        """`forms` are removed as they are."""
        known = set(forms)
        for secret in secrets:
            if len(secret.reveal()) >= MIN_SECRET_LENGTH:
                known |= _forms(secret.reveal())
        # Longest first: a form may contain another one.
        self._forms = tuple(sorted(known, key=lambda form: (-len(form), form)))
        self._forms_bytes = tuple(form.encode() for form in self._forms)

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"

    def __eq__(self, other: object) -> bool:
        return self._forms == other._forms if isinstance(other, Redactor) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._forms)

    def also(self, secrets: Iterable[Secret]) -> "Redactor":
        """One that knows these, too."""
        return Redactor(secrets, forms=self._forms)

    def text(self, text: str) -> str:
        """The text without any known secret."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        return text

    def data(self, data: bytes) -> bytes:
        """The bytes without any known secret."""
        for form in self._forms_bytes:
            if form in data:
                data = data.replace(form, REDACTED.encode())
        return data

    def finds(self, data: bytes) -> bool:
        """Whether any known secret stands in the bytes."""
        return any(form in data for form in self._forms_bytes)

    def json(self, value: JSON) -> JSON:
        """A JSON value without any known secret, in keys and in values."""
        # Nearly always there is none, which one look at all texts together shows.
        return self._cleaned(value) if self._forms and self._may_occur(value) else value

    def _may_occur(self, value: JSON) -> bool:
        texts: list[str] = []
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                texts.append(item)
            elif isinstance(item, dict):
                texts.extend(item)
                stack.extend(item.values())
            elif isinstance(item, list | tuple):
                stack.extend(cast("list[JSON]", item))
        together = "\n".join(texts)
        return any(form in together for form in self._forms)

    def _cleaned(self, value: JSON) -> JSON:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._cleaned(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._cleaned(item) for item in cast("list[JSON]", value)]
        return value


def _forms(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret, raw.hex(), raw.hex().upper()}
    if not _UNRESERVED.fullmatch(secret):
        forms |= _escaped(secret)
    for padding in range(3):
        # Inside a longer base64 text the secret starts at one of three alignments; keep the characters that depend on
        # the secret alone (`Basic user:token` is the usual case).
        start = -(-8 * padding // 6)
        end = 8 * (padding + len(raw)) // 6
        encoded = base64.b64encode(b"\0" * padding + raw).decode()[start:end]
        forms |= {encoded, encoded.translate(_URLSAFE)}
    return {form for form in forms if len(form) >= MIN_SECRET_LENGTH}


def _escaped(secret: str) -> set[str]:
    """As it stands in JSON and in URLs."""
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    in_urls = {
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
        quote_plus(secret, errors="replace"),
    }
    return {
        *in_json,
        *(form.replace("/", "\\/") for form in in_json),
        *in_urls,
        *(re.sub("%..", lambda escape: escape.group().lower(), form) for form in in_urls),
    }
