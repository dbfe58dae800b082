from hypothesis import given
from hypothesis import strategies as st

from interlock.sdk import pointer


@given(st.lists(st.text(), max_size=4), st.integers())
def test_what_is_put_is_found(way: list[str], value: int) -> None:
    place = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in way)
    target: dict[str, object] = {}
    if way and "*" not in way:
        pointer.put(target, place, value)  # type: ignore[arg-type]
        assert pointer.get(target, place) == value  # type: ignore[arg-type]


def test_arrays_wildcards_and_what_is_missing() -> None:
    value = {"a": [{"b": 1}, {"c": 2}, {"b": 3}], "n": None}
    assert pointer.get(value, "") == value
    assert pointer.get(value, "/a/2/b") == 3
    assert pointer.get(value, "/a/*/b") == [1, 3]
    assert pointer.get(value, "/n") is None
    for nowhere in ("/x", "/a/9", "/a/-1", "/a/²", "/a/x", "/n/x", "/a/0/b/c"):
        assert pointer.get(value, nowhere) is pointer.MISSING, nowhere


def test_putting_does_not_touch_what_belongs_to_others() -> None:
    theirs = {"x": 1}
    target: dict[str, object] = {"a": theirs}
    pointer.put(target, "/a/y", 2)  # type: ignore[arg-type]
    assert (target, theirs) == ({"a": {"x": 1, "y": 2}}, {"x": 1})
