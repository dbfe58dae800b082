"""The connection to a far side."""

import pytest

from interlock import plane
from interlock.adapters.lanes.places.link import Link

pytestmark = pytest.mark.anyio


def broken(_data: bytes) -> None:
    raise BrokenPipeError("Channel not open for sending")


async def test_a_far_side_that_has_left_is_told_by_reading_and_not_by_writing():
    link = Link(silence=60)
    link.connect(broken)
    link.send(b"a program")
    link.connection_lost(None)
    with pytest.raises(plane.LaneFailure) as raised:
        await link.greeting()
    assert raised.value.failure.code == "far_side_left"
    link.close()
