"""From an operation and its input to the HTTP request."""

from collections.abc import Mapping
from typing import cast

from interlock.kernel import JSON
from interlock.sdk import pointer
from interlock.sdk.kinds import HttpOperation
from interlock.sdk.manifest import Idempotency, Operation
from interlock.sdk.proxying import proxied_request
from interlock.sdk.template import TRANSFORMS, holes, path_of, text_of
from interlock.sdk.terms import Schema
from interlock.sdk.wire import Facts, HttpRequest, Purpose, as_pairs


def placement(operation: Operation, http: HttpOperation) -> tuple[dict[str, str], dict[str, str]]:
    """Which input fields go into the query and which into the body, by field, with the names they have there."""
    query, body = dict(http.query), dict(http.body)
    taken = {*query, *body, *holes(http.path), *http.local}
    if operation.pagination is not None:
        taken.add(operation.pagination.pages_field)
    rest = body if http.method in ("POST", "PUT", "PATCH") else query
    rest.update({field: field for field in properties(operation.input_schema) if field not in taken})
    return query, body


def build(
    operation: Operation,
    http: HttpOperation,
    input: Mapping[str, JSON],  # noqa: A002
    facts: Facts,
    *,
    purpose: Purpose = Purpose.EFFECT,
) -> HttpRequest:
    """The request. Raises InvalidPathValue, InvalidArgument, and ValueError where an idempotency key is needed and not
    given."""
    if http.proxied:
        return proxied_request(http, input)
    query, body = placement(operation, http)
    value = with_defaults(operation.input_schema, input)
    headers = dict(http.headers)
    if operation.idempotency is Idempotency.KEY:
        if facts.idempotency_key is None or operation.idempotency_header is None:
            raise ValueError(f"{operation.operation_id} needs an idempotency key in the facts")
        headers[operation.idempotency_header] = facts.idempotency_key
    return HttpRequest(
        method=http.method,
        path=path_of(http.path, operation.input_schema, value),
        query=tuple((name, text_of(_encoded(http, field, value))) for field, name in query.items() if field in value),
        headers=as_pairs(headers),
        json_body=_body(http, body, value),
        purpose=purpose,
    )


def check_path(operation: Operation, http: HttpOperation, input: Mapping[str, JSON]) -> None:  # noqa: A002
    """Raises InvalidPathValue if a value of the input cannot stand in the operation's path; for a proxy, as `build`."""
    if http.proxied:
        proxied_request(http, input)
        return
    path_of(http.path, operation.input_schema, with_defaults(operation.input_schema, input))


def properties(schema: Schema) -> Mapping[str, Schema]:
    """The named fields of an object schema."""
    fields = schema.get("properties", {})
    return cast("Mapping[str, Schema]", fields) if isinstance(fields, dict) else {}


def with_defaults(schema: Schema, input: Mapping[str, JSON]) -> dict[str, JSON]:  # noqa: A002
    """The input with its schema's defaults, in the schema's order, so that the same input makes the same bytes."""
    fields = properties(schema)
    value = {field: input[field] if field in input else part["default"] for field, part in fields.items()
             if field in input or "default" in part}  # fmt: skip
    return {**value, **{field: given for field, given in input.items() if field not in value}}


def _body(http: HttpOperation, body: Mapping[str, str], value: Mapping[str, JSON]) -> JSON:
    if http.method in ("GET", "DELETE") and not body and not http.constants:
        return None
    members: dict[str, JSON] = {}
    for name, fixed in http.constants.items():
        pointer.put(members, name, fixed)
    for field, name in body.items():
        if field in value:
            pointer.put(members, name, _encoded(http, field, value))
    return members


def _encoded(http: HttpOperation, field: str, value: Mapping[str, JSON]) -> JSON:
    transform = http.encode.get(field)
    return value[field] if transform is None else TRANSFORMS[transform](value[field])
