"""What all parts of a manifest are made of."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema (2020-12) of an object."""

Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=2000)]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
DottedName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=100)]
Function: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=200)]
Status: TypeAlias = Annotated[int, Field(ge=100, le=599)]

FORMS: Final[Mapping[str, str]] = {
    r"^[a-z][a-z0-9_]{0,62}$": "1 to 63 lower-case letters, digits and _, a letter first",
    r"^[A-Za-z][A-Za-z0-9_-]{0,63}$": "1 to 64 letters, digits, _ and -, a letter first",
    r"^[^\x00-\x20\x7f]+$": "a text without blanks",
    r"^sha256:[0-9a-f]{64}$": "sha256: and 64 digits, 0 to f",
    r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$": "words of lower-case letters, digits and _, joined by dots",
    r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$": "module:function",
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$": "a version such as 1.0.0",
    r"^https://[^\s/]+(/\S*)?$": "an https address",
    r"^[1-5](\d\d|xx)$": "a status such as 404 or 5xx",
}
"""The patterns that authors meet, in words."""

FailureCode: TypeAlias = Literal[
    "auth_failed",
    "provider_forbidden",
    "resource_not_found",
    "resource_conflict",
    "invalid_for_provider",
    "rate_limited",
    "provider_unavailable",
    "unexpected_answer",
]


class Unread(Exception):
    """A check needs a member that is itself wrong."""


class Part(BaseModel):
    """A part of a manifest: frozen data that takes nothing for something else, and no member that it does not know.

    Only a part that `partial` made lacks members; to read one that it lacks raises Unread.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise Unread(name)
            return super().__getattr__(name)
