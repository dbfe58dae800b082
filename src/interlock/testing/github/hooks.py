"""Webhooks: who is told of what, and every try to tell them."""

import hashlib
import hmac
import secrets
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from interlock import kernel

KEPT: Final = 10_000
"""Deliveries of a hook that are kept, the latest."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One try to deliver an event; tries for the same event share the `guid`. `status_code` is 0 while nothing came of it."""

    delivery_id: int
    guid: str
    event: str
    action: str | None
    payload: bytes
    delivered_at: datetime
    redelivery: bool = False
    seconds: float = 0.0
    status: str = "pending"
    status_code: int = 0

    def again(self, delivery_id: int, *, at: datetime) -> "Delivery":
        """Another try: the same id of the event, and the same bytes."""
        return Delivery(
            delivery_id=delivery_id,
            guid=self.guid,
            event=self.event,
            action=self.action,
            payload=self.payload,
            delivered_at=at,
            redelivery=True,
        )


@dataclass(slots=True, kw_only=True)
class Hook:
    """Where a repository's events go."""

    hook_id: int
    repository_id: int
    url: str
    secret: kernel.Secret | None
    content_type: str
    events: tuple[str, ...]
    active: bool
    created_at: datetime
    deliveries: deque[Delivery] = field(default_factory=lambda: deque(maxlen=KEPT))

    def wants(self, event: str) -> bool:
        """Whether the hook is told of such an event. Everyone is told that a hook was made."""
        return self.active and (event == "ping" or event in self.events or "*" in self.events)

    def request(self, delivery: Delivery) -> tuple[Mapping[str, str], bytes]:
        """The headers and the body of a delivery, signed as GitHub does."""
        body, kind = delivery.payload, "application/json"
        if self.content_type == "form":
            body, kind = urlencode({"payload": body.decode()}).encode(), "application/x-www-form-urlencoded"
        headers = {
            "Accept": "*/*",
            "Content-Type": kind,
            "User-Agent": "GitHub-Hookshot/interlock",
            "X-GitHub-Delivery": delivery.guid,
            "X-GitHub-Event": delivery.event,
            "X-GitHub-Hook-ID": str(self.hook_id),
            "X-GitHub-Hook-Installation-Target-ID": str(self.repository_id),
            "X-GitHub-Hook-Installation-Target-Type": "repository",
        }
        if self.secret is not None:
            key = self.secret.reveal().encode()
            headers["X-Hub-Signature"] = "sha1=" + hmac.new(key, body, hashlib.sha1).hexdigest()
            headers["X-Hub-Signature-256"] = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
        return headers, body


def new_guid() -> str:
    """Unlike any other, also one of another service on the same machine: whoever is told tells repeats by it."""
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
