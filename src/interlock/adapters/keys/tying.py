"""What ties a wrapped key to its row where another service wraps it.

The digest of the associated data goes with the key, into what the service encrypts and authenticates. Its own kind of
associated data would do the same, but transit's `rewrap` and some engines do without it, and one that ignored it would not tell.
"""

import hashlib
import hmac
from typing import Final

_DIGEST: Final = 32


def tie(raw: bytes, aad: bytes) -> bytes:
    """The key with the digest before it."""
    return hashlib.sha256(aad).digest() + raw


def untie(tied: bytes, aad: bytes) -> bytes | None:
    """The inverse of `tie`. None if it was tied to something else."""
    return tied[_DIGEST:] if hmac.compare_digest(tied[:_DIGEST], hashlib.sha256(aad).digest()) else None
