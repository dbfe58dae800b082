"""SIGKILL in the middle of replacing keys: everything opens at any time, and any process goes on."""

import multiprocessing
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio

import rotation_victim as victim
from interlock import connections
from interlock.adapters import keys, sql
from interlock.kernel import Caller, SystemClock, Tx, Uuid7Ids

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["rotation_victim"])

CALLER = Caller(tenant_id=victim.TENANT, actor="ann")
COUNT, BATCH = 40, 4


def killed(act: Callable[..., None], *arguments: object, after: int) -> list[tuple[Any, ...]]:
    """What a process said that was killed once it had said so many things, or that ended before."""
    answers, theirs = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=act, args=(*arguments, theirs))
    process.start()
    theirs.close()
    heard: list[tuple[Any, ...]] = []
    with answers, suppress(EOFError, OSError):  # the last answer may be cut off
        while True:
            heard.append(answers.recv())
            if len(heard) == after:
                process.kill()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    process.close()
    return heard


async def finish(store: sql.SqlStore) -> list[keys.StoredRotation]:
    """What another process does with the rotation that was left."""
    rotating = victim.rotating(store, BATCH)
    (begun,) = await rotating.begin(victim.TENANT)
    return [step async for step in rotating.follow(begun)]


async def tokens(store: sql.SqlStore) -> list[str]:
    """What all connections open to, as a process sees it that has just begun."""
    clock = SystemClock()
    desk = connections.Connections(
        store, sql.ConnectionRecords(), victim.keyring(store), clock=clock, ids=Uuid7Ids(clock)
    )
    found: list[str] = []
    for number in range(COUNT):
        resolved = await desk.resolve(CALLER, connector_id="acme", scopes=frozenset(), connection=f"n{number}")
        found += [secret.reveal() for secret in await desk.secrets_of(resolved)]
    return found


def test_a_rotation_that_is_killed_three_times(store_url: str, open_store: Callable[[str], sql.SqlStore]):
    store = open_store(store_url)
    anyio.run(victim.fill, store, COUNT)
    heard: list[tuple[Any, ...]] = []
    for after in (2, 3, 4):
        heard += killed(victim.rotate, store_url, BATCH, after=after)
        assert heard[-1][0] != "done"
        assert anyio.run(tokens, store) == [victim.token_of(f"n{number}") for number in range(COUNT)]
    steps = anyio.run(finish, store)
    assert {words[1] for words in heard} == {steps[-1].rotation_id}
    resealed = [*(words[2] for words in heard), *(step.resealed for step in steps)]
    assert resealed == sorted(resealed)
    assert resealed[-1] == COUNT
    assert anyio.run(tokens, store) == [victim.token_of(f"n{number}") for number in range(COUNT)]

    def count(tx: Tx) -> Mapping[tuple[str, str], int]:
        return sql.HOLDINGS[0].count(tx, victim.TENANT)

    assert len(anyio.run(store.read, count)) == 1


def test_a_store_that_goes_over_to_another_root_key_is_never_in_between(
    store_url: str, open_store: Callable[[str], sql.SqlStore]
):
    store, tenants = open_store(store_url), 30
    clock = SystemClock()
    ring = keys.Keyring(victim.ROOT, sql.KeyRecords(), store, clock=clock, ids=Uuid7Ids(clock))

    async def seal() -> list[connections.Sealed]:
        return [await ring.seal(f"t{number}", b"secret", aad=b"") for number in range(tenants)]

    async def opened() -> list[bytes]:
        fresh = victim.keyring(store)
        return [await fresh.open(f"t{number}", each, aad=b"") for number, each in enumerate(sealed)]

    def roots() -> set[str]:
        return {key.root_id for key in anyio.run(store.read, sql.KeyRecords().list_all)}

    sealed = anyio.run(seal)
    killed(victim.rewrap, store_url, after=tenants // 2)
    assert roots() in ({victim.ROOT.root_id}, {victim.OTHER.root_id})
    assert anyio.run(opened) == [b"secret"] * tenants
    anyio.run(victim.keyring(store).rewrap)
    assert roots() == {victim.OTHER.root_id}
    assert anyio.run(opened) == [b"secret"] * tenants


def test_rotations_of_many_tenants_begin_together_or_not_at_all(
    store_url: str, open_store: Callable[[str], sql.SqlStore]
):
    """Whoever repeats the command goes on with what has begun: tenants that had not would be left out."""
    store, tenants = open_store(store_url), [f"t{number}" for number in range(12)]

    def begun() -> int:
        return len(anyio.run(store.read, sql.KeyRecords().list_rotations))

    killed(victim.begin, store_url, tenants, after=len(tenants) // 2)
    assert begun() in (0, len(tenants))
    anyio.run(victim.rotating(store).begin, *tenants)
    assert begun() == len(tenants)
