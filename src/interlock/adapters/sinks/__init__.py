"""Sinks: places that keep evidence, each behind `plane.EvidenceSink`.

Owns: the files and the telemetry that evidence goes to. Refuses: what to keep of a body, which the plane decides.
Invariants: what a durable sink has taken survives a crash; a record is kept whole or not at all.
"""

from interlock.adapters.sinks.errors import EvidenceRefused
from interlock.adapters.sinks.file import FileSink, open_file_sink
from interlock.adapters.sinks.telemetry import TelemetrySink

__all__ = ["EvidenceRefused", "FileSink", "TelemetrySink", "open_file_sink"]
