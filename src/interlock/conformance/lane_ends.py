"""Checks on how executions end: cancelled, out of time, unread, closed. What is left is counted."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import anyio
import anyio.lowlevel

from interlock import plane
from interlock.conformance.checking import Broken, expect
from interlock.conformance.leftovers import COUNTABLE, Presence, bearing, left_beyond, present
from interlock.conformance.subject import Case
from interlock.conformance.trial import CancelledAt, LaneBench, Outcome, Trial

_MOST_AWAITS: Final = 100
_SHORT_MS: Final = 500
_LONG_MS: Final = 20_000
_SLACK: Final = 30.0
_TOO_MUCH: Final = 67_108_864
_QUIET_LOOKS: Final = 10
_LOOK_EVERY: Final = 0.1


async def cancellation(bench: LaneBench) -> str:
    """Cancelled at the first wait, at the second, … to the end, and in the middle of what would never end."""
    async with bench.trial() as trial:
        await trial.run(Case.GOOD)
        warm = await _settled()
        number = 1
        while number <= _MOST_AWAITS and await _cancelled_at(trial, number):
            number += 1
        await _cancel_endless(trial)
        await _nothing_beyond(bench, warm, f"after {number} cancelled executions there are")
        expect(
            (await trial.run(Case.GOOD)).receipt.failure is None, "after cancellations the lane does not work any more"
        )
    return f"cancelled at {number - 1} waits and in the middle" + (
        "" if COUNTABLE else "; only temporary files are counted"
    )


async def _cancelled_at(trial: Trial, number: int) -> bool:
    """Whether there was such a wait."""
    intent, mark = trial.intent(Case.GOOD)
    before, receipts = trial.subject.received, list[plane.Receipt]()
    with anyio.CancelScope() as scope:
        await CancelledAt(trial.execute(intent, receipts), number, scope)
    expect(len(receipts) == 1, f"cancelled at wait {number}: {len(receipts)} receipts")
    receipt = receipts[0]
    if not scope.cancelled_caught:
        done = receipt.delivery is plane.Delivery.RESPONDED
        expect(done, f"cancelled at wait {number}, it went on without an answer: {receipt.delivery}, {receipt.failure}")
        return scope.cancel_called
    await anyio.lowlevel.checkpoint()
    unproved = receipt.delivery is plane.Delivery.NOT_SENT and trial.subject.received > before
    expect(not unproved, f"cancelled at wait {number}: not_sent, and yet something reached the peer")
    _no_process(mark)
    return True


async def _cancel_endless(trial: Trial) -> None:
    before = trial.subject.received
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            outcome = await trial.run(Case.ENDLESS, channel=trial.channel())
            raise Broken(f"the endless case ended by itself: {outcome.receipt.failure}")

        tasks.start_soon(run)
        await trial.reached(before)
        tasks.cancel_scope.cancel()


async def total_timeout(bench: LaneBench) -> str:
    """What never ends by itself is ended, and says so."""
    async with bench.trial() as trial:
        with anyio.move_on_after(_SHORT_MS / 1000 + _SLACK) as scope:
            outcome = await trial.run(Case.ENDLESS, total_ms=_SHORT_MS, channel=trial.channel())
            failure = outcome.receipt.failure
            expect(failure is not None, "it never ends, and ended without a failure")
            assert failure is not None
            expected = failure.failure_class is plane.FailureClass.TOTAL_TIMEOUT
            expect(expected, f"after its time it failed as {failure.code}, not as total_timeout")
            _no_process(outcome.mark)
        expect(not scope.cancelled_caught, f"it had {_SHORT_MS} ms, and went on for {_SLACK:g} s more")
    return f"ended after {_SHORT_MS} ms"


async def backpressure(bench: LaneBench) -> str:
    """Attach a reader that reads one event and no more."""
    async with bench.trial() as trial:
        before, channel = trial.subject.sent, trial.channel()
        taken, ended = 0, list[Outcome]()
        async with aclosing(channel.log.follow()) as events, anyio.create_task_group() as tasks:

            async def run() -> None:
                ended.append(await trial.run(Case.HUGE, total_ms=_LONG_MS, channel=channel))

            tasks.start_soon(_first, events)
            tasks.start_soon(run)
            taken = await _comes_to_rest(trial, before, ended)
            tasks.cancel_scope.cancel()
        expect(taken or ended, "nothing was taken from the peer: the subject does not count")
        expect(taken < _TOO_MUCH, f"nobody read, and {taken} bytes were taken from the peer")
        if ended and ended[0].receipt.failure is None:
            raise Broken(f"nobody read, and it was done, after {taken} bytes")
    return f"stopped after {taken} bytes"


async def _first(events: AsyncGenerator[plane.ExecutionEvent]) -> None:
    """Read one, and be still."""
    await anext(events)


async def _comes_to_rest(trial: Trial, before: int, ended: list[Outcome]) -> int:
    """How much was taken from the peer when no more is, or it is too much."""
    quiet, taken = 0, 0
    while quiet < _QUIET_LOOKS and not ended:
        await anyio.sleep(_LOOK_EVERY)
        now = trial.subject.sent - before
        quiet = quiet + 1 if now == taken and now else 0
        taken = now
        if taken >= _TOO_MUCH:
            break
    return taken


async def close(bench: LaneBench) -> str:
    """Closed twice, after work; compared with before the lane was made."""
    await _work_and_close(bench)  # what is made once per process is made now
    cold = await _settled()
    await _work_and_close(bench)
    await _nothing_beyond(bench, cold, "after it was closed there are")
    return "nothing is left"


async def _work_and_close(bench: LaneBench) -> None:
    async with bench.trial() as trial:
        await trial.run(Case.GOOD)
        await trial.lane.aclose()
        await trial.lane.aclose()


async def _settled() -> Presence:
    """What is there, once what is on its way out has gone."""
    await anyio.sleep(_LOOK_EVERY)
    return present()


async def _nothing_beyond(bench: LaneBench, before: Presence, otherwise: str) -> None:
    left = await left_beyond(before, within=bench.settles_within)
    expect(left is None, f"{otherwise} {left}")


def _no_process(mark: str) -> None:
    alive = bearing(mark)
    expect(not alive, f"it has ended, and {len(alive)} of its processes are alive")
