"""The last check before a byte leaves."""

import pytest

from interlock import plane
from interlock.testing import ManualClock


def test_no_first_byte_after_the_authority_has_ended() -> None:
    clock = ManualClock()
    exchange = plane.Exchange(clock, ends_at=clock.monotonic() + 5)
    clock.advance(5)
    with pytest.raises(plane.LaneFailure) as caught:
        exchange.leave(10)
    assert caught.value.failure.code == "authority_expired"
    assert exchange.bytes_sent == 0


def test_what_has_begun_in_time_is_finished() -> None:
    clock = ManualClock()
    exchange = plane.Exchange(clock, ends_at=clock.monotonic() + 5)
    exchange.leave(10)
    clock.advance(5)
    exchange.leave(10)
    assert exchange.bytes_sent == 20


def test_no_first_byte_once_the_hold_is_lost() -> None:
    exchange = plane.Exchange(ManualClock(), may_leave=lambda: False)
    with pytest.raises(plane.LaneFailure) as caught:
        exchange.leave(10)
    assert caught.value.failure.code == "authority_expired"
    assert exchange.bytes_sent == 0


def test_nothing_more_leaves_once_the_hold_is_lost() -> None:
    held = True
    exchange = plane.Exchange(ManualClock(), may_leave=lambda: held)
    exchange.leave(10)
    held = False
    with pytest.raises(plane.LaneFailure) as caught:
        exchange.leave(10)
    assert caught.value.failure.code == "hold_lost"
    assert exchange.bytes_sent == 10
