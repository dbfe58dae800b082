"""Requests as services sign them (`webhook_vectors.yaml`)."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from interlock import sdk
from interlock.kernel import Secret
from interlock.triggers.webhooks import Incoming, Refused, Verified, Verifier


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A request, and the secret that it is signed with."""

    name: str
    scheme: str | None
    by: str
    verification: sdk.Verification
    secret: str
    method: str
    url: str
    at: datetime
    headers: dict[str, str]
    body: bytes
    delivery_id: str | None

    def request(self) -> Incoming:
        return Incoming(
            method=self.method,
            url=self.url,
            query=self.url.partition("?")[2],
            headers=tuple((name.lower(), value) for name, value in self.headers.items()),
            body=self.body,
        )

    def verify(self, *, secrets: list[str] | None = None, late: float = 0) -> Verified | Refused:
        verifier = Verifier(self.verification, [Secret(each) for each in secrets or [self.secret]])
        return verifier.verify(self.request(), now=self.at + timedelta(seconds=late))

    def but(self, **changes: Any) -> "Vector":
        return replace(self, **changes)

    def header(self, name: str | None) -> str:
        """Its own spelling of a header's name."""
        return next(each for each in self.headers if each.lower() == (name or "").lower())

    def with_header(self, name: str | None, value: str | None) -> "Vector":
        """With another value of a header, or without it."""
        held = {each: text for each, text in self.headers.items() if each.lower() != (name or "").lower()}
        return self.but(headers=held if value is None else {**held, str(name): value})


def _read(number: int, raw: dict[str, Any]) -> Vector:
    scheme = raw.get("scheme")
    verification = sdk.read_verification({"scheme": scheme} if scheme else raw["verification"])
    digest = hashlib.sha256(repr(raw).encode()).hexdigest()[:4]
    return Vector(
        name=f"{scheme or verification.algorithm}-{digest}",
        scheme=scheme,
        by=raw["by"],
        verification=verification,
        secret=raw["secret"],
        method=raw["method"],
        url=raw["url"],
        at=datetime.fromtimestamp(raw["at"], UTC),
        headers=raw["headers"],
        body=raw["body"].encode(),
        delivery_id=raw.get("id"),
    )


VECTORS: Final = [
    _read(number, raw)
    for number, raw in enumerate(yaml.safe_load((Path(__file__).parent / "webhook_vectors.yaml").read_text()))
]
SIGNED: Final = [each for each in VECTORS if each.verification.is_signed]
DATED: Final = [each for each in VECTORS if each.verification.timestamp is not None]
