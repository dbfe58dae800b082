"""GitHub's own description of its REST API, cut to what the fake serves, as a judge of requests and answers.

OpenAPI 3.0 is turned into JSON Schema 2020-12 on loading; validators are compiled when an operation is first used. The
description came here cut to facts: prose is gone from the examples, too, so that 17 of the 40 lack a `description` or another
member that their own schemas require.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import jsonschema_rs
import orjson

Schema = dict[str, Any]
_JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path. `query` and `body` are JSON Schemas; `answers` holds one per status that has a body."""

    operation_id: str
    method: str
    path: str
    pattern: re.Pattern[str]
    query: Mapping[str, Schema]
    body: Schema | None
    body_required: bool
    answers: Mapping[str, Schema | None]
    examples: Mapping[str, tuple[Any, ...]]


class Description:
    """The operations, and what is wrong with a request or an answer. Made by `load`."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._components: Mapping[str, Any] = document["components"]
        self._schemas = {name: _json_schema(schema) for name, schema in self._components["schemas"].items()}
        found = [
            self._operation(path, method, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        # The longest template first: `/commits/{ref}/status` before `/commits/{ref}`, whose ref may hold slashes.
        found.sort(key=lambda operation: (-operation.path.count("/"), operation.path.count("{")))
        self.operations: Mapping[str, Operation] = {operation.operation_id: operation for operation in found}
        self._validators: dict[tuple[str, str], jsonschema_rs.Validator] = {}

    @staticmethod
    @cache
    def load() -> "Description":
        """The packaged description; read once per process."""
        data = resources.files("interlock.testing").joinpath("data", "github.openapi.json").read_bytes()
        return Description(orjson.loads(data))

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation that a method and an unescaped path name, with its path parameters."""
        for operation in self.operations.values():
            if operation.method == method and (match := operation.pattern.fullmatch(path)):
                return operation, match.groupdict()
        return None

    def check_query(self, operation: Operation, query: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
        """The parameters as typed values, and all that is wrong with them. Unknown names are wrong: GitHub would
        ignore them, and a typo would never show."""
        values: dict[str, Any] = {
            name: schema["default"] for name, schema in operation.query.items() if "default" in schema
        }
        problems: list[str] = []
        for name, text in query.items():
            schema = operation.query.get(name)
            if schema is None:
                problems.append(f"{operation.operation_id} has no query parameter {name!r}")
                continue
            value = values[name] = _typed(text, schema)
            problems += self._problems((operation.operation_id, f"?{name}"), schema, value, f"?{name}")
        return values, problems

    def check_body(self, operation: Operation, body: Any) -> list[str]:
        """All that is wrong with a request body (None for no body). Unknown members are wrong, as for the query."""
        if body is None:
            return ["a body is required"] if operation.body_required else []
        if operation.body is None:
            return [f"{operation.operation_id} takes no body"]
        return self._problems((operation.operation_id, "body"), operation.body, body, "body")

    def check_request(self, method: str, target: str, body: Any = None) -> list[str]:
        """All that is wrong with a request; `target` is the escaped path with its query."""
        parts = urlsplit(target)
        found = self.find(method, unquote(parts.path))
        if found is None:
            return [f"{method} {parts.path} is not described"]
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return self.check_query(found[0], query)[1] + self.check_body(found[0], body)

    def check_answer(self, operation_id: str, status: int, body: Any) -> list[str]:
        """All that is wrong with an answer. A status that is not described for the operation is not judged."""
        schema = self.operations[operation_id].answers.get(str(status))
        if schema is None:
            return []
        return self._problems((operation_id, str(status)), schema, body, str(status))

    def check_event(self, event: str, payload: Any) -> list[str]:
        """All that is wrong with what a webhook is told. Raises KeyError for an event that is not described."""
        told = self._told
        parts = {name: _json_schema(schema) for name, schema in told["schemas"].items()}
        return self._problems((event, "event"), _json_schema(told["events"][event]), payload, event, parts=parts)

    @cached_property
    def _told(self) -> Mapping[str, Any]:
        """The events; apart from the rest, since only tests want them judged."""
        data = resources.files("interlock.testing").joinpath("data", "github.events.json").read_bytes()
        return orjson.loads(data)

    def _problems(
        self,
        key: tuple[str, str],
        schema: Schema,
        value: Any,
        place: str,
        *,
        parts: Mapping[str, Schema] = MappingProxyType({}),
    ) -> list[str]:
        validator = self._validators.get(key)
        if validator is None:
            root = {**schema, "components": {"schemas": {**self._schemas, **parts}}}
            validator = self._validators[key] = jsonschema_rs.Draft202012Validator(root, validate_formats=True)
        return [
            f"{place}{''.join(f'/{step}' for step in error.instance_path)}: {error.message[:300]}"
            for error in validator.iter_errors(value)
        ]

    def _operation(self, path: str, method: str, raw: Mapping[str, Any]) -> Operation:
        parameters = [self._resolve(parameter) for parameter in raw.get("parameters", ())]
        request: Mapping[str, Any] = raw.get("requestBody", {})
        answers = {status: self._resolve(answer).get("content", {}) for status, answer in raw["responses"].items()}
        return Operation(
            operation_id=raw["operationId"],
            method=method.upper(),
            path=path,
            pattern=_pattern(path, {p["name"]: p for p in parameters if p["in"] == "path"}),
            query={p["name"]: _json_schema(p["schema"]) for p in parameters if p["in"] == "query"},
            body=_json_schema(request["content"][_JSON_TYPE]["schema"], closed=True) if request else None,
            body_required=bool(request.get("required", False)),
            answers={
                status: _json_schema(content[_JSON_TYPE]["schema"]) if _JSON_TYPE in content else None
                for status, content in answers.items()
            },
            examples={
                status: tuple(self._example(example) for example in kind.get("examples", {}).values())
                for status, content in answers.items()
                for kind in (content.get(_JSON_TYPE, {}),)
            },
        )

    def _example(self, node: Mapping[str, Any]) -> Any:
        value: Any = self._resolve(node)["value"]
        # GitHub refers inside the value, too.
        return self._example(cast("Schema", value)) if "$ref" in value else value

    def _resolve(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in node:
            return node
        _, _, kind, name = node["$ref"].split("/")
        return self._components[kind][name]


def _pattern(path: str, parameters: Mapping[str, Mapping[str, Any]]) -> re.Pattern[str]:
    def group(match: re.Match[str]) -> str:
        name = match.group(1)
        parameter = parameters[name]
        if parameter["schema"]["type"] == "integer":
            return f"(?P<{name}>[0-9]{{1,18}})"
        return f"(?P<{name}>.+)" if parameter.get("x-multi-segment") else f"(?P<{name}>[^/]+)"

    return re.compile(re.sub(r"\{(\w+)\}", group, path.replace(".", r"\.")))


def _typed(text: str, schema: Schema) -> Any:
    """A query value in the type that its schema wants; the text itself if it is not of that type."""
    if schema["type"] == "integer" and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    return text


def _json_schema(node: Any, *, closed: bool = False) -> Any:
    """An OpenAPI 3.0 schema as JSON Schema: `nullable` becomes a type, and `oneOf` becomes `anyOf`, because GitHub's
    alternatives overlap. `closed` forbids members that are not named."""
    if isinstance(node, list):
        return [_json_schema(item, closed=closed) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    raw = cast("Schema", node)
    schema: Schema = {
        "anyOf" if key == "oneOf" else key: {
            name: _json_schema(member, closed=closed) for name, member in value.items()
        }
        if key == "properties"
        else _json_schema(value, closed=closed)
        for key, value in raw.items()
        if key not in {"nullable", "discriminator"}
    }
    if closed and "properties" in schema:
        schema.setdefault("additionalProperties", False)
    if raw.get("nullable"):
        if "type" in schema:
            schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema
