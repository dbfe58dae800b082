"""What this process has done, and what waits in the store, for Prometheus. A few lines of text need no library."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from interlock.kernel import BOUNDS, Counts, Labels

if TYPE_CHECKING:
    from interlock import dispatch

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

COUNTED: Final = {
    "http_requests": "Requests that were answered, by route, method and status.",
    "webhooks": "Requests to webhook addresses, by what they turned out to be.",
    "run_states": "Runs that came to a state, by kind and state: retry_scheduled is a retry, dead a dead letter.",
    "attempts": "Attempts that ended, by how.",
    "sends": "Effects that were sent, by what is known of their delivery.",
    "leases": "Leases on connections that were issued.",
    "claims": "Hand-overs to workers of this process, by lane and what came of them.",
    "outgoing_deliveries": "Tries to deliver outgoing events, by result.",
}
"""What is counted, as `interlock_NAME_total`."""

TIMED: Final = {
    "http_request": "How long answers took, by route.",
    "webhook": "How long deliveries took, from the request to the answer after the commit, by result.",
    "run": "From a run's admission to its end, by kind and state.",
    "store_commit": "How long changes of runs waited for their commit, by what was written.",
}
"""What is timed, as the histogram `interlock_NAME_seconds`."""

READ: Final = {
    "queue_jobs": "Work in the store, by lane and standing (due, parked, dead), of all tenants.",
    "queue_oldest_seconds": "For how long the longest waiting of the due work has been due and not begun, by lane.",
    "runs_at_work": "Runs that this process is at.",
}
"""What is read when it is asked for, as the gauge `interlock_NAME`; beside the readings that policy judges by."""

_UNITS: Final = {"_ms": 1000.0, "_s": 1.0}


def tell(
    counts: Counts,
    *,
    readings: Mapping[str, float],
    at_work: int,
    backlog: "Sequence[dispatch.Backlog]",
) -> str:
    """Everything in the text format."""
    gauges: Mapping[str, Sequence[tuple[Labels, float]]] = {
        "queue_jobs": [((("lane", each.lane), ("standing", each.standing.value)), each.count) for each in backlog],
        "queue_oldest_seconds": [
            ((("lane", each.lane),), each.oldest_seconds) for each in backlog if each.oldest_seconds is not None
        ],
        "runs_at_work": [((), at_work)],
    }
    lines = [*_counters(counts), *_histograms(counts)]
    for name, series in gauges.items():
        lines += _head(name, "gauge", READ[name])
        lines += (f"interlock_{name}{_braced(labels)} {value:.6g}" for labels, value in series)
    return "\n".join([*lines, *_readings(readings), ""])


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP interlock_{name} {about}", f"# TYPE interlock_{name} {kind}"]


def _counters(counts: Counts) -> Iterator[str]:
    for name, series in sorted(counts.counts().items()):
        yield from _head(f"{name}_total", "counter", COUNTED[name])
        for labels, count in sorted(series.items()):
            yield f"interlock_{name}_total{_braced(labels)} {count}"


def _histograms(counts: Counts) -> Iterator[str]:
    for name, series in sorted(counts.times().items()):
        full = f"interlock_{name}_seconds"
        yield from _head(f"{name}_seconds", "histogram", TIMED[name])
        for labels, (*times, seconds) in sorted(series.items()):
            total = 0
            for bound, count in zip((*BOUNDS, "+Inf"), times, strict=True):
                total += int(count)
                yield f"{full}_bucket{_braced((*labels, ('le', str(bound))))} {total}"
            yield f"{full}_sum{_braced(labels)} {seconds:.6f}"
            yield f"{full}_count{_braced(labels)} {total}"


def _readings(readings: Mapping[str, float]) -> Iterator[str]:
    """Those that policy judges by, in seconds as all times here."""
    for name, value in sorted(readings.items()):
        unit = next((each for each in _UNITS if name.endswith(each)), "")
        told = f"{name.removesuffix(unit)}_seconds" if unit else name
        yield f"# TYPE interlock_{told} gauge"
        yield f"interlock_{told} {value / _UNITS.get(unit, 1.0):.6g}"


def _braced(labels: Iterable[tuple[str, str]]) -> str:
    told = ",".join(f'{name}="{_label(value)}"' for name, value in labels)
    return f"{{{told}}}" if told else ""


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
