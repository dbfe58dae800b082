"""Level `core`: what no provider takes is refused before anything is kept, and by the error that says so."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, partial, reduce
from typing import Any, Final

from interlock import memory
from interlock.testing.memory.case import NOTHING, Trial, case, expect, same, texts

FAR_EAST: Final = timezone(timedelta(hours=14))
DEEP: Final = reduce(lambda inner, _: {"a": inner}, range(100), dict[str, Any]())


@cache
def _drafts() -> dict[str, dict[str, Any]]:
    """Made when they are wanted: some are large."""
    return {
        "nothing": {},
        "blank-text": {"text": " \t\n\u3000"},
        "text-and-no-text": {"text": 7},
        "bytes": {"text": b"\x00\xff"},
        "zero-byte": {"text": "a\x00b"},
        "control": {"text": "a\x1bb"},
        "half-surrogate": {"text": "a\ud800b"},
        "huge-text": {"text": "x" * (memory.MAX_TEXT + 1)},
        "huge-text-of-wide-letters": {"text": "\u6771" * (memory.MAX_TEXT // 3 + 1)},
        "a-million-tags": {"text": "x", "tags": tuple(map(str, range(1_000_000)))},
        "blank-tag": {"text": "x", "tags": ("",)},
        "long-tag": {"text": "x", "tags": ("t" * 201,)},
        "tag-of-two-lines": {"text": "x", "tags": ("a\nb",)},
        "huge-content": {"content": {"a": "x" * 300_000}},
        "wide-content": {"content": {"a": list(range(20_000))}},
        "deep-content": {"content": DEEP},
        "content-that-is-no-json": {"content": {"a": {1, 2}}},
        "not-a-number": {"content": {"a": float("nan")}},
        "huge-metadata": {"text": "x", "metadata": {str(number): number for number in range(20_000)}},
        "importance-above": {"text": "x", "importance": 1.01},
        "importance-that-is-none": {"text": "x", "importance": float("nan")},
        "unknown-class": {"text": "x", "memory_class": "forever"},
        "unknown-field": {"text": "x", "namespace": "other"},
        "time-without-zone": {"text": "x", "observed_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is refused
        "time-before-all": {"text": "x", "observed_at": datetime.min.replace(tzinfo=FAR_EAST)},
        "expiry-before-all": {"text": "x", "expires_at": datetime.min.replace(tzinfo=FAR_EAST)},
        "time-as-a-number": {"text": "x", "observed_at": 1_700_000_000_000},
        "strange-id": {"text": "x", "record_id": "../../etc/passwd"},
        "strange-successor": {"text": "x", "supersedes": "' OR 1=1 --"},
        "source-of-two-lines": {"text": "x", "source": "a\r\nb"},
        "infinite-vector": {"text": "x", "embedding": (float("inf"),)},
        "empty-vector": {"text": "x", "embedding": ()},
        "too-many-sources": {"text": "x", "provenance": {"derived_from": ["mem_" + "0" * 32] * 1_001}},
    }


@cache
def _queries() -> dict[str, dict[str, Any]]:
    """As `_drafts`."""
    return {
        "blank-text": {"query": " \n"},
        "zero-byte": {"query": "a\x00b"},
        "half-surrogate": {"query": "\udfff"},
        "huge-text": {"query": "x" * (memory.MAX_TEXT + 1)},
        "no-limit": {"limit": 0},
        "limit-below": {"limit": -1},
        "limit-above": {"limit": 1_001},
        "a-million-tags": {"tags_any": tuple(map(str, range(1_000_000)))},
        "too-many-tags": {"tags_all": tuple(map(str, range(101)))},
        "too-many-kinds": {"kinds": tuple(map(str, range(101)))},
        "too-much-metadata": {"metadata": {str(number): number for number in range(101)}},
        "unknown-class": {"classes": ["forever"]},
        "unknown-mode": {"query": "x", "mode": "magic"},
        "mode-without-text": {"mode": "text"},
        "unknown-order": {"order": "sideways"},
        "unknown-weight": {"query": "x", "weights": {"luck": 1.0}},
        "weight-below": {"query": "x", "weights": {"text": -1.0}},
        "least-score-that-is-none": {"query": "x", "min_score": float("nan")},
        "no-budget": {"token_budget": 0},
        "times-reversed": {"since": datetime(2026, 2, 1, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)},
        "time-without-zone": {"since": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is refused
        "time-before-all": {"as_of": datetime.min.replace(tzinfo=FAR_EAST)},
        "huge-cursor": {"cursor": "A" * 501},
        "scope": {"scope": {"tenant": "other"}},
    }


@case("core")
async def what_cannot_be_kept_is_refused(trial: Trial) -> None:
    """Blank, huge, binary and malformed drafts raise InvalidInput, and nothing is kept."""
    for name, fields in _drafts().items():
        await _refused(name, partial(_remembered, trial, fields))
        if isinstance(text := fields.get("text"), str):
            others = {each: value for each, value in fields.items() if each != "text"}
            await _refused(name, partial(trial.mem.remember, text, **others))
    same(texts(await trial.mem.retrieve()), NOTHING)


@case("core")
async def what_cannot_be_asked_is_refused(trial: Trial) -> None:
    """Blank, huge and malformed queries raise InvalidInput."""
    await trial.mem.remember("kept")
    for name, fields in _queries().items():
        await _refused(name, partial(trial.mem.retrieve, **fields))
    same(texts(await trial.mem.retrieve()), ["kept"])


async def _remembered(trial: Trial, fields: dict[str, Any]) -> object:
    return await trial.mem.remember(memory.Draft.of(**fields))


async def _refused(name: str, act: Callable[[], Awaitable[object]]) -> None:
    try:
        await act()
    except memory.InvalidInput as error:
        expect(error.details.get("problems"), f"{name}: refused without saying what is wrong")
    else:
        raise AssertionError(f"{name}: it was not refused")


@case("core")
async def the_largest_there_may_be(trial: Trial) -> None:
    """A text, tags, content and metadata of the largest size are kept, and come back as they were."""
    draft = memory.Draft.of(
        text=("w" * 63 + " ") * (memory.MAX_TEXT // 64),
        tags=tuple(f"{number}:" + "t" * 190 for number in range(100)),
        content={"a": ["x" * 1_000] * 200},
        metadata={str(number): "y" * 2_000 for number in range(100)},
    )
    kept = await trial.mem.remember(draft)
    got = await trial.mem.get(kept.record_id)
    same(got.text, draft.text)
    same((got.tags, got.content, got.metadata), (draft.tags, draft.content, draft.metadata))
    found = await trial.mem.retrieve(tags_all=draft.tags, metadata=draft.metadata, tags_any=tuple(map(str, range(100))))
    same(texts(found), NOTHING)
    found = await trial.mem.retrieve(tags_all=draft.tags, metadata=draft.metadata, tags_any=draft.tags)
    same([record.record_id for record in found.records], [kept.record_id])


@case("core")
async def the_ends_of_time(trial: Trial) -> None:
    """The first and the last moment there are can be kept, listed and asked for."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    await trial.mem.remember("first", observed_at=first)
    await trial.mem.remember("last", observed_at=last, expires_at=last)
    await trial.mem.remember("gone", expires_at=first)
    same(texts(await trial.mem.retrieve(order="oldest")), ["first", "last"])
    same(texts(await trial.mem.retrieve(order="oldest", limit=1)), ["first"])
    same(texts(await trial.mem.retrieve(until=first)), ["first"])
    same(texts(await trial.mem.retrieve(since=last)), ["last"])


ODD_NAMES: Final = (
    "'; DROP TABLE revisions; --",
    'a" OR "b',
    "%",
    "_",
    "a\\",
    "$.a[0]",
    "{1,2}",
    "NULL",
    "\u00e9",
    "e\u0301",
)


@case("core")
async def names_are_data(trial: Trial) -> None:
    """Tags, kinds, sources and members of the metadata may be any language's syntax, and are compared as they are."""
    for odd in ODD_NAMES:
        await trial.mem.remember(odd, tags=[odd], kind=odd, source=odd, metadata={odd: odd})
    for odd in ODD_NAMES:
        named: list[dict[str, Any]] = [{"tags_any": [odd]}, {"tags_all": [odd]}, {"kinds": [odd]}, {"source": odd}]
        named.append({"metadata": {odd: odd}})
        for fields in named:
            same(texts(await trial.mem.retrieve(**fields)), [odd])


@case("search", "semantic")
async def what_has_no_words_is_like_nothing(trial: Trial) -> None:
    """A text without words is found by no likeness, and likens nothing."""
    await trial.mem.remember("?! \u2026")
    kept = await trial.mem.remember("words")
    found = await trial.mem.retrieve("words", mode="semantic")
    same([record.record_id for record in found.records], [kept.record_id])
    same(texts(await trial.mem.retrieve("?!", mode="semantic")), NOTHING)
