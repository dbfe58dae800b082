"""The synchronous twins: `with interlock.sync.Interlock.open() as il`. Each runs the asynchronous one on a thread of its own.

Owns: that thread, and the way to it. Refuses: doing anything by itself. Invariants: what can be awaited can be waited for, with
the same arguments, promises and errors; what is closed, or was opened by another process, says so.
"""

from interlock.sync.door import Door, Face, waiting
from interlock.sync.interlock import Interlock
from interlock.sync.memories import Memories, Memory
from interlock.sync.rooms import (
    Agents,
    AgentSessions,
    Approvals,
    Archives,
    Connections,
    Deliveries,
    Dispatch,
    Installs,
    Leases,
    Polls,
    Providers,
    Routes,
    Runs,
    Schedules,
    Subscriptions,
    Tokens,
    Triggers,
)

__all__ = [
    "AgentSessions",
    "Agents",
    "Approvals",
    "Archives",
    "Connections",
    "Deliveries",
    "Dispatch",
    "Door",
    "Face",
    "Installs",
    "Interlock",
    "Leases",
    "Memories",
    "Memory",
    "Polls",
    "Providers",
    "Routes",
    "Runs",
    "Schedules",
    "Subscriptions",
    "Tokens",
    "Triggers",
    "waiting",
]
