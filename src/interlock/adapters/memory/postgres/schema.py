"""The tables of a memory in Postgres, in a schema of their own, and who may see which of their rows."""

from typing import Final

from interlock import memory

VERSION: Final = 2
"""Of the tables. A schema of a newer one is not opened; one of an older one is brought here, by the owner of the tables. In
version 1 an id was one record's of the whole schema."""

SETTINGS: Final = tuple(f"interlock_memory.{name}" for name in memory.DIMENSIONS)
"""By these a transaction says its scope, each until it ends. Where none is set, no row is seen."""

SCOPED: Final = ("revisions", "texts", "sources", "vectors")
"""The tables whose rows are somebody's."""

_SCOPE: Final = """tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''), "user" text COLLATE "C" CHECK ("user" <> ''),
    agent text COLLATE "C" CHECK (agent <> ''), session text COLLATE "C" CHECK (session <> '')"""
_REVISION: Final = "revision_id bigint NOT NULL REFERENCES revisions ON DELETE CASCADE"

_FACTS: Final = """
CREATE TABLE facts (name text PRIMARY KEY, value text NOT NULL)
"""

_KEY: Final = """record_id, tenant, coalesce("user", ''), coalesce(agent, ''), coalesce(session, '')"""
_KEYS: Final = f"""CREATE UNIQUE INDEX revisions_by_record ON revisions ({_KEY}) WHERE is_last;
CREATE UNIQUE INDEX revisions_by_revision ON revisions ({_KEY}, revision)"""
"""An id is a record's within its scope: nobody learns from it what others have."""

_REVISIONS: Final = f"""
CREATE TABLE revisions (
    revision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record_id text COLLATE "C" NOT NULL,
    revision integer NOT NULL,
    {_SCOPE},
    change text COLLATE "C" NOT NULL,
    change_id text COLLATE "C",
    at bigint NOT NULL,
    digest text COLLATE "C" NOT NULL,
    is_last boolean NOT NULL,
    class text COLLATE "C",
    kind text COLLATE "C",
    source text COLLATE "C",
    importance double precision,
    observed_at bigint,
    recorded_at bigint,
    superseded_at bigint,
    superseded_by text COLLATE "C",
    valid_from bigint,
    valid_to bigint,
    expires_at bigint,
    idempotency_key text COLLATE "C",
    tags text[] COLLATE "C",
    metadata jsonb,
    words jsonb,
    length integer
);
COMMENT ON TABLE revisions IS 'One row for each revision of a record, or for what is left of it: what is searched by.';
COMMENT ON COLUMN revisions.metadata IS 'Of each member the canonical JSON, as text.';
COMMENT ON COLUMN revisions.words IS 'Of each word how often it occurs.';
COMMENT ON COLUMN revisions.length IS 'How many words there are.';
{_KEYS};
CREATE INDEX revisions_by_time ON revisions (tenant, observed_at, record_id)
    WHERE recorded_at IS NOT NULL AND superseded_at IS NULL;
CREATE INDEX revisions_by_user ON revisions (tenant, "user", observed_at, record_id)
    WHERE recorded_at IS NOT NULL AND superseded_at IS NULL;
CREATE INDEX revisions_by_digest ON revisions (tenant, digest) WHERE is_last;
CREATE INDEX revisions_by_key ON revisions (tenant, idempotency_key) WHERE is_last AND idempotency_key IS NOT NULL;
CREATE INDEX revisions_by_change ON revisions (change_id) WHERE change_id IS NOT NULL;
CREATE INDEX revisions_by_successor ON revisions (superseded_by) WHERE superseded_by IS NOT NULL;
CREATE INDEX revisions_by_expiry ON revisions (tenant, expires_at) WHERE is_last AND expires_at IS NOT NULL
"""

_TEXTS: Final = f"""
CREATE TABLE texts ({_REVISION} PRIMARY KEY, {_SCOPE}, record text NOT NULL, folded text NOT NULL);
COMMENT ON TABLE texts IS 'What revisions say, apart, so that searches read less.'
"""

_SOURCES: Final = f"""
CREATE TABLE sources (source_id text COLLATE "C" NOT NULL, {_REVISION}, {_SCOPE}, PRIMARY KEY (source_id, revision_id));
CREATE INDEX sources_by_revision ON sources (revision_id)
"""

_VECTORS: Final = f"""
CREATE TABLE vectors ({_REVISION} PRIMARY KEY, {_SCOPE}, embedding vector({{dimensions:d}}) NOT NULL);
ALTER TABLE vectors ALTER COLUMN embedding SET STORAGE {{storage}}
"""

_IN_ROW: Final = 1_000
"""Dimensions of a vector that is kept in its row, and read with it. A row has to fit into 8 KiB."""


def tables(dimensions: int | None) -> list[str]:
    """What makes them, in the schema that is searched first; `dimensions` None: without vectors."""
    made = [_FACTS, _REVISIONS, _TEXTS, _SOURCES]
    if dimensions is not None:
        storage = "PLAIN" if dimensions <= _IN_ROW else "EXTERNAL"
        made.append(_VECTORS.format(dimensions=dimensions, storage=storage))
    return [*made, *(_secured(table) for table in scoped(dimensions is not None))]


def upgrades(version: int) -> list[str]:
    """What brings the tables of an older version here."""
    if version >= VERSION:
        return []
    dropped = (
        "ALTER TABLE revisions DROP CONSTRAINT revisions_record_id_revision_key",
        "DROP INDEX revisions_by_record",
    )
    return [*dropped, *_KEYS.split(";\n")]


def scoped(has_vectors: bool) -> tuple[str, ...]:  # noqa: FBT001 - of two kinds of schemas
    """The tables whose rows are somebody's."""
    return SCOPED if has_vectors else SCOPED[:-1]


def _secured(table: str) -> str:
    """Rows are seen, made and changed only within the scope that the transaction says, also by their owner. What is said is asked
    for once, in brackets, and not once a row; and of CASE the planner thinks that half of the rows fit, where OR would have it
    think that hardly any do."""
    conditions = [f"tenant = (SELECT current_setting('{SETTINGS[0]}', true))"]
    for name, setting in zip(memory.DIMENSIONS[1:], SETTINGS[1:], strict=True):
        said = f"(SELECT coalesce(current_setting('{setting}', true), ''))"
        conditions.append(f"CASE {said} WHEN '' THEN true ELSE \"{name}\" = {said} END")
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
        f" CREATE POLICY scope ON {table} USING ({' AND '.join(conditions)})"
    )
