"""What can be wrong with a snapshot.

RequestError
└── InvalidSnapshot        invalid_snapshot
ConflictError
└── SnapshotOfAnother      snapshot_of_another
ConfigurationError
├── SnapshotTooNew         snapshot_too_new
└── ForeignSnapshot        foreign_snapshot
VerificationError
└── SnapshotTampered       snapshot_tampered
"""

from interlock.kernel import ConfigurationError, ConflictError, RequestError, VerificationError


class InvalidSnapshot(RequestError):
    """The file is no snapshot of a turn."""

    code = "invalid_snapshot"
    next_step = "Take another one: `interlock agent snapshot RUN --output FILE`."


class SnapshotTampered(VerificationError):
    """The snapshot is not what was signed."""

    code = "snapshot_tampered"
    next_step = "Do not use it. Find out who had it, and take another one from the store that has the turn."


class SnapshotTooNew(ConfigurationError):
    """A later version of Interlock wrote the snapshot."""

    code = "snapshot_too_new"
    next_step = "Use that version of Interlock, or a later one."


class ForeignSnapshot(ConfigurationError):
    """The snapshot is of another tenant, or signed by an installation whose keys are not trusted here."""

    code = "foreign_snapshot"
    next_step = "If it should be trusted, name the file of its installation's keys: `interlock review trust` there."


class SnapshotOfAnother(ConflictError):
    """The snapshot is of a turn by another spec."""

    code = "snapshot_of_another"
    next_step = (
        "Give the spec that the turn was taken by, or look at how the two differ (`interlock agent diff`), and `--accept` that "
        "the conversation goes on with this one."
    )
