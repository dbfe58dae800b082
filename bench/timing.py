"""Contestants that take turns, and what came of it."""

import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import anyio

Once = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to measure: rounds of so many seconds for each contestant."""

    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something done over and over by a number of callers at once. With `count`, a round has that many instead of the
    pace's seconds. `clock` tells how long each took: by the wall, or, for one caller, by the processor."""

    once: Once
    callers: int = 1
    count: int | None = None
    clock: Callable[[], float] = time.perf_counter


@dataclass(slots=True)
class Trial:
    """What one contestant did: per round its rate (a second) and its median time; all times, in seconds."""

    rates: list[float] = field(default_factory=list[float])
    medians: list[float] = field(default_factory=list[float])
    times: list[float] = field(default_factory=list[float])

    @property
    def rate(self) -> float:
        """The median rate."""
        return median(self.rates)

    def quantile(self, share: float) -> float:
        """The time, in seconds, within which that share of all was done."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def rates_to(self, baseline: "Trial") -> list[float]:
        """How many times the baseline's rate, round by round."""
        return [mine / its for mine, its in zip(self.rates, baseline.rates, strict=True)]

    def times_to(self, baseline: "Trial") -> list[float]:
        """How many times the baseline's median time, round by round."""
        return [mine / its for mine, its in zip(self.medians, baseline.medians, strict=True)]


async def race(contestants: Sequence[Contestant], pace: Pace) -> list[Trial]:
    """Let them take turns. The first, uncounted round warms caches, plans and connections up."""
    trials = [Trial() for _ in contestants]
    for contestant in contestants:
        await _drive(replace(contestant, count=None), min(pace.seconds, 0.4))
    for turn in range(pace.rounds):
        # Every other round backwards, so that no one always runs in the wake of the same other.
        for contestant, trial in list(zip(contestants, trials, strict=True))[:: -1 if turn % 2 else 1]:
            gc.collect()
            rate, times = await _drive(contestant, pace.seconds)
            trial.rates.append(rate)
            trial.medians.append(median(times))
            trial.times += times
    return trials


async def _drive(contestant: Contestant, seconds: float) -> tuple[float, list[float]]:
    times: list[float] = []
    clock = time.perf_counter
    begun = clock()
    end = begun + seconds
    left = contestant.count

    async def call() -> None:
        nonlocal left
        once = contestant.once
        while clock() < end if left is None else left > 0:
            if left is not None:
                left -= 1
            start = contestant.clock()
            await once()
            times.append(contestant.clock() - start)

    async with anyio.create_task_group() as callers:
        for _ in range(contestant.callers):
            callers.start_soon(call)
    return len(times) / (clock() - begun), times
