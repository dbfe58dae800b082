"""Lanes: the code that really speaks to the outside world, each behind `plane.Lane`.

Owns: sockets. Refuses: policy, retries, fallback, a provider's meaning. Invariants: a lane tries once and reports raw
facts; it keeps no cookies, reads no proxies or passwords from the environment, and forgets a secret as soon as it is on the
wire.
"""

from interlock.adapters.lanes.egress import Egress
from interlock.adapters.lanes.http import HttpLane
from interlock.adapters.lanes.jsonrpc import JsonRpcLane
from interlock.adapters.lanes.places import GuestPlace, Place, PlacedLane, SshPlace, agent_program
from interlock.adapters.lanes.process import ProcessLane
from interlock.adapters.lanes.script import ScriptLane
from interlock.adapters.lanes.sse import SseLane
from interlock.adapters.lanes.tunnel import Proxy
from interlock.adapters.lanes.websocket import WebSocketLane

__all__ = [
    "Egress",
    "GuestPlace",
    "HttpLane",
    "JsonRpcLane",
    "Place",
    "PlacedLane",
    "ProcessLane",
    "Proxy",
    "ScriptLane",
    "SseLane",
    "SshPlace",
    "WebSocketLane",
    "agent_program",
]
