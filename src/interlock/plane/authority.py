"""Authority: a decision bound to one intent, one node, one target class and a short time, good for one execution.

Inside one process it carries a MAC under a key that is drawn when the process starts and never leaves it.
"""

import hmac
import os
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Protocol

from pydantic import Field

from interlock.kernel import Clock, to_micros, to_rfc3339
from interlock.plane.contract import Contract, Digest, Moment, Name
from interlock.plane.failures import Failure, FailureClass

MAX_TTL: Final = 300.0
"""Seconds: no authority lives longer."""

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32,128}$")]


class AuthorityDecision(Contract):
    """Permission for one execution: this intent, on this node, on a target of this class, until then, once."""

    contract: Literal["interlock.authority/v1"] = "interlock.authority/v1"
    key_id: Name
    intent_digest: Digest
    audience: Name
    target_class: Name
    expires_at: Moment
    nonce: Hex
    mac: Hex


class AuthorityVerifier(Protocol):
    """Who judges authority. Registered with the node by the host; there is no default."""

    def spend(
        self, decision: AuthorityDecision, *, intent_digest: str, audience: str, target_class: str
    ) -> Failure | None:
        """Accept and use up a decision, or say why not. A decision that is refused is not used up."""
        ...


class Authorizer:
    """Issues authority for the nodes of this process. The key lives only here and in its verifiers."""

    def __init__(self, *, clock: Clock, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._key = random_bytes(32)
        self._key_id = "process-" + random_bytes(8).hex()

    def __repr__(self) -> str:
        return f"Authorizer({self._key_id})"

    def issue(self, intent_digest: str, *, audience: str, target_class: str, ttl: float = 60.0) -> AuthorityDecision:
        """Permit one execution. `audience` is a node id, `ttl` is in seconds, at most `MAX_TTL` (else ValueError)."""
        if not 0 < ttl <= MAX_TTL:
            raise ValueError(f"an authority lives up to {MAX_TTL:g} seconds, not {ttl:g}")
        expires_at = self._clock.now() + timedelta(seconds=ttl)
        nonce = self._random_bytes(16).hex()
        mac = _mac(self._key, self._key_id, intent_digest, audience, target_class, expires_at, nonce)
        return AuthorityDecision(
            key_id=self._key_id,
            intent_digest=intent_digest,
            audience=audience,
            target_class=target_class,
            expires_at=expires_at,
            nonce=nonce,
            mac=mac,
        )

    def verifier(self) -> "MacVerifier":
        """A verifier for this authorizer's decisions. Give it to one node: spent nonces are its own."""
        return MacVerifier(self._key_id, self._key, clock=self._clock)


class MacVerifier:
    """Checks decisions against the key of this process and lets each be used once.

    Spent nonces are kept until their decision expires. When `max_open` are kept, further decisions are refused: to
    forget one early would allow its replay.
    """

    def __init__(self, key_id: str, key: bytes, *, clock: Clock, max_open: int = 200_000) -> None:
        self._key_id = key_id
        self._key = key
        self._clock = clock
        self._max_open = max_open
        self._spent: set[str] = set()
        self._order: deque[tuple[datetime, str]] = deque()

    def spend(
        self, decision: AuthorityDecision, *, intent_digest: str, audience: str, target_class: str
    ) -> Failure | None:
        if decision.key_id != self._key_id:
            return _denied("authority_unknown_key", "the authority was issued under a key that this node does not know")
        expected = _mac(
            self._key,
            decision.key_id,
            decision.intent_digest,
            decision.audience,
            decision.target_class,
            decision.expires_at,
            decision.nonce,
        )
        if not hmac.compare_digest(expected, decision.mac):
            return _denied("authority_tampered", "the authority was altered after it was issued")
        now = self._clock.now()
        if decision.expires_at <= now:
            return _denied("authority_expired", f"the authority expired at {to_rfc3339(decision.expires_at)}")
        if decision.audience != audience:
            return _denied("authority_wrong_audience", f"the authority is for node {decision.audience}, not {audience}")
        if decision.intent_digest != intent_digest:
            return _denied("authority_wrong_intent", "the authority is for another intent")
        if decision.target_class != target_class:
            return _denied(
                "authority_wrong_target",
                f"the authority is for target class {decision.target_class}, not {target_class}",
            )
        return self._use_up(decision, now)

    def _use_up(self, decision: AuthorityDecision, now: datetime) -> Failure | None:
        while self._order and self._order[0][0] <= now:
            self._spent.discard(self._order.popleft()[1])
        if decision.nonce in self._spent:
            return _denied("authority_replayed", "the authority was used before")
        if len(self._order) >= self._max_open:
            return _denied("authority_backlog", f"{self._max_open} authorities were used and have not expired yet")
        self._spent.add(decision.nonce)
        self._order.append((decision.expires_at, decision.nonce))
        return None


def _mac(
    key: bytes, key_id: str, intent_digest: str, audience: str, target_class: str, expires_at: datetime, nonce: str
) -> str:
    # No part holds a line break (`Name`, `Digest` and `Hex` refuse it), so the parts cannot run into each other.
    parts = ("interlock.authority/v1", key_id, intent_digest, audience, target_class, str(to_micros(expires_at)), nonce)
    return hmac.digest(key, "\n".join(parts).encode(), "sha256").hex()


def _denied(code: str, message: str) -> Failure:
    return Failure.of(FailureClass.AUTHORITY_DENIED, message, code=code)
