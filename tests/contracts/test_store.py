"""What every store promises to the functions that run in its transactions."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError

from fix_forks import in_a_fork
from fix_store import outcomes
from interlock.adapters import sql
from interlock.adapters.sql.tables import owners
from interlock.adapters.sql.transaction import connection, sql_tx
from interlock.kernel import Forked, InterlockError, StoreError, Tx

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def store(every_store_url: str, open_store: Callable[[str], sql.SqlStore]) -> sql.SqlStore:
    return open_store(every_store_url)


def add(name: str) -> Callable[[Tx], str]:
    """A function that writes one row and gives its id back."""

    def fn(tx: Tx) -> str:
        sql.connection(tx).execute(
            owners.insert().values(
                owner_id=name, tenant_id="-", host="h", process="1", started_at=NOON, beat=1, lease_us=1
            )
        )
        return name

    return fn


def names(tx: Tx) -> list[str]:
    return list(sql.connection(tx).execute(select(owners.c.owner_id).order_by(owners.c.owner_id)).scalars())


async def test_a_write_is_there_for_the_next_read(store: sql.SqlStore) -> None:
    assert await store.write(add("own_1")) == "own_1"
    assert await store.read(names) == ["own_1"]


async def test_what_reads_by_the_driver_alone_sees_later_writes(store: sql.SqlStore) -> None:
    def number(tx: Tx) -> int:
        return sql_tx(tx).driver_connection.execute("SELECT count(*) FROM owners").fetchone()[0]

    assert [await store.read(number) for _ in range(10)] == [0] * 10  # every reader's session has begun
    await store.write(add("own_1"))
    assert [await store.read(number) for _ in range(10)] == [1] * 10


async def test_moments_come_back_as_they_went_in(store: sql.SqlStore) -> None:
    moment = datetime(2026, 11, 20, 12, 0, 0, 123457, tzinfo=UTC)
    await store.write(add("own_1"))
    await store.write(lambda tx: sql.connection(tx).execute(update(owners).values(started_at=moment)))
    assert await store.read(lambda tx: sql.connection(tx).execute(select(owners.c.started_at)).scalar()) == moment


async def test_what_the_function_raises_comes_out_and_nothing_was_written(store: sql.SqlStore) -> None:
    class Mine(Exception):
        pass

    def fn(tx: Tx) -> None:
        add("own_1")(tx)
        raise Mine("no")

    with pytest.raises(Mine):
        await store.write(fn)
    assert await store.read(names) == []


async def test_a_refused_row_is_a_store_error_without_the_driver_in_front(store: sql.SqlStore) -> None:
    await store.write(add("own_1"))
    with pytest.raises(sql.RowRefused) as caught:
        await store.write(add("own_1"))
    assert caught.value.code == "row_refused"
    assert caught.value.__cause__ is not None
    assert await store.read(names) == ["own_1"]


async def test_a_read_cannot_write(store: sql.SqlStore) -> None:
    with pytest.raises(StoreError):
        await store.read(add("own_1"))
    assert await store.read(names) == []
    await store.write(add("own_2"))
    assert await store.read(names) == ["own_2"]


async def test_a_transaction_ends_with_its_function(store: sql.SqlStore) -> None:
    kept: list[Tx] = []
    await store.write(kept.append)
    await store.read(kept.append)
    assert [tx.is_open for tx in kept] == [False, False]
    for tx in kept:
        with pytest.raises(RuntimeError, match="has ended"):
            sql.connection(tx)


async def test_a_foreign_transaction_is_refused() -> None:
    class Other:
        is_open = True

    with pytest.raises(TypeError, match="Other"):
        sql.connection(Other())


async def test_one_callers_failure_costs_the_others_nothing(store: sql.SqlStore) -> None:
    async def one(number: int) -> str:
        def fn(tx: Tx) -> str:
            add(f"own_{number:03}")(tx)
            if number % 3 == 0:
                raise ValueError(number)
            return f"own_{number:03}"

        try:
            return await store.write(fn)
        except ValueError as error:
            return f"failed {error}"

    answers = await outcomes(one(number) for number in range(60))
    expected = [f"own_{number:03}" for number in range(60) if number % 3]
    assert [answer for answer in answers if str(answer).startswith("own_")] == expected
    assert await store.read(names) == expected


async def test_a_savepoint_of_the_functions_own(store: sql.SqlStore) -> None:
    def fn(tx: Tx) -> None:
        add("own_1")(tx)
        with suppress(KeyError), sql.connection(tx).begin_nested():
            add("own_2")(tx)
            raise KeyError

    await store.write(fn)
    assert await store.read(names) == ["own_1"]


async def test_reads_that_fail_cost_the_others_nothing(store: sql.SqlStore) -> None:
    await store.write(add("own_1"))

    def broken(tx: Tx) -> None:
        sql.connection(tx).exec_driver_sql("SELECT no_such_column FROM owners")

    def mistaken(_tx: Tx) -> None:
        raise KeyError("mine")

    kinds = [names, broken, mistaken] * 20
    found = await outcomes(cast("Awaitable[object]", store.read(kind)) for kind in kinds)
    assert found[0::3] == [["own_1"]] * 20
    assert all(isinstance(error, InterlockError) for error in found[1::3])
    assert all(isinstance(error, KeyError) for error in found[2::3])


async def test_a_read_sees_one_snapshot(store_url: str, open_store: Callable[[str], sql.SqlStore]) -> None:
    reader, writer = open_store(store_url), open_store(store_url)
    loop = asyncio.get_running_loop()

    def fn(tx: Tx) -> tuple[int, int]:
        count = select(func.count()).select_from(owners)
        before = sql.connection(tx).execute(count).scalar_one()
        asyncio.run_coroutine_threadsafe(writer.write(add("own_1")), loop).result(10)
        return before, sql.connection(tx).execute(count).scalar_one()

    assert await reader.read(fn) == (0, 0)
    assert await reader.read(names) == ["own_1"]


async def test_compare_and_set_from_many_callers_has_one_winner(
    store_url: str, open_store: Callable[[str], sql.SqlStore]
) -> None:
    stores = [open_store(store_url), open_store(store_url)]
    await stores[0].write(add("own_1"))

    def take(winner: str) -> Callable[[Tx], int]:
        query = update(owners).where(owners.c.host == "h").values(host=winner)
        return lambda tx: sql.connection(tx).execute(query).rowcount

    hits = await outcomes(stores[number % 2].write(take(f"w{number}")) for number in range(20))
    assert (hits.count(1), hits.count(0)) == (1, 19)


async def test_a_lock_guards_a_rule_over_several_rows(
    store_url: str, open_store: Callable[[str], sql.SqlStore]
) -> None:
    stores = [open_store(store_url), open_store(store_url)]

    def fn(number: int) -> Callable[[Tx], bool]:
        def at_most_three(tx: Tx) -> bool:
            sql.lock(tx, "three")
            if len(names(tx)) == 3:
                return False
            add(f"own_{number}")(tx)
            return True

        return at_most_three

    answers = await outcomes(stores[number % 2].write(fn(number)) for number in range(16))
    assert answers.count(True) == 3
    assert len(await stores[0].read(names)) == 3


async def test_racing_inserts_run_again_and_then_see_the_other(
    store_url: str, open_store: Callable[[str], sql.SqlStore]
) -> None:
    stores = [open_store(store_url), open_store(store_url)]

    def once(tx: Tx) -> str:
        return "found" if names(tx) else add("own_1")(tx)

    answers = await outcomes(stores[number % 2].write(once) for number in range(12))
    assert sorted(map(str, answers)) == ["found"] * 11 + ["own_1"]


@pytest.mark.faults
@pytest.mark.parametrize("isolation", ["READ COMMITTED", "SERIALIZABLE"])
async def test_a_transaction_that_lost_to_another_runs_again(
    postgres_url: str, open_store: Callable[[str], sql.SqlStore], isolation: str
) -> None:
    """By a deadlock (40P01), or because what it read was changed (40001). SQLite writes one by one and knows neither."""
    stores = [open_store(postgres_url), open_store(postgres_url)]
    for name in ("own_1", "own_2"):
        await stores[0].write(add(name))
    both, tries = threading.Barrier(2), list[str]()

    def change(first: str, second: str) -> Callable[[Tx], int]:
        def fn(tx: Tx) -> int:
            session = sql.connection(tx)
            session.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
            seen: int = session.execute(select(func.sum(owners.c.beat))).scalar_one()
            tries.append(first)
            if tries.count(first) == 1:
                both.wait(30)  # so that each has read before either writes
            for name in (first, second):
                session.execute(update(owners).where(owners.c.owner_id == name).values(beat=owners.c.beat + 1))
                if len(tries) == 2 and isolation == "READ COMMITTED" and name == first:
                    both.wait(30)  # so that each holds what the other wants
            return int(seen)

        return fn

    seen = await outcomes([stores[0].write(change("own_1", "own_2")), stores[1].write(change("own_2", "own_1"))])
    assert sorted(cast("list[int]", seen)) == [2, 4]  # the loser has read what the winner wrote
    assert len(tries) >= 3


async def test_a_cancelled_write_leaves_the_store_usable(store: sql.SqlStore) -> None:
    wanted = [f"own_{number:02}" for number in range(30)]
    answers = await outcomes((store.write(add(name)) for name in wanted), cancel=range(0, 30, 2))
    there = set(await store.read(names))
    assert {name for name, answer in zip(wanted, answers, strict=True) if answer == name} <= there
    assert answers[1::2] == wanted[1::2]
    assert await store.write(add("own_x")) == "own_x"


async def test_two_event_loops_share_a_store(store: sql.SqlStore) -> None:
    def elsewhere() -> list[str]:
        return asyncio.run(_write_then_read(store))

    assert "own_other" in await asyncio.to_thread(elsewhere)
    assert await store.read(names) == ["own_other"]


async def _write_then_read(store: sql.SqlStore) -> list[str]:
    await store.write(add("own_other"))
    return await store.read(names)


async def test_a_closed_store_says_so(store: sql.SqlStore) -> None:
    async def close() -> None:
        store.close()
        store.close()

    answers = await outcomes([store.write(add("own_1")), close()])  # closed while the write was under way
    assert answers == ["own_1", None]
    with pytest.raises(sql.StoreClosed):
        await store.write(add("own_2"))
    with pytest.raises(sql.StoreClosed):
        await store.read(names)


async def test_a_function_that_raises_stop_iteration_does_not_hang_its_caller(store: sql.SqlStore) -> None:
    def fn(tx: Tx) -> None:
        raise StopIteration("end")

    with pytest.raises((RuntimeError, StopIteration)):
        await asyncio.wait_for(store.write(fn), 10)


@pytest.mark.parametrize(
    ("end", "heard"),
    [
        (SystemExit, "SystemExit"),
        (KeyboardInterrupt, "KeyboardInterrupt"),
        (GeneratorExit, "RuntimeError"),
        (asyncio.CancelledError, "RuntimeError"),
    ],
)
async def test_a_function_that_ends_its_thread_ends_nothing_but_its_own_call(
    store: sql.SqlStore, end: type[BaseException], heard: str
) -> None:
    def fn(tx: Tx) -> None:
        add("own_1")(tx)
        raise end

    def look(tx: Tx) -> None:
        raise end

    async def caller(call: Callable[[Callable[[Tx], None]], Awaitable[None]], what: Callable[[Tx], None]) -> str:
        try:
            async with asyncio.timeout(60):
                await call(what)
        except BaseException as error:  # noqa: BLE001 - the test is about these
            return type(error).__name__
        return "nothing"

    for _ in range(10):  # more than there are threads
        assert await caller(store.write, fn) == heard
        assert await caller(store.read, look) == heard
    assert await asyncio.wait_for(store.write(add("own_2")), 60) == "own_2"
    assert await store.read(names) == ["own_2"]


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "file"])
async def test_a_writer_that_cannot_go_on_tells_everybody(
    url: str, tmp_path: Path, open_store: Callable[[str], sql.SqlStore]
) -> None:
    store = open_store(str(tmp_path / "store.db") if url == "file" else url)

    def fn(tx: Tx) -> None:
        session = cast("sqlite3.Connection", sql.connection(tx).connection.driver_connection)
        session.close()

    async def answer(work: Callable[[Tx], object]) -> str:
        try:
            await asyncio.wait_for(store.write(work), 60)
        except StoreError as error:
            return error.code
        return "nothing"

    answers = await outcomes(answer(work) for work in (fn, add("own_1"), add("own_2")))
    assert answers == ["store_unavailable"] * 3
    assert await answer(add("own_3")) == "store_closed"


async def test_a_forked_child_is_told_at_once_and_closes_nothing(store: sql.SqlStore) -> None:
    def there() -> str:
        said: list[str] = []
        for work in (lambda: store.read(names), lambda: store.write(add("own_2"))):
            with pytest.raises(Forked, match="was opened by process"):
                asyncio.run(work())
            said.append("told")
        store.close()
        return " ".join(said)

    await store.write(add("own_1"))
    assert in_a_fork(there) == "told told"
    assert await store.read(names) == ["own_1"]


def add_all(tx: Tx, wanted: Sequence[str]) -> list[tuple[str, int]]:
    """Writes many rows; says of each how many came with it."""
    return [(add(name)(tx), len(wanted)) for name in wanted]


async def test_what_waits_for_one_function_is_written_together(store: sql.SqlStore) -> None:
    answers = await outcomes(store.write_together(add_all, f"own_{number:02}") for number in range(40))
    told = [answer for answer in answers if isinstance(answer, tuple)]
    assert [name for name, _ in told] == [f"own_{number:02}" for number in range(40)]
    assert max(size for _, size in told) > 1
    assert await store.read(names) == [name for name, _ in told]


async def test_of_those_written_together_one_that_fails_costs_the_others_nothing(store: sql.SqlStore) -> None:
    await store.write(add("own_03"))
    answers = await outcomes(store.write_together(add_all, f"own_{number:02}") for number in range(8))
    assert [isinstance(answer, sql.RowRefused) for answer in answers] == [number == 3 for number in range(8)]
    assert await store.read(names) == [f"own_{number:02}" for number in range(8)]


def _read_and_add_all(tx: Tx, wanted: Sequence[str]) -> list[str]:
    """Reads by the driver, which prepares what it sees often, and writes by the hot path, which does so itself."""
    names(tx)
    if (hot := sql_tx(tx).hot) is not None:
        hot.execute("SELECT 1", [])
    return [add(name)(tx) for name in wanted]


async def test_a_joint_write_that_is_rolled_back_costs_those_after_it_nothing(store: sql.SqlStore) -> None:
    """The driver forgets on the server whatever was prepared there, when it rolls back."""
    for number in range(30):  # on every connection of the lanes
        await store.write_together(_read_and_add_all, f"own_{number:02}")
    for _ in range(6):
        with pytest.raises(sql.RowRefused):
            await store.write_together(_read_and_add_all, "own_00")
    for number in range(30, 40):
        assert await store.write_together(_read_and_add_all, f"own_{number:02}") == f"own_{number:02}"


def _add_all_after_a_part_that_fails(tx: Tx, wanted: Sequence[str]) -> list[str]:
    with suppress(IntegrityError), connection(tx).begin_nested():
        _read_and_add_all(tx, ["own_00"])
    return _read_and_add_all(tx, wanted)


async def test_a_part_of_a_joint_write_that_is_rolled_back_costs_the_rest_nothing(store: sql.SqlStore) -> None:
    for number in range(30):
        await store.write_together(_read_and_add_all, f"own_{number:02}")
    for number in range(30, 40):
        assert await store.write_together(_add_all_after_a_part_that_fails, f"own_{number:02}") == f"own_{number:02}"


def _end_the_connection(tx: Tx, wanted: Sequence[str]) -> list[str]:
    _read_and_add_all(tx, wanted)
    connection(tx).execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    return list(wanted)


async def test_a_connection_that_is_lost_in_a_joint_write_is_told_as_such(postgres_url: str) -> None:
    store = sql.open_store(postgres_url)
    try:
        with pytest.raises(sql.StoreUnavailable):
            await store.write_together(_end_the_connection, "own_1")
        assert await store.write_together(_read_and_add_all, "own_1") == "own_1"
    finally:
        store.close()


async def test_a_change_of_a_columns_type_beside_a_running_process_costs_it_few_reads(
    own_postgres_url: str, open_store: Callable[[str], sql.SqlStore]
) -> None:
    """As a migration may do it. The driver has a plan for the column as it was on each connection that reads."""
    store = open_store(own_postgres_url)

    async def change(statement: str) -> None:
        await store.write(lambda tx: connection(tx).exec_driver_sql(statement) and None)

    def read(tx: Tx) -> int | None:
        return connection(tx).exec_driver_sql("SELECT max(n) FROM scratch GROUP BY n").scalar()

    await change("CREATE TABLE scratch (n int)")
    for _ in range(60):
        await store.read(read)
    await change("ALTER TABLE scratch ALTER n TYPE bigint")
    refused = 0
    for _ in range(60):
        try:
            await store.read(read)
        except sql.RowRefused:
            refused += 1
    assert refused <= 4, "once for each connection at most"
