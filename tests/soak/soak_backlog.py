"""A hundred thousand runs are due when a worker starts: it takes them a few at a time, and needs no more memory for it."""

import os
import resource
from pathlib import Path

import anyio
import psutil
import pytest

from interlock import dispatch, policy
from interlock.app import Interlock, Settings
from interlock.kernel import Caller, Tx

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600), pytest.mark.anyio]

RUNS = int(os.environ.get("SOAK_RUNS", "100000"))
DONE = 2000
"""So many are waited for."""

MOST_MB = 100
"""How much a worker may grow, with all that it loads when it begins to work."""

CALLER = Caller(actor="soak")


async def test_a_backlog(root_key: None, store_url: str, tmp_path: Path) -> None:
    done, enough = 0, anyio.Event()

    @dispatch.handler("count")
    async def count(event: dispatch.Event, context: dispatch.Context) -> None:
        nonlocal done
        done += 1
        if done == DONE:
            enough.set()

    settings = Settings(store=store_url, folder=tmp_path, blobs=str(tmp_path / "blobs"))
    async with Interlock.open(settings=settings, policy=policy.Policy()) as il:
        parts = il._parts  # pyright: ignore[reportPrivateUsage] - as triggers admit
        for begin in range(0, RUNS, 500):

            def admit(tx: Tx, begin: int = begin) -> None:
                for number in range(begin, min(begin + 500, RUNS)):
                    parts.workshop.intake.admit_in(tx, CALLER, dispatch.Work(handler="count", payload={"n": number}))

            await parts.store.write(admit)
        before = psutil.Process().memory_info().rss
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(il.worker(count).run)
            await enough.wait()
            tasks.cancel_scope.cancel()
        grown = (psutil.Process().memory_info().rss - before) / 2**20
        print(
            f"{RUNS} due, {done} done, {grown:.0f} MB more; {resource.getrusage(resource.RUSAGE_SELF).ru_utime:.0f} s"
        )
        assert grown < MOST_MB
