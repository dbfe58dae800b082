"""Suite `growth`: what a turn takes and leaves behind late in a long session, and a round late in a long turn; and a thousand
sessions side by side in one process."""

import itertools
import os
import resource
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Final

import anyio
from sqlalchemy import text

from bench.agents import ANSWER, QUESTION, multiply
from bench.place import Place
from bench.report import Row
from bench.timing import Trial
from interlock import Interlock, agents, inference
from interlock.adapters import sql
from interlock.app.settings import Settings
from interlock.kernel import Tx
from interlock.testing import models

SIZES: Final = (10, 100, 1_000)
SESSIONS: Final = 1_000
TURNS: Final = 3
"""Of each of the sessions."""

_MIB: Final = 1024 * 1024


async def run(place: Place) -> list[Row]:
    """One session, one turn, and many sessions."""
    hurried = place.pace.rounds <= 3
    sizes = SIZES[:2] if hurried else SIZES
    return [  # the crowd first: what a process has held before counts as its peak
        await _crowd(place, SESSIONS // 10 if hurried else SESSIONS),
        *await _session(place, sizes),
        *await _rounds(place, sizes),
    ]


@dataclass(slots=True)
class _Grown:
    """Times, by the processor, of one thing after the other, and what the store held after so many."""

    times: list[float] = field(default_factory=list[float])
    held: dict[int, int] = field(default_factory=dict[int, int])

    def rows(self, what: str, sizes: tuple[int, ...], *, key: str) -> list[Row]:
        """Ratios of time to the first; and how many bytes of journal each took, between one size and the next."""
        first = median(self.times[: sizes[0]])
        made: list[Row] = []
        for before, size in zip((0, *sizes), sizes, strict=False):
            times = self.times[max(before, size - max(10, size // 10)) : size]
            trial = Trial(rates=[1 / median(times)], medians=[median(times)], times=times)
            each = (self.held[size] - self.held[before]) / (size - before)
            last = size == sizes[-1]
            name = f"{what} {size}: processor's time against the first {sizes[0]}'s; {each / 1024:.1f} KiB each"
            made.append(
                Row(what=name, measured=trial, values=[median(times) / first], key=key if last else None, part="growth")
            )
        return made


@asynccontextmanager
async def _opened(place: Place, model: inference.Model) -> AsyncGenerator[Interlock]:
    os.environ["INTERLOCK_KEY"] = os.urandom(32).hex()
    async with place.store("sqlite") as url:
        settings = Settings(store=url, folder=place.new())
        async with Interlock.open(settings=settings, models={"fake": lambda _: model}) as il:
            il.agents.offer(multiply)
            yield il


async def _session(place: Place, sizes: tuple[int, ...]) -> list[Row]:
    """Turns of one conversation, each with one operation."""
    spec = agents.agent("clerk", "Calculate.", model="fake:x", operations=[multiply])
    grown = _Grown(held={0: 0})
    async with _opened(place, models.Scripted(_calculate)) as il:
        session = await il.agent_sessions.create(spec)
        grown.held[0] = await _journal(il)
        for number in range(1, sizes[-1] + 1):
            began = time.process_time()
            turn = await il.agents.run(spec, QUESTION, session=session.session_id)
            grown.times.append(time.process_time() - began)
            assert turn.answer == ANSWER
            if number in sizes:
                grown.held[number] = await _journal(il)
    return grown.rows("turns of one session, to the", sizes, key="growth-session")


def _calculate(request: inference.Request) -> models.Step:
    """First the operation, then the answer, whatever was said before."""
    return (
        ANSWER
        if request.messages[-1].role is inference.Role.OPERATIONS
        else models.answer(models.call("multiply", a=6, b=7))
    )


async def _rounds(place: Place, sizes: tuple[int, ...]) -> list[Row]:
    """Rounds of one turn, each with one operation: what a round takes is measured by when its model is asked."""
    most = sizes[-1]
    grown, asked = _Grown(held={0: 0}), list[float]()
    spec = agents.agent(
        "clerk", "Calculate.", model="fake:x", operations=[multiply], controls={"max_turns": 1000, "timeout_s": 86_400}
    )

    def endless(_: inference.Request) -> models.Step:
        asked.append(time.process_time())
        return ANSWER if len(asked) >= most else models.answer(models.call("multiply", a=6, b=len(asked)))

    async with _opened(place, models.Scripted(endless)) as il:
        turn = await il.agents.run(spec, QUESTION)
        assert (turn.answer, turn.rounds) == (ANSWER, most)
        grown.held |= dict(enumerate(await _chain(il, turn.run_id), start=1))
    grown.times = [after - before for before, after in itertools.pairwise(asked)]
    return grown.rows("rounds of one turn, to the", sizes, key="growth-turn")


async def _chain(il: Interlock, run_id: str) -> list[int]:
    """Bytes of a turn's journal up to each answer of its model."""

    def read(tx: Tx) -> list[tuple[str, int]]:
        query = text("SELECT type, length(body) FROM events WHERE run_id = :run_id ORDER BY seq")
        return [(str(kind), int(size)) for kind, size in sql.connection(tx).execute(query, {"run_id": run_id})]

    found: list[int] = []
    total = 0
    for kind, size in await il._parts.store.read(read):  # pyright: ignore[reportPrivateUsage] - as below
        total += size
        if kind == "turn.answered":
            found.append(total)
    return found


async def _crowd(place: Place, sessions: int) -> Row:
    """Sessions that all talk at once; none loses a turn."""
    spec = agents.agent("clerk", "Calculate.", model="fake:x", operations=[multiply])
    times: list[float] = []
    before = _peak()
    async with _opened(place, models.Scripted(_calculate)) as il:

        async def talk(session_id: str) -> None:
            for _ in range(TURNS):
                began = time.perf_counter()
                turn = await il.agents.run(spec, QUESTION, session=session_id)
                times.append(time.perf_counter() - began)
                assert turn.answer == ANSWER

        ids = [(await il.agent_sessions.create(spec)).session_id for _ in range(sessions)]
        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for each in ids:
                tasks.start_soon(talk, each)
        took = time.perf_counter() - began
        for each in ids:
            assert len(await il.agent_sessions.turns(each)) == TURNS, "a turn is lost"
    rate = sessions * TURNS / took
    trial = Trial(rates=[rate], medians=[median(times)], times=times)
    what = f"{sessions:,} sessions at once, {TURNS} turns each: MiB more than the {before:.0f} before"
    return Row(what=what, measured=trial, values=[_peak() - before], part="growth")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MIB


async def _journal(il: Interlock) -> int:
    """Bytes of all runs, their events and artifacts, and of what sessions keep."""
    store = il._parts.store  # pyright: ignore[reportPrivateUsage] - nothing that is public counts bytes

    def count(tx: Tx, query: str) -> int:
        return int(sql.connection(tx).execute(text(query)).scalar() or 0)

    queries = (
        "SELECT sum(length(body)) FROM events",
        "SELECT sum(length(input_json)) FROM runs",
        "SELECT sum(length(content)) FROM artifacts",
    )
    return sum([await store.read(partial(count, query=each)) for each in queries])
