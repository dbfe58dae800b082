import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fix_connector as fix
from interlock import sdk

MINIMAL = """
contract: interlock.connector/v1
connector_id: tiny
version: 0.1.0          # a text, not a number
display_name: "no"
description: on
auth: [{profile_id: none, grant: {type: none}, base_url: "https://api.example"}]
runtime_classes: [direct]
errors:
  - {status: "418", code: resource_conflict}
operations:
  - operation_id: tea.pour
    display_name: 2026-01-01
    description: Pour.
    effect: create
    input_schema: {type: object, additionalProperties: false}
    output_schema: {type: object, properties: {cups: {type: integer}}}
    http: {method: POST, path: /tea}
"""


def test_a_file_is_read_as_json_would_be(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(MINIMAL)
    manifest = sdk.load_manifest(path)
    operation = manifest.operations[0]
    assert (manifest.display_name, manifest.description, operation.display_name) == ("no", "on", "2026-01-01")
    assert operation.errors[0].status == "418"
    assert operation.idempotency is sdk.Idempotency.NONE
    assert manifest.runtime_classes == (sdk.RuntimeClass.DIRECT,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x 1\nb: *x", "anchors"),
        ("a: !!python/object:os.system x", "tags"),
        ("a: 1\na: 2", "'a' stands twice"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"a": NaN}', "not JSON"),
        ("a: 1\n---\nb: 2", "one document"),
        ("[" * 100 + "]" * 100, "deeper than"),
        ('{"a":' + "[" * 5000 + "]" * 5000 + "}", "$"),
        ("? [a]\n: b", "a key is a text"),
        ("a: [", "not YAML"),
        ("{", "not JSON"),
        ("", "empty"),
        ("- a", "a manifest is a mapping"),
        ("a: '" + "x" * 1_100_000 + "'", "larger than"),
        ("operations: all\nauth: 3", "a list is expected, not str"),
        ("operations: [3]\nruntime_classes: x", "operations[0]"),
        ("contract: interlock.connector/v9", "contract"),
        ("\ud800", "$"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(sdk.InvalidManifest, match=r"a manifest text") as raised:
        sdk.load_manifest(text)
    assert words in raised.value.message


def test_problems_of_json_have_their_line() -> None:
    text = '{\n "connector_id": "Acme",\n "operations": [\n  {"operation_id": "a.b",\n   "effect": "reed"}]\n}'
    with pytest.raises(sdk.InvalidManifest) as raised:
        sdk.load_manifest(text)
    placed = {each.path: each.line for each in raised.value.problems}
    assert (placed["connector_id"], placed["operations[a.b].effect"], placed["version"]) == (2, 5, None)


def test_a_missing_file_is_a_problem_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(sdk.InvalidManifest, match=r"nothing\.yaml"):
        sdk.load_manifest(tmp_path / "nothing.yaml")


@given(st.text() | st.binary())
def test_any_text_is_a_manifest_or_an_error_of_ours(text: str | bytes) -> None:
    with pytest.raises(sdk.InvalidManifest):
        sdk.load_manifest(text, source="noise")


@given(st.integers(0, len(MINIMAL) - 1), st.characters())
def test_any_altered_manifest_is_a_manifest_or_an_error_of_ours(index: int, character: str) -> None:
    with contextlib.suppress(sdk.InvalidManifest):
        sdk.load_manifest(MINIMAL[:index] + character + MINIMAL[index + 1 :])


def test_the_declaration_leaves_no_connector_without_its_errors() -> None:
    codes = [rule.code for rule in fix.operation("ticket.create").errors]
    assert codes == ["resource_conflict", "rate_limited", "rate_limited"]
