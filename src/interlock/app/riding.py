"""Lanes that ride on others: one way to the outside for each, whatever is said over it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from interlock import plane
from interlock.kernel import JSON

if TYPE_CHECKING:
    from interlock.adapters import lanes


class Riding:
    """A lane that rides on others, which are closed with it."""

    def __init__(self, lane: plane.Lane, *below: plane.Lane) -> None:
        self.lane_id = lane.lane_id
        self.carries = lane.carries
        self.execute = lane.execute
        self._lanes = (lane, *below)

    async def aclose(self) -> None:
        """All of them."""
        for lane in self._lanes:
            await lane.aclose()


class Commands:
    """The lane of a target for commands, and of conversations in JSON-RPC with them."""

    carries = (plane.ProcessIntent, plane.JsonRpcIntent)

    def __init__(self, process: "lanes.ProcessLane", *, egress: "lanes.Egress") -> None:
        from interlock.adapters import lanes

        self.lane_id = process.lane_id
        self._process = process
        self._talk = lanes.JsonRpcLane(egress=egress, process=process, lane_id=process.lane_id)

    async def execute(self, intent: plane.ProcessIntent | plane.JsonRpcIntent, exchange: plane.Exchange) -> None:
        """As the port says. A conversation over the network is not this target's: nothing of it would be confined."""
        if isinstance(intent, plane.ProcessIntent):
            await self._process.execute(intent, exchange)
        elif isinstance(intent.transport, plane.ProcessTransport):
            await self._talk.execute(intent, exchange)
        else:
            message = f"the target's lane {self.lane_id} talks with commands, and not by {intent.transport.kind}"
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, message, code="transport_not_registered")

    async def aclose(self) -> None:
        """Both."""
        await self._talk.aclose()
        await self._process.aclose()


class NoActions:
    """Where nobody carries out what scripts ask for: they can compute."""

    async def perform(
        self, action: str, arguments: Mapping[str, JSON], execution: plane.ScriptExecution
    ) -> JSON | plane.Denied:
        """Refused."""
        del arguments, execution
        return plane.Denied(f"nobody carries out {action} here")
