"""Authority: a decision bound to one intent, one node, one target class and a short time, good for one execution.

Inside one process it carries a MAC under a key that is drawn when the process starts and never leaves it; between
processes an Ed25519 signature (`signed_authority`).
"""

import hmac
import os
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from interlock.kernel import Clock, to_micros, to_rfc3339
from interlock.plane.contract import Contract, Digest, Hex, Moment, Name
from interlock.plane.failures import Failure, FailureClass

MAX_TTL: Final = 300.0
"""Seconds: no authority lives longer."""

_SKEW: Final = timedelta(seconds=60)
"""How far the issuer's clock may be ahead."""


class AuthorityDecision(Contract):
    """Permission for one execution: this intent, on this node, on a target of this class, until then, once.

    `proof` is over all the rest: a MAC where issuer and node are one process, else an Ed25519 signature.
    """

    contract: Literal["interlock.authority/v1"] = "interlock.authority/v1"
    algorithm: Literal["hmac-sha256", "ed25519"]
    key_id: Name
    intent_digest: Digest
    audience: Name
    target_class: Name
    expires_at: Moment
    nonce: Hex
    proof: Hex

    @property
    def statement(self) -> bytes:
        """The bytes that `proof` is over."""
        return _statement(
            self.algorithm,
            self.key_id,
            self.intent_digest,
            self.audience,
            self.target_class,
            self.expires_at,
            self.nonce,
        )


class AuthorityVerifier(Protocol):
    """Who judges authority. Registered with the node by the host; there is no default."""

    def spend(
        self, decision: AuthorityDecision, *, intent_digest: str, audience: str, target_class: str
    ) -> Failure | None:
        """Accept and use up a decision, or say why not. A decision that is refused is not used up."""
        ...


def _mac(key: bytes, statement: bytes) -> bytes:
    """HMAC-SHA256. Not `hmac.digest`: that lets go of the interpreter's lock for a microsecond's work, and then waits for it
    behind the thread that writes."""
    return hmac.new(key, statement, "sha256").digest()


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
        return permit(
            lambda statement: _mac(self._key, statement),
            algorithm="hmac-sha256",
            key_id=self._key_id,
            intent_digest=intent_digest,
            audience=audience,
            target_class=target_class,
            expires_at=self._clock.now() + lifetime(ttl),
            nonce=self._random_bytes(16).hex(),
        )

    def verifier(self) -> "MacVerifier":
        """A verifier for this authorizer's decisions. Give it to one node: spent nonces are its own."""
        return MacVerifier(self._key_id, self._key, clock=self._clock)


class MacVerifier:
    """Checks decisions against the key of this process and lets each be used once."""

    def __init__(self, key_id: str, key: bytes, *, clock: Clock, max_open: int = 200_000) -> None:
        self._key_id = key_id
        self._key = key
        self._book = Nonces(clock, max_open=max_open)

    def spend(
        self, decision: AuthorityDecision, *, intent_digest: str, audience: str, target_class: str
    ) -> Failure | None:
        if decision.key_id != self._key_id or decision.algorithm != "hmac-sha256":
            return denied("authority_unknown_key", "the authority was issued under a key that this node does not know")
        if not hmac.compare_digest(_mac(self._key, decision.statement), bytes.fromhex(decision.proof)):
            return denied("authority_tampered", "the authority was altered after it was issued")
        return self._book.spend(decision, intent_digest=intent_digest, audience=audience, target_class=target_class)


class Nonces:
    """The part of every verifier that comes after the proof: whether a genuine decision fits, and that it is used once.

    Spent nonces are kept until their decision expires. When `max_open` are kept, further decisions are refused: to
    forget one early would allow its replay.
    """

    def __init__(self, clock: Clock, *, max_open: int) -> None:
        self._clock = clock
        self._max_open = max_open
        self._spent: set[str] = set()
        self._order: deque[tuple[datetime, str]] = deque()

    def spend(
        self, decision: AuthorityDecision, *, intent_digest: str, audience: str, target_class: str
    ) -> Failure | None:
        """As `AuthorityVerifier.spend`, for a decision whose proof holds."""
        now = self._clock.now()
        if decision.expires_at <= now:
            return denied("authority_expired", f"the authority expired at {to_rfc3339(decision.expires_at)}")
        if decision.expires_at > now + lifetime(MAX_TTL) + _SKEW:
            return denied("authority_too_long", f"the authority lives longer than {MAX_TTL:g} seconds")
        if decision.audience != audience:
            return denied("authority_wrong_audience", f"the authority is for node {decision.audience}, not {audience}")
        if decision.intent_digest != intent_digest:
            return denied("authority_wrong_intent", "the authority is for another intent")
        if decision.target_class != target_class:
            return denied(
                "authority_wrong_target",
                f"the authority is for target class {decision.target_class}, not {target_class}",
            )
        return self._use_up(decision, now)

    def _use_up(self, decision: AuthorityDecision, now: datetime) -> Failure | None:
        while self._order and self._order[0][0] <= now:
            self._spent.discard(self._order.popleft()[1])
        if decision.nonce in self._spent:
            return denied("authority_replayed", "the authority was used before")
        if len(self._order) >= self._max_open:
            return denied("authority_backlog", f"{self._max_open} authorities were used and have not expired yet")
        self._spent.add(decision.nonce)
        self._order.append((decision.expires_at, decision.nonce))
        return None


def permit(
    prove: Callable[[bytes], bytes],
    *,
    algorithm: Literal["hmac-sha256", "ed25519"],
    key_id: str,
    intent_digest: str,
    audience: str,
    target_class: str,
    expires_at: datetime,
    nonce: str,
) -> AuthorityDecision:
    """A decision with its proof."""
    statement = _statement(algorithm, key_id, intent_digest, audience, target_class, expires_at, nonce)
    return AuthorityDecision(
        algorithm=algorithm,
        key_id=key_id,
        intent_digest=intent_digest,
        audience=audience,
        target_class=target_class,
        expires_at=expires_at,
        nonce=nonce,
        proof=prove(statement).hex(),
    )


def lifetime(ttl: float) -> timedelta:
    """Seconds as the life of an authority. Raises ValueError beyond `MAX_TTL`."""
    if not 0 < ttl <= MAX_TTL:
        raise ValueError(f"an authority lives up to {MAX_TTL:g} seconds, not {ttl:g}")
    return timedelta(seconds=ttl)


def _statement(
    algorithm: str,
    key_id: str,
    intent_digest: str,
    audience: str,
    target_class: str,
    expires_at: datetime,
    nonce: str,
) -> bytes:
    # No part holds a line break (`Name`, `Digest` and `Hex` refuse it), so the parts cannot run into each other.
    parts = ("interlock.authority/v1", algorithm, key_id, intent_digest, audience, target_class)
    return "\n".join([*parts, str(to_micros(expires_at)), nonce]).encode()


def denied(code: str, message: str) -> Failure:
    """No authority, and why."""
    return Failure.of(FailureClass.AUTHORITY_DENIED, message, code=code)
