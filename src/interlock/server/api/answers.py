"""Answers, and what paths and queries are made of."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import orjson
from fastapi import Header, Path, Query
from starlette.responses import Response

from interlock.kernel import JSON, RequestError, document, page

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
Key = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=200, description="The same key never acts twice.")
]


def id_of(kind: str, prefix: str) -> Any:
    """A path's part that is an id."""
    return Path(
        max_length=200, description=f"The {kind}'s id.", examples=[f"{prefix}_01890a5d4c3e7b2a8f6e5d4c3b2a1908"]
    )


def told(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value of a room as its document."""
    return raw(document(value), status=status, headers=headers)


def raw(value: JSON, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A document."""
    content = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    return Response(content, status, media_type="application/json", headers={**HEADERS, **(headers or {})})


def paged(name: str, values: Sequence[object], *, limit: int, key: str) -> Response:
    """A page of a list."""
    return raw(page(name, [document(each) for each in values], limit=limit, key=key))


def read_base64(text: str | None) -> bytes | None:
    """The bytes that a request has in that form. Raises RequestError for what is no base64."""
    try:
        return None if text is None else b64decode(text, validate=True)
    except ValueError as error:
        raise RequestError("base64: this is no base64") from error
