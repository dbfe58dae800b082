"""The order of an output's fields, which what is kept of it does not tell."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interlock import kernel, sdk

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "author": {"anyOf": [{"$ref": "#/$defs/person"}, {"type": "null"}]},
        "labels": {"type": "array", "items": {"$ref": "#/$defs/person"}},
        "more": {"type": "object"},
    },
    "$defs": {"person": {"type": "object", "properties": {"name": {"type": "string"}, "id": {"type": "integer"}}}},
}


def test_fields_stand_as_they_are_declared() -> None:
    person = {"id": 1, "name": "mona"}
    kept = {"zeal": 1, "author": person, "title": "x", "labels": [person], "more": {"b": 1, "a": 2}, "extra": None}
    told = sdk.ordered(SCHEMA, kept)
    assert json.dumps(told) == json.dumps(
        {
            "title": "x",
            "author": {"name": "mona", "id": 1},
            "labels": [{"name": "mona", "id": 1}],
            "more": {"a": 2, "b": 1},
            "extra": None,
            "zeal": 1,
        }
    )


TREES = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SCHEMA["properties"], "x", "name"]), inner)
    ),
    max_leaves=9,
)


@given(TREES)
def test_what_was_kept_is_told_as_at_first(value: Any) -> None:
    first = sdk.ordered(SCHEMA, value)
    assert first == value
    again = sdk.ordered(SCHEMA, kernel.read_json(kernel.canonical(first)))
    assert json.dumps(again) == json.dumps(first)
