"""Workers that are frozen and killed: their jobs go to others within ten seconds, and what they say when they are thawed
changes nothing."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fix_queues import PATIENCE, Yard

LEASE = 1.5


class Process:
    """A worker in a process of its own."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "queue_worker.py"), url, str(LEASE)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines = queue.SimpleQueue[str]()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self.says() == "serving"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())

    def says(self) -> str:
        return self._lines.get(timeout=PATIENCE)

    def end(self) -> None:
        """Have it end its job."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def processes(shared_yard: Yard) -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.close()


@pytest.mark.anyio
async def test_a_frozen_and_a_killed_worker_lose_their_jobs(shared_yard: Yard, processes: list[Process]):
    yard, job = shared_yard, shared_yard.job()
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
