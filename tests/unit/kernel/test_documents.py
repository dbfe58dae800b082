"""Values become documents and come back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

import pytest

from interlock.kernel import JSON, canonical, document, page, read_document


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Inner:
    at: datetime
    colour: Colour | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner
    inners: tuple[Inner, ...]
    tags: frozenset[str]
    facts: Mapping[str, JSON] | None
    input_json: str
    receipt_json: str | None
    content: bytes | None = None
    weight: float = 1.5
    kind: Literal["big", "small"] = "small"
    lasts: timedelta = timedelta(seconds=2.5)
    more: Mapping[str, str] = field(default_factory=dict[str, str])


AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
INNER = Inner(at=AT, colour=Colour.RED)
OUTER = Outer(
    name="x",
    inner=INNER,
    inners=(INNER, Inner(at=AT)),
    tags=frozenset({"b", "a"}),
    facts={"a": [1, None, {"b": "c"}]},
    input_json='{"a":1}',
    receipt_json=None,
    content=b"secret",
    more={"k": "v"},
)


def test_a_value_comes_back_without_its_content():
    told = document(OUTER)
    assert read_document(Outer, told) == replace(OUTER, content=None)
    assert isinstance(told, dict)
    assert (told["input"], told["receipt"], told["tags"]) == ({"a": 1}, None, ["a", "b"])
    assert "content" not in told
    assert b"secret" not in canonical(told)


def test_what_is_a_value_already_stays_so():
    told = document(OUTER)
    assert isinstance(told, dict)
    inner = Inner(at=AT + timedelta(1))
    assert read_document(Outer, {**told, "inner": inner}) == replace(OUTER, content=None, inner=inner)  # pyright: ignore[reportArgumentType]


def test_a_document_of_another_kind_is_refused():
    told = document(OUTER)
    assert isinstance(told, dict)
    wrongs: list[JSON] = [{}, [], None, {**told, "inner": 3}, {**told, "name": 7}, {**told, "inner": {"at": "soon"}}]
    wrongs += [{**told, "kind": "huge"}, {**told, "lasts": "long"}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"."):
            read_document(Outer, wrong)


def test_a_full_page_says_where_to_go_on():
    rows: list[JSON] = [{"id": "a"}, {"id": "b"}]
    assert page("rows", rows, limit=2, key="id") == {"rows": rows, "next_cursor": "b"}
    assert page("rows", rows, limit=3, key="id") == {"rows": rows, "next_cursor": None}
