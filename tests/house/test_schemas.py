"""The published JSON Schemas are those of the models, and they are schemas."""

import json

import jsonschema_rs

import schemas


def test_the_files_are_what_the_models_say():
    assert not schemas.differences()


def test_every_file_is_a_schema():
    for text in schemas.files().values():
        schema = json.loads(text)
        if "openapi" in schema:
            schema = {"$defs": schema["components"]["schemas"]}
        jsonschema_rs.meta.validate(schema)
        jsonschema_rs.Draft202012Validator(schema, offline=True)
