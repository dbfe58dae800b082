"""Requests that a caller makes up within a connection: the operations `proxy.get` to `proxy.delete` of every connector."""

from collections.abc import Mapping
from typing import Final

from interlock.kernel import JSON, read_json
from interlock.sdk.answers import failure
from interlock.sdk.errors import InvalidArgument, InvalidPathValue
from interlock.sdk.kinds import HttpOperation
from interlock.sdk.manifest import Effect, Idempotency, Operation, SchemaPolicy, Surface
from interlock.sdk.projection import Source, project
from interlock.sdk.rules import ErrorRule
from interlock.sdk.template import text_of
from interlock.sdk.terms import Schema
from interlock.sdk.wire import FORBIDDEN_HEADERS, Facts, HttpRequest, HttpResponse, as_pairs

_EFFECTS: Final[Mapping[str, Effect]] = {
    "GET": Effect.READ,
    "POST": Effect.EXECUTE,
    "PUT": Effect.UPDATE,
    "PATCH": Effect.UPDATE,
    "DELETE": Effect.DELETE,
}
"""What a method does. A POST may do anything, so it counts as the strongest but deleting."""

METHODS: Final = tuple(_EFFECTS)

_SAID: Final = ("content-type", "etag", "last-modified", "link", "location", "retry-after")
_LIMITS: Final = ("ratelimit", "x-ratelimit", "x-rate-limit")
"""Headers of an answer that callers get. The others are the transport's, or secrets such as cookies."""

_PLACES: Final[Schema] = {
    "path": {
        "type": "string",
        "description": "Where to, below the service's address, percent-encoded, without a query: /v1/things",
        "pattern": "^/([^/].*)?$",
        "maxLength": 4096,
    },
    "query": {
        "type": "object",
        "description": "The parameters; a list stands for several of one name.",
        "maxProperties": 100,
        "additionalProperties": {
            "anyOf": [
                {"type": ["string", "number", "boolean"]},
                {"type": "array", "maxItems": 100, "items": {"type": ["string", "number", "boolean"]}},
            ]
        },
    },
    "headers": {
        "type": "object",
        "description": "Further headers, their names in lower case. Those of the credential are the connection's.",
        "maxProperties": 30,
        "propertyNames": {"pattern": "^[a-z0-9-]{1,100}$", "not": {"enum": sorted(FORBIDDEN_HEADERS)}},
        "additionalProperties": {"type": "string", "maxLength": 2000, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    },
}
_BODY: Final[Schema] = {
    "body": {"description": "What is sent, as JSON."},
    "text": {"type": "string", "description": "What is sent, as it is; its type is the header content-type."},
}
_OUTPUT: Final[Schema] = {
    "type": "object",
    "required": ["status", "headers"],
    "properties": {
        "status": {"type": "integer"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "body": {"description": "The answer's JSON; null if it has none."},
        "text": {"type": "string", "description": "The answer, where it is no JSON."},
    },
}


def proxy_operation(
    method: str, *, headers: Mapping[str, str] | None = None, errors: tuple[ErrorRule, ...] = ()
) -> Operation:
    """The operation for a method (`GET`). `headers` are those of every request."""
    effect = _EFFECTS[method]
    has_body = method in ("POST", "PUT", "PATCH")
    return Operation(
        operation_id=f"proxy.{method.lower()}",
        display_name=f"{method} anything",
        description=f"{method} a path of the service that no capability stands for.",
        effect=effect,
        surface=Surface(reason="whatever the service offers"),
        schemas=SchemaPolicy(output="passthrough", justification="the answer is the service's own"),
        input_schema={
            "type": "object",
            "additionalProperties": False,
            "required": ["path"],
            "properties": {**_PLACES, **(_BODY if has_body else {})},
        },
        output_schema=_OUTPUT,
        http=HttpOperation.model_validate(
            {"method": method, "path": "/", "headers": dict(headers or {}), "proxied": True}
        ),
        idempotency=Idempotency.NATURAL if effect is Effect.READ else Idempotency.NONE,
        errors=errors,
    )


PROXIES: Final = tuple(proxy_operation(method) for method in sorted(METHODS))
"""What every connector lets callers do besides its own operations."""


def proxied_request(http: HttpOperation, input: Mapping[str, JSON]) -> HttpRequest:  # noqa: A002
    """The request that the input makes up. Raises InvalidPathValue for a path that leaves the service, and InvalidArgument for
    a body that is given twice."""
    given = _texts(input.get("headers"))
    headers = {**{name.lower(): value for name, value in http.headers.items()}, **given}
    if "body" in input and "text" in input:
        raise InvalidArgument(
            "input $.text: a request has one body",
            next_step="Give `body` for JSON or `text` for anything else, not both.",
        )
    text = input.get("text")
    if isinstance(text, str):
        headers.setdefault("content-type", "text/plain; charset=utf-8")
    elif input.get("body") is None:
        headers.pop("content-type", None)
    try:
        return HttpRequest(
            method=http.method,
            path=str(input["path"]),
            query=tuple(_query(input.get("query"))),
            headers=as_pairs(headers),
            json_body=input.get("body"),
            text_body=text if isinstance(text, str) else None,
        )
    except ValueError as error:
        raise InvalidPathValue(f"input $.path: {error}") from error


def proxied_output(operation: Operation, response: HttpResponse, facts: Facts) -> JSON:
    """What a caller gets of an answer. Raises a leaf of OperationFailed for one that is no success."""
    if not 200 <= response.status < 300:
        raise failure(operation, response, facts)
    headers = {name: value for name, value in response.headers if name in _SAID or name.startswith(_LIMITS)}
    answer: dict[str, JSON] = {"status": response.status, "headers": headers}
    if not response.body.strip():
        answer["body"] = None
    else:
        try:
            answer["body"] = read_json(response.body)
        except ValueError:
            answer["text"] = response.body.decode("utf-8", "replace")
    effect = "none" if operation.effect is Effect.READ else "happened"
    return project(operation.output_schema, Source(body=answer), effect=effect)


def _texts(value: JSON) -> dict[str, str]:
    return {name: str(text) for name, text in value.items()} if isinstance(value, Mapping) else {}


def _query(value: JSON) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, each in value.items() if isinstance(value, Mapping) else ():
        found += [(name, text_of(item)) for item in (each if isinstance(each, list) else [each])]
    return found
