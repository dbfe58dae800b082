"""The OpenAPI document."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from interlock.server.api.shapes import Problem

DOCUMENT: Final = "/v1/openapi.json"

_ABOUT: Final = """
Every effect of agents and apps is authorised before it happens, done once, and provable afterwards.

A request shows a token (`interlock tokens create`), which says tenant, actor, roles and limits. Every error is a problem document
(RFC 9457) with the type `urn:interlock:error:CODE`. Lists come in pages: send `next_cursor` back as `cursor`.
"""
_INNER: Final = re.compile(r"interlock__(?:triggers__)?([a-z]+)__(?:[a-z]+__)*([A-Z]\w*)")
_PROBLEM: Final = {
    "description": "An error: what is wrong, with what, and what to do next.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe(made: FastAPI) -> dict[str, Any]:
    """The document of these routes. Made once."""
    if made.openapi_schema is None:
        document = get_openapi(title=made.title, version="1", description=_ABOUT.strip(), routes=made.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        _add(schemas, problem.pop("$defs", {}))
        _add(schemas, {"Problem": problem})
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = _PROBLEM
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        # Rooms have words of one name: `State`.
        renamed: dict[str, Any] = {}
        for name, schema in schemas.items():
            _add(renamed, {_INNER.sub(_short, name): schema})
        made.openapi_schema = orjson.loads(_INNER.sub(_short, orjson.dumps(document).decode()))
    return cast("dict[str, Any]", made.openapi_schema)


def _short(found: re.Match[str]) -> str:
    return f"{found[1].capitalize()}{found[2]}"


def _add(schemas: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Raises ValueError for a name that stands for something else already."""
    for name, schema in more.items():
        if schemas.setdefault(name, schema) != schema:
            raise ValueError(f"two schemas of the API would be called {name}: rename one of the models")
