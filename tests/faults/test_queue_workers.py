"""Workers that are frozen and killed: their jobs go to others within ten seconds, and what they say when they are thawed
changes nothing."""

import signal
import time
from collections.abc import Iterator

import pytest

from fix_queues import Yard
from queue_workers import Process


@pytest.fixture
def processes(yard: Yard) -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.close()


@pytest.mark.anyio
async def test_a_frozen_and_a_killed_worker_lose_their_jobs(yard: Yard, processes: list[Process]):
    job = yard.job()
    await yard.put(job)
    first = Process(yard.url)
    processes.append(first)
    assert first.says() == f"handed {job.work_id}"
    second = Process(yard.url)
    processes.append(second)

    first.send(signal.SIGSTOP)
    frozen_at = time.monotonic()
    assert second.says() == f"handed {job.work_id}"
    assert time.monotonic() - frozen_at < 10
    first.end()
    first.send(signal.SIGCONT)
    assert first.says() == f"ended {job.work_id}"
    assert await yard.missing(job) == []

    second.send(signal.SIGKILL)
    killed_at = time.monotonic()
    assert first.says() == f"handed {job.work_id}"
    assert time.monotonic() - killed_at < 10
    first.end()
    assert first.says() == f"ended {job.work_id}"
    await yard.gone(job)
