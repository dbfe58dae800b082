"""Connections over their records, on every engine."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import anyio
import pytest
from sqlalchemy import delete, func, insert, select, update

from interlock import connections, plane, runs, testing
from interlock.adapters import keys, sql
from interlock.adapters.sql import tables
from interlock.adapters.sql.connections import ConnectionRecords
from interlock.adapters.sql.keys import KeyRecords
from interlock.adapters.sql.rows import pack_set
from interlock.connections import Connection, ConnectionEvent, Connections, Happening, State, TokenGrant
from interlock.kernel import REDACTED, Caller, InterlockError, RequestError, Secret, Tx, canonical

pytestmark = pytest.mark.anyio

ANN = Caller(tenant_id="t1", actor="ann")
BOB = Caller(tenant_id="t2", actor="bob")
RUN = "run_1"
HOST = "api.acme.dev:443"
TOKEN = "tok-first-0123456789"
ROOT = keys.RootKey(bytes(range(32)), source="test")
GRANT = TokenGrant(
    connector_id="acme",
    profile_id="token",
    fields=("token",),
    secrets={"token": Secret(TOKEN)},
    subject="octo",
    scopes=frozenset({"read", "write"}),
)


@pytest.fixture
def clock() -> testing.ManualClock:
    return testing.ManualClock()


@pytest.fixture
def ids() -> testing.SequentialIds:
    return testing.SequentialIds()


def desk_on(store: sql.SqlStore, clock: testing.ManualClock, ids: testing.SequentialIds) -> Connections:
    ring = keys.Keyring(ROOT, KeyRecords(), store, clock=clock, ids=ids)
    return Connections(store, ConnectionRecords(), ring, clock=clock, ids=ids)


@pytest.fixture
def desk(store: sql.SqlStore, clock: testing.ManualClock, ids: testing.SequentialIds) -> Connections:
    return desk_on(store, clock, ids)


def token(value: str) -> TokenGrant:
    return replace(GRANT, secrets={"token": Secret(value)})


async def resolve(desk: Connections, caller: Caller = ANN, connection: str | None = None) -> connections.Resolved:
    return await desk.resolve(caller, connector_id="acme", scopes={"read"}, connection=connection)


async def commit(store: sql.SqlStore, lease: connections.Lease) -> None:
    """What a run's admission does with a lease."""
    row = {column.name: getattr(lease, column.name) for column in tables.leases.columns}
    row |= {"scopes": pack_set(lease.scopes), "hosts": pack_set(lease.hosts)}
    await store.write(lambda tx: sql.connection(tx).execute(insert(tables.leases).values(row)) and None)


async def leased(desk: Connections, store: sql.SqlStore, **how: timedelta) -> connections.Lease:
    lease = desk.lease(await resolve(desk), scopes={"read"}, hosts={HOST}, run_id=RUN, **how)
    await commit(store, lease)
    return lease


async def test_a_token_connects_resolves_and_is_redeemed(desk: Connections, store: sql.SqlStore):
    made = await desk.connect_token(ANN, GRANT)
    assert (made.name, made.state, made.subject, made.revision) == ("acme", State.CONNECTED, "octo", 1)
    assert await desk.fetch_connection(ANN, made.connection_id) == made
    assert await desk.fetch_connection(ANN, "acme") == made
    resolved = await resolve(desk)
    assert resolved.connection == made
    assert [secret.reveal() for secret in await desk.secrets_of(resolved)] == [TOKEN]
    lease = await leased(desk, store)
    assert (
        await desk.redeem(plane.SecretRef(lease.lease_id, "token"), host=HOST, tenant_id=ANN.tenant_id, run_id=RUN)
    ).reveal() == TOKEN
    assert await desk.find_lease(ANN, lease.lease_id) == lease


async def test_every_field_of_a_connection_is_kept(desk: Connections, clock: testing.ManualClock):
    grant = replace(
        GRANT, name="work", base_url="https://acme.example/api", expires_at=clock.now() + timedelta(hours=1)
    )
    made = await desk.connect_token(ANN, grant)
    found = (await resolve(desk)).credential
    assert await desk.fetch_connection(ANN, "work") == made
    assert (made.base_url, made.scopes, made.created_by) == ("https://acme.example/api", {"read", "write"}, "ann")
    assert (found.credential_id, found.version, found.expires_at) == (made.current_credential_id, 1, grant.expires_at)


async def test_another_tenant_sees_nothing(desk: Connections, store: sql.SqlStore):
    made = await desk.connect_token(ANN, GRANT)
    lease = await leased(desk, store)
    messages: set[str] = set()
    for ref in (made.connection_id, made.name, "con_" + "0" * 32, "nobody"):
        for act in (desk.fetch_connection(BOB, ref), desk.revoke(BOB, ref, "mine now"), resolve(desk, BOB, ref)):
            with pytest.raises(connections.ConnectionNotFound) as caught:
                await act
            messages.add(caught.value.message.replace(ref, "REF"))
    assert len(messages) == 1  # what is not theirs and what is not there answer alike
    assert await desk.list_connections(BOB) == []
    assert await desk.find_lease(BOB, lease.lease_id) is None
    with pytest.raises(connections.NoConnection):
        await resolve(desk, BOB)
    assert (await desk.connect_token(BOB, GRANT)).name == made.name  # names are the tenant's own
    assert (await resolve(desk)).connection == made


async def test_only_the_own_connector_is_served(desk: Connections):
    await desk.connect_token(ANN, GRANT)
    with pytest.raises(connections.WrongConnector):
        await desk.resolve(ANN, connector_id="other", scopes=set(), connection="acme")
    with pytest.raises(connections.NoConnection):
        await desk.resolve(ANN, connector_id="other", scopes=set())


async def test_several_connections_must_be_told_apart(desk: Connections):
    await desk.connect_token(ANN, GRANT)
    await desk.connect_token(ANN, replace(GRANT, name="second", subject="other"))
    with pytest.raises(connections.AmbiguousConnection) as caught:
        await resolve(desk)
    assert caught.value.details == {"connections": ["acme", "second"]}
    assert (await resolve(desk, connection="second")).connection.subject == "other"
    await desk.revoke(ANN, "second", "left")
    assert (await resolve(desk)).connection.name == "acme"
    await desk.revoke(ANN, "acme", "left")
    with pytest.raises(connections.ConnectionRevoked):
        await resolve(desk)


async def test_candidates_that_can_serve_come_first_then_the_latest_changed(
    desk: Connections, store: sql.SqlStore, clock: testing.ManualClock
):
    for name in ("a", "b", "c", "d"):
        await desk.connect_token(ANN, replace(GRANT, name=name))
    for name in ("d", "c"):
        clock.advance(1)
        await desk.revoke(ANN, name, "left")
    clock.advance(1)
    await desk.connect_token(ANN, replace(GRANT, name="a"))
    clock.advance(1)
    await desk.report_rejected(ANN, await resolve(desk, connection="b"), "401")
    found = await store.read(lambda tx: ConnectionRecords().list_candidates(tx, "t1", "acme", limit=3))
    assert [connection.name for connection, _ in found] == ["a", "b", "c"]


async def test_a_new_token_replaces_and_erases_the_old_one(
    desk: Connections, store: sql.SqlStore, clock: testing.ManualClock
):
    first = await desk.connect_token(ANN, GRANT)
    lease = await leased(desk, store)
    clock.advance(5)
    second = await desk.connect_token(ANN, replace(token("tok-second-0123456789"), scopes=frozenset({"read"})))
    assert (second.connection_id, second.revision, second.scopes) == (first.connection_id, 2, {"read"})
    resolved = await resolve(desk)
    assert resolved.credential.version == 2
    assert [secret.reveal() for secret in await desk.secrets_of(resolved)] == ["tok-second-0123456789"]
    with pytest.raises(connections.LeaseRevoked):
        await desk.redeem(plane.SecretRef(lease.lease_id, "token"), host=HOST, tenant_id=ANN.tenant_id, run_id=RUN)
    assert await stored_secrets(store) == 1


async def test_a_lease_on_a_replaced_version_opens_nothing(desk: Connections, store: sql.SqlStore):
    """A call that resolved before the replacement and commits its lease after it."""
    await desk.connect_token(ANN, GRANT)
    before = await resolve(desk)
    await desk.connect_token(ANN, token("tok-second-0123456789"))
    lease = desk.lease(before, scopes={"read"}, hosts={HOST}, run_id=RUN)
    await commit(store, lease)
    with pytest.raises(connections.LeaseRevoked):
        await desk.redeem(plane.SecretRef(lease.lease_id, "token"), host=HOST, tenant_id=ANN.tenant_id, run_id=RUN)


async def test_revoking_erases_every_version_and_every_lease(desk: Connections, store: sql.SqlStore):
    made = await desk.connect_token(ANN, GRANT)
    late = await resolve(desk)
    lease = await leased(desk, store)
    revoked = await desk.revoke(ANN, "acme", "laptop\nstolen")
    assert (revoked.state, revoked.reason, revoked.revision) == (State.REVOKED, "laptop stolen", made.revision + 1)
    assert await stored_secrets(store) == 0
    found = await desk.find_lease(ANN, lease.lease_id)
    assert found is not None
    assert found.revoked_at is not None
    with pytest.raises(connections.ConnectionRevoked, match="laptop stolen"):
        await resolve(desk)
    await commit(store, after := desk.lease(late, scopes={"read"}, hosts={HOST}, run_id=RUN))
    for lease_id in (lease.lease_id, after.lease_id):
        with pytest.raises(connections.ConnectionRevoked):
            await desk.redeem(plane.SecretRef(lease_id, "token"), host=HOST, tenant_id=ANN.tenant_id, run_id=RUN)
    assert await desk.revoke(ANN, made.connection_id, "again") == revoked


async def test_a_revoked_name_can_be_connected_again_also_to_another_account(desk: Connections):
    first = await desk.connect_token(ANN, GRANT)
    await desk.revoke(ANN, "acme", "left")
    again = await desk.connect_token(ANN, replace(GRANT, subject="other"))
    assert (again.connection_id, again.state, again.subject) == (first.connection_id, State.CONNECTED, "other")
    assert (await resolve(desk)).credential.version == 2


async def test_a_name_does_not_slip_to_another_account_or_connector(desk: Connections):
    made = await desk.connect_token(ANN, GRANT)
    with pytest.raises(connections.SubjectMismatch, match="'octo'"):
        await desk.connect_token(ANN, replace(GRANT, subject="other"))
    with pytest.raises(connections.NameTaken, match="'acme'"):
        await desk.connect_token(ANN, replace(GRANT, connector_id="other", name="acme"))
    assert await desk.fetch_connection(ANN, "acme") == made


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ({"subject": None}, {"subject": "octo"}, connections.SubjectMismatch),
        ({"subject": "octo"}, {"subject": None}, connections.SubjectMismatch),
        ({"base_url": None}, {"base_url": "https://evil.dev"}, connections.ServiceMismatch),
        ({"base_url": "https://ghe.acme.dev"}, {"base_url": None}, connections.ServiceMismatch),
        ({"base_url": "https://ghe.acme.dev"}, {"base_url": "https://ghe.acme.dev:8443"}, connections.ServiceMismatch),
    ],
)
async def test_a_connection_in_use_does_not_slip_away(
    desk: Connections, before: dict[str, Any], after: dict[str, Any], error: type[InterlockError]
):
    made = await desk.connect_token(ANN, replace(GRANT, **before))
    with pytest.raises(error):
        await desk.connect_token(ANN, replace(GRANT, **after))
    await desk.report_rejected(ANN, await resolve(desk), "401")
    with pytest.raises(error):
        await desk.connect_token(ANN, replace(GRANT, **after))
    await desk.revoke(ANN, "acme", "moved")
    again = await desk.connect_token(ANN, replace(GRANT, **after))
    assert (again.connection_id, again.state) == (made.connection_id, State.CONNECTED)
    assert (again.subject, again.base_url) == (replace(GRANT, **after).subject, replace(GRANT, **after).base_url)


async def test_the_same_address_in_other_words_is_the_same_service(desk: Connections):
    made = await desk.connect_token(ANN, replace(GRANT, base_url="https://ghe.acme.dev/api"))
    again = await desk.connect_token(ANN, replace(GRANT, base_url="HTTPS://GHE.Acme.dev:443/api/"))
    assert (again.connection_id, again.base_url) == (made.connection_id, "https://ghe.acme.dev/api")


@pytest.mark.parametrize("overlap", [0, 120])
async def test_leases_go_on_with_the_version_before_for_an_overlap(
    desk: Connections, store: sql.SqlStore, clock: testing.ManualClock, overlap: int
):
    await desk.connect_token(ANN, GRANT)
    lease = await leased(desk, store)
    ref = plane.SecretRef(lease.lease_id, "token")
    await desk.connect_token(ANN, replace(token("tok-second-0123456789"), overlap=timedelta(seconds=overlap)))
    new = await desk.secrets_of(await resolve(desk))
    assert [each.reveal() for each in new] == ["tok-second-0123456789"]
    if overlap:
        clock.advance(overlap - 1)
        assert (await desk.redeem(ref, host=HOST, tenant_id="t1", run_id=RUN)).reveal() == TOKEN
        clock.advance(1)
    with pytest.raises(connections.LeaseRevoked):
        await desk.redeem(ref, host=HOST, tenant_id="t1", run_id=RUN)
    records, now = sql.ConnectionRecords(), clock.now()
    over = await store.read(lambda tx: records.list_superseded(tx, now, limit=9))
    assert [(whose.name, each.version) for whose, each, _ in over] == [("acme", 1)] * bool(overlap)
    assert [current and current.version for *_, current in over] == [2] * bool(overlap)
    for whether in (True, False):
        assert await store.write(lambda tx: [records.erase(tx, each.credential_id, at=now) for _, each, _ in over]) == [
            whether for _ in over
        ]
    assert not await store.read(lambda tx: records.list_superseded(tx, now, limit=9))
    rows = tables.credentials.c
    erased = await store.read(
        lambda tx: sql.connection(tx).execute(select(rows.ciphertext.is_(None)).order_by(rows.version)).all()
    )
    assert [bool(each[0]) for each in erased] == [True, False]


async def test_what_is_over_the_longest_is_erased_first(
    desk: Connections, store: sql.SqlStore, clock: testing.ManualClock
):
    for name, overlap in (("late", 120), ("soon", 60), ("later", 180)):
        await desk.connect_token(ANN, replace(GRANT, name=name))
        await desk.connect_token(
            ANN, replace(token("tok-second-0123456789"), name=name, overlap=timedelta(seconds=overlap))
        )
    clock.advance(180)
    records, now = sql.ConnectionRecords(), clock.now()

    def look(tx: Tx) -> list[str]:
        here = sql.connection(tx)
        sqlite = here.dialect.name == "sqlite"
        # What comes in no order comes in another one than the index has.
        here.exec_driver_sql("PRAGMA reverse_unordered_selects = on" if sqlite else "SET LOCAL enable_indexscan = off")
        found = [whose.name for whose, *_ in records.list_superseded(tx, now, limit=2)]
        if sqlite:
            here.exec_driver_sql("PRAGMA reverse_unordered_selects = off")
        return found

    assert await store.read(look) == ["soon", "late"]


async def test_what_no_longer_serves_has_no_overlap(desk: Connections, store: sql.SqlStore):
    await desk.connect_token(ANN, GRANT)
    lease = await leased(desk, store)
    await desk.report_rejected(ANN, await resolve(desk), "401")
    await desk.connect_token(ANN, replace(token("tok-second-0123456789"), overlap=timedelta(seconds=60)))
    ref = plane.SecretRef(lease.lease_id, "token")
    with pytest.raises(connections.LeaseRevoked):
        await desk.redeem(ref, host=HOST, tenant_id="t1", run_id=RUN)


async def test_a_refused_grant_writes_nothing(desk: Connections):
    with pytest.raises(connections.InvalidGrant):
        await desk.connect_token(ANN, token("short"))
    with pytest.raises(connections.InvalidGrant, match="0 to 300 s"):
        await desk.connect_token(ANN, replace(GRANT, overlap=timedelta(seconds=301)))
    assert await desk.list_connections(ANN) == []


async def test_a_rejected_credential_needs_a_new_one(desk: Connections, store: sql.SqlStore):
    await desk.connect_token(ANN, GRANT)
    resolved, lease = await resolve(desk), await leased(desk, store)
    assert (await desk.report_rejected(ANN, resolved, "401")).state is State.REAUTH_REQUIRED
    with pytest.raises(connections.ReauthRequired, match="401"):
        await resolve(desk)
    with pytest.raises(connections.ReauthRequired):
        await desk.redeem(plane.SecretRef(lease.lease_id, "token"), host=HOST, tenant_id=ANN.tenant_id, run_id=RUN)
    await desk.connect_token(ANN, token("tok-second-0123456789"))
    # A late word about the old credential does not harm the new one.
    assert (await desk.report_rejected(ANN, resolved, "401")).state is State.CONNECTED
    assert (await resolve(desk)).credential.version == 2


async def test_time_ends_leases_and_credentials(desk: Connections, store: sql.SqlStore, clock: testing.ManualClock):
    await desk.connect_token(ANN, replace(GRANT, expires_at=clock.now() + timedelta(minutes=10)))
    lease = await leased(desk, store, ttl=timedelta(seconds=60))
    clock.advance(59.9)
    await desk.redeem(plane.SecretRef(lease.lease_id, "token"), host=HOST, tenant_id=ANN.tenant_id, run_id=RUN)
    clock.advance(0.1)
    with pytest.raises(connections.LeaseExpired):
        await desk.redeem(plane.SecretRef(lease.lease_id, "token"), host=HOST, tenant_id=ANN.tenant_id, run_id=RUN)
    clock.advance(540)
    with pytest.raises(connections.ConnectionExpired):
        await resolve(desk)


async def test_what_a_lease_does_not_name_is_refused(desk: Connections, store: sql.SqlStore):
    await desk.connect_token(ANN, GRANT)
    lease = await leased(desk, store)
    uncommitted = desk.lease(await resolve(desk), scopes={"read"}, hosts={HOST}, run_id=RUN)
    refusals: list[tuple[str, str, str, type[InterlockError]]] = [
        (lease.lease_id, "token", "evil.dev:443", connections.HostNotLeased),
        (lease.lease_id, "other", HOST, connections.LeaseNotFound),
        (uncommitted.lease_id, "token", HOST, connections.LeaseNotFound),
    ]
    for lease_id, field, host, error in refusals:
        with pytest.raises(error) as caught:
            await desk.redeem(plane.SecretRef(lease_id, field), host=host, tenant_id=ANN.tenant_id, run_id=RUN)
        assert TOKEN not in str(caught.value)


async def test_a_lease_opens_to_its_own_run_and_tenant_alone(desk: Connections, store: sql.SqlStore):
    await desk.connect_token(ANN, GRANT)
    lease = await leased(desk, store)
    missing = lease.lease_id[:-1] + ("0" if lease.lease_id[-1] != "0" else "1")
    said: set[str] = set()
    for lease_id, tenant_id, run_id in (
        (lease.lease_id, BOB.tenant_id, RUN),
        (lease.lease_id, ANN.tenant_id, "run_2"),
        (missing, ANN.tenant_id, RUN),
    ):
        with pytest.raises(connections.LeaseNotFound) as caught:
            await desk.redeem(plane.SecretRef(lease_id, "token"), host=HOST, tenant_id=tenant_id, run_id=run_id)
        said.add(caught.value.message.replace(lease_id, "LEASE"))
    assert said == {"no lease 'LEASE'"}


async def test_a_ciphertext_opens_only_in_its_own_row(desk: Connections, store: sql.SqlStore):
    await desk.connect_token(ANN, GRANT)
    await desk.connect_token(ANN, replace(token("tok-other-0123456789"), name="second"))
    first, second = await resolve(desk, connection="acme"), await resolve(desk, connection="second")

    def swap(tx: Tx) -> None:
        sql.connection(tx).execute(
            update(tables.credentials)
            .where(tables.credentials.c.credential_id == first.credential.credential_id)
            .values(nonce=second.credential.nonce, ciphertext=second.credential.ciphertext)
        )

    await store.write(swap)
    with pytest.raises(connections.CredentialDamaged):
        await desk.secrets_of(await resolve(desk, connection="acme"))


async def test_pages_are_newest_first_and_do_not_overlap(desk: Connections):
    made = [await desk.connect_token(ANN, replace(GRANT, name=f"n{number}")) for number in range(5)]
    await desk.connect_token(ANN, replace(GRANT, connector_id="other", name="other"))
    pages: list[Connection] = []
    cursor: str | None = None
    while page := await desk.list_connections(ANN, connector_id="acme", cursor=cursor, limit=2):
        assert len(page) <= 2
        pages += page
        cursor = page[-1].connection_id
    assert pages == made[::-1]
    assert len(await desk.list_connections(ANN, limit=0)) == 1
    with pytest.raises(RequestError):
        await desk.list_connections(ANN, cursor="con_'; --")


@pytest.mark.parametrize("ref", ["", "x\0y", "x" * 300, "\ud800", " acme"])
async def test_odd_references_are_simply_not_found(desk: Connections, ref: str):
    with pytest.raises(connections.ConnectionNotFound):
        await desk.fetch_connection(ANN, ref)


async def test_no_secret_is_stored_in_the_clear(desk: Connections, store: sql.SqlStore):
    await desk.connect_token(ANN, GRANT)
    await leased(desk, store)

    def dump(tx: Tx) -> str:
        return "".join(
            repr(row) for table in tables.metadata.sorted_tables for row in sql.connection(tx).execute(select(table))
        )

    content = await store.read(dump)
    assert "octo" in content
    assert TOKEN not in content
    assert "token" in content
    assert TOKEN not in repr(await resolve(desk))


async def test_a_reason_that_quotes_the_secret_is_kept_without_it(desk: Connections):
    await desk.connect_token(ANN, GRANT)
    revoked = await desk.revoke(ANN, "acme", f"found {TOKEN} in a log")
    assert revoked.reason == f"found {REDACTED} in a log"
    assert (await desk.revoke(ANN, "acme", "again")).reason == revoked.reason


async def test_a_connection_whose_key_is_lost_can_be_revoked(
    store: sql.SqlStore, clock: testing.ManualClock, ids: testing.SequentialIds
):
    await desk_on(store, clock, ids).connect_token(ANN, GRANT)
    await store.write(lambda tx: sql.connection(tx).execute(delete(tables.keys)))
    revoked = await desk_on(store, clock, ids).revoke(ANN, "acme", "its key is gone")
    assert (revoked.state, revoked.reason) == (State.REVOKED, "its key is gone")
    assert await stored_secrets(store) == 0


async def test_the_same_name_connected_by_many_at_once_is_one_connection(
    store_url: str,
    open_store: Callable[[str], sql.SqlStore],
    clock: testing.ManualClock,
    ids: testing.SequentialIds,
):
    desks = [desk_on(open_store(store_url), clock, ids) for _ in range(2)]
    outcomes: list[str] = []

    async def connect(desk: Connections, number: int) -> None:
        try:
            outcomes.append((await desk.connect_token(ANN, token(f"tok-many-{number:010}"))).connection_id)
        except connections.ConnectionChanged:
            outcomes.append("changed")

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(connect, desks[number % 2], number)
    assert len(set(outcomes) - {"changed"}) == 1
    found = await desks[0].list_connections(ANN)
    assert len(found) == 1
    done = len(outcomes) - outcomes.count("changed")
    assert found[0].revision == done
    resolved = await resolve(desks[1])
    assert resolved.credential.version == done
    store = open_store(store_url)
    assert await stored_secrets(store) == 1
    data_keys = await store.read(
        lambda tx: sql.connection(tx).execute(select(func.count()).select_from(tables.keys)).scalar_one()
    )
    assert data_keys == 1


async def test_all_that_happens_to_a_connection_is_told_and_chained(
    store: sql.SqlStore, clock: testing.ManualClock, ids: testing.SequentialIds
):
    heard: list[ConnectionEvent] = []
    ring = keys.Keyring(ROOT, KeyRecords(), store, clock=clock, ids=ids)
    desk = Connections(store, ConnectionRecords(), ring, clock=clock, ids=ids, listener=heard.extend)
    await desk.connect_token(ANN, GRANT)
    await desk.connect_token(ANN, token("tok-second-0123456789"))
    await desk.report_rejected(ANN, await resolve(desk), "401")
    clock.advance(1)
    await desk.connect_token(ANN, token("tok-third-0123456789"))
    await desk.revoke(ANN, "acme", "left with tok-third-0123456789")
    await desk.revoke(ANN, "acme", "again")
    last = await desk.connect_token(ANN, GRANT)
    found = await desk.list_events(ANN, "acme")
    assert [(event.type, event.record()["reason"]) for event in found] == [
        (Happening.CONNECTED, None),
        (Happening.REPLACED, None),
        (Happening.REAUTH_REQUIRED, "401"),
        (Happening.REPLACED, None),
        (Happening.RECOVERED, None),
        (Happening.REVOKED, f"left with {REDACTED}"),
        (Happening.CONNECTED, None),
    ]
    assert heard == found
    assert connections.check_history(last, found) is None
    assert last == await desk.fetch_connection(ANN, "acme")
    assert await desk.list_events(ANN, last.connection_id, after_seq=2, limit=2) == found[2:4]
    with pytest.raises(connections.ConnectionNotFound):
        await desk.list_events(BOB, last.connection_id)


async def test_what_is_not_written_is_not_told(
    memory_store: sql.SqlStore, clock: testing.ManualClock, ids: testing.SequentialIds
):
    heard: list[ConnectionEvent] = []
    ring = keys.Keyring(ROOT, KeyRecords(), memory_store, clock=clock, ids=ids)
    made = await desk_on(memory_store, clock, ids).connect_token(ANN, GRANT)
    desk = Connections(memory_store, Contended(), ring, clock=clock, ids=ids, listener=heard.extend)
    for act in (desk.connect_token(ANN, GRANT), desk.revoke(ANN, "acme", "left")):
        with pytest.raises(connections.ConnectionChanged):
            await act
    assert heard == []
    assert connections.check_history(made, await desk.list_events(ANN, "acme")) is None


class Contended(ConnectionRecords):
    """Somebody else is always quicker."""

    def save(
        self, tx: Tx, connection: Connection, *, before: int | None, events: Sequence[ConnectionEvent] = ()
    ) -> bool:
        return False


async def test_endless_contention_ends_with_an_error_and_nothing_written(
    memory_store: sql.SqlStore, clock: testing.ManualClock, ids: testing.SequentialIds
):
    made = await desk_on(memory_store, clock, ids).connect_token(ANN, GRANT)
    ring = keys.Keyring(ROOT, KeyRecords(), memory_store, clock=clock, ids=ids)
    desk = Connections(memory_store, Contended(), ring, clock=clock, ids=ids)
    for act in (desk.connect_token(ANN, GRANT), desk.revoke(ANN, "acme", "left")):
        with pytest.raises(connections.ConnectionChanged):
            await act
    assert await desk.fetch_connection(ANN, "acme") == made
    assert await stored_secrets(memory_store) == 1


async def test_the_record_of_a_connection_is_json_without_secrets(desk: Connections):
    made = await desk.connect_token(ANN, GRANT)
    record = made.record()
    assert canonical(record)
    assert record.keys() == {field.name for field in fields(made)}
    assert (record["scopes"], record["state"], record["created_at"]) == (
        ["read", "write"],
        "connected",
        "2026-01-01T00:00:00.000000Z",
    )


@pytest.mark.parametrize("how", ["revoked", "replaced"])
async def test_what_a_credential_let_us_see_goes_with_it(desk: Connections, store: sql.SqlStore, how: str):
    """The answers that are kept beside their entity tags."""
    records = sql.ValidatorRecords()
    ours = await desk.connect_token(ANN, GRANT)
    other = await desk.connect_token(ANN, replace(GRANT, name="second"))

    def see(tx: Tx) -> None:
        for connection in (ours, other):
            seen = runs.Validator(
                tenant_id="t1",
                connection_id=connection.connection_id,
                request_digest="sha256:1",
                etag="x",
                headers=[],
                body=b"private",
                updated_at=connection.created_at,
            )
            records.save(tx, seen)

    await store.write(see)
    if how == "revoked":
        await desk.revoke(ANN, ours.connection_id, "left")
    else:
        await desk.connect_token(ANN, token("tok-second-0123456789"))
    query = select(tables.validators.c.connection_id)
    left = await store.read(lambda tx: sql.connection(tx).execute(query).scalars().all())
    assert left == [other.connection_id]


async def stored_secrets(store: sql.SqlStore) -> int:
    query = select(func.count()).select_from(tables.credentials).where(tables.credentials.c.ciphertext.is_not(None))
    return await store.read(lambda tx: sql.connection(tx).execute(query).scalar_one())
