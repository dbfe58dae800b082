"""Requests that a caller makes up within a connection: the operations `proxy.get` to `proxy.put` of every connector."""

import base64
import binascii
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
from interlock.sdk.wire import Facts, HttpRequest, HttpResponse, as_pairs, check_header, check_path

_EFFECTS: Final[Mapping[str, Effect]] = {
    "GET": Effect.READ,
    "HEAD": Effect.READ,
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

_OVERRIDES: Final = frozenset(
    {
        "forwarded", "x-forwarded-host", "x-host", "x-http-host-override", "x-http-method", "x-http-method-override",
        "x-method-override", "x-original-url", "x-rewrite-url",
    }
)  # fmt: skip
"""Headers by which some servers take another host, path or method than the one that policy judged."""

_PLACES: Final[Schema] = {
    "path": {
        "type": "string",
        "description": "Where to, below the service's address, percent-encoded, without a query: /v1/things",
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
        "additionalProperties": {"type": "string", "maxLength": 2000},
    },
}
_BODY: Final[Schema] = {
    "body": {"description": "What is sent, as JSON."},
    "text": {"type": "string", "description": "What is sent, as it is; its type is the header content-type."},
    "base64": {"type": "string", "description": "What is sent, as bytes; their type is the header content-type."},
}
_OUTPUT: Final[Schema] = {
    "type": "object",
    "required": ["status", "headers"],
    "properties": {
        "status": {"type": "integer"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "body": {"description": "The answer's JSON; null if it has none."},
        "text": {"type": "string", "description": "The answer, where it is no JSON."},
        "base64": {"type": "string", "description": "The answer, where it is no text."},
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
    a header that is not the caller's to set, and a body that is given twice, or is no base64."""
    headers = {**{name.lower(): value for name, value in http.headers.items()}, **_texts(input.get("headers"))}
    raw, usual = _raw(input)
    if raw is not None:
        headers.setdefault("content-type", usual)
    elif input.get("body") is None:
        headers.pop("content-type", None)
    path, pairs = str(input["path"]), as_pairs(headers)
    try:
        check_path(path)
    except ValueError as error:
        how = "Write what comes after the service's address, percent-encoded and without a query: /v1/things"
        raise InvalidPathValue(f"input $.path: {error}", next_step=how) from error
    try:
        for name, value in pairs:
            check_header(name, value)
            if name in _OVERRIDES:
                raise ValueError(f"by the header {name!r} a server may do something else than what was judged")
    except ValueError as error:
        raise InvalidArgument(f"input $.headers: {error}", next_step="Leave the header out, or correct it.") from error
    return HttpRequest(
        method=http.method,
        path=path,
        query=tuple(_query(input.get("query"))),
        headers=pairs,
        json_body=input.get("body"),
        raw_body=raw,
    )


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
            answer |= _as_read(response.body)
    effect = "none" if operation.effect is Effect.READ else "happened"
    return project(operation.output_schema, Source(body=answer), effect=effect)


def _raw(input: Mapping[str, JSON]) -> tuple[bytes | None, str]:  # noqa: A002
    """A body that is no JSON, and its usual type."""
    if len({"body", "text", "base64"} & input.keys()) > 1:
        raise InvalidArgument(
            "input: a request has one body",
            next_step="Give `body` for JSON, `text` for another text or `base64` for bytes, not several.",
        )
    if "base64" not in input:
        text = input.get("text")
        return text.encode() if isinstance(text, str) else None, "text/plain; charset=utf-8"
    try:
        return base64.b64decode(str(input["base64"]), validate=True), "application/octet-stream"
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(
            "input $.base64: it is no base64",
            next_step="Write it as RFC 4648 §4 says: A to Z, a to z, 0 to 9, +, /, with =.",
        ) from error


def _as_read(body: bytes) -> dict[str, JSON]:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _texts(value: JSON) -> dict[str, str]:
    return {name.lower(): str(text) for name, text in value.items()} if isinstance(value, Mapping) else {}


def _query(value: JSON) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, each in value.items() if isinstance(value, Mapping) else ():
        found += [(name, text_of(item)) for item in (each if isinstance(each, list) else [each])]
    return found
