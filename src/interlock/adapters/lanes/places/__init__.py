"""Places that are somewhere else: hosts by SSH, and guests behind a bridge. What runs there is held by a program of ours."""

from interlock.adapters.lanes.places.guest import GuestPlace
from interlock.adapters.lanes.places.lane import PlacedLane
from interlock.adapters.lanes.places.place import Place
from interlock.adapters.lanes.places.program import agent_program
from interlock.adapters.lanes.places.ssh import SshPlace

__all__ = ["GuestPlace", "Place", "PlacedLane", "SshPlace", "agent_program"]
