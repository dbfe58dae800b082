"""What a node says of itself."""

from typing import Literal

from interlock.plane.contract import Contract, Name
from interlock.plane.planner import LaneCapabilities
from interlock.plane.targets import TargetDescriptor


class NodeDescriptor(Contract):
    """A node as it is now: what it speaks, by which lanes, on which targets."""

    contract: Literal["interlock.node/v1"] = "interlock.node/v1"
    node_id: Name
    version: Name
    contracts: tuple[Name, ...]
    lanes: tuple[LaneCapabilities, ...]
    targets: tuple[TargetDescriptor, ...]
