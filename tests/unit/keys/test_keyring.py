"""Sealing, opening and signing, over a store in memory."""

import base64
import traceback
from functools import partial

import anyio
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select, update

from interlock import connections, testing
from interlock.adapters import keys, sql
from interlock.adapters.sql import tables
from interlock.adapters.sql.keys import KeyRecords
from interlock.kernel import PLATFORM_TENANT, Tx, Uuid7Ids

pytestmark = pytest.mark.anyio

ROOT = keys.RootKey(bytes(range(32)), source="test")
OTHER = keys.RootKey(bytes(range(1, 33)), source="INTERLOCK_KEY")


@pytest.fixture
def clock() -> testing.ManualClock:
    return testing.ManualClock()


def ring_on(store: sql.SqlStore, clock: testing.ManualClock, root: keys.RootKey = ROOT) -> keys.Keyring:
    return keys.Keyring(root, KeyRecords(), store, clock=clock, ids=testing.SequentialIds())


@pytest.fixture
def ring(memory_store: sql.SqlStore, clock: testing.ManualClock) -> keys.Keyring:
    return ring_on(memory_store, clock)


async def rows(store: sql.SqlStore) -> list[dict[str, object]]:
    return await store.read(
        lambda tx: [dict(row) for row in sql.connection(tx).execute(select(tables.keys)).mappings()]
    )


async def change(store: sql.SqlStore, **values: object) -> None:
    def write(tx: Tx) -> None:
        sql.connection(tx).execute(update(tables.keys).values(**values))

    await store.write(write)


async def test_what_is_sealed_opens_again_also_in_another_process(
    ring: keys.Keyring, memory_store: sql.SqlStore, clock: testing.ManualClock
):
    sealed = await ring.seal("t1", b"plain", aad=b"row")
    assert b"plain" not in sealed.ciphertext
    assert await ring.open("t1", sealed, aad=b"row") == b"plain"
    assert await ring_on(memory_store, clock).open("t1", sealed, aad=b"row") == b"plain"
    assert (await ring.seal("t1", b"plain", aad=b"row")).nonce != sealed.nonce
    assert len(await rows(memory_store)) == 1


async def test_tenants_have_keys_of_their_own(ring: keys.Keyring):
    first, second = await ring.seal("t1", b"x", aad=b""), await ring.seal("t2", b"x", aad=b"")
    assert first.key_id != second.key_id
    with pytest.raises(connections.CredentialDamaged):
        await ring.open("t2", first, aad=b"")


@pytest.mark.parametrize("part", ["aad", "nonce", "ciphertext", "short nonce", "cut"])
async def test_any_change_is_noticed(ring: keys.Keyring, part: str):
    sealed = await ring.seal("t1", b"plain", aad=b"row")
    nonce, ciphertext, aad = sealed.nonce, sealed.ciphertext, b"row"
    if part == "aad":
        aad = b"other row"
    elif part == "nonce":
        nonce = bytes([nonce[0] ^ 1]) + nonce[1:]
    elif part == "short nonce":
        nonce = b"x"
    elif part == "ciphertext":
        ciphertext = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    else:
        ciphertext = ciphertext[:3]
    with pytest.raises(connections.CredentialDamaged):
        await ring.open("t1", connections.Sealed(key_id=sealed.key_id, nonce=nonce, ciphertext=ciphertext), aad=aad)


async def test_another_root_key_is_named_and_writes_nothing(
    ring: keys.Keyring, memory_store: sql.SqlStore, clock: testing.ManualClock
):
    sealed = await ring.seal("t1", b"plain", aad=b"")
    await ring.check()
    before = await rows(memory_store)
    wrong = ring_on(memory_store, clock, OTHER)
    for act in (
        wrong.check(),
        wrong.open("t1", sealed, aad=b""),
        wrong.seal("t1", b"", aad=b""),
        wrong.seal("t9", b"", aad=b""),
        wrong.take_signer(),
        wrong.renew_signing(),
    ):
        with pytest.raises(keys.WrongKey) as caught:
            await act
        assert ROOT.root_id in caught.value.message
        assert "INTERLOCK_KEY" in caught.value.message
    assert await rows(memory_store) == before


async def test_an_empty_store_suits_every_root_key(memory_store: sql.SqlStore, clock: testing.ManualClock):
    await ring_on(memory_store, clock, OTHER).check()


@pytest.mark.parametrize(
    "damage", [{"wrapped": b"x" * 48}, {"nonce": b"x" * 12}, {"nonce": b""}, {"tenant_id": "t2"}, {"public": b"x" * 32}]
)
async def test_a_stored_key_opens_only_unchanged(
    ring: keys.Keyring, memory_store: sql.SqlStore, clock: testing.ManualClock, damage: dict[str, object]
):
    sealed = await ring.seal("t1", b"plain", aad=b"")
    await change(memory_store, **damage)
    with pytest.raises(keys.KeyDamaged) as caught:
        await ring_on(memory_store, clock).open("t1", sealed, aad=b"")
    assert "InvalidTag" not in "".join(traceback.format_exception(caught.value, chain=False))


async def test_a_key_that_is_gone_is_named(ring: keys.Keyring):
    with pytest.raises(keys.KeyNotFound, match="key_nowhere"):
        await ring.open("t1", connections.Sealed(key_id="key_nowhere", nonce=b"x" * 12, ciphertext=b""), aad=b"")


async def test_a_signing_key_opens_nothing(ring: keys.Keyring):
    signer = await ring.take_signer()
    with pytest.raises(keys.KeyNotFound):
        await ring.open("-", connections.Sealed(key_id=signer.key_id, nonce=b"x" * 12, ciphertext=b""), aad=b"")


def verify(public: str, signature: str, data: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(base64.b64decode(public)).verify(base64.b64decode(signature), data)


async def test_signatures_verify_under_the_public_key_and_nothing_else(ring: keys.Keyring, memory_store: sql.SqlStore):
    signer = await ring.take_signer()
    public = (await ring.public_keys())[signer.key_id]
    verify(public, signer.sign(b"head"), b"head")
    with pytest.raises(InvalidSignature):
        verify(public, signer.sign(b"head"), b"other head")
    assert (await ring.take_signer()).key_id == signer.key_id
    (row,) = await rows(memory_store)
    assert (row["tenant_id"], row["purpose"], row["public"]) == (PLATFORM_TENANT, "signing", base64.b64decode(public))


async def test_a_signing_key_is_replaced_and_what_it_signed_verifies(
    ring: keys.Keyring, memory_store: sql.SqlStore, clock: testing.ManualClock
):
    signer = await ring.take_signer()
    clock.advance(1)
    renewed = await ring.renew_signing()
    after = await ring.take_signer()
    assert after.key_id == renewed
    public = await ring.public_keys()
    assert public.keys() == {signer.key_id, renewed}
    verify(public[signer.key_id], signer.sign(b"late"), b"late")
    assert sorted(str(row["state"]) for row in await rows(memory_store)) == ["active", "retired"]


async def test_nothing_prints_a_key(ring: keys.Keyring, memory_store: sql.SqlStore):
    await ring.seal("t1", b"plain", aad=b"")
    (row,) = await memory_store.read(lambda tx: KeyRecords().list_keys(tx, "t1", "data"))
    assert "wrapped" not in repr(row)
    assert repr(await ring.take_signer()).startswith("Signer(key_")


async def test_a_signing_key_that_another_process_made_is_taken_up(
    memory_store: sql.SqlStore, clock: testing.ManualClock, caplog: pytest.LogCaptureFixture
):
    hands = testing.ManualClock(autojump=False)
    ring = keys.Keyring(ROOT, KeyRecords(), memory_store, clock=hands, ids=testing.SequentialIds())
    first = await ring.take_signer()
    clock.advance(1)
    renewed = await keys.Keyring(ROOT, KeyRecords(), memory_store, clock=clock, ids=Uuid7Ids(clock)).renew_signing()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(ring.keep_signer, every=30))
            await anyio.wait_all_tasks_blocked()
            assert ring.current is first
            while ring.current is first:
                hands.advance(30)
                await anyio.sleep(0.005)
            assert ring.current.key_id == renewed
            await change(memory_store, root_id="root_of_somebody_else", state="retired")
            while "the signing key stays" not in caplog.text:
                hands.advance(30)
                await anyio.sleep(0.005)
            tasks.cancel_scope.cancel()
    assert ring.current.key_id == renewed
