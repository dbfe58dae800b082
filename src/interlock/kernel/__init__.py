"""The floor of the house: time, ids, canonical JSON, errors, secrets, redaction, backoff, what is installed, and the
transaction token.

Owns: values and small rules that every room needs. Refuses: I/O beyond the list of installed packages, settings,
anything that knows a domain word.
Invariants: the same value has the same canonical bytes everywhere; a `Secret` never prints; moments are aware and in UTC.
"""

from interlock.kernel.backoff import Backoff
from interlock.kernel.caller import PLATFORM_TENANT, Caller
from interlock.kernel.canonical import JSON, canonical, digest, digest_bytes
from interlock.kernel.clock import Clock, SystemClock, from_micros, from_rfc3339, to_micros, to_rfc3339
from interlock.kernel.counting import BOUNDS, MAX_SERIES, Counts, Labels
from interlock.kernel.detecting import PATTERNS, SECRET_PATTERNS, Detector
from interlock.kernel.documents import document, page, read_document
from interlock.kernel.errors import (
    ConfigurationError,
    ConflictError,
    ConnectionError_,
    Fault,
    InterlockError,
    InternalError,
    NotFoundError,
    PlaneError,
    ProviderError,
    RequestError,
    Retry,
    StoreError,
    UnknownOutcome,
    VerificationError,
    no_such,
)
from interlock.kernel.forking import Forked, OpenedHere
from interlock.kernel.hosts import HOST_PORT
from interlock.kernel.ids import PREFIXES, IdSource, Uuid7Ids, is_id
from interlock.kernel.installed import entry_points, package_of
from interlock.kernel.interruption import is_interruption
from interlock.kernel.jsonplaces import json_places
from interlock.kernel.jsonvalue import InvalidJson, JsonLimits, check_json, parse_json, read_json
from interlock.kernel.progress import PROGRESS
from interlock.kernel.redaction import MIN_SECRET_LENGTH, REDACTED, Redactor
from interlock.kernel.secret import Secret
from interlock.kernel.store import Store, Tx
from interlock.kernel.tracing import UNTRACED, Fact, Role, Span, Tracing
from interlock.kernel.version import VERSION
from interlock.kernel.written import Written, read_written
from interlock.kernel.yamltext import parse_yaml, yaml_scalar

__all__ = [
    "BOUNDS",
    "HOST_PORT",
    "JSON",
    "MAX_SERIES",
    "MIN_SECRET_LENGTH",
    "PATTERNS",
    "PLATFORM_TENANT",
    "PREFIXES",
    "PROGRESS",
    "REDACTED",
    "SECRET_PATTERNS",
    "UNTRACED",
    "VERSION",
    "Backoff",
    "Caller",
    "Clock",
    "ConfigurationError",
    "ConflictError",
    "ConnectionError_",
    "Counts",
    "Detector",
    "Fact",
    "Fault",
    "Forked",
    "IdSource",
    "InterlockError",
    "InternalError",
    "InvalidJson",
    "JsonLimits",
    "Labels",
    "NotFoundError",
    "OpenedHere",
    "PlaneError",
    "ProviderError",
    "Redactor",
    "RequestError",
    "Retry",
    "Role",
    "Secret",
    "Span",
    "Store",
    "StoreError",
    "SystemClock",
    "Tracing",
    "Tx",
    "UnknownOutcome",
    "Uuid7Ids",
    "VerificationError",
    "Written",
    "canonical",
    "check_json",
    "digest",
    "digest_bytes",
    "document",
    "entry_points",
    "from_micros",
    "from_rfc3339",
    "is_id",
    "is_interruption",
    "json_places",
    "no_such",
    "package_of",
    "page",
    "parse_json",
    "parse_yaml",
    "read_document",
    "read_json",
    "read_written",
    "to_micros",
    "to_rfc3339",
    "yaml_scalar",
]
