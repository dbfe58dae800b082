"""Opening a memory in Postgres: its tables are made, or are those that are expected, and hold the role that opens it."""

from typing import Final

import psycopg
from psycopg import sql

from interlock import memory
from interlock.adapters.memory.postgres.links import Link
from interlock.adapters.memory.postgres.place import Place, Standing
from interlock.adapters.memory.postgres.schema import VERSION, scoped, tables, upgrades

_OLDEST: Final = 14
_LOCK: Final = 0x494C4B4D
"""`ILKM`: of many that begin at once one makes the tables."""

_ALONE: Final = 'Or open it with `embedder` = "none", and search by words alone.'


def prepare(link: Link, place: Place) -> Standing:
    """What the memory stands on. Raises InvalidConfig, psycopg.Error."""
    _look_at_server(link, place)
    if not _tables_of(link, place):
        _make(link, place)
    if _look_at_tables(link, place) < VERSION:
        _upgrade(link, place)
    if place.grant_to is not None:
        _grant(link, place, place.grant_to)
    ((role,),) = link.rows("SELECT current_user::text")
    extension = _find_extension(link)
    path = ", ".join(filter(None, [place.schema, extension, "pg_temp"]))
    standing = Standing(role=role, is_enforced=is_enforced(link, place), path=path)
    if place.needs_row_security and not standing.is_enforced:
        raise memory.InvalidConfig(
            f"{place} is opened as {role}, and row-level security does not hold that role",
            next_step="Open it as a role that is no superuser and has no BYPASSRLS (docs/memory.md has all it needs); or with"
            ' `isolation` = "query", which leaves it to the queries to keep scopes apart.',
        )
    return standing


def is_enforced(link: Link, place: Place) -> bool:
    """Whether row-level security holds this role, in each table whose rows are somebody's."""
    named = [f"{place.schema}.{table}" for table in scoped(place.has_vectors)]
    ((holds,),) = link.rows("SELECT bool_and(row_security_active(name)) FROM unnest(%s::text[]) AS name", [named])
    return holds


def _look_at_server(link: Link, place: Place) -> None:
    asked = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')"
    ((version, encoding),) = link.rows(asked)
    if version < _OLDEST * 10_000:
        raise memory.InvalidConfig(f"{place} is on Postgres {version // 10_000}; {_OLDEST} is the oldest that serves")
    if encoding != "UTF8":
        raise memory.InvalidConfig(f"{place} is encoded in {encoding}; one in UTF8 keeps every text")


def _tables_of(link: Link, place: Place) -> set[str]:
    """What there is in the schema; nothing if there is no such schema."""
    rows = link.rows(
        "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')"
        " AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)",
        [place.schema],
    )
    return {row[0] for row in rows}


def _look_at_tables(link: Link, place: Place) -> int:
    """Of which version they are. Raises InvalidConfig for tables of something else, of a newer version, or with other vectors."""
    if not _tables_of(link, place) >= {"facts", "revisions", "texts", "sources"}:
        raise memory.InvalidConfig(
            f"the schema {place.schema} has tables of something else, and stays as it is",
            next_step="Name another `schema`: a memory has one of its own.",
        )
    facts = dict(link.rows(f"SELECT name, value FROM {place.schema}.facts"))
    if int(facts["version"]) > VERSION:
        raise memory.InvalidConfig(
            f"{place} is of version {facts['version']}, and this Interlock knows {VERSION}",
            next_step="Install the newer Interlock that wrote it, or open another schema.",
        )
    if facts["embedder"] != place.embedder_name:
        raise memory.InvalidConfig(
            f"the vectors of {place} are made by {facts['embedder']}, and it is opened with {place.embedder_name}",
            next_step="Open it with the same embedder; or export it, and import it into a new schema.",
        )
    return int(facts["version"])


def _upgrade(link: Link, place: Place) -> None:
    """All of it or nothing, by the owner of the tables; if another process was faster, it stays as that one left it. Raises
    InvalidConfig."""
    link.together(sql.SQL("BEGIN"), sql.SQL("SELECT pg_advisory_xact_lock({})").format(_LOCK))
    try:
        version = _look_at_tables(link, place)
        link.rows("SELECT set_config('search_path', %s, true)", [place.schema])
        for statement in upgrades(version):
            link.rows(statement)
        link.rows("UPDATE facts SET value = %s WHERE name = 'version'", [str(VERSION)])
    except psycopg.errors.InsufficientPrivilege as error:
        link.roll_back()
        raise memory.InvalidConfig(
            f"{place} is of an older version, and this role may not bring it to version {VERSION}",
            next_step="Open it once as the owner of its tables.",
        ) from error
    except BaseException:
        link.roll_back()
        raise
    link.together(sql.SQL("COMMIT"))


def _make(link: Link, place: Place) -> None:
    """The tables, unless another process made them meanwhile."""
    link.together(sql.SQL("BEGIN"), sql.SQL("SELECT pg_advisory_xact_lock({})").format(_LOCK))
    try:
        if not _tables_of(link, place):
            _make_now(link, place)
    except BaseException:
        link.roll_back()
        raise
    link.together(sql.SQL("COMMIT"))


def _make_now(link: Link, place: Place) -> None:
    embedder, extension = place.embedder, None
    if embedder is not None:
        extension = _find_extension(link) or _add_extension(link, place)
    if not link.rows("SELECT 1 FROM pg_namespace WHERE nspname = %s", [place.schema]):
        link.together(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(place.schema)))
    path = ", ".join(filter(None, [place.schema, extension]))
    link.rows("SELECT set_config('search_path', %s, true)", [path])
    for statement in tables(None if embedder is None else embedder.dimensions):
        link.rows(statement)
    facts = {"version": str(VERSION), "embedder": place.embedder_name}
    for fact in facts.items():
        link.rows("INSERT INTO facts VALUES (%s, %s)", fact)


def _find_extension(link: Link) -> str | None:
    """The schema of the extension `vector`, as it is written."""
    asked = "SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
    rows = link.rows(f"{asked} WHERE extname = 'vector'")
    return rows[0][0] if rows else None


def _add_extension(link: Link, place: Place) -> str | None:
    if not link.rows("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
        raise memory.InvalidConfig(
            f"{place} is on a server that has no extension `vector`, by which vectors are searched",
            next_step=f"Install pgvector on the server. {_ALONE}",
        )
    try:
        link.together(sql.SQL("CREATE EXTENSION vector"))
    except psycopg.errors.InsufficientPrivilege as error:
        raise memory.InvalidConfig(
            f"{place} needs the extension `vector`, and this role may not add it",
            next_step=f"Have an administrator run `CREATE EXTENSION vector` in this database. {_ALONE}",
        ) from error
    return _find_extension(link)


def _grant(link: Link, place: Place, role: str) -> None:
    """What a role needs that is not the owner of the tables, and no more. By one at a time: the server refuses to grant what
    another grants at that moment."""
    schema, to = sql.Identifier(place.schema), sql.Identifier(role)
    used = sql.SQL(", ").join(sql.Identifier(place.schema, table) for table in scoped(place.has_vectors))
    link.together(
        sql.SQL("SELECT pg_advisory_xact_lock({})").format(_LOCK),
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, to),
        sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(place.schema, "facts"), to),
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(used, to),
    )
