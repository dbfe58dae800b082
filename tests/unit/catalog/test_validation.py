from typing import Any

import pytest

import fix_connector as fix
from interlock import catalog, sdk


def capability(operation_id: str = "ticket.create") -> catalog.Capability:
    return catalog.Catalog([fix.connector().manifest]).fetch(f"acme.{operation_id}")


def mismatches(value: Any, operation_id: str = "ticket.create") -> list[str]:
    with pytest.raises(catalog.InvalidInput) as raised:
        capability(operation_id).validate_input(value)
    return [str(each) for each in raised.value.mismatches]


def test_what_fits_passes() -> None:
    capability().validate_input({"repo": "a/b", "title": "T", "labels": ["x"]})
    capability("ref.delete").validate_output({"ref": "x", "deleted": True})


def test_every_mismatch_is_listed_with_place_expectation_and_type() -> None:
    found = mismatches({"repo": "ab", "titel": "T", "labels": ["x", 4], "priority": None})
    assert sorted(found) == [
        "$.labels[1]: string, got integer",
        "$.priority: integer, got null",
        "$.repo: pattern ^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$, got string",
        "$.titel: no such field, got a value (did you mean 'title'?)",
        "$.title: a required field, got nothing",
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "$: object, got null"),
        ([], "$: object, got array"),
        ({"repo": "a/b", "state": "x"}, "$.state: one of open, closed, got string"),
        ({"repo": "a/b", "page": 0}, "$.page: minimum 1, got integer"),
        ({"repo": "a/b", "page": True}, "$.page: integer, got boolean"),
        ({"repo": "a/b", "page": 1.5}, "$.page: integer, got number"),
        ({"repo": "a/b", "zzz": {}}, "there are max_pages, page, per_page, repo, state"),
    ],
)
def test_expectations(value: Any, words: str) -> None:
    assert words in "\n".join(mismatches(value, "ticket.list"))


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
        "$.either: integer or null, got string",
        "$.inner.nam: no such field, got a value (did you mean 'name'?)",
    ]


def test_the_value_itself_is_never_repeated() -> None:
    secret = "hunter2-hunter2"
    with pytest.raises(catalog.InvalidInput) as raised:
        capability().validate_input({"repo": secret, "title": [secret], "labels": secret})
    assert secret not in str(raised.value.to_json())


def test_a_flood_of_mismatches_is_bounded() -> None:
    found = mismatches({"repo": "a/b", "title": "T", "labels": list(range(100_000))})
    assert len(found) == 50
    with pytest.raises(catalog.InvalidInput) as raised:
        capability().validate_input({f"field{number}": 1 for number in range(5_000)})
    assert len(raised.value.message) < 3_000


def test_a_wrong_output_is_the_services_fault() -> None:
    with pytest.raises(catalog.InvalidOutput, match=r"\$\.deleted: a required field"):
        capability("ref.delete").validate_output({"ref": "x"})


def test_what_is_shown_of_a_capability() -> None:
    shown = capability().to_json()
    assert (shown["capability_id"], shown["effect"], shown["idempotency"]) == ("acme.ticket.create", "create", "none")
