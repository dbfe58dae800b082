from typing import Any

import jsonschema_rs

import fix_connector as fix
from interlock import sdk


class Inner(sdk.Record):
    """A part."""

    title: str
    other: str | None = None


class Shape(sdk.Record):
    title: str
    inner: Inner | None
    many: dict[str, int | None] | None = None
    alternatives: int | str | None = None
    etag: str | None = sdk.header("ETag")


def test_titles_go_and_a_field_called_title_stays() -> None:
    schema = sdk.schema_of(Shape)
    assert schema["properties"]["title"] == {"type": "string"}
    assert "title" not in schema
    assert schema["$defs"]["Inner"]["properties"]["other"] == {"type": "string"}


def test_optional_is_not_nullable_but_nullable_is() -> None:
    properties: dict[str, Any] = sdk.schema_of(Shape)["properties"]
    assert properties["many"] == {
        "type": "object", "additionalProperties": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    }  # fmt: skip
    assert properties["alternatives"] == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert {"type": "null"} in properties["inner"]["anyOf"]
    assert properties["etag"] == {"type": "string", "x-from-header": "etag"}


def test_nested_records_are_projected_and_nothing_unnamed_passes() -> None:
    draft = sdk.get("one", "/x", input=fix.Search, output=Shape)
    operation = fix.connector(operations=[draft]).manifest.operations[0]
    body = {"title": "T", "inner": {"title": "I", "other": None, "secret": 1}, "many": {"a": None}, "secret": 2}
    _, output = fix.drive(sdk.program(operation, {"text": "t"}, fix.FACTS), fix.answer(body, etag="e"))
    assert output.value == {"title": "T", "inner": {"title": "I"}, "many": {"a": None}, "etag": "e"}
    jsonschema_rs.validate(operation.output_schema, output.value)
    _, output = fix.drive(sdk.program(operation, {"text": "t"}, fix.FACTS), fix.answer({"title": "T"}))
    assert output.value == {"title": "T", "inner": None}
