"""Fields on the command line become what the schema says."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli import inputs
from interlock.cli.errors import FileRefused, Usage
from interlock.kernel import InvalidJson

SCHEMA = {
    "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "integer"}}}},
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "number": {"type": "integer"},
        "ratio": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "flag": {"type": "boolean"},
        "list": {"type": "array", "items": {"type": "string"}},
        "point": {"$ref": "#/$defs/Point"},
        "either": {"type": ["integer", "string"]},
        "choice": {"enum": ["1", "2"]},
    },
}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("text=7", "7"),
        ("text=null", "null"),
        ("text=", ""),
        ("text=a=b:=c", "a=b:=c"),
        ("number=7", 7),
        ("number=-7", -7),
        ("number=seven", "seven"),
        ("number=NaN", "NaN"),
        ("ratio=0.5", 0.5),
        ("ratio=null", None),
        ("flag=true", True),
        ("flag=yes", "yes"),
        ('list=["a", "b"]', ["a", "b"]),
        ("list=a", "a"),
        ('point={"x": 1}', {"x": 1}),
        ("either=1", "1"),
        ("choice=1", "1"),
        ("stranger=1", "1"),
        ("text:=7", 7),
        ('stranger:={"a": [1]}', {"a": [1]}),
    ],
)
def test_pairs(pair: str, value: object):
    assert list(inputs.parse_pairs([pair], SCHEMA).values()) == [value]


@pytest.mark.parametrize("how", ["=", ":="])
def test_what_is_not_utf_8_is_told_with_its_field_and_byte(how: str):
    with pytest.raises(Usage, match=r"^the field 'text' is not UTF-8: byte 0xe9$") as caught:
        inputs.parse_pairs([b'text%s"Andr\xe9"'.replace(b"%s", how.encode()).decode(errors="surrogateescape")], SCHEMA)
    assert "--input FILE" in caught.value.next_step


def test_a_file_may_begin_with_the_mark_of_utf_8(tmp_path: Path):
    (tmp_path / "input.json").write_bytes(b'\xef\xbb\xbf{"text": "a"}')
    assert inputs.read_object(str(tmp_path / "input.json")) == {"text": "a"}


@given(st.text())
def test_text_stays_text(text: str):
    assert inputs.parse_pairs([f"text={text}"], SCHEMA) == {"text": text}


@given(st.integers(-(2**53) + 1, 2**53 - 1) | st.lists(st.text(st.characters(categories=["L"]))))
def test_json_is_read_where_the_schema_says_so(value: object):
    name = "number" if isinstance(value, int) else "list"
    assert inputs.parse_pairs([f"{name}={json.dumps(value)}"], SCHEMA) == {name: value}


@pytest.mark.parametrize("pairs", [["text"], ["=x"], [":=1"], [""], ["text=a", "text=b"]])
def test_what_is_no_field_is_refused(pairs: list[str]):
    with pytest.raises(Usage):
        inputs.parse_pairs(pairs, SCHEMA)


@pytest.mark.parametrize("pair", ["text:=", "text:=NaN", "number=99999999999999999", "text:=" + "[" * 100 + "]" * 100])
def test_json_that_cannot_be_is_refused(pair: str):
    with pytest.raises(InvalidJson):
        inputs.parse_pairs([pair], SCHEMA)


def test_pairs_stand_on_top_of_a_file(tmp_path: Path):
    path = tmp_path / "input.json"
    path.write_text('{"text": "from the file", "number": 1}')
    assert inputs.collect(["number=2"], str(path), SCHEMA) == {"text": "from the file", "number": 2}


def test_stdin_is_a_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "x"}')))
    assert inputs.collect([], "-", SCHEMA) == {"text": "x"}


def test_files_that_hold_no_object_or_cannot_be_read(tmp_path: Path):
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(Usage):
        inputs.read_object(str(tmp_path / "list.json"))
    for name in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(FileRefused, match=str(name)):
            inputs.read_object(str(name))


def test_costs_are_units_with_amounts():
    assert inputs.amounts(["cents=7", "calls=1"]) == {"cents": 7, "calls": 1}
    for pairs in (["cents"], ["cents=x"], ["cents=-1"], ["cents=1", "cents=2"], ["=1 "]):
        with pytest.raises(Usage, match="write UNIT=AMOUNT"):
            inputs.amounts(pairs)
