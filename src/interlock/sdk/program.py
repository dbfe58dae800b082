"""An operation at work, without I/O: a generator that yields requests, is sent answers, and returns the output."""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

from interlock.kernel import JSON
from interlock.sdk import answers, pointer, requests
from interlock.sdk.errors import EffectState, UnexpectedAnswer
from interlock.sdk.kinds import HttpOperation
from interlock.sdk.manifest import Effect, Operation
from interlock.sdk.projection import Source, project
from interlock.sdk.proxying import proxied_output
from interlock.sdk.wire import Facts, HttpRequest, HttpResponse, Purpose

_LINK: Final = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^\s",;]+))*)')
_NEXT: Final = re.compile(r';\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next(?=$|[\s;]))', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What an operation gave: the projected value, how many pages it holds, and the parameters of the next one."""

    value: JSON
    pages: int = 1
    next_page: Mapping[str, str] = field(default_factory=dict[str, str])


Program: TypeAlias = Generator[HttpRequest, HttpResponse, Output]


def program(operation: Operation, input: Mapping[str, JSON], facts: Facts) -> Program:  # noqa: A002
    """Carry an HTTP operation out. The input has been validated against the operation's schema.

    The first request is the effect; further ones, if any, are pages of a read. Raises InvalidPathValue before the first
    request, and a leaf of OperationFailed for an answer that is a failure (its `effect` says what became of it).
    """
    http = operation.http
    if http is None:
        raise ValueError(f"{operation.operation_id} has a handler, not a request")
    request = requests.build(operation, http, input, facts)
    response = yield request
    if http.proxied:
        return Output(value=proxied_output(operation, response, facts))
    body = answers.read(operation, http, response, facts)
    pages, size, items = 1, len(response.body), list(_items(operation, body))
    following = _following(operation, http, input, facts, request, response, body)
    # What is joined stays within the size of one answer; what is left is named by the next page's parameters.
    while following is not None and pages < _wanted(operation, input) and size < operation.max_response_bytes:
        request = following
        response = yield request
        body = answers.read(operation, http, response, facts)
        pages, size = pages + 1, size + len(response.body)
        items.extend(_items(operation, body))
        following = _following(operation, http, input, facts, request, response, body)
    next_page = {} if following is None else dict(following.query)
    if operation.pagination is not None and pages > 1:
        body = _with_items(body, operation.pagination.items, items)
    source = Source(body=body, headers=response.headers, next_page=next_page, input=input, subject=facts.subject)
    effect: EffectState = "none" if operation.effect is Effect.READ else "happened"
    return Output(value=project(operation.output_schema, source, effect=effect), pages=pages, next_page=next_page)


def next_query(response: HttpResponse) -> tuple[tuple[str, str], ...] | None:
    """The query of the Link header's `rel="next"`.

    Only the query: services name the same list by other paths, and a link must not lead to another place.
    """
    for match in _LINK.finditer((response.header("link") or "")[:8192]):
        if _NEXT.search(match[2]):
            try:
                return tuple(parse_qsl(urlsplit(match[1]).query, keep_blank_values=True, max_num_fields=50)) or None
            except ValueError:
                return None
    return None


def _wanted(operation: Operation, input: Mapping[str, JSON]) -> int:  # noqa: A002
    if operation.pagination is None:
        return 1
    wanted = requests.with_defaults(operation.input_schema, input).get(operation.pagination.pages_field, 1)
    return wanted if isinstance(wanted, int) else 1


def _following(
    operation: Operation,
    http: HttpOperation,
    input: Mapping[str, JSON],  # noqa: A002
    facts: Facts,
    request: HttpRequest,
    response: HttpResponse,
    body: JSON,
) -> HttpRequest | None:
    pagination = operation.pagination
    if pagination is None:
        return None
    if pagination.style == "link":
        query = next_query(response)
        # A link to the same page would never end.
        return None if query in (None, request.query) else replace(request, query=query or (), purpose=Purpose.PAGE)
    cursor = pointer.get(body, pagination.cursor or "")
    if not isinstance(cursor, str) or not cursor or pagination.cursor_field is None:
        return None
    following = requests.build(operation, http, {**input, pagination.cursor_field: cursor}, facts, purpose=Purpose.PAGE)
    return None if replace(following, purpose=request.purpose) == request else following


def _items(operation: Operation, body: JSON) -> Sequence[JSON]:
    if operation.pagination is None:
        return ()
    found = pointer.get(body, operation.pagination.items)
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise UnexpectedAnswer(
            f"{operation.operation_id}: the answer has no list at {operation.pagination.items!r}", effect="none"
        )
    return found


def _with_items(body: JSON, place: str, items: list[JSON]) -> JSON:
    if place == "":
        return items
    joined = dict(cast("Mapping[str, JSON]", body))
    pointer.put(joined, place, items)
    return joined
