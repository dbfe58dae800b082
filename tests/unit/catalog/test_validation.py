from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fix_connector as fix
from interlock import catalog, sdk
from interlock.catalog import words
from interlock.catalog.validation import compiled


def capability(operation_id: str = "ticket.create") -> catalog.Capability:
    return catalog.Catalog([fix.connector().manifest]).fetch(f"acme.{operation_id}")


def mismatches(value: Any, operation_id: str = "ticket.create") -> list[str]:
    with pytest.raises(catalog.InvalidInput) as raised:
        capability(operation_id).validate_input(value)
    return [str(each) for each in raised.value.mismatches]


def test_what_fits_passes() -> None:
    capability().validate_input({"repo": "a/b", "title": "T", "labels": ["x"]})
    capability("ref.delete").validate_output({"ref": "x", "deleted": True})


def test_every_mismatch_is_listed_with_place_expectation_and_what_was_given() -> None:
    found = mismatches({"repo": "ab", "titel": "T", "labels": ["x", 4], "priority": None})
    assert sorted(found) == [
        "labels[1]: a text, got 4",
        "priority: a whole number, got null",
        "repo: a text that fits ^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$, got a text of 2 characters (owner/name)",
        "titel: no such field (did you mean 'title'?)",
        "title: a required field, got nothing",
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "$: an object, got null"),
        ([], "$: an object, got an empty list"),
        ({"repo": "a/b", "state": "x"}, "state: one of open, closed, got a text of 1 character"),
        (
            {"repo": "a/b", "state": "opne"},
            "state: one of open, closed, got a text of 4 characters (did you mean 'open'?)",
        ),
        ({"repo": "a/b", "page": 0}, "page: at least 1, got 0"),
        ({"repo": "a/b", "per_page": 250}, "per_page: at most 100, got 250"),
        ({"repo": "a/b", "page": True}, "page: a whole number, got true"),
        ({"repo": "a/b", "page": 1.5}, "page: a whole number, got 1.5"),
        ({"repo": "a/b", "zzz": {}}, "zzz: no such field (there are max_pages, page, per_page, repo, state)"),
    ],
)
def test_expectations(value: Any, words: str) -> None:
    assert words in "\n".join(mismatches(value, "ticket.list"))


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        ({"type": ["integer", "null", "string"]}, [1, 2], "a whole number, a text or null, got a list of 2 items"),
        ({"type": "boolean"}, "yes", "true or false, got a text of 3 characters"),
        ({"type": "number"}, {}, "a number, got an empty object"),
        ({"enum": [1, None, "a", {"x": 1}]}, 7, 'one of 1, null, a, {"x": 1}, got 7'),
        ({"enum": [f"word-{number}" for number in range(50)]}, 7, "word-19, …, got 7"),
        ({"const": "open"}, "shut", "exactly open, got a text of 4 characters"),
        ({"minimum": 0.5}, 0, "at least 0.5, got 0"),
        ({"maximum": 3}, 4.25, "at most 3, got 4.25"),
        ({"exclusiveMinimum": 0}, 0, "more than 0, got 0"),
        ({"exclusiveMaximum": 1}, 1, "less than 1, got 1"),
        ({"multipleOf": 5}, 7, "a multiple of 5, got 7"),
        ({"minLength": 1}, "", "at least 1 character, got an empty text"),
        ({"maxLength": 2}, "abc", "at most 2 characters, got a text of 3 characters"),
        ({"minItems": 2}, [1], "at least 2 items, got a list of 1 item"),
        ({"maxItems": 1}, [1, 2], "at most 1 item, got a list of 2 items"),
        ({"uniqueItems": True}, [1, 1], "no item twice, got a list of 2 items"),
        ({"minProperties": 1}, {}, "at least 1 field, got an empty object"),
        ({"maxProperties": 1}, {"a": 1, "b": 2}, "at most 1 field, got an object of 2 fields"),
        ({"pattern": "^[a-f]+$"}, "xyz", "a text that fits ^[a-f]+$, got a text of 3 characters"),
        ({"format": "date-time"}, "now", "a moment such as 2026-01-31T12:00:00Z, got a text of 3 characters"),
        ({"format": "ipv4"}, "::1", "a text in the form ipv4, got a text of 3 characters"),
        ({"not": {"type": "null"}}, None, "something else, got null"),
        (False, 1, "nothing, got 1"),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, "field names: at most 1 character, got an object of 1 field"),
        ({"minimum": 5}, -(2**53) + 1, "at least 5, got -9007199254740991"),
        ({"contains": {"type": "null"}}, [1], "contains, got a list of 1 item"),
    ],
)
def test_each_keyword_in_words(schema: Any, value: Any, words: str) -> None:
    found = [str(each) for each in compiled({"properties": {"it": schema}})({"it": value})]
    assert len(found) == 1
    assert found[0].startswith("it: ")
    assert found[0].endswith(words)


@pytest.mark.parametrize(
    ("branches", "value", "told"),
    [
        ([{"type": "integer"}, {"type": "null"}], "x", ["it: a whole number or null, got a text of 1 character"]),
        ([{"type": "integer", "minimum": 1}, {"type": "null"}], 0, ["it: at least 1, got 0"]),
        ([{"type": "integer", "minimum": 1}, {"type": "number", "maximum": -1}], 0, ["it: at least 1 or at most -1, got 0"]),
        ([{"type": "null"}, {"$ref": "#/$defs/Two"}], {"a": 1}, ["it.a: a text, got 1", "it.b: a required field, got nothing"]),
        ([{"const": "x"}, {"const": "y"}], "z", ["it: exactly x or exactly y, got a text of 1 character"]),
        ([{"type": "object", "required": ["a"]}, {"type": "object", "required": ["b"]}], {},
         ["it: an object with a or an object with b, got an empty object"]),
    ],
)  # fmt: skip
def test_of_alternatives_the_one_that_was_meant_is_told(branches: list[Any], value: Any, told: list[str]) -> None:
    two = {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["b"]}
    for keyword in ("anyOf", "oneOf"):
        found = compiled({"$defs": {"Two": two}, "properties": {"it": {keyword: branches}}})({"it": value})
        assert sorted(map(str, found)) == told


def test_too_many_alternatives_fit() -> None:
    found = compiled({"properties": {"it": {"oneOf": [{"minimum": 1}, {"maximum": 9}]}}})({"it": 5})
    assert [str(each) for each in found] == ["it: only one of its alternatives, got 5"]


def test_alternatives_and_references() -> None:
    schema: dict[str, Any] = {
        "$defs": {"Inner": {"type": "object", "properties": {"name": {}}, "additionalProperties": False}},
        "type": "object",
        "properties": {
            "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "inner": {"$ref": "#/$defs/Inner"},
        },
        "additionalProperties": False,
    }
    draft = sdk.post("one", "/x", input=schema, output=fix.Found)
    found = catalog.Catalog([fix.connector(operations=[draft]).manifest]).fetch("acme.one")
    with pytest.raises(catalog.InvalidInput) as raised:
        found.validate_input({"either": "x", "inner": {"nam": 1}})
    assert sorted(str(each) for each in raised.value.mismatches) == [
        "either: a whole number or null, got a text of 1 character",
        "inner.nam: no such field (did you mean 'name'?)",
    ]


def test_a_text_is_never_repeated() -> None:
    secret = "hunter2-hunter2"
    for value in (
        {"repo": secret, "title": [secret], "labels": secret},
        {"repo": {secret: secret}, "labels": [[secret]]},
    ):
        with pytest.raises(catalog.InvalidInput) as raised:
            capability().validate_input(value)
        assert secret not in str(raised.value.to_json())


def test_programs_get_the_place_as_a_path() -> None:
    with pytest.raises(catalog.InvalidInput) as raised:
        capability("ticket.list").validate_input({"repo": "a/b", "per_page": 250})
    assert raised.value.details["mismatches"] == [
        {"path": "$.per_page", "expected": "at most 100", "got": "250", "suggestion": None}
    ]


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSONS)
def test_any_value_has_a_short_description(value: Any) -> None:
    assert 0 < len(words.given(value)) <= 50


def test_a_flood_of_mismatches_is_bounded() -> None:
    found = mismatches({"repo": "a/b", "title": "T", "labels": list(range(100_000))})
    assert len(found) == 50
    with pytest.raises(catalog.InvalidInput) as raised:
        capability().validate_input({f"field{number}": 1 for number in range(5_000)})
    assert len(raised.value.message) < 3_000


def test_a_wrong_output_is_the_services_fault() -> None:
    with pytest.raises(catalog.InvalidOutput, match="deleted: a required field"):
        capability("ref.delete").validate_output({"ref": "x"})


def test_what_is_shown_of_a_capability() -> None:
    shown = capability().to_json()
    assert (shown["capability_id"], shown["effect"], shown["idempotency"]) == ("acme.ticket.create", "create", "none")
