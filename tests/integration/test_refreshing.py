"""Credentials that are renewed, against a service that rotates its refresh tokens and ends all of them when one comes twice."""

from collections import Counter as Count
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest
from sqlalchemy import select, update

import token_server
from fix_installs import ANN, Counter
from interlock import connections, plane, sdk, testing
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.connections import Connection, Happening, Refreshing, Resolved, State, refreshing
from interlock.connections.renewal import CLAIM
from interlock.kernel import StoreError, Tx
from late import Late

pytestmark = pytest.mark.anyio

LIFE = 3600


async def resolve(counter: Counter) -> Resolved:
    return await counter.accounts.resolve(ANN, connector_id="acme", scopes=set())


async def present(counter: Counter) -> Connection:
    return await counter.accounts.fetch_connection(ANN, "acme")


def told(counter: Counter) -> list[str]:
    return [event.type.value for event in counter.heard]


def refreshed(counter: Counter) -> int:
    return counter.server.calls["refresh_token"]


async def versions(counter: Counter) -> list[tuple[int, bool]]:
    """The credential versions that there are, and whether they are erased."""
    rows = tables.credentials.c

    def look(tx: Tx) -> list[tuple[int, bool]]:
        found = sql.connection(tx).execute(select(rows.version, rows.ciphertext).order_by(rows.version))
        return [(row.version, row.ciphertext is None) for row in found]

    return await counter.store.read(look)


class Standing(testing.ManualClock):
    """A clock that stands still while others wait: on a slow machine, theirs would outlast the claim of who is at work."""

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(min(seconds, 0.001))


def another(counter: Counter) -> Refreshing:
    """Another process, on the same store."""
    return Refreshing(counter.means)


def waiting(counter: Counter) -> Refreshing:
    """Another process, which waits for real work."""
    return Refreshing(replace(counter.means, clock=Standing(counter.clock.now())))


async def test_a_credential_is_renewed_before_it_ends(counter: Counter):
    made = await counter.connect()
    due = made.refresh.due_at
    assert due is not None
    assert (
        timedelta(seconds=LIFE / 10) <= timedelta(seconds=LIFE) - (due - counter.clock.now()) <= timedelta(seconds=540)
    )
    await resolve(counter)
    assert refreshed(counter) == 0
    counter.clock.advance((due - counter.clock.now()).total_seconds())
    resolved = await resolve(counter)
    assert refreshed(counter) == 1
    assert await counter.secrets() == {"access_token": "at-canary-000001", "refresh_token": "rt-canary-000002"}
    assert resolved.credential.version == 2
    assert resolved.connection.refreshed_at == counter.clock.now()
    assert resolved.credential.expires_at == counter.clock.now() + timedelta(seconds=LIFE)
    assert told(counter) == ["connected", "refreshed"]
    events = await counter.accounts.list_events(ANN, "acme")
    assert connections.check_history(await present(counter), events) is None


async def test_an_answer_without_a_refresh_token_keeps_the_old_one(counter: Counter):
    counter.server.rotates = False
    await counter.connect()
    for number in (1, 2):
        counter.clock.advance(LIFE)
        await resolve(counter)
        assert await counter.secrets() == {
            "access_token": f"at-canary-{number:06}",
            "refresh_token": "rt-canary-000001",
        }
    assert refreshed(counter) == 2


async def test_scopes_that_a_refresh_takes_away_are_told_of(counter: Counter):
    await counter.connect()
    counter.server.granted = "read"
    for said in (["read"], None):
        assert (await counter.refreshing.refresh(ANN, "acme")).scopes == {"read"}
        assert counter.heard[-1].data.get("scopes") == said


async def test_a_program_asks_anew(counter: Counter):
    await counter.desk.complete(await counter.desk.obtain(await counter.begin("client_credentials")))
    counter.clock.advance(LIFE)
    await resolve(counter)
    assert counter.server.calls == {"client_credentials": 2}
    assert (await counter.secrets())["access_token"] == "at-canary-000001"
    assert (await present(counter)).scopes == {"read", "write"}


async def test_of_many_who_need_it_one_refreshes(counter: Counter):
    await counter.connect()
    counter.clock.advance(LIFE)
    processes = [waiting(counter) for _ in range(4)]
    versions: Count[str | None] = Count()

    async def use(process: Refreshing) -> None:
        connection = await process.refresh(ANN, "acme", seen=expired)
        versions[connection.current_credential_id] += 1

    expired = (await present(counter)).current_credential_id
    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(use, processes[number % 4])
    assert refreshed(counter) == 1
    assert list(versions.values()) == [16]
    assert expired not in versions


async def test_calls_at_work_keep_their_lease_for_a_while(counter: Counter):
    await counter.connect()
    leases = connections.Leases(
        counter.store,
        sql.ConnectionRecords(),
        counter.accounts,
        profile=counter.find_profile,
        clock=counter.clock,
    )
    counter.clock.advance(3000)
    lease = await leases.request(ANN, "acme", scopes=set())
    (host,) = lease.hosts
    await counter.refreshing.refresh(ANN, "acme")
    assert (await leases.redeem(ANN, lease.lease_id, "access_token", host=host)).reveal() == "at-canary-000000"
    following = await leases.renew(ANN, lease.lease_id)
    assert (await leases.redeem(ANN, following.lease_id, "access_token", host=host)).reveal() == "at-canary-000001"
    counter.clock.advance(300)
    await connections.Unwanted(counter.means).tidy()
    assert await versions(counter) == [(1, True), (2, False)]


async def test_a_refused_credential_is_renewed_once_and_its_lease_is_dead(counter: Counter):
    await counter.connect()
    resolved = await resolve(counter)
    counter.clock.advance(100)
    kept = await counter.accounts.report_rejected(ANN, resolved, "401")
    assert (kept.state, refreshed(counter)) == (State.CONNECTED, 1)
    # Others come late with the same news.
    assert await counter.accounts.report_rejected(ANN, resolved, "401") == kept
    assert refreshed(counter) == 1
    # A new one that is refused, too, does not begin a circle.
    broken = await counter.accounts.report_rejected(ANN, await resolve(counter), "401")
    assert (broken.state, broken.reason, refreshed(counter)) == (State.REAUTH_REQUIRED, "401", 1)
    assert told(counter) == ["connected", "refreshed", "reauth_required"]


async def test_a_provider_that_is_down_degrades_and_comes_back(counter: Counter):
    await counter.connect()
    counter.clock.advance(3500)
    counter.server.refusal = (503, b"<html>down</html>")
    first = (await resolve(counter)).connection
    assert (first.state, first.reason, first.refresh.failures) == (State.DEGRADED, "refresh_temporarily_unavailable", 1)
    await resolve(counter)
    assert refreshed(counter) == 1  # not at each call
    counter.clock.advance(100)
    with pytest.raises(connections.ConnectionExpired):
        await resolve(counter)
    assert refreshed(counter) == 2
    counter.server.refusal = None
    counter.clock.advance(300)
    assert (await resolve(counter)).connection.state is State.CONNECTED
    assert told(counter) == ["connected", "degraded", "refreshed", "recovered"]
    after = await present(counter)
    assert (after.broken_at, after.reason, after.refresh.failures) == (None, None, 0)


@pytest.mark.parametrize(
    ("error", "at", "state"),
    [
        ("invalid_grant", 3500, State.REAUTH_REQUIRED),
        ("invalid_client", 3500, State.DEGRADED),
        ("invalid_client", 3600, State.REAUTH_REQUIRED),
    ],
)
async def test_a_refusal_ends_what_no_longer_serves(counter: Counter, error: str, at: int, state: State):
    await counter.connect()
    counter.clock.advance(at)
    counter.server.refusal = (400, b'{"error": "%s", "error_description": "canary words"}' % error.encode())
    after = await counter.refreshing.refresh(ANN, "acme")
    assert (after.state, after.reason) == (state, f"refresh_{error}")
    assert told(counter)[1:] == [state.value]
    assert "canary words" not in repr(counter.heard)


async def test_a_request_that_never_left_is_sent_again(counter: Counter):
    await counter.connect()
    counter.clock.advance(LIFE)
    failure = connections.ErrandFailed("no way there")
    failure.delivery = plane.Delivery.NOT_SENT
    counter.errands.fails = failure
    assert (await counter.refreshing.refresh(ANN, "acme")).state is State.DEGRADED
    counter.errands.fails = None
    assert (await counter.refreshing.refresh(ANN, "acme")).state is State.CONNECTED


async def rotated_once(counter: Counter) -> None:
    """A connection whose service is known to rotate, with a credential that has ended."""
    await counter.connect()
    counter.clock.advance(LIFE)
    await resolve(counter)
    counter.clock.advance(LIFE)
    counter.heard.clear()


async def test_an_answer_that_is_lost_says_so(counter: Counter):
    await rotated_once(counter)
    counter.errands.fails = connections.ErrandFailed("cut off")
    after = await counter.refreshing.refresh(ANN, "acme")
    assert (after.state, after.reason) == (State.REAUTH_REQUIRED, "refresh_outcome_unknown")
    assert told(counter) == ["reauth_required"]


async def test_what_a_killed_process_left_is_found(counter: Counter):
    await rotated_once(counter)
    died = another(counter)
    claimed = await died._claim(ANN, await present(counter))  # pyright: ignore[reportPrivateUsage] - then it is killed
    assert claimed is not None
    begun = counter.clock.monotonic()
    after = await counter.refreshing.refresh(ANN, "acme")
    assert (after.state, after.reason) == (State.REAUTH_REQUIRED, "refresh_outcome_unknown")
    assert counter.clock.monotonic() - begun >= CLAIM.total_seconds()
    assert refreshed(counter) == 1


@pytest.mark.parametrize(("rotates", "grace", "calls"), [("no", 0, 2), ("yes", 60, 2), ("yes", 0, 1)])
async def test_what_may_be_sent_twice_is(counter: Counter, rotates: str, grace: int, calls: int):
    await rotated_once(counter)
    profile = counter.profiles["oauth2"]
    assert isinstance(profile.grant, sdk.grants.AuthorizationCode)
    rule = sdk.grants.RefreshRule.model_validate({"rotates": rotates, "reuse_grace_seconds": grace})
    grant = profile.grant.model_copy(update={"refresh": rule})
    counter.profiles["oauth2"] = profile.model_copy(update={"grant": grant})
    assert await another(counter)._claim(ANN, await present(counter))  # pyright: ignore[reportPrivateUsage] - then it is killed
    after = await counter.refreshing.refresh(ANN, "acme")
    assert refreshed(counter) == calls
    assert after.state is (State.CONNECTED if calls == 2 else State.REAUTH_REQUIRED)


async def test_a_clock_that_is_ahead_takes_no_refresh_away(counter: Counter):
    await rotated_once(counter)
    assert await another(counter)._claim(ANN, await present(counter))  # pyright: ignore[reportPrivateUsage] - it is at work
    until = (await present(counter)).refresh.until
    assert until is not None
    moved = update(tables.connections).values(refresh_until=until - timedelta(minutes=2))
    await counter.store.write(lambda tx: sql.connection(tx).execute(moved) and None)
    before = await present(counter)
    assert await counter.refreshing.refresh(ANN, "acme", wait=False) == before
    assert refreshed(counter) == 1


async def test_a_store_that_is_away_for_a_while_loses_nothing(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    await rotated_once(counter)
    written, down = counter.store.write, [False]
    tries = 0

    async def write(work: Callable[[Tx], Any]) -> Any:
        nonlocal tries
        if down[0]:
            tries += 1
            if tries < 5:
                raise StoreError("the database is gone")
        return await written(work)

    monkeypatch.setattr(counter.store, "write", write)
    counter.server.between = lambda: down.__setitem__(0, True)
    after = await counter.refreshing.refresh(ANN, "acme")
    assert (after.state, tries) == (State.CONNECTED, 5)
    assert (await counter.secrets())["refresh_token"] == "rt-canary-000003"


async def test_a_caller_that_gives_up_loses_no_token(counter: Counter):
    await counter.connect()
    late = Late()
    counter.server.between = late.wait
    async with late.overtaken(partial(counter.refreshing.refresh, ANN, "acme")) as caller:
        caller.cancel()
    assert (await counter.secrets())["refresh_token"] == "rt-canary-000002"
    assert told(counter) == ["connected", "refreshed"]


async def test_what_is_due_is_renewed_without_a_call(counter: Counter):
    await counter.connect(name="one")
    await counter.desk.complete(await counter.desk.obtain(await counter.begin("client_credentials", name="two")))
    assert await counter.refreshing.refresh_due() == 0
    counter.clock.advance(3500)
    assert await counter.refreshing.refresh_due() == 2
    assert counter.server.calls == {"authorization_code": 1, "client_credentials": 2, "refresh_token": 1}
    assert await counter.refreshing.refresh_due() == 0
    assert {event.type for event in counter.heard} == {Happening.CONNECTED, Happening.REFRESHED}
    assert token_server.CLIENT_SECRET not in repr(counter.heard)


async def test_what_cannot_be_renewed_keeps_nobody_waiting(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    """Such as connections whose connector is there no more, or of a way that its profile no longer has."""
    monkeypatch.setattr(refreshing, "_BATCH", 2)
    for number in range(4):
        await counter.connect(name=f"old-{number}")
    counter.clock.advance(60)
    await counter.desk.complete(await counter.desk.obtain(await counter.begin("client_credentials", name="new")))
    counter.profiles["oauth2"] = sdk.AuthProfile.model_validate(
        {**counter.profiles["token"].model_dump(), "profile_id": "oauth2"}
    )
    counter.clock.advance(3600)
    assert await counter.refreshing.refresh_due() == 5
    assert (await counter.accounts.fetch_connection(ANN, "new")).refreshed_at == counter.clock.now()


async def test_what_serves_nobody_is_never_due(counter: Counter):
    made = await counter.connect()
    await counter.accounts.revoke(ANN, "acme", "gone")
    gone = await counter.accounts.fetch_connection(ANN, "acme")
    late = replace(gone, refresh=replace(gone.refresh, due_at=made.created_at), revision=gone.revision + 1)
    assert await counter.store.write(partial(counter.means.records.save, connection=late, before=gone.revision))
    assert await counter.refreshing.refresh_due() == 0
