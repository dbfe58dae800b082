"""The composition root and the facade.

Owns: settings, the wiring of adapters into rooms, `Interlock`. Refuses: rules of its own; it hands on. Invariants: it is the
only room that imports adapters and connectors; what it opens it closes.
"""

from interlock.app.accounts import Connections
from interlock.app.agent_sessions import AgentSessions
from interlock.app.agents import Agents, TurnOptions
from interlock.app.archives import Archives
from interlock.app.asking import MAX_TIMEOUT
from interlock.app.dispatching import Dispatch
from interlock.app.faces import Approvals, Closed, Runs, UnknownTarget
from interlock.app.hooking import Deliveries, Routes, Triggers
from interlock.app.installed_agents import InstalledAgents
from interlock.app.installing import Installs
from interlock.app.interlock import Interlock
from interlock.app.keychain import Key, Keychain, KeyState, KeyStatus, Root, Rotation, make_root_key, open_keychain
from interlock.app.leasing import Leases
from interlock.app.local_plane import (
    UnknownSandbox,
    guest_agent,
    list_targets,
    local_sandboxes,
    make_lane,
    open_evidence,
    open_local_plane,
    python_profile,
)
from interlock.app.memories import Memories
from interlock.app.mistakes import InvalidSettings
from interlock.app.model_providers import list_model_providers, model_doubts
from interlock.app.once import AlreadyMade
from interlock.app.opened import LOCAL_NET, LocalPlane, Ran
from interlock.app.operating import collect_operations
from interlock.app.placing import Placed, UnknownPlace, find_placed, list_placed
from interlock.app.polling import Polls
from interlock.app.provided import has_store, read_catalog, show_store, trusts
from interlock.app.providing import Providers
from interlock.app.proxying import follow
from interlock.app.remembering import memory_reference, names_endpoint
from interlock.app.remote_plane import (
    RemotePlane,
    StandingNode,
    load_receipt_keys,
    load_token_keys,
    make_node_credentials,
    open_remote_plane,
    open_standing_node,
)
from interlock.app.scheduling import Schedules
from interlock.app.settings import (
    FILE_NAME,
    Settings,
    SettingsFile,
    find_file,
    is_memory,
    load,
    parse_file,
    read_file,
)
from interlock.app.subscribing import Subscriptions
from interlock.app.telling import OnEvent
from interlock.app.tokens import Tokens
from interlock.app.tooling import Toolboxes, written_tools
from interlock.app.upkeep import Check, Health, examine, migrate
from interlock.app.watching import start_telemetry

__all__ = [
    "FILE_NAME",
    "LOCAL_NET",
    "MAX_TIMEOUT",
    "AgentSessions",
    "Agents",
    "AlreadyMade",
    "Approvals",
    "Archives",
    "Check",
    "Closed",
    "Connections",
    "Deliveries",
    "Dispatch",
    "Health",
    "InstalledAgents",
    "Installs",
    "Interlock",
    "InvalidSettings",
    "Key",
    "KeyState",
    "KeyStatus",
    "Keychain",
    "Leases",
    "LocalPlane",
    "Memories",
    "OnEvent",
    "Placed",
    "Polls",
    "Providers",
    "Ran",
    "RemotePlane",
    "Root",
    "Rotation",
    "Routes",
    "Runs",
    "Schedules",
    "Settings",
    "SettingsFile",
    "StandingNode",
    "Subscriptions",
    "Tokens",
    "Toolboxes",
    "Triggers",
    "TurnOptions",
    "UnknownPlace",
    "UnknownSandbox",
    "UnknownTarget",
    "collect_operations",
    "examine",
    "find_file",
    "find_placed",
    "follow",
    "guest_agent",
    "has_store",
    "is_memory",
    "list_model_providers",
    "list_placed",
    "list_targets",
    "load",
    "load_receipt_keys",
    "load_token_keys",
    "local_sandboxes",
    "make_lane",
    "make_node_credentials",
    "make_root_key",
    "memory_reference",
    "migrate",
    "model_doubts",
    "names_endpoint",
    "open_evidence",
    "open_keychain",
    "open_local_plane",
    "open_remote_plane",
    "open_standing_node",
    "parse_file",
    "python_profile",
    "read_catalog",
    "read_file",
    "show_store",
    "start_telemetry",
    "trusts",
    "written_tools",
]
