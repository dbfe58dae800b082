"""What this process has answered, for Prometheus: counts, times, and readings of how strained it is."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Seconds up to which answers are counted together."""

MAX_SERIES: Final = 2_000
"""Different labels that are kept; what comes later is counted as `other`."""


class Answered(NamedTuple):
    """Of a request: the route (never the path, which anybody makes up), the method and the status."""

    route: str
    method: str
    status: int


class Metrics:
    """Counted since the process began. A few lines of text need no library."""

    def __init__(self) -> None:
        self._answers: Counter[Answered] = Counter()
        self._times: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()

    def count(self, answered: Answered, seconds: float) -> None:
        """Count an answer and how long it took."""
        if answered not in self._answers and len(self._answers) >= MAX_SERIES:
            answered = Answered("other", "other", answered.status)
        self._answers[answered] += 1
        times = self._times.setdefault(answered.route, [0] * (len(BOUNDS) + 1))
        times[bisect_left(BOUNDS, seconds)] += 1
        self._seconds[answered.route] += seconds  # pyright: ignore[reportArgumentType] - a counter adds numbers of any kind

    def tell(self, readings: Mapping[str, float]) -> str:
        """Everything in the text format, with what is read now."""
        return "\n".join([*self._told(), *_readings(readings), ""])

    def _told(self) -> Iterator[str]:
        yield "# HELP interlock_http_requests_total Requests that were answered."
        yield "# TYPE interlock_http_requests_total counter"
        for (route, method, status), count in sorted(self._answers.items()):
            labels = f'route="{_label(route)}",method="{_label(method)}",status="{status}"'
            yield f"interlock_http_requests_total{{{labels}}} {count}"
        yield "# HELP interlock_http_request_seconds How long answers took."
        yield "# TYPE interlock_http_request_seconds histogram"
        for route, times in sorted(self._times.items()):
            total, name = 0, f'route="{_label(route)}"'
            for bound, count in zip((*BOUNDS, "+Inf"), times, strict=True):
                total += count
                yield f'interlock_http_request_seconds_bucket{{{name},le="{bound}"}} {total}'
            yield f"interlock_http_request_seconds_sum{{{name}}} {self._seconds[route]:.6f}"
            yield f"interlock_http_request_seconds_count{{{name}}} {total}"


def _readings(readings: Mapping[str, float]) -> Iterator[str]:
    for name, value in sorted(readings.items()):
        yield f"# TYPE interlock_{name} gauge"
        yield f"interlock_{name} {value:.6g}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
