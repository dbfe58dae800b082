"""Kills at random moments, freezes at every commit, and keys in a crowd: what the ordinary run tries once, for long."""

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import anyio
import pytest

from fault_world import LEASE
from fix_faults import Case, Child, settle
from interlock import runs

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

MakeCase = Callable[[], Case]
SEED = int(os.environ.get("SOAK_SEED", "1"))
ROUNDS = int(os.environ.get("SOAK_ROUNDS", "100"))
FLOWS = {"create": 1, "keyed": 1, "approved": 1, "read": 0, "settled_pair": 2}
"""How many effects each has when it is done."""


def test_kills_at_random_moments(child: Child, make_case: MakeCase) -> None:
    chance = random.Random(SEED)
    cases: list[tuple[str, Case]] = []
    for _ in range(ROUNDS):
        flow, case = chance.choice(sorted(FLOWS)), make_case()
        child.start(case.order(flow))
        child.go()
        anyio.run(anyio.sleep, chance.uniform(0, 0.12))  # chance is the point here: no condition is waited for
        with suppress(ProcessLookupError):  # it was quicker
            child.send(signal.SIGKILL)
        child.finish()
        cases.append((flow, case))
    for (flow, case), settled in zip(cases, settle(*(case for _, case in cases)), strict=True):
        states = [each.run.state for each in settled]
        if flow == "settled_pair" and states == [runs.State.WAITING]:
            assert case.effects() == 1
        else:
            assert (states, case.effects()) in (
                ([], 0),
                ([runs.State.HELD], 0),
                ([runs.State.COMPLETED], FLOWS[flow]),
            ), (flow, case.repo)


def test_an_owner_that_freezes_at_every_commit(child: Child, make_postgres_case: MakeCase) -> None:
    for flow in ("create", "approved", "keyed"):
        dry = make_postgres_case()
        assert dry.proxy is not None
        child.start(dry.order(flow))
        dry.proxy.arm()
        child.go()
        child.finish()
        for number in range(1, len(dry.proxy.seen) + 1):
            for when in ("before", "after"):
                freeze(child, make_postgres_case(), flow, when, number)


def freeze(child: Child, case: Case, flow: str, when: str, number: int) -> None:
    """Freeze it there, recover, thaw it, recover again."""
    assert case.proxy is not None
    child.start(case.order(flow))
    case.proxy.arm(when, number, case.proxy.freeze(lambda: child.send(signal.SIGSTOP)))
    child.go()
    child.wait("stopped")
    before = [each.run for each in settle(case)[0]]
    done = case.effects()
    case.proxy.thaw()
    child.pass_time(LEASE + 1)
    child.send(signal.SIGCONT)
    report = child.finish()
    assert report.exit == 0, report
    after = [each.run for each in settle(case)[0]]
    if before and before[0].state is runs.State.COMPLETED:
        assert after == before, report
        assert done == case.effects() == 1
    else:
        assert [run.state for run in after] in ([], [runs.State.HELD], [runs.State.COMPLETED]), report
        assert case.effects() == [run.state for run in after].count(runs.State.COMPLETED), report


def test_many_keys_in_two_processes(child: Child, other_child: Child, make_case: MakeCase) -> None:
    case, both = make_case(), (child, other_child)
    for each in both:
        each.start(case.order("many_keys", times=10 * ROUNDS))
    for each in both:
        each.go()
    told, told_too = (cast("list[dict[str, str]]", each.wait("came_to", patience=1500.0)) for each in both)
    for each in both:
        assert each.finish().exit == 0
    assert told == told_too
    assert case.effects() == len({each["run_id"] for each in told}) == 10 * ROUNDS
