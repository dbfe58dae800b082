"""OpenAPI documents as connectors: what is taken over, what is told of the rest, and what a document cannot do."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import interlock.testing
from interlock import catalog, sdk
from interlock.kernel import JSON

PET: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "name": {"type": "string", "x-from": "/secret", "example": "Rex"},
        "age": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "nullable": True},
        "parent": {"$ref": "#/components/schemas/Pet"},
    },
}
JSON_PET = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "2.1.0"},
    "servers": [{"url": "https://pets.acme.dev/v1"}],
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "parameters": [
                    {"name": "page-size", "in": "query", "schema": {"type": "integer"}, "description": "How many."},
                    {"name": "tags", "in": "query", "schema": {"type": "array"}},
                    {"name": "Api-Version", "in": "header", "required": True, "schema": {"default": "2026-01-01"}},
                ],
                "responses": {"206": {}},
            },
            "post": {
                "operationId": "pets/create",
                "summary": "Add a pet",
                "requestBody": {"required": True, **JSON_PET},
            },
        },
        "/pets/{pet-id}": {
            "parameters": [{"name": "pet-id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "put": {"requestBody": JSON_PET},
            "delete": {"operationId": "pets/delete"},
        },
    },
    "components": {
        "schemas": {"Pet": PET},
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}, "o": {"type": "oauth2"}},
    },
}


def read(document: Any = DOCUMENT, **options: Any) -> catalog.Described:
    return catalog.read_openapi(document, connector_id="pets", **options)


def operation(name: str) -> sdk.Operation:
    return next(each for each in read().manifest.operations if each.operation_id == name)


def test_operations_are_called_as_they_are_and_do_what_their_method_does():
    told = {each.operation_id: (each.effect.value, each.idempotency.value) for each in read().manifest.operations}
    assert told == {
        "list_pets": ("read", "natural"),
        "pets.create": ("create", "none"),
        "pets.delete": ("delete", "natural"),
        "put.pets.pet_id": ("update", "natural"),
    }
    manifest = read().manifest
    assert (manifest.version, manifest.auth[0].base_url) == ("2.1.0", "https://pets.acme.dev/v1")
    assert sdk.load_manifest(json.dumps(manifest.to_json())) == manifest


def test_fields_stand_where_the_document_says():
    listing = operation("list_pets")
    assert listing.http is not None
    assert listing.http.query == {"page_size": "page-size"}
    assert listing.http.headers == {"api-version": "2026-01-01"}
    assert 206 in listing.http.success
    assert listing.input_schema["properties"] == {"page_size": {"type": "integer", "description": "How many."}}
    changing = operation("put.pets.pet_id")
    assert changing.http is not None
    assert changing.http.path == "/pets/{pet_id}"
    assert changing.input_schema["required"] == ["pet_id"]


def test_schemas_stand_by_themselves_and_say_nothing_to_us():
    schema = operation("pets.create").input_schema
    assert "x-from" not in json.dumps(schema)
    assert "id" not in schema["properties"]
    assert schema["required"] == ["name"]
    check = catalog.compile_schema(schema)
    assert not check({"name": "Rex", "age": None, "parent": {"name": "Max", "parent": {"name": "Old"}}})
    assert check({"name": "Rex", "age": 0})
    assert check({"name": "Rex", "parent": {"age": 1}})


def test_what_is_not_taken_over_is_told():
    [scheme] = read().left_out
    assert scheme.what == "the security scheme o"
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/odd"] = {
        "get": {"operationId": "odd", "parameters": [{"name": "a", "in": "cookie", "required": True, "schema": {}}]},
        "post": {"operationId": "upload", "requestBody": {"content": {"image/png": {}}}},
        "put": {"operationId": "far", "requestBody": {"$ref": "https://elsewhere.dev/x.json#/a"}},
        "patch": {"operationId": "loop", "requestBody": {"$ref": "#/paths/~1odd/patch/requestBody"}},
        "delete": {"operationId": "listPets"},
    }
    document["paths"]["/bad/{x}"] = {"get": {"operationId": "bad"}}
    found = read(document)
    assert len(found.manifest.operations) == 4
    told = {each.what.partition(" ")[0]: each.why for each in found.left_out}
    assert {"odd", "upload", "far", "loop", "list_pets", "bad"} <= told.keys()
    assert "leads out of the document" in told["far"]
    assert "without end" in told["loop"]


def test_one_wrong_schema_takes_no_other_operation_along():
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/pets"]["get"]["parameters"][0]["schema"] = {"type": "string", "pattern": "("}
    found = read(document)
    assert [each.operation_id for each in found.manifest.operations] == [
        "pets.create",
        "pets.delete",
        "put.pets.pet_id",
    ]
    assert "list_pets" in {each.what for each in found.left_out}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"openapi": "2.0"}, "OpenAPI 3.0 or 3.1"),
        ({"servers": [{"url": "http://pets.acme.dev"}]}, "give the base address"),
        ({"paths": {}}, "no operation"),
        ({"info": {"title": "x" * 9_000_000}}, "document"),
    ],
)
def test_what_is_no_document_is_refused(change: dict[str, Any], said: str):
    with pytest.raises(sdk.InvalidManifest, match=said):
        read({**DOCUMENT, **change})


def test_only_what_is_named_is_taken():
    found = read(only=["pets.*"]).manifest
    assert [each.operation_id for each in found.operations] == ["pets.create", "pets.delete"]


def test_a_bomb_of_references_stays_small():
    document = copy.deepcopy(DOCUMENT)
    parts: dict[str, Any] = {}
    for level in range(500):
        below = {"$ref": f"#/components/schemas/L{level + 1}"}
        parts[f"L{level}"] = {"type": "object", "properties": {f"p{number}": below for number in range(50)}}
    document["components"]["schemas"] |= {**parts, "L500": {"type": "object"}}
    document["components"]["schemas"]["Pet"]["properties"]["bomb"] = {"$ref": "#/components/schemas/L0"}
    told = {each.what.partition(" ")[0]: each.why for each in read(document).left_out}
    assert "more than" in told["pets.create"]


def test_a_large_document_is_read():
    content = (Path(interlock.testing.__file__).parent / "data" / "github.openapi.json").read_bytes()
    found = catalog.read_openapi(content, connector_id="hub", base_url="https://api.github.com")
    assert len(found.manifest.operations) == 40
    assert {each.operation_id for each in found.manifest.operations} >= {"issues.create", "repos.get"}
    assert all("DELETE" in each.what or "labels" in each.what for each in found.left_out)


_ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=5)
    | st.sampled_from(["#/paths", "object", "#/x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["$ref", "schema", "in", "name", "type", "properties", "content", "required", "allOf", "x"]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@given(st.lists(_ANY, max_size=3), _ANY, _ANY)
def test_nothing_in_a_document_is_taken_for_granted(parameters: list[JSON], body: JSON, part: JSON):
    said = {"operationId": "odd", "parameters": parameters, "requestBody": body}
    document = {**DOCUMENT, "paths": {**DOCUMENT["paths"], "/odd": {"post": said}}, "components": part}
    with contextlib.suppress(sdk.InvalidManifest):
        read(document)
