"""Memories in Postgres: who sees which rows, whatever is asked, and how they are opened."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from fix_memory import MemoryDatabase
from interlock import memory

pytestmark = pytest.mark.anyio

TABLES = ("revisions", "texts", "sources", "vectors")
ANA = memory.Scope(tenant="acme", user="ana")


def opened(reference: memory.ProviderRef, scope: memory.Scope = ANA) -> AbstractAsyncContextManager[memory.Memory]:
    return memory.Memory.open(reference, scope=scope)


@pytest.fixture
def empty(memory_database: MemoryDatabase) -> MemoryDatabase:
    memory_database.emptied()
    return memory_database


@pytest.fixture
def session(empty: MemoryDatabase) -> Iterator[psycopg.Connection]:
    """The program's role, with SQL of its own."""
    with psycopg.connect(empty.url, autocommit=True) as session:
        yield session


@pytest.fixture
def schema(empty: MemoryDatabase) -> Iterator[str]:
    """The name of one that is not there, dropped afterwards."""
    yield "another"
    with psycopg.connect(empty.admin_url, autocommit=True) as session:
        session.execute("DROP SCHEMA IF EXISTS another CASCADE")


def say(connection: psycopg.Connection, **scope: str) -> None:
    """Whose rows the transaction sees."""
    for name, part in scope.items():
        connection.execute("SELECT set_config(%s, %s, true)", [f"interlock_memory.{name}", part])


def counts(session: psycopg.Connection) -> list[int]:
    """How many rows of each table are seen."""
    asked = [SQL("SELECT count(*) FROM interlock_memory.{}").format(Identifier(table)) for table in TABLES]
    return [row[0] for each in asked for row in session.execute(each)]


async def fill(database: MemoryDatabase, scope: memory.Scope = ANA) -> memory.Record:
    """One record made of another, so that each table has rows."""
    async with opened(database.reference(), scope) as mem:
        source = await mem.remember("Ana said so")
        derived = memory.Provenance(derived_from=(source.record_id,))
        return await mem.remember("Ana lives in Lyon", provenance=derived)


SEEN = [2, 2, 1, 2]
NONE = [0, 0, 0, 0]


async def test_where_no_scope_is_said_there_are_no_rows(empty: MemoryDatabase, session: psycopg.Connection) -> None:
    await fill(empty)
    assert counts(session) == NONE
    with session.transaction():
        say(session, tenant="acme", user="ana")
        assert counts(session) == SEEN
    assert counts(session) == NONE  # what a transaction says ends with it


SAID: list[tuple[dict[str, str], list[int]]] = [
    ({"tenant": "acme"}, SEEN),
    ({"tenant": "acme", "user": "ana", "agent": "", "session": ""}, SEEN),
    ({"tenant": "other"}, NONE),
    ({"tenant": "acme", "user": "bob"}, NONE),
    ({"tenant": "acme", "user": "ana", "session": "s1"}, NONE),
    ({"user": "ana"}, NONE),
    ({"tenant": ""}, NONE),
    ({"tenant": "acm_", "user": "ana"}, NONE),
    ({"tenant": "%"}, NONE),
    ({"tenant": "ACME"}, NONE),
    ({"tenant": "acme' OR '1'='1"}, NONE),
    ({"tenant": "acme:ana"}, NONE),
]


async def test_rows_are_those_of_the_scope_that_is_said(empty: MemoryDatabase, session: psycopg.Connection) -> None:
    await fill(empty)
    for said, seen in SAID:
        with session.transaction():
            say(session, **said)
            assert counts(session) == seen, said


async def test_names_are_never_joined(empty: MemoryDatabase, session: psycopg.Connection) -> None:
    await fill(empty, memory.Scope(tenant="t", user="a", agent="b:c"))
    for user, agent, seen in (("a", "b:c", SEEN), ("a:b", "c", NONE), ("a:b:c", "", NONE), ("a", "b", NONE)):
        with session.transaction():
            say(session, tenant="t", user=user, agent=agent)
            assert counts(session) == seen


async def test_rows_of_others_are_neither_changed_nor_made(empty: MemoryDatabase, session: psycopg.Connection) -> None:
    await fill(empty)
    for statement in (
        "UPDATE interlock_memory.revisions SET tenant = 'other'",
        "UPDATE interlock_memory.texts SET record = ''",
        "DELETE FROM interlock_memory.revisions",
        "DELETE FROM interlock_memory.vectors",
    ):
        with session.transaction():
            say(session, tenant="other")
            assert session.execute(statement).rowcount == 0
    columns = "revision_id, 'other', \"user\", agent, session, '', ''"
    put = f"INSERT INTO interlock_memory.texts SELECT {columns} FROM interlock_memory.texts"
    for statement in ("UPDATE interlock_memory.revisions SET tenant = 'other'", put):
        session.execute("BEGIN")
        say(session, tenant="acme")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            session.execute(statement)
        session.execute("ROLLBACK")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("TRUNCATE interlock_memory.revisions CASCADE")
    with session.transaction():
        say(session, tenant="acme")
        assert counts(session) == SEEN


async def test_every_table_with_rows_of_somebody_is_held(empty: MemoryDatabase) -> None:
    """Also one that comes to be later: only the facts of the schema itself are everybody's."""
    with psycopg.connect(empty.admin_url) as admin:
        rows = admin.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'interlock_memory'::regnamespace AND relkind = 'r'"
            " AND NOT (relrowsecurity AND relforcerowsecurity)"
        ).fetchall()
    assert rows == [("facts",)]


async def test_an_owner_is_held_like_everybody(empty: MemoryDatabase, schema: str) -> None:
    """Forced: who may change the tables sees no more of their rows."""
    with psycopg.connect(empty.admin_url, autocommit=True) as admin:
        admin.execute(SQL("CREATE SCHEMA another AUTHORIZATION {}").format(Identifier(empty.role)))
    async with opened(empty.reference(schema=schema)) as mem:
        await mem.remember("mine")
        assert mem.capabilities().guarantees.isolation == "storage"
    with psycopg.connect(empty.url) as owner:
        assert owner.execute("SELECT count(*) FROM another.revisions").fetchall() == [(0,)]


async def test_a_role_that_is_not_held_is_refused_unless_it_is_meant(empty: MemoryDatabase) -> None:
    with pytest.raises(memory.InvalidConfig, match="row-level security does not hold") as refused:
        async with opened(empty.reference(url=empty.admin_url)):
            pass
    assert "BYPASSRLS" in refused.value.next_step
    async with opened(empty.reference(url=empty.admin_url, isolation="query")) as mem:
        assert mem.capabilities().guarantees.isolation == "query"
        assert mem.info().config["row_security"] == "does not hold this role"
        health = await mem.health()
        assert (health.ok, "row-level security does not hold" in health.detail) == (True, True)
    async with opened(empty.reference()) as mem:
        assert mem.capabilities().guarantees.isolation == "storage"
        assert (await mem.health()).detail == ""
        with psycopg.connect(empty.admin_url, autocommit=True) as admin:
            change = SQL("ALTER ROLE {} " + "{}")
            admin.execute(change.format(Identifier(empty.role), SQL("BYPASSRLS")))
            health = await mem.health()
            admin.execute(change.format(Identifier(empty.role), SQL("NOBYPASSRLS")))
    assert (health.ok, "row-level security" in health.detail) == (False, True)


async def test_an_id_of_another_tenant_is_free(empty: MemoryDatabase) -> None:
    """It cannot be seen, nor felt."""
    kept = await fill(empty)
    async with opened(empty.reference(), memory.Scope(tenant="other")) as mem:
        copy = memory.Draft(text="a copy", record_id=kept.record_id, if_revision=0)
        assert (await mem.remember(copy)).record_id == kept.record_id
        result = await mem.ingest([memory.Draft(text="before"), copy, memory.Draft(text="after")])
        assert [item.status.value for item in result.items] == ["accepted", "rejected", "accepted"]
        assert len((await mem.retrieve()).hits) == 3
    async with opened(empty.reference()) as mem:
        assert await mem.get(kept.record_id) == kept


# -- opening


async def test_many_that_begin_at_once_make_the_tables_once(empty: MemoryDatabase, schema: str) -> None:
    seen: list[int] = []

    async def begin(number: int) -> None:
        async with opened(empty.reference(url=empty.admin_url, isolation="query", schema=schema)) as mem:
            await mem.remember(f"{number}")
            seen.append(number)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(begin, number)
    async with opened(empty.reference(url=empty.admin_url, isolation="query", schema=schema)) as mem:
        assert (len(seen), len((await mem.retrieve()).hits)) == (6, 6)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("UPDATE another.facts SET value = '99' WHERE name = 'version'", "is of version 99, and this Interlock knows"),
        ("UPDATE another.facts SET value = 'clip-3' WHERE name = 'embedder'", "are made by clip-3"),
        ("DROP TABLE another.facts", "has tables of something else"),
        ("ALTER TABLE another.vectors DISABLE ROW LEVEL SECURITY", "row-level security does not hold"),
    ],
)
async def test_tables_that_are_not_as_expected_stay_as_they_are(
    empty: MemoryDatabase, schema: str, made: Any, says: str
) -> None:
    async with opened(
        empty.reference(url=empty.admin_url, isolation="query", schema=schema, grant_to=empty.role)
    ) as mem:
        await mem.remember("kept")
    with psycopg.connect(empty.admin_url, autocommit=True) as admin:
        admin.execute(made)
        with pytest.raises(memory.InvalidConfig, match=says):
            async with opened(empty.reference(schema=schema)):
                pass
        assert admin.execute("SELECT count(*) FROM another.revisions").fetchall() == [(1,)]


async def test_tables_of_the_first_version_are_brought_to_this_one_by_their_owner(
    empty: MemoryDatabase, schema: str
) -> None:
    owned = empty.reference(url=empty.admin_url, isolation="query", schema=schema, grant_to=empty.role)
    async with opened(owned) as mem:
        kept = await mem.remember("kept")
        kept = await mem.remember("revised", record_id=kept.record_id)
    with psycopg.connect(empty.admin_url, autocommit=True) as admin:
        admin.execute("DROP INDEX another.revisions_by_record, another.revisions_by_revision")
        admin.execute("ALTER TABLE another.revisions ADD UNIQUE (record_id, revision)")
        admin.execute("CREATE UNIQUE INDEX revisions_by_record ON another.revisions (record_id) WHERE is_last")
        admin.execute("UPDATE another.facts SET value = '1' WHERE name = 'version'")
    with pytest.raises(memory.InvalidConfig, match="of an older version") as raised:
        async with opened(empty.reference(schema=schema)):
            pass
    assert "owner" in raised.value.next_step
    async with anyio.create_task_group() as group:  # of many that find it so one brings it here
        for _ in range(3):
            group.start_soon(_open_once, owned)
    async with opened(empty.reference(schema=schema)) as mem:
        other = memory.Memory(mem.provider, memory.Scope(tenant="acme", user="bob"))
        await other.remember("Bob's", record_id=kept.record_id, if_revision=0)
        assert (await mem.get(kept.record_id), len(await mem.history(kept.record_id))) == (kept, 2)


async def test_many_owners_that_begin_at_once_share_what_they_grant(empty: MemoryDatabase, schema: str) -> None:
    owned = empty.reference(url=empty.admin_url, isolation="query", schema=schema, grant_to=empty.role)
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(_open_once, owned)


async def _open_once(reference: memory.ProviderRef) -> None:
    async with opened(reference):
        pass


async def test_vectors_may_be_longer_than_a_page(empty: MemoryDatabase, schema: str) -> None:
    reference = empty.reference(url=empty.admin_url, isolation="query", schema=schema, dimensions=4_096)
    async with opened(reference) as mem:
        for text in ("the billing service", "the garden"):
            await mem.remember(text)
        found = await mem.retrieve("bills for services", mode="semantic")
        assert [record.text for record in found.records] == ["the billing service", "the garden"]


async def test_tables_that_are_taken_away_are_missed(empty: MemoryDatabase, schema: str) -> None:
    async with opened(empty.reference(url=empty.admin_url, isolation="query", schema=schema)) as mem:
        await mem.remember("kept")
        with psycopg.connect(empty.admin_url, autocommit=True) as admin:
            admin.execute("DROP SCHEMA another CASCADE")
        with pytest.raises(memory.InvalidConfig, match="is there no longer"):
            await mem.retrieve()


async def test_a_schema_with_other_tables_is_left_alone(empty: MemoryDatabase, schema: str) -> None:
    with psycopg.connect(empty.admin_url, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA another; CREATE TABLE another.runs ()")
    with pytest.raises(memory.InvalidConfig, match="has tables of something else") as refused:
        async with opened(empty.reference(url=empty.admin_url, isolation="query", schema=schema)):
            pass
    assert "Name another `schema`" in refused.value.next_step


async def test_a_role_that_may_not_is_told_what_it_lacks(empty: MemoryDatabase, schema: str) -> None:
    with pytest.raises(memory.InvalidConfig, match="permission denied for database") as refused:
        async with opened(empty.reference(schema=schema)):
            pass
    assert "grant_to" in refused.value.next_step
    async with opened(empty.reference(url=empty.admin_url, isolation="query", schema=schema)):
        pass
    with pytest.raises(memory.InvalidConfig, match="permission denied for schema another"):
        async with opened(empty.reference(schema=schema)):
            pass


async def test_without_the_extension_it_says_what_to_do(postgres_server: str, empty_postgres_url: str) -> None:
    del postgres_server
    with psycopg.connect(empty_postgres_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE vectorless LOGIN")
        try:
            admin.execute(f"GRANT CREATE ON DATABASE {admin.info.dbname} TO vectorless".encode())
            url = make_conninfo(empty_postgres_url, user="vectorless")
            with pytest.raises(memory.InvalidConfig, match="needs the extension `vector`") as refused:
                async with memory.Memory.open("postgres", {"url": url}, scope=ANA):
                    pass
            assert "CREATE EXTENSION vector" in refused.value.next_step
            async with memory.Memory.open("postgres", {"url": url, "embedder": "none"}, scope=ANA) as mem:
                await mem.remember("words are enough")
                assert len((await mem.retrieve("words")).hits) == 1
        finally:
            admin.execute("DROP OWNED BY vectorless; DROP ROLE vectorless")


async def test_an_address_is_never_told(empty: MemoryDatabase) -> None:
    for url in (
        "postgresql://ana:hunter2@127.0.0.1:1/x",
        "postgresql://ana:hunter2@[/x",
        "hunter2",
        "user=a password=hunter2 port=1 host=127.0.0.1",
    ):
        with pytest.raises(memory.MemoryFault) as refused:
            async with memory.Memory.open("postgres", {"url": url}, scope=ANA):
                pass
        assert "hunter2" not in f"{refused.value} {refused.value.to_json()}"
    async with opened(empty.reference()) as mem:
        assert "://" not in str(mem.info().to_json())


async def test_scores_are_those_of_dictionaries(empty: MemoryDatabase) -> None:
    """BM25 over what the filter lets through, to the last digits, and the same cosines."""
    texts = [
        "the billing service",
        "billing billing",
        "the the the cat",
        "Straße in Köln",
        "東京タワー",
        "a long " * 50,
    ]
    seen: list[Any] = []
    for reference in (empty.reference(dimensions=64), memory.ProviderRef(name="memory")):
        async with opened(reference) as mem:
            for number, text in enumerate(texts):
                await mem.remember(text, tags=["odd"] if number % 2 else [])
            found = [
                await mem.retrieve(asked, mode="text", tags_any=tags)
                for asked in ("the billing cat", "東京", "koln strasse", "absent a")
                for tags in ([], ["odd"])
            ]
        seen.append(
            [(hit.record.text, pytest.approx(hit.score), set(hit.matched_terms)) for each in found for hit in each.hits]
        )
    assert seen[0] == seen[1]
