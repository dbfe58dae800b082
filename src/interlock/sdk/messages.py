"""The lines between a handler in a child process and its parent: one JSON object each, `{kind: content}`.

parent → child   call      {handler, input}           once, first
child → parent   request   {method, path, query, headers, body}
parent → child   response  {status, headers, body (base64)}   or   failed {message}: there was no answer
child → parent   result    {value}     or     error {code, message, retry, fault, …}      once, last
"""

import base64
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, cast

import orjson
from pydantic import BaseModel, ConfigDict

from interlock.kernel import JSON
from interlock.sdk.errors import HandlerFailed
from interlock.sdk.wire import HttpRequest, HttpResponse

MAX_LINE: Final = 96 * 1_048_576
"""The longest line, in bytes: the largest answer in base64, and some room."""

Kind: TypeAlias = Literal["call", "request", "response", "failed", "result", "error"]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None


class _Response(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


def encode(kind: Kind, content: object) -> bytes:
    """One line. Raises HandlerFailed for what is not JSON or is too long."""
    try:
        line = orjson.dumps({kind: content}) + b"\n"
    except TypeError as error:
        raise HandlerFailed(f"a {kind} is not JSON: {error}") from error
    if len(line) > MAX_LINE:
        raise HandlerFailed(f"a {kind} has {len(line)} bytes; the limit is {MAX_LINE}")
    return line


def decode(line: bytes) -> tuple[str, JSON]:
    """Kind and content of a line. Raises HandlerFailed for anything else."""
    try:
        message = cast("object", orjson.loads(line))
    except orjson.JSONDecodeError as error:
        raise HandlerFailed(f"a line is not JSON: {error}") from error
    if not isinstance(message, dict) or len(cast("dict[str, JSON]", message)) != 1:
        raise HandlerFailed("a line is one object with one member")
    return next(iter(cast("dict[str, JSON]", message).items()))


def request_content(request: HttpRequest) -> JSON:
    """A request as the content of its line."""
    return {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": request.headers,
        "body": request.json_body,
    }


def request_from(content: JSON) -> HttpRequest:
    """The request that a child asks for, checked as any other. Raises HandlerFailed."""
    try:
        given = _Request.model_validate_json(orjson.dumps(content))
        return HttpRequest(
            method=given.method, path=given.path, query=given.query, headers=given.headers, json_body=given.body
        )
    except (TypeError, ValueError) as error:  # TypeError: too deep to be written
        raise HandlerFailed(f"the handler asked for a request that cannot be sent: {error}") from error


def response_content(response: HttpResponse) -> JSON:
    """An answer as the content of its line."""
    body = base64.b64encode(response.body).decode()
    return {"status": response.status, "headers": response.headers, "body": body}


def response_from(content: JSON) -> HttpResponse:
    """The answer in a line. Raises HandlerFailed."""
    try:
        given = _Response.model_validate_json(orjson.dumps(content))
        body = base64.b64decode(given.body, validate=True)
    except (TypeError, ValueError) as error:
        raise HandlerFailed(f"a response line is malformed: {error}") from error
    return HttpResponse(status=given.status, headers=given.headers, body=body)


def refusal_from(content: JSON) -> str:
    """Why there was no answer."""
    message = content.get("message") if isinstance(content, Mapping) else None
    return message if isinstance(message, str) else "there was no answer"


def call_from(content: JSON) -> tuple[str, Mapping[str, JSON]]:
    """Handler and input of a call line. Raises HandlerFailed."""
    if isinstance(content, Mapping):
        handler, value = content.get("handler"), content.get("input")
        if isinstance(handler, str) and isinstance(value, Mapping):
            return handler, value
    raise HandlerFailed("a call names a handler and its input", effect="none")
