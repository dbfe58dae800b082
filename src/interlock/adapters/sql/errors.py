"""What can go wrong with a store. A driver's own errors never leave this room."""

from interlock import runs
from interlock.kernel import ConfigurationError, Fault, InterlockError, InternalError, Retry, StoreError


class InvalidStoreUrl(ConfigurationError):
    """The store's address cannot be understood."""

    code = "invalid_store_url"
    next_step = "Use a file path, `sqlite:///path`, `sqlite:///:memory:` or `postgresql://host/database`."


class DriverMissing(ConfigurationError):
    """The part of Interlock that speaks to this database is not installed."""

    code = "driver_missing"
    next_step = "Install Interlock with its extra `postgres` (psycopg)."


class StoreMissing(StoreError):
    """There is no store at that place."""

    code = "store_missing"
    retry = Retry.AFTER_CHANGE
    next_step = "Create one with `interlock init`, or correct the path."


class StoreDamaged(StoreError):
    """The file is an Interlock store, or was one, and cannot be trusted any more."""

    code = "store_damaged"
    retry = Retry.AFTER_CHANGE
    next_step = "Stop all processes that use it, keep a copy of the file, and restore a backup."


class ForeignFile(StoreError):
    """The file belongs to another program. It is left untouched."""

    code = "foreign_file"
    retry = Retry.AFTER_CHANGE
    next_step = "Correct the path; `interlock init` creates a store under a new name."


class MigrationsPending(StoreError):
    """The store was made by an earlier version, or is still empty."""

    code = "migrations_pending"
    retry = Retry.AFTER_CHANGE
    next_step = "Make a backup, then run `interlock migrate`."


class SchemaTooNew(StoreError):
    """The store was made by a later version."""

    code = "schema_too_new"
    retry = Retry.AFTER_CHANGE
    next_step = "Install the version of Interlock that migrated this store, or a later one."


class StoreReadOnly(StoreError):
    """The store can be read and not written."""

    code = "store_read_only"
    retry = Retry.AFTER_CHANGE
    next_step = "Give this user write access to the file and to its directory, or mount the disk for writing."


class StoreFull(StoreError):
    """The disk has no room for another row. What was being written is not there."""

    code = "store_full"
    retry = Retry.AFTER_CHANGE
    next_step = "Free space on the store's disk; nothing is damaged."


class StoreUnavailable(StoreError):
    """The database cannot be reached, or its disk answers with errors."""

    code = "store_unavailable"
    next_step = "Check the disk or the database server with `interlock doctor`, then try again."


class StoreBusy(StoreError):
    """Another process kept the store locked for too long."""

    code = "store_busy"
    next_step = "Try again; if it stays so, look for a process that holds a long transaction."


class StoreClosed(StoreError):
    """The store was closed before this was carried out. It was not written."""

    code = "store_closed"
    retry = Retry.NEVER
    fault = Fault.CALLER
    next_step = "Open the store again, and use it until it is closed."


GRANT = (
    "Grant this user SELECT, INSERT, UPDATE and DELETE on Interlock's tables and USAGE on its sequences; a standby takes no "
    "writes: name its primary."
)
"""What to do about a database server that lets this user not write."""

ANOTHER_DATABASE = (
    "Name a database of its own for Interlock: `createdb NAME` makes one. Nothing was changed in this one."
)
"""What to do where tables of others stand in the way."""


class RowRefused(InternalError):
    """The database refused a value or a reference. That caller's transaction was not written; others were."""

    code = "row_refused"


def unanswered(error: Exception) -> Exception:
    """The error of a commit whose answer was lost: it says so, since what was being written may be there all the same."""
    if isinstance(error, StoreUnavailable):
        error.details[runs.WRITTEN] = "unknown"
    return error


def refusal(error: Exception, *, where: object) -> InterlockError:
    """An error of the hot path as the caller gets it: what is no error of ours is a value that could not be written."""
    if isinstance(error, InterlockError):
        return error
    refused = RowRefused(f"{where} cannot keep a value: {type(error).__name__}: {error}")
    refused.__cause__ = error
    return refused
