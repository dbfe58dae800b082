"""Which capabilities there are.

Owns: discovery of connectors, lookup and search of capabilities, the validation of values against their schemas, and providers
that a tenant imported.
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
    ProviderChanged,
    ProviderInUse,
    UnknownCapability,
    UnknownConnector,
    UnknownProvider,
)
from interlock.catalog.importing import MAX_BYTES, Coverage, Entry, Format, Imported, read_catalogue
from interlock.catalog.openapi import Described, LeftOut, read_openapi
from interlock.catalog.providers import KeptProvider, ProviderRecords, Providers, ProviderUse
from interlock.catalog.validation import Validate
from interlock.catalog.validation import compiled as compile_schema

__all__ = [
    "GROUP",
    "MAX_BYTES",
    "Broken",
    "Capability",
    "Catalog",
    "ConnectorBroken",
    "Coverage",
    "Described",
    "Discovery",
    "DuplicateConnector",
    "Entry",
    "Filter",
    "Format",
    "Imported",
    "Installed",
    "InvalidInput",
    "InvalidOutput",
    "KeptProvider",
    "LeftOut",
    "Mismatch",
    "Page",
    "ProviderChanged",
    "ProviderInUse",
    "ProviderRecords",
    "ProviderUse",
    "Providers",
    "UnknownCapability",
    "UnknownConnector",
    "UnknownProvider",
    "Validate",
    "compile_schema",
    "discover",
    "read_catalogue",
    "read_openapi",
]
