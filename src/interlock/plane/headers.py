"""What headers may be, and the reference to a secret that is to stand in one."""

import re
from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from interlock.plane.contract import Contract, Name

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

_FRAMING = RESERVED_HEADERS - {"authorization"}
_FIELD = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")


class CredentialRef(Contract):
    """Which secret goes into which header, by reference. `handle` is a lease id; the template has exactly one
    `{field}`, which names the part of the credential that replaces it."""

    handle: Name
    header: Name
    template: Annotated[str, StringConstraints(max_length=200)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not HEADER_NAME.fullmatch(self.header) or self.header.lower() in _FRAMING:
            raise ValueError(f"a credential cannot stand in the header {self.header!r}")
        if len(_FIELD.findall(self.template)) != 1 or not HEADER_VALUE.fullmatch(self.template):
            raise ValueError("a credential template is header text with exactly one {field}")
        return self

    @property
    def field(self) -> str:
        """The name inside the braces."""
        return _FIELD.findall(self.template)[0]

    def render(self, value: str) -> str:
        """The header's value with the secret in it. Raises ValueError, without the secret, if it cannot stand there."""
        text = _FIELD.sub(lambda _match: value, self.template)
        if not HEADER_VALUE.fullmatch(text):
            raise ValueError(f"the credential's field {self.field!r} does not fit into a header")
        return text
