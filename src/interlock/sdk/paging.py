"""How a service's lists go on, as data, and the parameters of the next page."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from interlock.kernel import JSON
from interlock.sdk import pointer
from interlock.sdk.grants import Pointer
from interlock.sdk.program import next_query
from interlock.sdk.terms import Part, Text
from interlock.sdk.wire import HttpResponse


class Paging(Part):
    """How the service's lists go on, for those who read them: by a link in a header or at `link` in the answer, by the cursor
    at `cursor` that goes into `cursor_name`, or by a number in `offset_name`, which begins with `offset_start` and counts
    `offset_counts`. `items` is where the list is, `limit_name` says how many are wanted."""

    style: Literal["link", "cursor", "offset"]
    items: Pointer | None = None
    link: Pointer | None = None
    cursor: Pointer | None = None
    cursor_name: Text | None = None
    offset_name: Text | None = None
    offset_start: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    offset_counts: Literal["items", "pages"] = "items"
    limit_name: Text | None = None


def next_params(paging: Paging, params: Mapping[str, JSON], output: Mapping[str, JSON]) -> dict[str, JSON] | None:
    """The parameters of the page after this one, by the output of a proxied GET with these parameters; None at the end, or where
    nobody can tell. The path stays the same, wherever a link leads."""
    body = output.get("body")
    if paging.style == "link":
        following = _by_link(paging, output.get("headers"), body)
    else:
        following = (_by_cursor if paging.style == "cursor" else _by_offset)(paging, params, body)
    return None if following == dict(params) else following


def gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, JSON]:
    """Parameters by their names; several of one name are a list."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else list(values) for name, values in found.items()}


def _by_link(paging: Paging, headers: JSON, body: JSON) -> dict[str, JSON] | None:
    if paging.link is None:
        link = headers.get("link") if isinstance(headers, Mapping) else None
    else:
        there = pointer.get(body, paging.link)
        link = f'<{there}>; rel="next"' if isinstance(there, str) else None
    query = next_query(HttpResponse(status=200, headers=(("link", str(link or "")),)))
    return None if query is None else gathered(query)


def _by_cursor(paging: Paging, params: Mapping[str, JSON], body: JSON) -> dict[str, JSON] | None:
    cursor = pointer.get(body, paging.cursor or "")
    if paging.cursor_name is None or isinstance(cursor, bool) or not isinstance(cursor, str | int) or cursor == "":
        return None
    return {**params, paging.cursor_name: cursor}


def _by_offset(paging: Paging, params: Mapping[str, JSON], body: JSON) -> dict[str, JSON] | None:
    items = pointer.get(body, paging.items or "")
    name = paging.offset_name
    if name is None or not isinstance(items, list) or not items:
        return None
    wanted, at = (_number(params.get(each or "")) for each in (paging.limit_name, name))
    if wanted is not None and len(items) < wanted:
        return None
    step = 1 if paging.offset_counts == "pages" else len(items)
    return {**params, name: (paging.offset_start if at is None else at) + step}


def _number(value: JSON) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 16 else None
