"""The tables of a memory file."""

from typing import Final

VERSION: Final = 2
"""Of the tables. A file of a newer one is not opened; one of an older one is brought here. In version 1 an id was one record's of
the whole file."""

APPLICATION_ID: Final = 0x494C4B4D
"""`ILKM`: tells a memory file from any other SQLite file."""

TABLES: Final = """
CREATE TABLE facts_of_file (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- One row for each revision of a record, or for what is left of it. What `record` says is repeated in columns to search by. No
-- number is given twice, or what comes next would look like what was forgotten.
CREATE TABLE revisions (
    revision_id INTEGER PRIMARY KEY AUTOINCREMENT,
    record_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    user TEXT,
    agent TEXT,
    session TEXT,
    change TEXT NOT NULL,
    change_id TEXT,
    at INTEGER NOT NULL,
    digest TEXT NOT NULL,
    is_last INTEGER NOT NULL,
    record TEXT,
    class TEXT,
    kind TEXT,
    source TEXT,
    importance REAL,
    observed_at INTEGER,
    recorded_at INTEGER,
    superseded_at INTEGER,
    superseded_by TEXT,
    valid_from INTEGER,
    valid_to INTEGER,
    expires_at INTEGER,
    idempotency_key TEXT,
    folded TEXT
);
-- An id is a record's within its scope: nobody learns from it what others have.
CREATE UNIQUE INDEX revisions_by_record
    ON revisions (record_id, tenant, coalesce(user, ''), coalesce(agent, ''), coalesce(session, ''), revision);
CREATE INDEX revisions_by_time ON revisions (tenant, observed_at, record_id)
    WHERE recorded_at IS NOT NULL AND superseded_at IS NULL;
CREATE INDEX revisions_by_user ON revisions (tenant, user, observed_at)
    WHERE recorded_at IS NOT NULL AND superseded_at IS NULL;
CREATE INDEX revisions_by_digest ON revisions (tenant, digest) WHERE is_last;
CREATE INDEX revisions_by_key ON revisions (tenant, idempotency_key) WHERE is_last AND idempotency_key IS NOT NULL;
CREATE INDEX revisions_by_change ON revisions (change_id) WHERE change_id IS NOT NULL;
CREATE INDEX revisions_by_successor ON revisions (superseded_by) WHERE superseded_by IS NOT NULL;
CREATE INDEX revisions_by_expiry ON revisions (tenant, expires_at) WHERE is_last AND expires_at IS NOT NULL;

CREATE TABLE tags (
    tag TEXT NOT NULL, revision_id INTEGER NOT NULL REFERENCES revisions ON DELETE CASCADE,
    PRIMARY KEY (tag, revision_id)
) WITHOUT ROWID;
CREATE INDEX tags_by_revision ON tags (revision_id);
CREATE TABLE metadata (
    revision_id INTEGER NOT NULL REFERENCES revisions ON DELETE CASCADE, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (revision_id, name)
) WITHOUT ROWID;
CREATE TABLE sources (
    source_id TEXT NOT NULL, revision_id INTEGER NOT NULL REFERENCES revisions ON DELETE CASCADE,
    PRIMARY KEY (source_id, revision_id)
) WITHOUT ROWID;
CREATE INDEX sources_by_revision ON sources (revision_id);
CREATE TABLE vectors (
    revision_id INTEGER PRIMARY KEY REFERENCES revisions ON DELETE CASCADE, vector BLOB NOT NULL
);
-- How many texts there are in each scope, and how many words they have, so that what a word counts is the scope's own. What a
-- scope does not name is empty here.
CREATE TABLE counts (
    tenant TEXT NOT NULL, user TEXT NOT NULL, agent TEXT NOT NULL, session TEXT NOT NULL,
    texts INTEGER NOT NULL, words INTEGER NOT NULL,
    PRIMARY KEY (tenant, user, agent, session)
) WITHOUT ROWID;
CREATE TABLE tenants (number INTEGER PRIMARY KEY, tenant TEXT NOT NULL UNIQUE);
-- Words are indexed by the number of their tenant, a `g`, and their bytes in hexadecimal: those of others are not even counted,
-- and the index's own idea of words never differs from the room's.
-- Without the places of words (`detail`) it would be smaller by a tenth, and rank by reading each text again.
CREATE VIRTUAL TABLE words USING fts5 (held, tokenize = 'ascii');
CREATE VIRTUAL TABLE holding USING fts5vocab (words, row);
"""

STATEMENTS: Final = tuple(TABLES.split(";\n"))
"""What makes them, one by one."""


def upgrades(version: int) -> tuple[str, ...]:
    """What brings a file of an older version here. References of other tables have to be left alone meanwhile."""
    if version >= VERSION:
        return ()
    made = next(each for each in STATEMENTS if "CREATE TABLE revisions (" in each)
    return (
        made.replace("CREATE TABLE revisions (", "CREATE TABLE revisions_anew ("),
        "INSERT INTO revisions_anew SELECT * FROM revisions",
        # What was given once is not given again, also if it was the last.
        "DELETE FROM sqlite_sequence WHERE name = 'revisions_anew'",
        "INSERT INTO sqlite_sequence SELECT 'revisions_anew', seq FROM sqlite_sequence WHERE name = 'revisions'",
        "DROP TABLE revisions",
        "ALTER TABLE revisions_anew RENAME TO revisions",
        *(each for each in STATEMENTS if "INDEX revisions_by_" in each),
    )
