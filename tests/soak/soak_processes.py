"""What a command does to those who keep it, at the price of the lane's longest waits."""

import anyio
import anyio.lowlevel
import pytest

from fix_process import alive, begun, program
from interlock.adapters import lanes

pytestmark = [pytest.mark.soak, pytest.mark.anyio]


async def test_a_command_that_stops_its_keeper_is_gone_once_the_lane_is_closed(
    process_lane: lanes.ProcessLane, marker: str
):
    source = "import os, signal, time\nprint('up', flush=True)\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(600)"
    with anyio.move_on_after(60) as scope:
        async with begun(process_lane, program(source, marker)) as (_told, channel):
            await channel.until(b"up")
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    await process_lane.aclose()
    assert not alive(marker)
