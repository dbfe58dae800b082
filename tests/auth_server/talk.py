"""What is asked and what is said, apart from how it travels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Asked:
    """One request. Names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    certificate: str | None = None
    """The digest of the one that the client showed under TLS."""

    @property
    def args(self) -> dict[str, list[str]]:
        return parse_qs(self.query, keep_blank_values=True)

    @property
    def form(self) -> dict[str, list[str]]:
        """What a form holds; nothing, if the body calls itself something else."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip()
        if kind != "application/x-www-form-urlencoded":
            return {}
        return parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    @property
    def json(self) -> dict[str, Any]:
        """What a JSON object holds; nothing, if the body is none."""
        try:
            found: Any = json.loads(self.body)
        except ValueError:
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    @property
    def bearer(self) -> str | None:
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" and token else None


Delivery = Literal["whole", "hang", "trickle", "cut", "reset"]


@dataclass
class Said:
    """One answer, and how it gets to who asked: `hang` says nothing for as long as the server listens, `trickle` a byte now and
    then, `cut` half of the body, `reset` nothing."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    delivery: Delivery = "whole"

    @property
    def location(self) -> str | None:
        """Where it sends a browser; Authlib asks and sets it."""
        return self.headers.get("Location")

    @location.setter
    def location(self, value: str) -> None:
        self.headers["Location"] = value

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        return json.loads(self.body)


def said(status: int, document: Mapping[str, Any], **headers: str) -> Said:
    """An answer in JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(status, json.dumps(document).encode(), {"Content-Type": "application/json", **named})
