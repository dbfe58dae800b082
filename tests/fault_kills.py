"""Processes that are killed at a commit of what they do: the n-th, just before it or just after."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fix_faults import Case, Child


@dataclass(frozen=True, slots=True)
class Killed:
    """One case after its kill."""

    case: Case
    boundary: str


def kill_at(child: Child, case: Case, flow: str, when: str, commit: int, **order: Any) -> Killed:
    """Carry the flow out, and kill it at that commit."""
    if case.proxy is None:
        child.start(case.order(flow, signal=signal.SIGKILL, when=when, commit=commit, **order))
        child.go()
        report = child.finish()
        met = report.said.get("boundary")
    else:
        child.start(case.order(flow, **order))
        case.proxy.arm(when, commit, lambda: child.send(signal.SIGKILL))
        child.go()
        report = child.finish()
        met = case.proxy.met
    assert report.exit == (0 if met is None else -signal.SIGKILL), report
    return Killed(case, met or "never")


def commits_of(child: Child, case: Case, flow: str, **order: Any) -> Sequence[str]:
    """What the flow writes, commit by commit, when nobody kills it."""
    child.start(case.order(flow, **order))
    if case.proxy is not None:
        case.proxy.arm()
    child.go()
    report = child.finish()
    assert report.exit == 0, report
    assert "came_to" in report.said, report
    return report.said["commits"] if case.proxy is None else list(case.proxy.seen)
