"""What a memory in Postgres is opened with, seen before anything is opened."""

import sys
from typing import Any

import pytest

from interlock import memory
from interlock.kernel import Secret

URL = "postgresql://agents:hunter2@db.example/notes"


def validated(**config: Any) -> dict[str, Any]:
    provider = memory.Registry().fetch("postgres")
    return dict(provider.validate_config(config))


def test_it_is_filled_in_and_keeps_its_secret():
    checked = validated(url=URL)
    assert (checked["schema"], checked["isolation"], checked["embedder"]) == ("interlock_memory", "storage", "hashed")
    assert checked["url"].reveal() == URL
    assert "hunter2" not in repr(checked)
    assert validated(**checked) == checked
    assert validated(url=Secret("dbname=notes"))["url"].reveal() == "dbname=notes"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": 7},
        {"url": "postgresql://[hunter2"},
        {"url": "hunter2"},
        {"url": URL, "schema": "a; DROP SCHEMA public"},
        {"url": URL, "schema": "Notes"},
        {"url": URL, "schema": ""},
        {"url": URL, "dimensions": 4_097},
        {"url": URL, "connections": 0},
        {"url": URL, "isolation": "none"},
        {"url": URL, "grant_to": ""},
        {"url": URL, "path": "x"},
    ],
    ids=str,
)
def test_what_is_wrong_is_told_without_the_address(wrong: dict[str, Any]):
    with pytest.raises(memory.InvalidConfig) as refused:
        validated(**wrong)
    assert "hunter2" not in f"{refused.value} {refused.value.to_json()}"


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(memory.InvalidConfig, match="it speaks to Postgres by psycopg") as refused:
        validated(url=URL)
    assert "pip install 'interlock[postgres]'" in refused.value.next_step


def test_the_alias_is_the_same():
    assert memory.Registry().fetch("postgresql") is memory.Registry().fetch("postgres")
