"""TLS without I/O: what is between the bytes on a wire and what is said over it."""

import ssl
from typing import Final

from interlock import plane
from interlock.kernel import digest_bytes

_HEADER: Final = 5
"""Bytes before each record: its type, its version, its length (RFC 8446 §5.1)."""

_LONGEST: Final = 16_384 + 2_048
"""The longest record of any version; what claims to be longer is not TLS, and is for the library to refuse."""

_PIECE: Final = 65_536


class Tls:
    """One connection's, as a client. Only whole records go to the library, so that what is under way can be told. Raises
    ssl.SSLError, after which nothing but `take` is of use."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        """`host`: whom the certificate must name."""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._begun = bytearray()
        self.ended = False
        """Whether the peer has said that nothing more comes."""

    @property
    def under_way(self) -> bool:
        """Whether a record has begun to arrive, and not ended."""
        return len(self._begun) > 0

    def shake_hands(self) -> bool:
        """Go on with the handshake. True once it is done."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._begun += data
        end = 0
        while len(self._begun) - end >= _HEADER:
            size = _HEADER + int.from_bytes(self._begun[end + 3 : end + _HEADER])
            if size > _LONGEST:
                end = len(self._begun)
            elif end + size > len(self._begun):
                break
            else:
                end += size
        self._in.write(self._begun[:end])
        del self._begun[:end]

    def read(self) -> bytes:
        """What the peer has said in the records that are there."""
        parts: list[bytes] = []
        try:
            while part := self._object.read(_PIECE):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Say that; `take` has it as it goes to the peer."""
        if data:
            self._object.write(data)

    @property
    def protocol(self) -> str | None:
        """What the peer chose of the protocols that it was offered."""
        return self._object.selected_alpn_protocol()

    def facts(self) -> dict[str, plane.Fact]:
        """What the handshake has shown: the version, and the digest of the peer's certificate."""
        certificate = self._object.getpeercert(binary_form=True)
        assert certificate is not None
        return {"tls_version": self._object.version(), "peer_certificate": digest_bytes(certificate)}

    def take(self) -> bytes:
        """What is to go to the peer now."""
        return self._out.read()
