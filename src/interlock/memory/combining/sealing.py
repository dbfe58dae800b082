"""What is kept, sealed: only whoever has the key reads it, and only in the place that it was put."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from interlock.kernel import JSON, JsonLimits, Secret, canonical, parse_json
from interlock.memory.errors import InvalidConfig, InvalidInput, ProviderUnavailable
from interlock.memory.records import Provenance, Record
from interlock.memory.scope import Scope
from interlock.memory.value import MAX_JSON, MAX_TEXT

KEY_BYTES: Final = 32
_IN_METADATA: Final = MAX_JSON.max_bytes - 100
MAX_SEALED: Final = (2 * MAX_TEXT + _IN_METADATA) * 3 // 4 - 100
"""Bytes that text, content and metadata may have together, so that they still fit when they are sealed: each may be as large as
there may be."""

_CONTRACT: Final = "interlock.memory-sealed/v1"
_NONCE_BYTES: Final = 12
_LIMITS: Final = JsonLimits(max_bytes=MAX_SEALED, max_depth=40, max_nodes=100_000)


class Seal:
    """AES-256-GCM by a key of each tenant's own, made from one. What is sealed is bound to its scope, its record and its
    revision: nowhere else does it open. Nonces are made of what is sealed and where (RFC 5297's idea), so that none is used for
    two texts, however often a transaction is repeated. It does not print."""

    __slots__ = ("_of_tenant",)

    def __init__(self, key: Secret) -> None:
        """Of 32 bytes in base64. Raises InvalidConfig."""
        raw = _decoded(key)
        self._of_tenant: Callable[[str], tuple[bytes, bytes]] = lru_cache(maxsize=1_000)(partial(_derived, raw))

    def __repr__(self) -> str:
        return "Seal(…)"

    def closed(self, record: Record) -> Record:
        """The record with nothing legible but what it is found by. Raises InvalidInput if there is too much of it."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        place = record.provenance
        said: dict[str, JSON] = {
            "text": record.text,
            "content": record.content,
            "metadata": dict(record.metadata),
            "span": place.span,
            "source_turn": place.source_turn,
            "idempotency_key": record.idempotency_key,
        }
        plain = canonical(said)
        if len(plain) > MAX_SEALED:
            raise InvalidInput(f"it has {len(plain)} bytes to be sealed, and at most {MAX_SEALED} can be")
        cipher_key, mark_key = self._of_tenant(record.scope.tenant)
        where = _place(record)
        nonce = hmac.digest(mark_key, where + b"\n" + plain, "sha256")[:_NONCE_BYTES]
        sealed = base64.b64encode(nonce + AESGCM(cipher_key).encrypt(nonce, plain, where)).decode()
        rest = sealed[MAX_TEXT:]
        key = record.idempotency_key
        return record.changed(
            text=rest[_IN_METADATA:] or None,
            content={"sealed": 1},
            metadata={"sealed": rest[:_IN_METADATA]} if rest else {},
            provenance=Provenance(span=sealed[:MAX_TEXT], derived_from=place.derived_from),
            idempotency_key=None if key is None else self.mark(record.scope, "idempotency_key", key),
        )

    def open(self, record: Record) -> Record:
        """The record as it was. Raises ProviderUnavailable where it does not open: by another key, or changed since."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        cipher_key, _ = self._of_tenant(record.scope.tenant)
        try:
            pieces = (record.provenance.span or "", record.metadata.get("sealed", ""), record.text or "")
            sealed = base64.b64decode("".join(pieces), validate=True)
            plain = AESGCM(cipher_key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _place(record))
        except (InvalidTag, TypeError, ValueError):
            raise ProviderUnavailable(
                f"{record.record_id} does not open: it was sealed by another key, or changed or moved since",
                next_step="Open the memory with the key that it was written with, or restore its storage from a copy.",
            ) from None
        said = parse_json(plain, limits=_LIMITS, what="sealed record")
        assert isinstance(said, dict)
        place = record.provenance.model_copy(update={"span": said.pop("span"), "source_turn": said.pop("source_turn")})
        return record.model_copy(update={**said, "provenance": place})

    def mark(self, scope: Scope, what: str, value: str) -> str:
        """What stands for a value that is looked for, and tells nothing of it."""
        _, mark_key = self._of_tenant(scope.tenant)
        told = canonical([what, *scope.parts, value])
        return f"{what}:{hmac.new(mark_key, told, hashlib.sha256).hexdigest()}"


def _place(record: Record) -> bytes:
    return canonical([_CONTRACT, *record.scope.parts, record.record_id, record.revision])


def _derived(raw: bytes, tenant: str) -> tuple[bytes, bytes]:
    """A key to seal with and one to mark with."""
    one, other = (hmac.digest(raw, canonical([_CONTRACT, what, tenant]), "sha256") for what in ("seal", "mark"))
    return one, other


def _decoded(key: Secret) -> bytes:
    try:
        raw = base64.b64decode(key.reveal().strip(), validate=True)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES or len(set(raw)) < 8:  # of 32 random bytes that never happens
        raise InvalidConfig(
            f"the key is not {KEY_BYTES} random bytes in base64", next_step="Make one with `openssl rand -base64 32`."
        )
    return raw
