"""Signing, as a value that needs no store: it can be used wherever a run ends."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Signer:
    """An Ed25519 key of the store, ready for use."""

    __slots__ = ("_private", "key_id")

    def __init__(self, key_id: str, private: Ed25519PrivateKey) -> None:
        self.key_id = key_id
        self._private = private

    def sign(self, data: bytes) -> str:
        """The signature over the data, as base64."""
        return base64.b64encode(self._private.sign(data)).decode()

    def __repr__(self) -> str:
        return f"Signer({self.key_id})"
