"""Schedules and polls, and the process that sees to them killed at every commit: each time and each item starts once."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

from fault_kills import commits_of, kill_at
from fault_timed import see_to
from fix_faults import Case, Child, settle
from interlock.kernel import SystemClock
from interlock.testing import ManualClock

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

MakeCase = Callable[[], Case]
ITEMS = 3


async def come_to(case: Case) -> tuple[int, dict[tuple[str, str], int], int]:
    """What comes of it once another process is there: how much was to be seen to, the runs of it, and the effects."""
    async with case.watch(ManualClock(SystemClock().now() + timedelta(hours=1))) as il:
        made = len(await il.schedules.list()) + len(await il.polls.list())
        await see_to(il)
        found = Counter((run.capability, run.state.value) for run in await il.runs.list(limit=500))
    return made, dict(found), case.effects()


def killed_everywhere(
    child: Child, make_case: MakeCase, flow: str
) -> dict[str, tuple[int, dict[tuple[str, str], int], int]]:
    commits = commits_of(child, make_case(), flow)
    assert len(commits) >= 5, commits
    killed = [
        kill_at(child, make_case(), flow, when, number)
        for number in range(1, len(commits) + 1)
        for when in ("before", "after")
    ]
    settle(*(each.case for each in killed))
    return {each.boundary: anyio.run(come_to, each.case) for each in killed}


def test_a_schedule_whose_process_is_killed_at_every_commit(child: Child, make_case: MakeCase) -> None:
    call, event = ("acme.issue.create", "completed"), ("handler.noted", "completed")
    promised: dict[int, tuple[dict[tuple[str, str], int], int]] = {
        0: ({}, 0),
        1: ({call: 1}, 1),
        2: ({call: 1, event: 1}, 1),
    }
    for boundary, (made, runs, effects) in killed_everywhere(child, make_case, "scheduled").items():
        assert (runs, effects) == promised[made], boundary


def test_a_poll_whose_process_is_killed_at_every_commit(child: Child, make_case: MakeCase) -> None:
    def with_issues() -> Case:
        case = make_case()
        case.server.add_issues(case.repo, ITEMS)
        return case

    for boundary, (made, runs, _) in killed_everywhere(child, with_issues, "polled").items():
        assert runs.get(("handler.noted", "completed"), 0) == (ITEMS if made else 0), boundary
        assert {state for name, state in runs if name == "handler.noted"} <= {"completed"}, boundary
