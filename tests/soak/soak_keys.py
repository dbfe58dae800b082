"""`SOAK_SECRETS` (100,000) credentials get another key while they are read, by processes of which three are killed. It prints
what that takes: time, memory, and what the readers notice."""

import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import pytest

import rotation_victim as victim
from interlock import connections
from interlock.adapters import keys, sql
from interlock.kernel import Caller, SystemClock, Uuid7Ids

pytestmark = [pytest.mark.soak, pytest.mark.anyio, pytest.mark.timeout(3600)]

SECRETS = int(os.environ.get("SOAK_SECRETS", "100000"))
KILLS = 3
MOST = 64_000_000
"""Bytes that the resident set may grow by: some batches of rows, whatever the number of secrets."""

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["rotation_victim"])
CALLER = Caller(tenant_id=victim.TENANT, actor="ann")


def run(url: str, until: int) -> list[tuple[Any, ...]]:
    """What a process said that is killed as soon as so many secrets are under the new key."""
    answers, theirs = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=victim.rotate, args=(url, keys.BATCH, theirs))
    process.start()
    theirs.close()
    heard: list[tuple[Any, ...]] = []
    with answers, suppress(EOFError, OSError):
        while True:
            heard.append(answers.recv())
            if heard[-1][0] == "step" and heard[-1][2] >= until:
                process.kill()
    process.join()
    process.close()
    return heard


class Readers:
    """Calls' way to a secret, again and again, each time for another connection."""

    def __init__(self, store: sql.SqlStore) -> None:
        clock = SystemClock()
        ring = victim.keyring(store)
        self._desk = connections.Connections(store, sql.ConnectionRecords(), ring, clock=clock, ids=Uuid7Ids(clock))
        self._chance = random.Random(7)
        self.waits: list[float] = []

    async def read(self) -> None:
        name = f"n{self._chance.randrange(SECRETS)}"
        began = time.perf_counter()
        resolved = await self._desk.resolve(CALLER, connector_id="acme", scopes=frozenset(), connection=name)
        (secret,) = await self._desk.secrets_of(resolved)
        self.waits.append(time.perf_counter() - began)
        assert secret.reveal() == victim.token_of(name)

    async def keep(self) -> None:
        while True:
            await self.read()
            await anyio.sleep(0.002)


async def test_many_secrets_get_another_key_while_they_are_read(
    store_url: str, open_store: Callable[[str], sql.SqlStore]
) -> None:
    store = open_store(store_url)
    await victim.fill(store, SECRETS)
    readers, heard = Readers(store), list[tuple[Any, ...]]()
    for _ in range(500):
        await readers.read()
    quiet, readers.waits = readers.waits, []
    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(readers.keep)
        for kill in range(1, KILLS + 2):
            until = SECRETS * kill // (KILLS + 1) if kill <= KILLS else 2 * SECRETS
            heard += await anyio.to_thread.run_sync(run, store_url, until)
        tasks.cancel_scope.cancel()
    took = time.perf_counter() - began
    _, before, most = heard[-1]
    steps = [words[2] for words in heard if words[0] in {"begun", "step"}]
    assert (steps, steps[-1]) == (sorted(steps), SECRETS)
    assert len([words for words in heard if words[0] == "begun"]) == KILLS + 1
    assert len({words[1] for words in heard if words[0] in {"begun", "step"}}) == 1
    assert len(await store.read(lambda tx: sql.HOLDINGS[0].count(tx, victim.TENANT))) == 1
    assert most - before < MOST
    print(
        f"\n{store_url.partition(':')[0]}: {SECRETS} secrets in {took:.1f} s ({SECRETS / took:,.0f} a second), "
        f"killed {KILLS} times; "
        f"memory {before / 1e6:.0f} MB, at most {most / 1e6:.0f} MB; {len(readers.waits)} reads meanwhile, "
        f"median {1000 * statistics.median(readers.waits):.2f} ms (quiet: {1000 * statistics.median(quiet):.2f} ms), "
        f"longest {1000 * max(readers.waits):.0f} ms"
    )
