"""Signing, as a value that needs no store: it can be used wherever a run ends."""

import base64
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Signer:
    """The store's active Ed25519 key, and the public halves of all that were ever active."""

    __slots__ = ("_private", "_public", "key_id")

    def __init__(self, key_id: str, private: Ed25519PrivateKey, public: Mapping[str, Ed25519PublicKey]) -> None:
        self.key_id = key_id
        self._private = private
        self._public = {name: base64.b64encode(key.public_bytes_raw()).decode() for name, key in public.items()}

    def sign(self, data: bytes) -> str:
        """The signature over the data, as base64."""
        return base64.b64encode(self._private.sign(data)).decode()

    def public_keys(self) -> dict[str, str]:
        """Every public key by its key id, as base64 of the 32 raw bytes."""
        return dict(self._public)

    def __repr__(self) -> str:
        return f"Signer({self.key_id})"
