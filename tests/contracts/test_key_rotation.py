"""A tenant's data key is replaced while it is used, on every engine."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest
from sqlalchemy import select, update

from fix_connections import CLIENT, INSTALL, NOW
from fix_subscriptions import SUBSCRIPTION
from fix_webhooks import Post
from interlock import connections, subscriptions, testing
from interlock.adapters import keys, sql
from interlock.adapters.sql import tables
from interlock.connections import Connections, TokenGrant
from interlock.kernel import Caller, Secret, Tx
from interlock.triggers import webhooks

pytestmark = pytest.mark.anyio

ROOT = keys.RootKey(bytes(range(32)), source="test")
OTHER = keys.RootKey(bytes(range(1, 33)), source="test")
ANN = Caller(tenant_id="t1", actor="ann")
BOB = Caller(tenant_id="t2", actor="bob")
BATCH = 3
CREDENTIALS, INSTALLS, CLIENTS, _SUBSCRIPTIONS, _ROUTES = sql.HOLDINGS


class Process:
    """What one process has of its own: a keyring, a desk, a rotation."""

    def __init__(
        self,
        store: sql.SqlStore,
        root: keys.RootCipher,
        former: Sequence[keys.RootCipher],
        clock: testing.ManualClock,
        ids: testing.SequentialIds,
    ) -> None:
        records = sql.KeyRecords()
        self.store = store
        self.ring = keys.Keyring(root, records, store, clock=clock, ids=ids, former=former)
        self.desk = Connections(store, sql.ConnectionRecords(), self.ring, clock=clock, ids=ids)
        self.rotating = keys.Rotating(self.ring, records, sql.HOLDINGS, store, clock=clock, ids=ids, batch=BATCH)

    async def connect(self, name: str, *, caller: Caller = ANN, token: str | None = None) -> None:
        secret = Secret(token or f"token-of-{name}-0123456789")
        await self.desk.connect_token(
            caller,
            TokenGrant(
                connector_id="acme",
                profile_id="token",
                fields=("token",),
                secrets={"token": secret},
                subject="octo",
                scopes=frozenset({"read"}),
                name=name,
            ),
        )

    async def token(self, name: str, *, caller: Caller = ANN) -> str:
        resolved = await self.desk.resolve(caller, connector_id="acme", scopes={"read"}, connection=name)
        (secret,) = await self.desk.secrets_of(resolved)
        return secret.reveal()

    async def steps(self) -> AsyncGenerator[keys.StoredRotation]:
        (begun,) = await self.rotating.begin("t1")
        yield begun
        async for step in self.rotating.follow(begun):
            yield step

    async def rotate(self) -> keys.StoredRotation:
        return [step async for step in self.steps()][-1]

    async def key_ids(self, caller: Caller = ANN) -> dict[str, int]:
        """How many rows are sealed under each key."""

        def count(tx: Tx) -> Counter[tuple[str, str]]:
            counts = (Counter(holding.count(tx, caller.tenant_id)) for holding in sql.HOLDINGS)
            return sum(counts, Counter[tuple[str, str]]())

        return {key_id: rows for (_, key_id), rows in (await self.store.read(count)).items()}


class Maker:
    """Makes processes on one store, or on another opening of it."""

    def __init__(self, store: sql.SqlStore) -> None:
        self._store = store
        self._clock, self._ids = testing.ManualClock(), testing.SequentialIds()

    def __call__(
        self, *, store: sql.SqlStore | None = None, root: keys.RootCipher = ROOT, former: Sequence[keys.RootCipher] = ()
    ) -> Process:
        return Process(store or self._store, root, former, self._clock, self._ids)


@pytest.fixture
def make(store: sql.SqlStore) -> Maker:
    return Maker(store)


async def connected(process: Process, count: int) -> list[str]:
    names = [f"n{number}" for number in range(count)]
    for name in names:
        await process.connect(name)
    return names


async def change(process: Process, name: str, **values: object) -> None:
    """What somebody did to the sealed row of a connection."""
    current = (
        select(tables.connections.c.current_credential_id).where(tables.connections.c.name == name).scalar_subquery()
    )
    statement = update(tables.credentials).where(tables.credentials.c.credential_id == current).values(**values)

    def write(tx: Tx) -> None:
        sql.connection(tx).execute(statement)

    await process.store.write(write)


NO_SECRETS = {"keys", "key_rotations", "runs"}
"""Tables that name keys, and in which nothing is sealed under one."""


def names_key(column: str) -> bool:
    return column.endswith("key_id")


def test_every_table_that_names_a_key_is_rotated():
    naming = {table.name for table in tables.metadata.sorted_tables if any(map(names_key, table.columns.keys()))}
    assert naming - NO_SECRETS == {holding.name for holding in sql.HOLDINGS}


async def test_all_secrets_move_to_the_new_key_and_stay_readable(make: Maker):
    process, other = make(), make()
    names = await connected(process, 2 * BATCH + 1)
    await process.connect("theirs", caller=BOB)
    before, theirs = await process.key_ids(), await process.key_ids(BOB)
    seen: list[keys.StoredRotation] = []  # three batches, and one look past the end of each holding
    async for rotation in process.steps():
        seen.append(rotation)
        assert [await other.token(name) for name in names] == [f"token-of-{name}-0123456789" for name in names]
    assert [each.resealed for each in seen] == [0, BATCH, 2 * BATCH, *[2 * BATCH + 1] * (1 + len(sql.HOLDINGS))]
    assert (seen[-1].total, seen[-1].unopened) == (len(names), 0)
    assert await process.key_ids() == {seen[-1].to_key_id: len(names)}
    assert seen[-1].to_key_id not in before
    assert await process.key_ids(BOB) == theirs
    assert await make().token("n0") == "token-of-n0-0123456789"


async def test_the_secret_of_a_route_moves_too(store: sql.SqlStore, make: Maker):
    post, process = Post(store, testing.ManualClock()), make()
    made = await post.make()
    before = (await post.routes.fetch(ANN, made.route.route_id)).sealed
    rotation = await process.rotate()
    route = await post.routes.fetch(ANN, made.route.route_id)
    assert (rotation.resealed, rotation.unopened) == (1, 0)
    assert route.sealed is not None
    assert route.sealed.key_id == rotation.to_key_id
    assert route.sealed != before
    assert (await post.send(made)).came is webhooks.Came.ACCEPTED
    stale = replace(route, sealed=before)
    assert not await store.write(lambda tx: post.records.replace(tx, stale, stale))


async def test_it_goes_on_where_it_was_left_by_any_process(make: Maker):
    process = make()
    names = await connected(process, 2 * BATCH)
    first = process.steps()
    while not (left := await anext(first)).resealed:
        pass
    await first.aclose()
    after = [each async for each in make().steps()]
    assert (after[0].rotation_id, after[0].step, after[0].resealed) == (left.rotation_id, left.step, BATCH)
    assert after[-1].resealed == len(names)
    assert (await make().rotate()).rotation_id != left.rotation_id  # that one has ended


async def test_a_live_process_takes_the_new_key_for_what_it_seals(make: Maker):
    old = make()
    await connected(old, BATCH + 1)
    rotation = old.steps()
    to_key_id = (await anext(rotation)).to_key_id
    await make().connect("late")
    await old.connect("later")
    assert await old.key_ids() == {to_key_id: 2, **dict.fromkeys(set(await old.key_ids()) - {to_key_id}, BATCH + 1)}
    assert await make().token("late") == await old.token("late")
    await rotation.aclose()


async def test_what_was_sealed_late_under_the_old_key_is_found(make: Maker):
    """By a process that looked its key up before the rotation, and wrote after it had passed."""
    process = make()
    await connected(process, BATCH)
    (old_key_id,) = await process.key_ids()
    rotation = process.steps()
    while (await anext(rotation)).resealed < BATCH:
        pass
    await move(process, "n0", old_key_id)
    last = [each async for each in rotation][-1]
    assert last.resealed == BATCH + 1
    assert await process.key_ids() == {last.to_key_id: BATCH}
    assert await process.token("n0") == "token-of-n0-0123456789"


async def move(process: Process, name: str, key_id: str) -> None:
    """Seal a connection's secret under another key, as a slow process would."""
    resolved = await process.desk.resolve(ANN, connector_id="acme", scopes={"read"}, connection=name)

    def find(tx: Tx) -> connections.SealedRow:
        rows = CREDENTIALS.list_sealed(tx, "t1", but="", after="", limit=100)
        return next(row for row in rows if row.row_id == resolved.credential.credential_id)

    row = await process.store.read(find)
    sealed = await process.ring.reseal(row, under=key_id)
    assert await process.store.write(lambda tx: CREDENTIALS.replace(tx, [(row, sealed)])) == 1


async def test_two_at_once_do_no_harm(make: Maker, store_url: str, open_store: Callable[[str], sql.SqlStore]):
    first = make()
    names = await connected(first, 4 * BATCH)
    ends: list[keys.StoredRotation] = []

    async def follow(rotation: AsyncGenerator[keys.StoredRotation]) -> None:
        ends.append([each async for each in rotation][-1])

    processes = (first, make(), make(store=open_store(store_url)))
    begun = [process.steps() for process in processes]
    assert len({(await anext(rotation)).rotation_id for rotation in begun}) == 1
    async with anyio.create_task_group() as tasks:
        for rotation in begun:
            tasks.start_soon(follow, rotation)
    assert {each.rotation_id for each in ends} == {ends[0].rotation_id}
    assert {each.resealed for each in ends} == {len(names)}
    assert await first.key_ids() == {ends[0].to_key_id: len(names)}
    assert [await first.token(name) for name in names] == [f"token-of-{name}-0123456789" for name in names]


async def test_what_does_not_open_is_left_and_told(make: Maker):
    process = make()
    names = await connected(process, BATCH + 1)
    await change(process, "n0", ciphertext=b"x" * 40)
    await change(process, "n1", key_id="key_nowhere")
    rotation = await process.rotate()
    assert (rotation.resealed, rotation.unopened) == (len(names) - 2, 2)
    left = await process.key_ids()
    assert left[rotation.to_key_id] == len(names) - 2
    assert left["key_nowhere"] == 1
    assert await process.token("n2") == "token-of-n2-0123456789"
    again = await process.rotate()
    assert (again.resealed, again.unopened) == (len(names) - 2, 2)


async def test_a_token_that_is_replaced_or_revoked_meanwhile_stays_so(make: Maker):
    process = make()
    await connected(process, 2)
    rows = await process.store.read(lambda tx: CREDENTIALS.list_sealed(tx, "t1", but="", after="", limit=9))
    to_key_id = (await process.rotate()).to_key_id
    stale = [(row, await process.ring.reseal(row, under=row.sealed.key_id)) for row in rows]
    await process.desk.revoke(ANN, "n0", "left")
    await process.connect("n1", token="another-token-0123456789")
    assert await process.store.write(lambda tx: CREDENTIALS.replace(tx, stale)) == 0
    assert await process.key_ids() == {to_key_id: 1}
    assert await process.token("n1") == "another-token-0123456789"


async def sealed_install(process: Process) -> connections.Install:
    aad = connections.install_binding(INSTALL)
    install = replace(INSTALL, sealed=await process.ring.seal("t1", b"a verifier", aad=aad))
    await process.store.write(lambda tx: sql.InstallRecords().insert(tx, install))
    return install


async def sealed_client(process: Process) -> connections.OAuthClient:
    aad = connections.client_binding(CLIENT)
    client = replace(CLIENT, sealed=await process.ring.seal("t1", b"a secret", aad=aad))
    await process.store.write(lambda tx: sql.ClientRecords().save(tx, client))
    return client


async def test_open_installs_and_our_own_clients_move_too(make: Maker):
    process, other = make(), make()
    await process.connect("n0")
    await sealed_install(process)
    await sealed_client(process)
    rotation = await process.rotate()
    assert (rotation.total, rotation.resealed, rotation.unopened) == (3, 3, 0)
    assert await process.key_ids() == {rotation.to_key_id: 3}
    install = await process.store.read(lambda tx: sql.InstallRecords().find(tx, "t1", INSTALL.install_id))
    client = await process.store.read(lambda tx: sql.ClientRecords().find_client(tx, "t1", CLIENT.oauth_client_id))
    for row, aad, plaintext in (
        (install, connections.install_binding(INSTALL), b"a verifier"),
        (client, connections.client_binding(CLIENT), b"a secret"),
    ):
        assert row is not None
        assert row.sealed is not None
        assert await other.ring.open("t1", row.sealed, aad=aad) == plaintext


async def test_the_key_that_a_subscription_signs_with_moves_too(make: Maker):
    process, records = make(), sql.SubscriptionRecords()
    signing = subscriptions.Keys(process.ring, process.ring.random_bytes)
    name = SUBSCRIPTION.subscription_id
    made = await signing.make(subscriptions.Scheme.HMAC, subscription_id=name, tenant_id="t1")
    stored = replace(SUBSCRIPTION, sealed=made.sealed)
    await process.store.write(lambda tx: records.insert(tx, stored))
    rotation = await process.rotate()
    found = await process.store.read(lambda tx: records.find(tx, "t1", name))
    assert found is not None
    assert (rotation.resealed, found.sealed.key_id) == (1, rotation.to_key_id)
    assert await signing.open(found, at=NOW) == [made.key]
    paused = replace(stored, state=subscriptions.State.PAUSED)
    assert not await process.store.write(lambda tx: records.replace(tx, stored, paused))  # it has the old seal


async def test_an_install_that_ends_and_a_client_that_is_replaced_meanwhile_stay_so(make: Maker):
    process = make()
    install, client = await sealed_install(process), await sealed_client(process)
    stale: dict[str, connections.SealedRow] = {}
    for holding in (INSTALLS, CLIENTS):
        (stale[holding.name],) = await process.store.read(
            lambda tx, holding=holding: holding.list_sealed(tx, "t1", but="", after="", limit=9)
        )
    ended = connections.install_machine.cancel(install, at=NOW)
    newer = replace(client, oauth_client_id="ocl_2")
    assert await process.store.write(lambda tx: sql.InstallRecords().replace(tx, install, ended))
    await process.store.write(lambda tx: sql.ClientRecords().save(tx, newer))
    for holding in (INSTALLS, CLIENTS):
        row = stale[holding.name]
        resealed = await process.ring.reseal(row, under=row.sealed.key_id)
        assert await process.store.write(lambda tx, h=holding, r=row, s=resealed: h.replace(tx, [(r, s)])) == 0
    assert await process.store.read(lambda tx: sql.InstallRecords().find(tx, "t1", INSTALL.install_id)) == ended
    assert await process.store.read(lambda tx: sql.ClientRecords().find_client(tx, "t1", "ocl_2")) == newer
    rotation = await process.rotate()
    assert (rotation.resealed, rotation.unopened) == (0, 1)  # a client's secret opens in its own row only


async def test_connecting_while_it_rotates_loses_nothing(make: Maker):
    process = make()
    names = await connected(process, 3 * BATCH)

    async def reconnect() -> None:
        for name in names:
            with suppress(connections.ConnectionChanged):
                await process.connect(name, token=f"renewed-{name}-0123456789")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reconnect)
        tasks.start_soon(make().rotate)
    assert [await process.token(name) for name in names] == [f"renewed-{name}-0123456789" for name in names]
    rotation = await process.rotate()  # what was sealed while the last one ended moves with the next
    assert await process.key_ids() == {rotation.to_key_id: len(names)}


async def test_those_of_several_tenants_begin_together_and_one_that_is_under_way_goes_on(make: Maker):
    process = make()
    await connected(process, 2)
    await process.connect("theirs", caller=BOB)
    (mine,) = await process.rotating.begin("t1")
    assert await make().rotating.begin("t1", "t2") == [mine, *await make().rotating.begin("t2")]
    assert [(each.tenant_id, each.total) for each in await make().rotating.begin("t1", "t2")] == [("t1", 2), ("t2", 1)]


async def test_a_wrong_root_key_begins_nothing(make: Maker):
    process = make()
    await connected(process, 1)
    with pytest.raises(keys.WrongKey):
        await make(root=OTHER).rotate()
    assert await process.store.read(lambda tx: sql.KeyRecords().find_rotation(tx, "t1")) is None


async def roots(process: Process) -> set[str]:
    """The root keys that the store's keys are wrapped under."""
    return {key.root_id for key in await process.store.read(sql.KeyRecords().list_all)}


async def test_the_store_goes_over_to_another_root_key(make: Maker):
    old = make()
    await connected(old, 1)
    await old.connect("theirs", caller=BOB)
    signer = await old.ring.take_signer()
    both = make(root=OTHER, former=[ROOT])
    assert await both.token("n0") == "token-of-n0-0123456789"  # as long as both are there it does not matter which
    await both.connect("between", caller=Caller(tenant_id="t3", actor="cid"))
    assert await roots(both) == {ROOT.root_id}
    assert await both.ring.rewrap() == 4
    assert await both.ring.rewrap() == 0
    assert await roots(both) == {OTHER.root_id}
    new = make(root=OTHER)
    assert await new.token("n0") == "token-of-n0-0123456789"
    assert await new.token("theirs", caller=BOB) == "token-of-theirs-0123456789"
    assert (await new.ring.take_signer()).key_id == signer.key_id
    assert await old.token("n0") == "token-of-n0-0123456789"  # its keys are in memory
    with pytest.raises(keys.WrongKey, match=OTHER.root_id):
        await make().token("n0")


class Meanwhile:
    """A root key during whose work something else happens, once."""

    def __init__(self, root: keys.RootKey, act: Callable[[], Awaitable[object]]) -> None:
        self._root, self._act = root, act
        self._done = False
        self.root_id, self.source = root.root_id, root.source

    async def wrap(self, raw: bytes, *, aad: bytes) -> keys.Wrapped:
        if not self._done:
            self._done = True
            await self._act()
        return await self._root.wrap(raw, aad=aad)

    async def unwrap(self, wrapped: keys.Wrapped, *, aad: bytes) -> bytes | None:
        return await self._root.unwrap(wrapped, aad=aad)


async def test_a_key_that_is_made_while_the_root_changes_goes_with_it(make: Maker):
    old = make()
    await connected(old, 1)

    async def connect() -> None:
        await make().connect("theirs", caller=BOB)

    assert await make(root=Meanwhile(OTHER, connect), former=[ROOT]).ring.rewrap() == 2
    assert await roots(old) == {OTHER.root_id}
    assert await make(root=OTHER).token("theirs", caller=BOB) == "token-of-theirs-0123456789"


async def test_a_key_that_is_wrapped_while_the_root_changes_is_wrapped_again(make: Maker):
    await connected(make(), 1)

    async def rewrap() -> None:
        await make(root=OTHER, former=[ROOT]).ring.rewrap()

    process = make(root=OTHER, former=[Meanwhile(ROOT, rewrap)])
    await process.connect("theirs", caller=BOB)
    assert await roots(process) == {OTHER.root_id}
    assert await make(root=OTHER).token("theirs", caller=BOB) == "token-of-theirs-0123456789"


async def test_a_store_is_not_rewrapped_without_its_own_root_key(make: Maker):
    await connected(make(), 1)
    with pytest.raises(keys.WrongKey, match=ROOT.root_id):
        await make(root=OTHER).ring.rewrap()
    assert await roots(make()) == {ROOT.root_id}
