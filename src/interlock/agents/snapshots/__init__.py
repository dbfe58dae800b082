"""A turn's state, written down to be carried away: canonical JSON, signed by the installation that had it.

A snapshot proves what a turn had come to, and another conversation can begin where it stands. No turn is resumed from one: where
a turn stands is what its journal says, in one store, so that no copy of a state can do again what was done or spend an approval.
"""

from interlock.agents.snapshots.errors import (
    ForeignSnapshot,
    InvalidSnapshot,
    SnapshotOfAnother,
    SnapshotTampered,
    SnapshotTooNew,
)
from interlock.agents.snapshots.snapshots import CONTRACT, LIMITS, MIGRATIONS, Migration, Snapshot, dump, load

__all__ = [
    "CONTRACT",
    "LIMITS",
    "MIGRATIONS",
    "ForeignSnapshot",
    "InvalidSnapshot",
    "Migration",
    "Snapshot",
    "SnapshotOfAnother",
    "SnapshotTampered",
    "SnapshotTooNew",
    "dump",
    "load",
]
