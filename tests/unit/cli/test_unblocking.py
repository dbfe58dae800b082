"""What blocks the thread of an event loop is ended, and what does not is left alone."""

import os
import signal
import threading
import time

import anyio
import pytest

from interlock.cli import files, interrupting, unblocking


class Late(Exception):
    pass


def test_what_blocks_the_loop_is_ended():
    async def command() -> str:
        with unblocking.watched(0.05, lambda: Late("blocked")):
            try:
                time.sleep(60)  # noqa: ASYNC251 - as bad code does
            except Late:
                return "ended"
        return "slept"

    began = time.monotonic()
    assert anyio.run(command) == "ended"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_blocks_the_loop(number: signal.Signals):
    async def command() -> None:
        with unblocking.watched(60, lambda: Late("blocked")):
            os.kill(os.getpid(), number)
            time.sleep(60)  # noqa: ASYNC251 - as bad code does

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as raised:
        anyio.run(interrupting.heard, command)
    assert raised.value.args == (number,)
    if number is signal.SIGINT:
        assert signal.getsignal(number) is before


def test_what_waits_in_order_is_left_alone_and_so_is_the_timer_of_others():
    signal.setitimer(signal.ITIMER_REAL, 3_000)

    async def command() -> None:
        with unblocking.watched(0.05, lambda: Late("blocked")):
            await anyio.sleep(0.6)

    anyio.run(command)
    left, again = signal.setitimer(signal.ITIMER_REAL, 0)
    assert (left > 2_000, again) == (True, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_stdin(number: signal.Signals, monkeypatch: pytest.MonkeyPatch):
    reading, writing = os.pipe()
    before = signal.getsignal(number)

    async def command() -> None:
        threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
        files.read("-", "text")

    with open(reading, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(KeyboardInterrupt) as raised:
            anyio.run(interrupting.heard, command)
    os.close(writing)
    assert raised.value.args == (number,)
    assert signal.getsignal(number) is before
