"""How a node and a guest agent prove to each other that they hold the same token, which is never sent. It runs on both.

guest  g  its name, its versions, a nonce        node   a  a proof, and what it asks for, with a nonce
guest  b  a proof, and what it grants, or f  why not
"""

import hmac
from typing import Final

VERSION: Final = 1
PROOF: Final = 32
"""Bytes of a proof."""

MIN_TOKEN: Final = 32
"""Bytes: whoever listens may try tokens at home, so it must not be one that can be guessed."""


def prove(token: bytes, role: bytes, *said: bytes) -> bytes:
    """That whoever speaks in this role holds the token, and has heard all that was said. As a key, it is known to both
    sides alone."""
    parts = (role, *said)
    text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(token, text, "sha256")


def agrees(proof: bytes, token: bytes, role: bytes, *said: bytes) -> bool:
    """Whether that is the proof, in constant time."""
    return hmac.compare_digest(proof, prove(token, role, *said))


def read_token(data: bytes) -> bytes:
    """A token as it stands in a file. Raises ValueError if it is too short."""
    token = data.strip()
    if len(token) < MIN_TOKEN:
        raise ValueError(f"a token has at least {MIN_TOKEN} bytes, not {len(token)}")
    return token
