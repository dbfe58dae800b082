"""Where the values of a JSON text stand."""

import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from interlock.kernel import json_places

TEXT = """\
{
  "a": {"b": [1, {"c:,": "}"}]},
    "d\\u0065\\"": null, "é": [
    [],
  true]
}
"""


def test_members_stand_at_their_keys_and_elements_where_they_begin():
    assert json_places(TEXT) == {
        (): (1, 1),
        ("a",): (2, 3),
        ("a", "b"): (2, 9),
        ("a", "b", 0): (2, 15),
        ("a", "b", 1): (2, 18),
        ("a", "b", 1, "c:,"): (2, 19),
        ('de"',): (3, 5),
        ("é",): (3, 24),
        ("é", 0): (4, 5),
        ("é", 1): (5, 3),
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text('ab{}[]"\\:, \\n', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\:', max_size=2), inner, max_size=3),
    max_leaves=20,
)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inner: dict[str | int, Any] = {}
    if isinstance(value, dict):
        inner = cast("dict[str | int, Any]", value)
    elif isinstance(value, list):
        inner = dict(enumerate(cast("list[Any]", value)))
    return {path}.union(*(paths(each, (*path, step)) for step, each in inner.items()))


@given(VALUES, st.sampled_from([None, 0, 2]))
def test_every_value_of_any_text_has_its_place(value: object, indent: int | None):
    text = json.dumps(value, indent=indent)
    lines = text.split("\n")
    places = json_places(text)
    assert places.keys() == paths(value)
    for path, (line, column) in places.items():
        begun = lines[line - 1][column - 1 :]
        if path and isinstance(path[-1], str):
            assert begun.startswith(f"{json.dumps(path[-1])}:")
