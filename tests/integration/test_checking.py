"""Asking services whether they still take what connections hold, and what becomes of the connections."""

import json
import threading
from datetime import timedelta
from typing import Any

import anyio
import anyio.to_thread
import pytest

from fix_installs import ANN, BOB, Counter
from interlock import connections, sdk
from interlock.connections import Checking, State, TokenGrant, Verdict
from interlock.connections.checking import Checked
from interlock.kernel import Secret, StoreError

pytestmark = pytest.mark.anyio

TOKEN = "tok-canary-0123456789"


@pytest.fixture
def store_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def checking(counter: Counter) -> Checking:
    return Checking(counter.means, counter.accounts)


async def check(checking: Checking, ref: str = "acme") -> Checked:
    return await checking.check(ANN, ref)


async def paste(counter: Counter, **more: Any) -> connections.Connection:
    """A connection by a token, which nothing renews."""
    counter.server._tokens[TOKEN] = "octo"
    facts: dict[str, Any] = {"subject": "octo", "scopes": frozenset({"read"}), **more}
    grant = TokenGrant(
        connector_id="acme",
        profile_id="token",
        fields=("token",),
        secrets={"token": Secret(TOKEN)},
        **facts,
    )
    return await counter.accounts.connect_token(ANN, grant)


def told(counter: Counter, after: int = 1) -> list[str]:
    return [event.type.value for event in counter.heard[after:]]


async def test_what_the_service_accepts_is_connected(counter: Counter, checking: Checking):
    made = await counter.connect()
    found = await check(checking)
    assert (found.verdict, found.reason, found.connection.state) == (Verdict.ACCEPTED, None, State.CONNECTED)
    assert (found.connection.subject, found.connection.scopes) == (made.subject, made.scopes)
    assert told(counter) == ["checked"]
    events = await counter.accounts.list_events(ANN, "acme")
    assert connections.check_history(found.connection, events) is None


async def test_what_ended_is_renewed_and_asked_about_again(counter: Counter, checking: Checking):
    made = await counter.connect()
    counter.server._tokens.clear()
    found = await check(checking)
    assert (found.verdict, found.connection.state) == (Verdict.ACCEPTED, State.CONNECTED)
    assert found.connection.current_credential_id != made.current_credential_id
    assert told(counter) == ["refreshed", "checked"]


async def test_what_only_a_person_can_renew_needs_one_and_serves_again_when_it_is_accepted(
    counter: Counter, checking: Checking
):
    await paste(counter)
    counter.server.rejects_tokens = True
    for _ in range(2):
        found = await check(checking)
        assert (found.verdict, found.connection.state) == (Verdict.REFUSED, State.REAUTH_REQUIRED)
        assert found.reason == f"{counter.server.url} does not accept this credential (401)"
    counter.server.rejects_tokens = False
    found = await check(checking)
    assert (found.verdict, found.connection.state, found.connection.reason) == (
        Verdict.ACCEPTED,
        State.CONNECTED,
        None,
    )
    assert told(counter) == ["reauth_required", "checked", "checked", "checked", "recovered"]
    assert await counter.secrets()


async def test_a_token_that_is_still_taken_mends_no_refresh_that_was_refused(counter: Counter, checking: Checking):
    await counter.connect()
    counter.server.refusal = (400, b'{"error": "invalid_grant"}')
    await counter.refreshing.refresh(ANN, "acme")
    found = await check(checking)
    assert (found.verdict, found.connection.state) == (Verdict.ACCEPTED, State.REAUTH_REQUIRED)
    assert told(counter) == ["reauth_required", "checked"]


async def test_a_token_of_another_account_serves_nobody(counter: Counter, checking: Checking):
    """Runs are approved for an account."""
    await paste(counter)
    counter.server._tokens[TOKEN] = "mallory"
    found = await check(checking)
    assert (found.verdict, found.connection.state) == (Verdict.OTHER_ACCOUNT, State.REAUTH_REQUIRED)
    assert (found.connection.subject, found.connection.reason) == ("octo", "another_account")
    assert "'mallory'" in str(found.reason)
    with pytest.raises(connections.ReauthRequired):
        await counter.secrets()
    assert (await check(checking)).connection.state is State.REAUTH_REQUIRED
    counter.server._tokens[TOKEN] = "octo"
    assert (await check(checking)).connection.state is State.CONNECTED
    assert told(counter) == ["checked", "reauth_required", "checked", "checked", "recovered"]


async def test_the_account_and_the_scopes_are_what_the_service_says(counter: Counter, checking: Checking):
    await paste(counter, subject=None, scopes=frozenset({"read", "admin"}))
    standing = await counter.accounts.fetch_standing(ANN, "acme")
    probed = connections.Probed(subject="octo", scopes=frozenset({"read", "write"}))
    found = await checking._found(ANN, standing, probed, counter.profiles["token"])
    assert (found.connection.subject, found.connection.scopes) == ("octo", {"read", "write"})
    assert await counter.accounts.fetch_connection(ANN, "acme") == found.connection
    silent = connections.Probed(subject=None, scopes=None)
    assert (await checking._found(ANN, standing, silent, counter.profiles["token"])).connection.subject == "octo"
    assert json.loads(counter.heard[-2].body)["data"] == {
        "verdict": "accepted",
        "subject": "octo",
        "scopes": ["read", "write"],
    }


async def test_a_service_that_does_not_answer_changes_nothing(counter: Counter, checking: Checking):
    made = await paste(counter, base_url="http://127.0.0.1:1")
    found = await check(checking)
    assert (found.verdict, found.connection.state) == (Verdict.UNANSWERED, State.CONNECTED)
    assert found.connection.current_credential_id == made.current_credential_id
    assert told(counter) == ["checked"]


async def test_what_serves_nobody_or_cannot_be_asked_about_is_not_asked_about(counter: Counter, checking: Checking):
    await paste(counter)
    profile = counter.profiles["token"]
    counter.profiles["token"] = sdk.AuthProfile.model_validate({**profile.model_dump(), "probe": None})
    assert (await check(checking)).verdict is Verdict.UNASKED
    counter.profiles["token"] = profile
    await counter.accounts.revoke(ANN, "acme", "")
    found = await check(checking)
    assert (found.verdict, found.reason) == (Verdict.UNASKED, "it is revoked")
    with pytest.raises(connections.ConnectionNotFound):
        await checking.check(BOB, "acme")


async def test_what_serves_nobody_is_not_renewed_for_the_end_that_is_told(counter: Counter, checking: Checking):
    await counter.connect()
    counter.server.refusal = (400, b'{"error": "invalid_grant"}')
    await counter.refreshing.refresh(ANN, "acme")
    standing = await counter.accounts.fetch_standing(ANN, "acme")
    sooner = counter.clock.now() + timedelta(minutes=10)
    probed = connections.Probed(subject="octo", scopes=None, expires_at=sooner)
    found = await checking._found(ANN, standing, probed, counter.profiles["oauth2"])
    assert (found.connection.state, found.connection.credential_expires_at) == (State.REAUTH_REQUIRED, sooner)
    assert found.connection.refresh.due_at is None


async def test_a_credential_that_came_meanwhile_keeps_its_facts(counter: Counter, checking: Checking):
    """What was found is of the credential that was asked about."""
    made = await counter.connect()
    standing = await counter.accounts.fetch_standing(ANN, "acme")
    await counter.refreshing.refresh(ANN, "acme")
    probed = connections.Probed(subject="mallory", scopes=frozenset())
    found = await checking._found(ANN, standing, probed, counter.profiles["oauth2"])
    assert (found.connection.state, found.connection.scopes) == (State.CONNECTED, made.scopes)


async def test_all_of_a_tenant_are_checked_and_no_others(counter: Counter, checking: Checking):
    for number in range(12):
        await counter.connect(name=f"work-{number}")
    await paste(counter, name="old")
    await counter.accounts.revoke(ANN, "old", "")
    found = await checking.check_all(ANN)
    assert [each.verdict for each in found] == [Verdict.UNASKED, *[Verdict.ACCEPTED] * 12]
    assert [each.connection.name for each in found][:2] == ["old", "work-11"]
    assert await checking.check_all(BOB) == []


async def test_a_store_that_is_lost_while_all_are_checked_is_told_as_that(counter: Counter, checking: Checking):
    await counter.connect()
    asked, go = counter.server.holds = (threading.Event(), threading.Event())
    told: list[Exception] = []

    async def check_all() -> None:
        try:
            await checking.check_all(ANN)
        except Exception as error:  # noqa: BLE001 - a group would be one
            told.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(check_all)
        try:
            assert await anyio.to_thread.run_sync(asked.wait, 60)
            counter.store.close()
        finally:
            go.set()
    assert [isinstance(each, StoreError) for each in told] == [True]
