"""How a poll trigger asks what is new, as data."""

from typing import Any

from pydantic import Field

from interlock.sdk.grants import Pointer
from interlock.sdk.terms import DottedName, Name, Part


class Listing(Part):
    """What is asked for, and what of it is new. `operation` is a read of the same connector, and `input` its input: constants,
    and `{config.FIELD}` for fields of the trigger's config. In its output a list is at `items`, and in an item what it is
    called is at `id`.

    Either an item's moment (RFC 3339) is at `moment`: then those since the last one are asked for, by the input field
    `since_field`, or, where there is none, by reading back to it in a list that is `newest_first`. What is `overlap_seconds`
    older is read again, since lists lag behind; an item that has another moment than before is new again. Or the output has a
    `cursor` that goes into `cursor_field`; `more` points at whether there is more just now.
    `following` points at what goes into `following_field` for the next page of one list.
    """

    operation: DottedName
    input: dict[str, Any] = Field(default={})
    items: Pointer = ""
    id: Pointer = "/id"
    moment: Pointer | None = None
    since_field: Name | None = None
    overlap_seconds: float = Field(default=60, ge=0, le=86_400)
    newest_first: bool = False
    cursor: Pointer | None = None
    cursor_field: Name | None = None
    more: Pointer | None = None
    following: Pointer | None = None
    following_field: Name | None = None


class Polling(Part):
    """How often a poll trigger asks, in seconds, and what; `jitter` is a share (0 to 1) of the interval. A trigger without a
    `listing` cannot be polled by itself."""

    default_seconds: float = Field(gt=0, le=86_400)
    min_seconds: float = Field(gt=0, le=86_400)
    jitter: float = Field(default=0.1, ge=0, le=1)
    listing: Listing | None = None
