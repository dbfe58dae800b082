"""Which capabilities there are.

Owns: discovery of connectors, lookup and search of capabilities, and the validation of values against their schemas.
Refuses: connections, policy, execution. Invariants: a capability id means one operation of one connector version with one
manifest digest; a connector is loaded when it is asked for, and a broken one never hides another; a mismatch names its place
and never repeats a text.
"""

from interlock.catalog.capability import Capability
from interlock.catalog.catalog import Catalog, Filter, Page
from interlock.catalog.discover import GROUP, Broken, Discovery, Installed, discover
from interlock.catalog.errors import (
    ConnectorBroken,
    DuplicateConnector,
    InvalidInput,
    InvalidOutput,
    Mismatch,
    UnknownCapability,
    UnknownConnector,
)

__all__ = [
    "GROUP",
    "Broken",
    "Capability",
    "Catalog",
    "ConnectorBroken",
    "Discovery",
    "DuplicateConnector",
    "Filter",
    "Installed",
    "InvalidInput",
    "InvalidOutput",
    "Mismatch",
    "Page",
    "UnknownCapability",
    "UnknownConnector",
    "discover",
]
