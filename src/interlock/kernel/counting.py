"""What a process has done so far: counts, and how long things took. Kept in memory; whoever watches asks for them."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, TypeAlias

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Seconds up to which times are counted together."""

MAX_SERIES: Final = 2_000
"""Different labels of one name that are kept; what comes later is counted as `other`."""

Labels: TypeAlias = tuple[tuple[str, str], ...]


class Counts:
    """Counted since the process began, by names and labels. Labels are our own words: whose work it is, and what came from
    outside, are none. Safe on all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = defaultdict[str, dict[Labels, int]](dict)
        self._times = defaultdict[str, dict[Labels, list[float]]](dict)

    def add(self, name: str, **labels: str) -> None:
        """It happened once more."""
        key = tuple(labels.items())
        with self._lock:
            series = self._counts[name]
            if key not in series:
                key = _new(series, key)
                series.setdefault(key, 0)
            series[key] += 1

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """It took so long, once."""
        key = tuple(labels.items())
        with self._lock:
            series = self._times[name]
            if (times := series.get(key)) is None:
                times = series.setdefault(_new(series, key), [0.0] * (len(BOUNDS) + 2))
            times[bisect_left(BOUNDS, seconds)] += 1
            times[-1] += seconds

    def counts(self) -> Mapping[str, Mapping[Labels, int]]:
        """How often what happened."""
        with self._lock:
            return {name: dict(series) for name, series in self._counts.items()}

    def times(self) -> Mapping[str, Mapping[Labels, list[float]]]:
        """How often what took how long: for each of `BOUNDS` how many were within it and not the one before, how many took
        longer, and their sum in seconds."""
        with self._lock:
            return {
                name: {labels: [*times] for labels, times in series.items()} for name, series in self._times.items()
            }


def _new(series: Mapping[Labels, object], key: Labels) -> Labels:
    """As what something is counted that was not met before."""
    return key if len(series) < MAX_SERIES else tuple((name, "other") for name, _ in key)
