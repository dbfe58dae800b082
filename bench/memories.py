"""Suite `memory`: finding one note among many by words, by likeness and by both; how fast, how often, and on how much disk.

The figures stay apart: what a search finds (recall@10, the share of questions whose known answer is among the first ten hits),
how long it takes (by the processor: the rest of the machine counts less), and how many bytes a record has on disk. All of them
use one embedder, which knows nothing of meaning.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Final

from bench.memories_by_hand import ByHand
from bench.memories_of_others import LangGraph, Mem0
from bench.notes import Question, notes, questions
from bench.place import Place
from bench.report import Row, compare
from bench.timing import Contestant, Trial, race
from interlock import memory

SIZES: Final = (1_000, 10_000, 100_000)
MODES: Final = ("text", "semantic", "hybrid")
LIMIT: Final = 10
ASKED: Final = 100
_DIMENSIONS: Final = 256
_HAND: Final = "the same SQL by hand"
_MEM0_MOST: Final = 1_000
"""It keeps one note at a time, each with its own sync to disk."""
_LANGGRAPH_MOST: Final = 10_000
"""It compares vectors in lists, for seconds a search where there are more."""

_SCOPE: Final = memory.Scope(tenant="acme", user="ana")
_Find = Callable[[str], Sequence[int]]


async def run(place: Place) -> list[Row]:
    """Each size in its own file; `--quick` leaves the largest out."""
    sizes = [size for size in SIZES if size <= 10_000 or place.pace.rounds > 3]
    return [row for size in sizes for row in await _of_size(place, size)]


async def _of_size(place: Place, size: int) -> list[Row]:
    texts = notes(size)
    asked = questions(texts, ASKED)
    embedder = memory.HashedEmbedder(_DIMENSIONS)
    ours, theirs = place.new() / "memory.db", ByHand(place.new() / "notes.db", embedder)
    theirs.keep(texts)
    numbers = await _kept(ours, texts)
    rows: list[Row] = []
    async with memory.Memory.open("sqlite", _config(ours), scope=_SCOPE) as mem:
        for mode in MODES:
            rows += await _searches(place, mem, numbers, theirs, asked, size, mode)
        mine = _ours(mem, cycle(asked), "semantic")
        rows += await _others(place, embedder, texts, asked, mine)
        health = await mem.health()
        assert health.ok, health.detail
    theirs.close()
    rows.append(_bytes("bytes a record", ours, theirs.path, size, rows[0]))
    return [replace(row, part=f"memory, {size:,} records") for row in rows]


async def _kept(path: Path, texts: Sequence[str]) -> dict[str, int]:
    """Keep the notes; the number of each by its id."""
    numbers: dict[str, int] = {}
    async with memory.Memory.open("sqlite", _config(path), scope=_SCOPE) as mem:
        for at in range(0, len(texts), 1_000):
            made = await mem.using(timeout=600).ingest([memory.Draft(text=text) for text in texts[at : at + 1_000]])
            numbers |= {str(item.record_id): at + number for number, item in enumerate(made.items)}
    return numbers


def _config(path: Path) -> dict[str, object]:
    return {"path": str(path), "dimensions": _DIMENSIONS}


async def _searches(
    place: Place,
    mem: memory.Memory,
    numbers: dict[str, int],
    hand: ByHand,
    asked: Sequence[Question],
    size: int,
    mode: str,
) -> list[Row]:
    """How long one mode takes, and what it finds."""

    async def found(text: str) -> list[int]:
        result = await mem.retrieve(text, mode=mode, limit=LIMIT)
        return [numbers[record.record_id] for record in result.records]

    turn, its_turn = cycle(asked), cycle(asked)

    async def once() -> None:
        await found(next(turn).text)

    mine = Contestant(once, clock=time.process_time)
    by_hand = _plain(lambda text: hand.search(text, mode, LIMIT), its_turn)
    # All the same questions in each round: one takes fifty times as long as another.
    measured, against = await race([replace(each, count=len(asked)) for each in (mine, by_hand)], place.pace)
    what = mode
    key = "memory-hybrid" if (size, mode) == (100_000, "hybrid") else None
    here = [float(each.answer in await found(each.text)) for each in asked]
    there = [float(each.answer in hand.search(each.text, mode, LIMIT)) for each in asked]
    return [
        compare(f"{what} (processor)", measured, _HAND, against, key=key, in_time=True),
        _share(f"{what}, found", here, measured, "recall@10"),
        _share(f"{what}, found by hand", there, against, "recall@10"),
    ]


async def _others(
    place: Place, embedder: memory.HashedEmbedder, texts: Sequence[str], asked: Sequence[Question], mine: Contestant
) -> list[Row]:
    """What others take and find, by likeness, which is what they have."""
    rows: list[Row] = []
    size = len(texts)
    if size <= _MEM0_MOST:
        folder = place.new()
        mem0 = Mem0(folder, embedder)
        mem0.keep(texts)
        rows += await _other(place, "mem0", lambda text: mem0.search(text, LIMIT), asked, mine)
        mem0.close()
        stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        rows.append(
            Row(
                what="mem0",
                measured=rows[0].measured,
                values=[stored / size],
                baseline="bytes a record",
            )
        )
    if size <= _LANGGRAPH_MOST:
        store = LangGraph(embedder)
        store.keep(texts)
        find: _Find = lambda text: store.search(text, LIMIT)  # noqa: E731 - as above
        rows += await _other(place, "LangGraph InMemoryStore", find, asked[: max(10, 20_000 // size)], mine)
    return rows


async def _other(place: Place, name: str, find: _Find, asked: Sequence[Question], mine: Contestant) -> list[Row]:
    measured, ours = await race([_plain(find, cycle(asked)), mine], place.pace)
    what = f"{name}, semantic"
    found = [float(each.answer in find(each.text)) for each in asked]
    return [
        compare(f"{what} (processor)", measured, "Interlock, semantic", ours, in_time=True),
        _share(f"{what}, found", found, measured, "recall@10"),
    ]


def _ours(mem: memory.Memory, asked: "cycle[Question]", mode: str) -> Contestant:
    async def once() -> None:
        await mem.retrieve(next(asked).text, mode=mode, limit=LIMIT)

    return Contestant(once, clock=time.process_time)


def _plain(find: _Find, asked: "cycle[Question]") -> Contestant:
    async def once() -> None:
        find(next(asked).text)

    return Contestant(once, clock=time.process_time)


def _share(what: str, found: Sequence[float], measured: Trial, baseline: str) -> Row:
    return Row(what=what, measured=measured, values=[sum(found) / len(found)], baseline=baseline)


def _bytes(what: str, ours: Path, hand: Path, size: int, row: Row) -> Row:
    mine, its = ours.stat().st_size / size, hand.stat().st_size / size
    return Row(
        what=f"{what} {mine:,.0f}, by hand {its:,.0f}", measured=row.measured, values=[mine / its], baseline=_HAND
    )
