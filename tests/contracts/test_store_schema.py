"""Migrations make exactly the tables that the code speaks of, on every engine; preflight finds what is wrong."""

import asyncio
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, inspect, select, text
from sqlalchemy.engine import make_url

from fix_connections import CONNECTION, CREDENTIAL
from fix_ledger import Builder, dead_letter
from fix_store import outcomes
from interlock import runs
from interlock.adapters import sql
from interlock.adapters.sql import postgres, queue_tables, schema, sqlite, tables
from interlock.adapters.sql.address import SqliteFile
from interlock.kernel import RequestError, Tx


@pytest.fixture(params=["sqlite", "postgres"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place where no store is yet."""
    return request.getfixturevalue("empty_postgres_url") if request.param == "postgres" else str(tmp_path / "s.db")


def differences(session: Connection) -> list[object]:
    """Between what stands there and what the code speaks of; on SQLite that is the queue's table, too."""
    options: dict[str, Any] = {"version_table": schema.VERSION_TABLE, "compare_type": True}
    declared = MetaData(naming_convention=tables.metadata.naming_convention)
    own = [*queue_tables.sqlite_metadata.sorted_tables] if session.dialect.name == "sqlite" else []
    for table in [*tables.metadata.sorted_tables, *own]:
        table.to_metadata(declared)
    options["include_name"] = is_ours
    return list(compare_metadata(MigrationContext.configure(session, opts=options), declared))


def is_ours(name: str | None, kind: str, parents: Any) -> bool:
    """On Postgres the queue's tables are those of its engine."""
    return not (kind == "table" and (name or "").startswith("interlock_pgqueuer"))


@pytest.mark.anyio
async def test_the_migrated_schema_is_the_declared_one(store: sql.SqlStore) -> None:
    found = await store.write(lambda tx: differences(sql.connection(tx)))
    assert found == []


@pytest.mark.anyio
async def test_every_table_carries_its_tenant(store: sql.SqlStore) -> None:
    def check(session: Connection) -> None:
        for table in tables.metadata.sorted_tables:
            columns = {column["name"]: column for column in inspect(session).get_columns(table.name)}
            assert not columns["tenant_id"]["nullable"], table.name
            assert [*columns] == [column.name for column in table.columns], table.name

    await store.read(lambda tx: check(sql.connection(tx)))


def stated(session: Connection) -> dict[str, tuple[str, frozenset[str]]]:
    """Everything in a SQLite database, as it was stated: the columns in their order, the constraints in any."""
    rows = session.exec_driver_sql("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master").all()
    parts = {name: re.split(r",(?=CONSTRAINT)|(?=\)(?:WITHOUTROWID)?$)", "".join(said.split())) for name, said in rows}
    return {name: (first, frozenset(rest)) for name, (first, *rest) in parts.items()}


def test_an_empty_sqlite_database_gets_at_once_what_the_migrations_make() -> None:
    """A migration that makes anything else than what the code speaks of, a trigger, say, is wanting here."""
    walked, made = (sqlite.session(SqliteFile(None)) for _ in range(2))
    schema.walk(walked)
    assert schema.upgrade(made, where="here").applied == schema.REVISIONS
    assert stated(made) == stated(walked)
    assert schema.current_revision(made) == schema.current_revision(walked) == schema.REVISIONS[-1]
    for session in (walked, made):
        session.close()


def test_the_list_of_revisions_is_the_folders() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent))
    scripts = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(scripts)) == schema.REVISIONS


def test_create_migrate_and_open_again(fresh_url: str) -> None:
    with pytest.raises((sql.StoreMissing, sql.MigrationsPending)):
        sql.open_store(fresh_url)
    sql.open_store(fresh_url, create=True).close()
    sql.open_store(fresh_url).close()
    report = sql.migrate(fresh_url)
    assert report == sql.MigrationReport(before=schema.REVISIONS[-1], after=schema.REVISIONS[-1], applied=())


def test_many_creators_at_once(fresh_url: str) -> None:

    async def main() -> list[sql.SqlStore]:
        def opener() -> sql.SqlStore:
            return sql.open_store(fresh_url, create=True)

        found = await outcomes(asyncio.to_thread(opener) for _ in range(4))
        return [store for store in found if not isinstance(store, BaseException)]

    stores = asyncio.run(main())
    for store in stores:
        store.close()
    assert len(stores) == 4


def test_preflight_of_a_sound_store(every_store_url: str, open_store: Callable[[str], sql.SqlStore]) -> None:
    open_store(every_store_url)
    findings = sql.preflight(every_store_url)
    assert [finding.error for finding in findings] == [None] * len(findings)
    if "memory" not in every_store_url:
        assert "schema" in [finding.check for finding in findings]


def test_preflight_of_nothing(tmp_path: Path) -> None:
    (finding,) = sql.preflight(str(tmp_path / "none.db"))
    assert isinstance(finding.error, sql.StoreMissing)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_has_pending_migrations(empty_postgres_url: str) -> None:
    finding = sql.preflight(empty_postgres_url)[-1]
    assert finding.check == "schema"
    assert isinstance(finding.error, sql.MigrationsPending)


def test_tables_of_others_are_left_alone(empty_postgres_url: str) -> None:
    engine = create_engine(make_url(empty_postgres_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as session:
        session.execute(text("CREATE TABLE runs (a int)"))
    for attempt in (
        lambda: sql.migrate(empty_postgres_url),
        lambda: sql.open_store(empty_postgres_url, create=True),
    ):
        with pytest.raises(sql.ForeignFile) as raised:
            attempt()
        assert "database of its own" in raised.value.next_step
    finding = sql.preflight(empty_postgres_url)[-1]
    assert (finding.check, type(finding.error)) == ("schema", sql.ForeignFile)
    with engine.connect() as session:
        assert inspect(session).get_table_names() == ["runs"]
    engine.dispose()


def test_a_database_of_a_later_version(own_postgres_url: str) -> None:
    engine = create_engine(make_url(own_postgres_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as session:
        session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(sql.SchemaTooNew):
        sql.open_store(own_postgres_url, create=True)
    with pytest.raises(sql.SchemaTooNew):
        sql.migrate(own_postgres_url)


def test_a_read_only_database(own_postgres_url: str) -> None:
    engine = create_engine(make_url(own_postgres_url).set(drivername="postgresql+psycopg"))
    name = make_url(own_postgres_url).database
    with engine.begin() as session:
        session.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    engine.dispose()
    finding = sql.preflight(own_postgres_url)[-1]
    assert (finding.check, type(finding.error)) == ("writing", sql.StoreReadOnly)
    assert finding.error is not None
    assert "Grant this user" in finding.error.next_step
    refused = postgres.explain(psycopg.errors.InsufficientPrivilege(), where="here")
    assert isinstance(refused, sql.StoreReadOnly)
    assert refused.next_step == finding.error.next_step


def test_a_server_that_is_not_there_and_a_password_that_stays_hidden() -> None:
    with pytest.raises(sql.StoreUnavailable) as caught:
        sql.open_store("postgresql://me:hunter22secret@127.0.0.1:1/nothing")
    assert "hunter22secret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_a_database_that_does_not_exist(postgres_server: str) -> None:
    url = make_url(postgres_server).set(database="interlock_nowhere", drivername="postgresql")
    with pytest.raises(sql.StoreUnavailable, match="does not exist"):
        sql.open_store(url.render_as_string(hide_password=False), create=True)


NEW_IN_CONNECTIONS = (
    "management_mode",
    "secret_source",
    "source_json",
    "params_json",
    "refresh_due_at",
    "refresh_fence",
    "refresh_owner_id",
    "refresh_until",
    "refresh_credential_id",
    "refresh_failures",
    "refreshed_at",
    "broken_at",
    "head_seq",
    "head_hash",
)

WITHOUT_QUEUE = {
    "sqlite": ("DROP TABLE jobs",),
    "postgresql": (
        "DROP TABLE interlock_pgqueuer, interlock_pgqueuer_log",
        "DROP FUNCTION interlock_fn_pgqueuer_forget, interlock_fn_pgqueuer_changed",
        "DROP TYPE interlock_pgqueuer_status",
        "ALTER TABLE sends ADD CONSTRAINT fk_sends_attempt_id FOREIGN KEY (attempt_id) REFERENCES attempts (attempt_id)",
    ),
}

SINCE_DELIVERY_NEEDS = tuple(
    f"DROP TABLE {name}"
    for name in ("key_sets", "agent_sessions", "agent_exchanges", "agent_summaries", "budget_holds")
)
"""What takes a store of today back to the migration that brought `delivery_needs`."""

FIRST_SCHEMA = (
    "ALTER TABLE runs DROP COLUMN traceparent",
    "DROP INDEX ix_runs_tenant_id_connection_id_created_at_run_id",
    "DROP INDEX ix_runs_tenant_id_actor_created_at_run_id",
    "DROP TABLE archived_runs",
    "DROP TABLE archives",
    "DROP TABLE tokens",
    "DROP TABLE polled_items",
    "DROP TABLE polls",
    "DROP TABLE schedules",
    "DROP TABLE dispatches",
    "DROP TABLE worker_lanes",
    "DROP TABLE pauses",
    *(f"DROP TABLE {name}" for name in ("messages", "feed_events", "outbox", "feeds", "subscriptions")),
    *(f"DROP TABLE {name}" for name in ("route_triggers", "routes", "triggers", "deliveries", "dedupe_keys")),
    "DROP TABLE delivery_needs",
    *SINCE_DELIVERY_NEEDS,
    "DROP INDEX ix_credentials_overlap_until",
    "DROP TABLE providers",
    "DROP TABLE key_rotations",
    "DROP INDEX ix_credentials_tenant_id_credential_id",
    "CREATE INDEX ix_credentials_key_id ON credentials (key_id)",
    "DROP TABLE installs",
    "DROP TABLE oauth_clients",
    "DROP TABLE connection_events",
    "DROP INDEX ix_connections_refresh_due_at",
    *(f"ALTER TABLE connections DROP COLUMN {name}" for name in NEW_IN_CONNECTIONS),
    *(f"ALTER TABLE credentials DROP COLUMN {name}" for name in ("superseded_at", "overlap_until", "grant_json")),
    "DROP TABLE evidence",
    "ALTER TABLE decisions RENAME COLUMN facts_json TO facts",
    "DROP INDEX ix_runs_trace_id",
    "CREATE INDEX ix_runs_trace_id ON runs (trace_id)",
    "DROP INDEX ix_runs_tenant_id_created_at_run_id",
    "CREATE INDEX ix_runs_tenant_id_run_id ON runs (tenant_id, run_id)",
    "DROP INDEX ix_runs_tenant_id_capability_created_at_run_id",
    "CREATE INDEX ix_runs_tenant_id_capability_run_id ON runs (tenant_id, capability, run_id)",
    "DROP INDEX ix_runs_tenant_id_state_created_at_run_id",
    "CREATE INDEX ix_runs_tenant_id_state_run_id ON runs (tenant_id, state, run_id)",
    "DROP INDEX ix_attempts_owner_id",
    "CREATE INDEX ix_attempts_state_owner_id ON attempts (state, owner_id)",
    f"UPDATE {schema.VERSION_TABLE} SET version_num = '0001'",
)
"""What makes a store of today into one of the first schema, but for the trees in which SQLite kept its events."""


def test_a_store_of_the_first_schema_migrates(
    fresh_url: str, open_store: Callable[[str], sql.SqlStore], builder: Builder
) -> None:
    made, admission = open_store(fresh_url), builder.admission()

    def age(session: Connection) -> None:
        for statement in (*WITHOUT_QUEUE[session.dialect.name], *FIRST_SCHEMA):
            session.execute(text(statement))

    def read(tx: Tx) -> object:
        run, ledger = admission.run, sql.SqlLedger(again)
        rows = [getattr(ledger, f"list_{kind}")(tx, run.tenant_id, run.run_id) for kind in ("events", "decisions")]
        standing = sql.ConnectionRecords().find(tx, CONNECTION.tenant_id, CONNECTION.name)
        return [ledger.find_run(tx, run.tenant_id, run.run_id), *map(tuple, rows), standing]

    def connect(tx: Tx) -> None:
        assert sql.ConnectionRecords().save(tx, CONNECTION, before=None)
        sql.ConnectionRecords().add_credential(tx, CREDENTIAL)

    asyncio.run(made.admit(admission))
    asyncio.run(made.write(connect))
    asyncio.run(made.write(lambda tx: age(sql.connection(tx))))
    made.close()
    with pytest.raises(sql.MigrationsPending):
        sql.open_store(fresh_url)
    assert sql.migrate(fresh_url).applied == schema.REVISIONS[1:]
    again = open_store(fresh_url)
    assert asyncio.run(again.read(lambda tx: differences(sql.connection(tx)))) == []
    assert asyncio.run(again.read(read)) == [
        admission.run,
        admission.events,
        admission.decisions,
        (CONNECTION, CREDENTIAL),
    ]


def test_work_that_refers_to_a_delivery_keeps_it_from_that_migration_on(
    fresh_url: str, open_store: Callable[[str], sql.SqlStore], builder: Builder
) -> None:
    made = open_store(fresh_url)
    said = (
        '{"signal":{"dataref":"dlv_1"}}',
        '{"signal":{"data":{"dataref":"dlv_2"}}}',
        '{"signal":{"dataref":"dlv_3"}}',
    )
    admissions = [builder.admission(input_json=text) for text in said]
    for each in admissions:
        asyncio.run(made.admit(each))
    asyncio.run(
        made.write(lambda tx: sql.DispatchRecords().add(tx, [dead_letter(each.run.run_id) for each in admissions[:2]]))
    )

    def age(session: Connection) -> None:
        for statement in (*SINCE_DELIVERY_NEEDS, "DROP TABLE delivery_needs"):
            session.execute(text(statement))
        session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '0022'"))

    asyncio.run(made.write(lambda tx: age(sql.connection(tx))))
    made.close()
    sql.migrate(fresh_url)
    again, needs = open_store(fresh_url), select(tables.delivery_needs.c.delivery_id, tables.delivery_needs.c.run_id)
    found = asyncio.run(again.read(lambda tx: sql.connection(tx).execute(needs).all()))
    assert [*map(tuple, found)] == [("dlv_1", admissions[0].run.run_id)]


def test_a_text_that_no_database_keeps_is_the_callers_mistake(
    store_url: str, open_store: Callable[[str], sql.SqlStore]
) -> None:
    """Such as a cursor of `%00`: no defect of the server's, to be reported."""
    store, query = open_store(store_url), runs.RunFilter(tenant_id="a\0b", cursor="run_\0", limit=1)
    with nullcontext() if "sqlite" in store_url else pytest.raises(RequestError, match="NUL"):
        asyncio.run(store.read(lambda tx: sql.SqlLedger(store).list_runs(tx, query)))


def test_the_options_of_an_address_are_kept(own_postgres_url: str, open_store: Callable[[str], sql.SqlStore]) -> None:
    store = open_store(
        make_url(own_postgres_url)
        .update_query_dict({"options": "-c work_mem=5MB"})
        .render_as_string(hide_password=False)
    )

    def kept(tx: Tx) -> object:
        return sql.connection(tx).exec_driver_sql("SHOW work_mem").scalar()

    assert asyncio.run(store.read(kept)) == "5MB"
