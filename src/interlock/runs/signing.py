"""Signatures under heads and packets, and whose keys a reader trusts. Ed25519; texts are standard base64."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from interlock.kernel import JSON, ConfigurationError, InvalidJson, JsonLimits, canonical, parse_json
from interlock.runs.model import State

ALGORITHM = "ed25519"
TRUST_CONTRACT = "interlock.trust/v1"
_HEAD_CONTRACT = "interlock.head/v1"
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_TRUST_LIMITS = JsonLimits(max_bytes=1_048_576, max_depth=4, max_nodes=10_000)


class Signer(Protocol):
    """Signs under one of this installation's keys."""

    @property
    def key_id(self) -> str:
        """The id of the key that signs."""
        ...

    def sign(self, data: bytes) -> str:
        """The Ed25519 signature of the data under that key, in base64."""
        ...


class SigningKeys(Protocol):
    """This installation's signing keys. Another process may make a new one at any time."""

    @property
    def current(self) -> Signer:
        """The key for what is signed now."""
        ...

    async def public_keys(self) -> Mapping[str, str]:
        """Every public key by key id, the retired ones too: the 32 raw bytes in base64. Raises StoreError."""
        ...


class InvalidTrust(ConfigurationError):
    """The file of trusted keys cannot be used."""

    code = "invalid_trust"
    next_step = f'Write {{"contract": "{TRUST_CONTRACT}", "keys": [{{"key_id", "algorithm", "public_key"}}, …]}}.'


@dataclass(frozen=True, slots=True)
class Trust:
    """Public keys by key id, which the reader knows from elsewhere than from the packet."""

    keys: Mapping[str, str]

    @classmethod
    def parse(cls, data: bytes, *, source: str = "trust file") -> "Trust":
        """Read a trust file. Raises InvalidTrust."""
        try:
            value = parse_json(data, limits=_TRUST_LIMITS, what=source, unique=True)
        except InvalidJson as error:
            raise InvalidTrust(error.message) from error
        if not isinstance(value, dict) or value.get("contract") != TRUST_CONTRACT:
            raise InvalidTrust(f'the {source} does not have "contract": "{TRUST_CONTRACT}"')
        entries = value.get("keys")
        if not isinstance(entries, list) or not entries:
            raise InvalidTrust(f'the {source} names no keys: "keys" must be a list with at least one')
        keys: dict[str, str] = {}
        for index, entry in enumerate(entries):
            key_id, public_key = _trusted_key(entry, f"{source}, keys[{index}]")
            if keys.setdefault(key_id, public_key) != public_key:
                raise InvalidTrust(f"{source}, keys[{index}]: {key_id[:80]} is there twice with different keys")
        return cls(keys)

    def dump(self) -> bytes:
        """The trust file with these keys, as canonical JSON."""
        return canonical({"contract": TRUST_CONTRACT, "keys": key_list(self.keys)})


def key_list(keys: Mapping[str, str]) -> list[JSON]:
    """How public keys are written in trust files and packets."""
    return [
        {"algorithm": ALGORITHM, "key_id": key_id, "public_key": public_key}
        for key_id, public_key in sorted(keys.items())
    ]


def head_statement(*, tenant_id: JSON, run_id: JSON, head_seq: JSON, head_hash: JSON, state: JSON) -> bytes:
    """The bytes that are signed when a run ends: this run ended in this state, with this head."""
    return canonical(
        {
            "contract": _HEAD_CONTRACT,
            "head_hash": head_hash,
            "head_seq": head_seq,
            "run_id": run_id,
            "state": state,
            "tenant_id": tenant_id,
        }
    )


def sign_head(signer: Signer, *, tenant_id: str, run_id: str, head_seq: int, head_hash: str, state: State) -> str:
    """The signature for a run that ends in `state` with this head."""
    return signer.sign(
        head_statement(tenant_id=tenant_id, run_id=run_id, head_seq=head_seq, head_hash=head_hash, state=state.value)
    )


def is_signed(data: bytes, signature: str, public_key: str) -> bool:
    """Whether the signature over the data was made with the key. Malformed texts are not signatures."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key, raw = _decode(public_key, _KEY_BYTES), _decode(signature, _SIGNATURE_BYTES)
    if key is None or raw is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(raw, data)
    except InvalidSignature:
        return False
    return True


def _trusted_key(entry: JSON, where: str) -> tuple[str, str]:
    if not isinstance(entry, dict) or set(entry) != {"algorithm", "key_id", "public_key"}:
        raise InvalidTrust(f"{where}: a key has exactly algorithm, key_id and public_key")
    key_id, public_key = entry["key_id"], entry["public_key"]
    if entry["algorithm"] != ALGORITHM:
        raise InvalidTrust(f"{where}: the algorithm must be {ALGORITHM}")
    if not isinstance(key_id, str) or not key_id:
        raise InvalidTrust(f"{where}: key_id must be a text")
    if not isinstance(public_key, str) or _decode(public_key, _KEY_BYTES) is None:
        raise InvalidTrust(f"{where}: public_key must be {_KEY_BYTES} bytes in base64")
    return key_id, public_key


def _decode(text: str, size: int) -> bytes | None:
    """The bytes, if the text is the one and only base64 of that many (spare bits would be room for changes)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size and base64.b64encode(raw).decode() == text else None
