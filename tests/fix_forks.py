"""Work in a forked child of the process that runs the tests."""

import os
import selectors
import signal
import warnings
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds. A child that waits for what is not there would wait for ever."""


def in_a_fork(work: Callable[[], str]) -> str:
    """What the work says there, or its exception. The child then ends at once, as those of multiprocessing do."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "This process .* is multi-threaded", DeprecationWarning
        )  # that is what is tried
        child = os.fork()
    if child == 0:
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001 - it is told in the other process
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    try:
        with selectors.DefaultSelector() as waiting, open(reading, "rb", buffering=0) as pipe:
            waiting.register(pipe, selectors.EVENT_READ)
            assert waiting.select(PATIENCE), "the child waits for ever"
            return pipe.read().decode()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
