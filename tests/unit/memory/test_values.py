"""The values of the memory contract: what is taken, what is refused, and that documents come back."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import memory
from interlock.kernel import JSON

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
ID = "mem_" + "0" * 31 + "1"

letters = st.characters(blacklist_categories=["Cs", "Cc"])
seen = st.characters(categories=["L", "N"], max_codepoint=0x10FF)
names = st.builds("".join, st.tuples(st.text(letters, max_size=30), seen, st.text(letters, max_size=19)))
texts = st.builds("".join, st.tuples(st.text(letters), seen, st.text(letters)))
moments = st.datetimes(timezones=st.just(UTC))
plain = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=8,
)
scopes = st.builds(
    memory.Scope,
    tenant=names,
    user=st.none() | names,
    agent=st.none() | names,
    session=st.none() | names,
)
drafts = st.builds(
    memory.Draft,
    text=texts,
    content=json_values,
    memory_class=st.sampled_from(memory.MemoryClass),
    kind=names,
    tags=st.lists(names, max_size=4).map(tuple),
    importance=st.floats(0, 1),
    observed_at=st.none() | moments,
    expires_at=st.none() | moments,
    provenance=st.builds(memory.Provenance, source_turn=st.none() | names, derived_from=st.just((ID,))),
    metadata=st.dictionaries(plain, json_values, max_size=3),
    scope=st.none() | scopes,
    embedding=st.none() | st.lists(st.floats(-1, 1), min_size=1, max_size=4).map(tuple),
)


@given(drafts)
def test_a_draft_comes_back_from_its_document(draft: memory.Draft):
    assert memory.Draft.from_json(draft.to_json()) == draft


@given(drafts, scopes, moments)
def test_a_record_comes_back_from_its_document_and_keeps_its_digest(
    draft: memory.Draft, scope: memory.Scope, at: datetime
):
    fields = {name: getattr(draft, name) for name in memory.Record.model_fields if name in memory.Draft.model_fields}
    fields |= {"contract": "interlock.memory-record/v1", "record_id": ID, "scope": scope, "observed_at": at}
    record = memory.Record.of(**fields, revision=1, recorded_at=at)
    again = memory.Record.from_json(record.model_dump_json())
    assert again == record
    assert again.digest == draft.digest


@given(st.builds(memory.Query, text=st.none() | texts, tags_any=st.lists(names, max_size=3).map(tuple), since=moments))
def test_a_query_comes_back_from_its_document(query: memory.Query):
    assert memory.Query.from_json(query.to_json()) == query


REFUSED: dict[str, dict[str, Any]] = {
    "nothing to remember": {"text": "  \n"},
    "half a character": {"text": "a\ud800b"},
    "U+0000": {"text": "a\x00b"},
    "U+001B": {"text": "\x1b[2J"},
    "larger than 1048576 bytes": {"text": "ä" * 600_000},
    "at most 100 items": {"text": "a", "tags": tuple(map(str, range(101)))},
    "tags.0": {"text": "a", "tags": ("",)},
    "Extra inputs": {"text": "a", "colour": "red"},
    "must be after valid_from": {"text": "a", "valid_from": NOW, "valid_to": NOW},
    "timezone": {"text": "a", "observed_at": NOW.replace(tzinfo=None)},
    "nested deeper": {"text": "a", "content": json.loads("[" * 40 + "]" * 40)},
    "content": {"text": "a", "content": {"n": 2**60}},
    "metadata": {"text": "a", "metadata": {"x": "y" * 300_000}},
    "importance": {"text": "a", "importance": 1.5},
    "finite": {"text": "a", "embedding": (float("nan"),)},
    "record_id": {"text": "a", "record_id": "mem_1"},
    "goes with the record_id": {"text": "a", "if_revision": 1},
    "supersedes another": {"text": "a", "record_id": ID, "supersedes": ID},
    "is for a new record": {"text": "a", "record_id": ID, "idempotency_key": "k"},
    "memory_class": {"text": "a", "memory_class": "eternal"},
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_no_provider_could_keep_is_refused_with_its_place(said: str):
    with pytest.raises(memory.InvalidInput) as raised:
        memory.Draft.of(**REFUSED[said])
    assert said in raised.value.message
    assert raised.value.details["problems"]


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(memory.InvalidInput) as raised:
        memory.Draft.of(text="a", importance=2.0, kind="", colour=1)
    assert len(raised.value.details["problems"]) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "document", ["{", "[]", '{"contract": "interlock.memory-draft/v9", "text": "a"}', b"\xff", '{"text": 1}']
)
def test_what_is_no_document_is_refused(document: str | bytes):
    with pytest.raises(memory.InvalidInput):
        memory.Draft.from_json(document)


def test_a_document_of_an_earlier_version_is_migrated(monkeypatch: pytest.MonkeyPatch):
    old = {"contract": "interlock.memory-draft/v0", "body": "hello"}

    def to_v1(told: dict[str, JSON]) -> dict[str, JSON]:
        return {"contract": "interlock.memory-draft/v1", "text": told["body"]}

    monkeypatch.setattr(memory.Draft, "migrations", {"interlock.memory-draft/v0": to_v1})
    assert memory.Draft.from_json(old).text == "hello"


@pytest.mark.parametrize(
    "fields",
    [
        {"text": " "},
        {"mode": "text"},
        {"vector": (1.0,), "mode": "text"},
        {"limit": 0},
        {"limit": 1001},
        {"since": NOW, "until": NOW - timedelta(seconds=1)},
        {"text": "a", "weights": {"beauty": 1.0}},
        {"text": "a", "weights": {"text": -1.0}},
        {"text": "a", "min_score": float("inf")},
    ],
)
def test_a_query_that_means_nothing_is_refused(fields: dict[str, Any]):
    with pytest.raises(memory.InvalidInput):
        memory.Query.of(**fields)


def test_words_for_choices_and_lists_for_tuples_are_taken():
    draft = memory.Draft.of(text="a", memory_class="semantic", tags=["x", "y", "x"])
    assert (draft.memory_class, draft.tags) == (memory.MemoryClass.SEMANTIC, ("x", "y"))


@pytest.mark.parametrize("blank", ["", " ", "\u200b\ufeff", "\u2800 \u3164", "\u202e\u2066"])
def test_what_shows_nothing_is_blank(blank: str):
    for make in (
        lambda: memory.Draft(text=blank),
        lambda: memory.Query(text=blank),
        lambda: memory.Scope(tenant=blank),
        lambda: memory.Draft(text="x", tags=(blank,)),
    ):
        with pytest.raises(memory.InvalidInput) as raised:
            make()
        assert raised.value.details["problems"]


def test_what_is_wrong_is_told_in_one_way_however_a_value_is_made():
    told: list[str] = []
    makes: list[Callable[..., memory.Draft]] = [memory.Draft, memory.Draft.of]
    for make in makes:
        with pytest.raises(memory.InvalidInput) as raised:
            make()
        told.append(raised.value.message)
        with pytest.raises(memory.InvalidInput) as raised:
            make(text="x", tags=("",), scope={"tenant": ""})
        problems: Any = raised.value.details["problems"]
        assert [problem.split(":")[0] for problem in problems] == ["tags.0", "scope.tenant"]
    assert told == ["this is no Draft: there is nothing to remember: no text, and no content"] * 2


@pytest.mark.parametrize(
    ("kind", "field"), [(memory.Draft, "tags"), (memory.Query, "tags_any"), (memory.Query, "kinds")]
)
def test_the_schema_of_a_list_bounds_its_items(kind: type[memory.Value], field: str):
    schema = kind.model_json_schema()["properties"][field]
    assert (schema.get("maxItems"), schema.get("maxLength")) == (100, None)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (memory.Draft, {"text": "x", "tags": ("",) * 100_000}),
        (memory.Query, {"tags_any": ("",) * 100_000}),
        (memory.Query, {"kinds": [7] * 100_000}),
        (memory.Query, {"classes": ["none"] * 100_000}),
    ],
)
def test_of_a_list_that_is_far_too_long_nothing_is_looked_at(kind: type[memory.Value], fields: dict[str, Any]):
    with pytest.raises(memory.InvalidInput, match="there are 100000") as raised:
        kind.of(**fields)
    problems: Any = raised.value.details["problems"]
    assert len(problems) == 1
