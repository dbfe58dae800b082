"""Files that are no store, are one no longer, or cannot be written: one clear error each, and nothing is changed."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from fix_ledger import Builder
from fix_rights import unprivileged
from fix_store import outcomes
from interlock.adapters import sql
from interlock.adapters.sql import sqlite
from interlock.kernel import StoreError, SystemClock, Tx

pytestmark = pytest.mark.anyio

CLOCK = SystemClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with some hundred runs, closed."""
    path = tmp_path / "store.db"
    store = sql.open_store(str(path), create=True)
    ledger, builder = sql.SqlLedger(store), Builder()

    asyncio.run(outcomes(ledger.admit(builder.admission()) for _ in range(150)))
    store.close()
    return path


def failure(path: Path | str, *, create: bool = False) -> StoreError:
    with pytest.raises(StoreError) as caught:
        sql.open_store(str(path), create=create)
    assert caught.value.next_step
    assert str(Path(path).parent) in caught.value.message
    return caught.value


def test_a_missing_store_is_not_created_unasked(tmp_path: Path) -> None:
    assert isinstance(failure(tmp_path / "deep" / "none.db"), sql.StoreMissing)
    assert list(tmp_path.iterdir()) == []


def test_a_new_store_is_private_and_leaves_no_drafts(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "new.db"
    sql.open_store(str(path), create=True).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["new.db"]
    sql.open_store(str(path), create=True).close()


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", sql.StoreDamaged),
        (b"hello", sql.ForeignFile),
        (b"#" * 9000, sql.ForeignFile),
        (b"SQLite format 3\0", sql.ForeignFile),
    ],
)
def test_a_file_that_is_no_store(tmp_path: Path, content: bytes, kind: type[StoreError], create: bool) -> None:
    path = tmp_path / "file.db"
    path.write_bytes(content)
    assert type(failure(path, create=create)) is kind
    with pytest.raises(kind):
        sql.migrate(str(path))
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.db"]


@pytest.mark.parametrize("create", [False, True])
def test_another_programs_database(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as session:
        session.execute("CREATE TABLE runs (a)")
    session.close()
    before = path.read_bytes()
    assert isinstance(failure(path, create=create), sql.ForeignFile)
    assert path.read_bytes() == before


def test_a_directory(tmp_path: Path) -> None:
    assert isinstance(failure(tmp_path), sql.StoreUnavailable)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_off_store_is_damaged_not_new(path: Path, share: float) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    assert isinstance(failure(path, create=True), sql.StoreDamaged)


def spoil(path: Path, *, keep: int) -> None:
    """Overwrite all pages but the first few with noise."""
    with path.open("r+b") as file:
        file.seek(keep * 4096)
        file.write(os.urandom(path.stat().st_size - keep * 4096))


def test_damage_inside_is_found_by_the_preflight(path: Path) -> None:
    spoil(path, keep=1)
    problems = [finding for finding in sql.preflight(str(path)) if finding.error]
    assert len(problems) == 1
    assert isinstance(problems[0].error, sql.StoreDamaged)


async def test_damage_found_while_working_is_named(path: Path) -> None:
    store = sql.open_store(str(path))
    try:
        spoil(path, keep=2)
        with pytest.raises(sql.StoreDamaged):
            await store.read(lambda tx: sql.connection(tx).execute(text("SELECT * FROM runs ORDER BY actor")).all())
    finally:
        store.close()


def test_the_schema_of_a_later_version(path: Path) -> None:
    set_revision(path, "9999")
    assert isinstance(failure(path), sql.SchemaTooNew)
    with pytest.raises(sql.SchemaTooNew):
        sql.migrate(str(path))


def test_pending_migrations(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    sql.open_store(str(path), create=True).close()
    session = sqlite3.connect(path)
    for (name,) in session.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        session.execute(f"DROP TABLE {name}")
    session.commit()
    session.close()
    assert isinstance(failure(path, create=True), sql.MigrationsPending)
    report = sql.migrate(str(path))
    assert (report.before, report.applied[-1]) == (None, report.after)
    sql.open_store(str(path)).close()
    assert sql.migrate(str(path)).applied == ()


def set_revision(path: Path, revision: str) -> None:
    session = sqlite3.connect(path)
    session.execute("UPDATE interlock_version SET version_num = ?", [revision])
    session.commit()
    session.close()


def test_a_lost_journal_mode(path: Path) -> None:
    session = sqlite3.connect(path)
    session.execute("PRAGMA journal_mode = DELETE")
    session.close()
    sql.open_store(str(path)).close()
    session = sqlite3.connect(path)
    assert session.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    session.close()


async def test_a_full_disk_fails_the_write_and_keeps_the_rest(
    path: Path, open_store: Callable[[str], sql.SqlStore]
) -> None:
    store = open_store(str(path))
    ledger, builder = sql.SqlLedger(store), Builder(prefix=1)

    pages = await store.read(lambda tx: sql.connection(tx).execute(text("PRAGMA page_count")).scalar_one())
    await store.write(lambda tx: sql.connection(tx).exec_driver_sql(f"PRAGMA max_page_count = {pages + 8}"))
    acked: list[str] = []

    async def fill() -> None:
        for _ in range(200):
            answer = await ledger.admit(builder.admission())
            acked.append(answer.run_id)

    with pytest.raises(sql.StoreFull, match="no room"):
        await fill()
    assert acked
    for run_id in acked:
        assert await store.read(lambda tx, run_id=run_id: ledger.find_run(tx, "default", run_id)) is not None
    await store.write(lambda tx: sql.connection(tx).exec_driver_sql("PRAGMA max_page_count = 1000000"))
    assert (await ledger.admit(builder.admission())).fresh
    assert all(finding.error is None for finding in sql.preflight(str(path)))


async def test_a_full_disk_under_a_crowd(path: Path, open_store: Callable[[str], sql.SqlStore]) -> None:
    store = open_store(str(path))
    ledger, builder = sql.SqlLedger(store), Builder(prefix=1)
    pages = await store.read(lambda tx: sql.connection(tx).execute(text("PRAGMA page_count")).scalar_one())
    await store.write(lambda tx: sql.connection(tx).exec_driver_sql(f"PRAGMA max_page_count = {pages + 20}"))
    answers = await outcomes(ledger.admit(builder.admission()) for _ in range(60))
    assert {type(answer).__name__ for answer in answers} == {"Admitted", "StoreFull"}
    kept = [answer for answer in answers if not isinstance(answer, BaseException)]
    stored = await store.read(lambda tx: sql.connection(tx).execute(text("SELECT count(*) FROM runs")).scalar_one())
    assert stored == 150 + len(kept)


def protected(
    path: Path, folder: Path, *, suffixes: Sequence[str] = ("",), file_mode: int = 0o444, folder_mode: int = 0o555
) -> Path:
    """A copy of a store's files in the folder, with rights as given."""
    for suffix in suffixes:
        there = folder / f"store.db{suffix}"
        shutil.copy(path.with_name(path.name + suffix), there)
        there.chmod(file_mode)
    folder.chmod(folder_mode)
    return folder / "store.db"


COUNT = text("SELECT count(*) FROM runs")


async def count(store: sql.SqlStore) -> int:
    return await store.read(lambda tx: sql.connection(tx).execute(COUNT).scalar_one())


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o777), (0o666, 0o555)])
async def test_a_store_that_may_not_be_written_is_read(
    path: Path, everyones_folder: Path, file_mode: int, folder_mode: int
) -> None:
    copy = protected(path, everyones_folder, file_mode=file_mode, folder_mode=folder_mode)
    with unprivileged():
        store = sql.open_store(str(copy))
        try:
            assert await count(store) == 150
            for refused in (sql.SqlLedger(store).admit(Builder(prefix=1).admission()), store.write(lambda tx: None)):
                with pytest.raises(sql.StoreReadOnly, match="may not be written by this user: it can be read"):
                    await refused
        finally:
            store.close()
        with pytest.raises(sql.StoreReadOnly):
            sql.migrate(str(copy))
        finding = sql.preflight(str(copy))[-1]
        assert isinstance(finding.error, sql.StoreReadOnly)
    assert os.listdir(everyones_folder) == ["store.db"]


def test_a_store_that_may_not_be_read(path: Path, everyones_folder: Path) -> None:
    copy = protected(path, everyones_folder, file_mode=0)
    with unprivileged():
        assert isinstance(failure(copy), sql.StoreReadOnly)


@pytest.mark.parametrize("index", [True, False])
async def test_what_a_killed_process_left_in_the_log_is_read_from_a_store_that_may_not_be_written(
    path: Path, everyones_folder: Path, index: bool
) -> None:
    store = sql.open_store(str(path))
    try:
        await sql.SqlLedger(store).admit(Builder(prefix=1).admission())
        copy = protected(path, everyones_folder, suffixes=("", "-wal", "-shm") if index else ("", "-wal"))
    finally:
        store.close()
    with unprivileged():
        left = sql.open_store(str(copy))
        try:
            assert await count(left) == 151
        finally:
            left.close()


@contextmanager
def reading(path: Path) -> Generator[sql.SqlStore]:
    """The store, opened by somebody who may not write to it; others may."""
    path.chmod(0o444)
    path.parent.chmod(0o555)
    with unprivileged():
        store = sql.open_store(str(path))
    path.chmod(0o644)
    path.parent.chmod(0o755)
    try:
        yield store
    finally:
        store.close()


async def test_a_store_that_may_not_be_written_is_read_beside_those_who_write(
    path: Path, everyones_folder: Path
) -> None:
    path = Path(shutil.copy(path, everyones_folder))
    with reading(path) as store:
        assert await count(store) == 150
        writer = sql.open_store(str(path))
        try:
            await sql.SqlLedger(writer).admit(Builder(prefix=1).admission())
            assert await count(store) == 151  # it was opened anew: there was nothing to lock, and now there is
            with reading(path) as again:
                assert await count(again) == 151
                await sql.SqlLedger(writer).admit(Builder(prefix=2).admission())
                assert await count(again) == 152
                assert await outcomes(count(store) for _ in range(8)) == [152] * 8
        finally:
            writer.close()


async def test_what_was_read_while_it_was_written_is_read_again(path: Path, everyones_folder: Path) -> None:
    path = Path(shutil.copy(path, everyones_folder))
    times, disturbances = 0, 1

    def disturbed(tx: Tx) -> int:
        nonlocal times
        times += 1
        if times <= disturbances:
            os.utime(path, ns=(times, times))
        return times

    with reading(path) as store:
        assert await store.read(disturbed) == 2
        disturbances = 9
        with pytest.raises(sql.StoreBusy, match="while it was read"):
            await store.read(disturbed)
        assert await count(store) == 150


async def test_a_store_that_was_replaced_while_it_was_open_for_reading(path: Path, everyones_folder: Path) -> None:
    path = Path(shutil.copy(path, everyones_folder))
    with reading(path) as store:
        assert await count(store) == 150
        path.write_bytes(b"SQLite format 3" + bytes(200))
        with pytest.raises(sql.ForeignFile):
            await count(store)


def test_a_folder_where_no_store_can_be_made(everyones_folder: Path) -> None:
    everyones_folder.chmod(0o555)
    with unprivileged():
        for path in (everyones_folder / "store.db", everyones_folder / "deep" / "store.db"):
            assert isinstance(failure(path, create=True), sql.StoreReadOnly)


def test_another_process_that_holds_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    store = sql.open_store(str(path))
    try:
        with pytest.raises(sql.StoreBusy):
            asyncio.run(sql.SqlLedger(store).admit(Builder(prefix=1).admission()))
        holder.execute("ROLLBACK")
        assert asyncio.run(sql.SqlLedger(store).admit(Builder(prefix=1).admission())).fresh
    finally:
        holder.close()
        store.close()
