"""How a store is opened, created and migrated."""

from interlock.adapters.sql import sqlite
from interlock.adapters.sql.address import SqliteFile, parse_address
from interlock.adapters.sql.schema import MigrationReport
from interlock.adapters.sql.sqlite_store import open_sqlite
from interlock.adapters.sql.store import SqlStore


def open_store(url: str, *, create: bool = False) -> SqlStore:
    """The store at that address, ready for use; call `close()` in the end.

    Without `create` nothing is ever created, and with it only a store that is not there at all: an existing file or a
    database with tables is never touched before `migrate`. A store in memory is always new. A file that may only be read
    is opened all the same: its store reads, and raises StoreReadOnly instead of writing.

    Raises InvalidStoreUrl or a StoreError leaf (StoreMissing, ForeignFile, StoreDamaged, MigrationsPending,
    SchemaTooNew, StoreReadOnly, StoreUnavailable, StoreBusy). Blocks for some milliseconds; call it before the loop
    has other work, or from a thread.
    """
    place = parse_address(url)
    if isinstance(place, SqliteFile):
        return open_sqlite(place, create=create)
    from interlock.adapters.sql.postgres_store import open_postgres  # the driver is an extra

    return open_postgres(place, create=create)


def migrate(url: str) -> MigrationReport:
    """Bring an existing store up to date. Raises InvalidStoreUrl or a StoreError leaf; then nothing was changed."""
    place = parse_address(url)
    if isinstance(place, SqliteFile):
        sqlite.check_file(place)
        sqlite.check_writable(place)
        return sqlite.migrate_file(place)
    from interlock.adapters.sql.postgres_store import migrate_postgres

    return migrate_postgres(place)
