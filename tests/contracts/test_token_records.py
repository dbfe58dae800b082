"""API tokens over their records, on every engine."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from interlock import tokens
from interlock.adapters import sql
from interlock.kernel import Caller, Secret
from interlock.testing import ManualClock, SequentialIds

pytestmark = pytest.mark.anyio

OURS, THEIRS = (Caller(tenant_id=name, actor="me") for name in ("t1", "t2"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def room(store: sql.SqlStore, clock: ManualClock) -> tokens.Tokens:
    drawn = iter(range(256))

    def random_bytes(count: int) -> bytes:
        return bytes([next(drawn)] * count)

    return tokens.Tokens(store, sql.TokenRecords(), clock=clock, ids=SequentialIds(), random_bytes=random_bytes)


async def make(room: tokens.Tokens, caller: Caller = OURS, /, **changes: Any) -> tuple[tokens.Token, Secret]:
    facts: dict[str, Any] = {"name": "ci", "actor": "ci", "roles": frozenset({"caller"}), **changes}
    return await room.create(caller, **facts)


async def test_a_token_says_who_asks(room: tokens.Tokens):
    limits: dict[str, Any] = {"capabilities": frozenset({"github.issue.*"}), "connections": frozenset({"con_1"})}
    made, secret = await make(room, **limits)
    found = await room.identify(secret)
    assert found == made
    assert found.caller == Caller(tenant_id="t1", actor="ci", roles=frozenset({"caller"}), **limits)
    assert len(secret.reveal()) == len("ilk_") + 43


async def test_only_a_digest_is_kept(room: tokens.Tokens, store: sql.SqlStore):
    _, secret = await make(room)
    rows = await store.read(lambda tx: sql.connection(tx).execute(text("SELECT * FROM tokens")).all())
    kept = repr(rows)
    assert "sha256:" in kept
    assert secret.reveal() not in kept
    assert secret.reveal().removeprefix("ilk_") not in kept


async def test_unknown_ended_and_revoked_are_answered_alike(room: tokens.Tokens, clock: ManualClock):
    _, short = await make(room, expires_at=clock.now() + timedelta(hours=1))
    revoked, gone = await make(room)
    await room.revoke(OURS, revoked.token_id)
    clock.advance(3600)
    told: set[str] = set()
    for shown in (short, gone, Secret("ilk_" + "A" * 43), Secret("nonsense"), Secret(""), Secret("ilk_\0" + "é" * 42)):
        with pytest.raises(tokens.TokenRefused) as refused:
            await room.identify(shown)
        told.add(refused.value.message)
    assert len(told) == 1


async def test_a_tenant_lists_and_ends_its_own(room: tokens.Tokens):
    made = [(await make(room, name=name))[0] for name in ("a", "b", "c")]
    _, theirs = await make(room, THEIRS)
    assert await room.list_tokens(OURS, limit=2) == [made[2], made[1]]
    assert await room.list_tokens(OURS, cursor=made[1].token_id) == [made[0]]
    for wrong in (made[0].token_id, "tok_'; --", "tok_" + "0" * 32):
        with pytest.raises(tokens.TokenNotFound):
            await room.revoke(THEIRS, wrong)
    assert (await room.identify(theirs)).tenant_id == "t2"
    ended = await room.revoke(OURS, made[0].token_id)
    assert ended.revoked_at is not None
    assert await room.revoke(OURS, made[0].token_id) == ended
