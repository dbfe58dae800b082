"""What headers may be."""

import re

MAX_HEADERS = 64
"""Headers in one intent."""

MAX_HEADER_VALUE = 8192
"""Characters in one header value."""

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""A header's name (RFC 9110 §5.1)."""

HEADER_VALUE = re.compile(rf"(?:[\x21-\x7e](?:[\t\x20-\x7e]{{0,{MAX_HEADER_VALUE - 2}}}[\x21-\x7e])?)?")
"""A header's value: visible ASCII, tabs and spaces inside (RFC 9110 §5.5 without the obsolete octets)."""

RESERVED_HEADERS = frozenset(
    {
        "authorization", "connection", "content-length", "cookie", "cookie2", "expect", "host", "keep-alive",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that the lane alone sets: they frame the message, or carry what only a credential may."""
