"""Targets of this host are made when they are first needed, off the event loop, and leave nothing behind."""

import threading
from typing import Any

import psutil
import pytest

from fix_process import Leases
from interlock import plane
from interlock.app import local_plane
from interlock.app.late import COMMAND_CLASSES, LateTarget
from interlock.kernel import SystemClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def late() -> LateTarget:
    return LateTarget(plane.LOCAL_PROCESS, credentials=Leases(), clock=SystemClock(), egress_allow=())


def test_each_class_that_a_host_may_have_can_be_made():
    made = local_plane.local_sandboxes(SystemClock())
    assert [target.target_class for target in made] == list(COMMAND_CLASSES)


async def test_what_was_probed_and_carried_nothing_is_closed(late: LateTarget):
    before = {each.pid for each in psutil.Process().children()}
    assert isinstance(late, plane.ProvableTarget)
    assert await late.attest() is not None
    assert late.describe().health is plane.Health.READY
    assert {each.pid for each in psutil.Process().children()} != before
    await late.lane.aclose()
    assert {each.pid for each in psutil.Process().children()} == before


async def test_it_is_made_once_and_in_a_thread(late: LateTarget, monkeypatch: pytest.MonkeyPatch):
    threads: list[int] = []
    really = local_plane.local_sandboxes

    def make(*arguments: Any, **named: Any) -> Any:
        threads.append(threading.get_ident())
        return really(*arguments, **named)

    monkeypatch.setattr(local_plane, "local_sandboxes", make)
    assert late.describe().reason == "it was not probed yet"
    await late.attest()
    await late.attest()
    await late.lane.aclose()
    [thread] = threads
    assert thread != threading.get_ident()
