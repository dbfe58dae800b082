"""Schemas in words."""

from typing import Any

import pytest

from interlock import catalog
from interlock.cli.schemas import Field, kinds, list_fields, words


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string"}, "string"),
        ({"type": "integer", "minimum": 1}, "integer from 1"),
        ({"type": "integer", "minimum": 1, "maximum": 100}, "integer 1 to 100"),
        ({"type": "integer", "maximum": 100}, "integer up to 100"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"enum": ["open", "closed"]}, "open | closed"),
        ({"const": 1}, "always 1"),
        ({"type": "array", "items": {"$ref": "#/$defs/A"}}, "array of object (a, b)"),
        ({"$ref": "#/$defs/Loop"}, "array of array of array"),
        ({}, "any value"),
    ],
)
def test_words(schema: dict[str, Any], said: str):
    root: dict[str, Any] = {
        "$defs": {
            "A": {"type": "object", "properties": {"a": {}, "b": {}}},
            "Loop": {"type": "array", "items": {"$ref": "#/$defs/Loop"}},
        }
    }
    assert words(schema, root).startswith(said)


def test_required_fields_come_first():
    schema = {
        "properties": {"b": {"type": "integer", "default": 3}, "a": {"type": "string", "description": "An a."}},
        "required": ["a"],
    }
    assert list_fields(schema) == [Field("a", "string", True, "An a."), Field("b", "integer", False, "Default: 3.")]


def test_kinds_follow_unions_and_references():
    root = {"$defs": {"N": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/M"}]}, "M": {"type": "null"}}}
    assert kinds({"$ref": "#/$defs/N"}, root) == {"integer", "null"}
    assert kinds({}, root) == frozenset()


def test_every_installed_capability_can_be_put_into_words():
    for found in catalog.discover().connectors:
        for operation in found.manifest.operations:
            for schema in (operation.input_schema, operation.output_schema):
                assert not [field for field in list_fields(schema) if field.kind in ("", "any value")]
