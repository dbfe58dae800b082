"""Ed25519 signatures of attesters and nodes, checked under keys that the reader knows from elsewhere."""

import base64
import binascii
from typing import Protocol


class Signer(Protocol):
    """Who holds an Ed25519 key: an attester's, or a node's."""

    @property
    def key_id(self) -> str:
        """The key's id."""
        ...

    def sign(self, data: bytes) -> str:
        """The signature over the data, in base64."""
        ...


def is_signed(data: bytes, signature: str, public_key: str) -> bool:
    """Whether the signature over the data was made with the key (both in base64). Malformed texts are not signatures."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(signature, validate=True), data)
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True
