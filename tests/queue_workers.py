"""Workers in processes of their own (`queue_worker.py`)."""

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

from fix_queues import PATIENCE

LEASE = 1.5


class Process:
    """A worker in a process of its own, and what it says."""

    def __init__(self, url: str, *, at_once: int = 0) -> None:
        """With `at_once` it ends its jobs by itself."""
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "queue_worker.py"), url, str(LEASE), str(at_once)],
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
        """The next line."""
        return self._lines.get(timeout=PATIENCE)

    def said(self) -> list[str]:
        """All that it has said and nobody has heard, once it is closed."""
        return [self._lines.get() for _ in range(self._lines.qsize())]

    def end(self) -> None:
        """Have it end its job."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            if not pipe.closed:
                pipe.close()
