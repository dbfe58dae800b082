"""Installs from the first click to the connection, against a real authorization server, with every way to get it wrong."""

from collections import Counter as Count
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import select, update

from fix_installs import ANN, BOB, BROWSER, CLIENT, Counter
from interlock import connections, sdk
from interlock.adapters import keys, sql
from interlock.adapters.sql import tables
from interlock.connections import Flow, Happening, InstallState, ManagementMode, Reason, State, TokenGrant, unwanted
from interlock.kernel import Retry, Secret, Tx, canonical

pytestmark = [pytest.mark.anyio, pytest.mark.faults]  # starts servers or kills commands

T = TypeVar("T")


async def test_an_account_is_connected_in_a_browser(counter: Counter):
    install = await counter.begin(name="work")
    query = await counter.visit(install)
    assert await counter.connection() is None
    proven = await counter.come_back(query)
    assert (proven.state, proven.flow) == (InstallState.PROVEN, Flow.AUTHORIZATION_CODE)
    assert proven.found is not None
    assert (proven.found.subject, proven.found.scopes) == ("octo", {"read", "write"})
    assert await counter.connection() is None  # until whoever began has seen whose account it is
    made = await counter.desk.complete(proven, browser=BROWSER)
    assert made == await counter.connection()
    assert (made.name, made.state, made.subject) == ("work", State.CONNECTED, "octo")
    assert (made.management_mode, made.created_by) == (ManagementMode.HOSTED, "ann")
    assert await counter.secrets("work") == {"access_token": "at-canary-000000", "refresh_token": "rt-canary-000001"}
    resolved = await counter.accounts.resolve(ANN, connector_id="acme", scopes={"read"})
    assert resolved.credential.expires_at == counter.clock.now() + timedelta(seconds=3600)
    done = await counter.desk.fetch(ANN, install.install_id)
    assert (done.state, done.connection_id, done.sealed) == (InstallState.COMPLETED, made.connection_id, None)
    assert [event.type for event in counter.heard] == [Happening.CONNECTED]
    assert counter.server.calls == {"authorization_code": 1}


async def test_no_token_and_no_secret_lies_open(counter: Counter):
    install = await counter.begin(name="work")
    query = await counter.visit(install)

    def dump(tx: Tx) -> str:
        rows = [row for table in tables.metadata.sorted_tables for row in sql.connection(tx).execute(select(table))]
        return repr(rows)

    shown = [await counter.store.read(dump)]
    proven = await counter.come_back(query)
    shown += [await counter.store.read(dump), repr(proven), str(proven.record())]
    await counter.desk.complete(proven, browser=BROWSER)
    shown += [await counter.store.read(dump), repr(counter.errands.sent), repr([event.body for event in counter.heard])]
    told = dict(part.split("=") for part in query.split("&"))
    for secret in ("canary", told["state"], BROWSER.reveal(), "shh-client-secret"):
        assert not [text for text in shown if secret in text], secret


async def test_a_program_connects_by_itself(counter: Counter):
    proven = await counter.desk.obtain(await counter.begin("client_credentials", scopes={"read"}))
    made = await counter.desk.complete(proven)
    assert (made.management_mode, made.scopes) == (ManagementMode.MANUAL, {"read"})
    assert made.params == {"client_id": CLIENT.client_id}
    assert await counter.secrets() == {
        "access_token": "at-canary-000000",
        "client_secret": CLIENT.secret and CLIENT.secret.reveal(),
    }


async def test_a_code_is_typed_on_another_device(counter: Counter):
    install = await counter.begin("device")
    codes = await counter.desk.start_device(install)
    assert (codes.user_code, codes.interval) == ("WDJB-MJHT", 5.0)
    waiting = await counter.desk.poll_device(ANN, install.install_id)
    assert waiting.state is InstallState.AWAITING_CALLBACK
    assert waiting.expires_at == codes.expires_at
    counter.server.typed = True
    proven = await counter.desk.poll_device(ANN, install.install_id)
    assert proven.found is not None
    assert proven.missing_scopes == {"write"}
    made = await counter.desk.complete(proven)
    assert (made.management_mode, made.scopes) == (ManagementMode.HOSTED, {"read"})
    with pytest.raises(connections.InstallNotFound):
        await counter.desk.poll_device(BOB, install.install_id)


async def test_a_device_that_nobody_uses_expires(counter: Counter):
    install = await counter.begin("device")
    await counter.desk.start_device(install)
    counter.clock.advance(300)
    with pytest.raises(connections.InstallEnded):
        await counter.desk.poll_device(ANN, install.install_id)
    assert (await counter.desk.fetch(ANN, install.install_id)).state is InstallState.EXPIRED


async def test_a_connection_has_only_what_was_granted(counter: Counter):
    counter.server.granted = "read"
    proven = await counter.come_back(await counter.visit(await counter.begin()))
    assert proven.missing_scopes == {"write"}
    await counter.desk.complete(proven, browser=BROWSER)
    with pytest.raises(connections.MissingScopes, match="write"):
        await counter.accounts.resolve(ANN, connector_id="acme", scopes={"write"})


async def test_what_was_granted_beside_what_was_asked_is_told(counter: Counter):
    counter.server.granted = "read admin"
    proven = await counter.come_back(await counter.visit(await counter.begin()))
    assert (proven.missing_scopes, proven.unasked_scopes) == ({"write"}, {"admin"})
    made = await counter.desk.complete(proven, browser=BROWSER)
    assert made.scopes == {"read", "admin"}
    [event] = counter.heard
    assert event.record()["data"] == {
        "credential_id": made.current_credential_id,
        "version": 1,
        "subject": "octo",
        "scopes": ["admin", "read"],
        "missing_scopes": ["write"],
        "unasked_scopes": ["admin"],
    }


async def test_a_credential_that_can_do_less_takes_the_place_of_none_that_serves(counter: Counter):
    made = await counter.connect()
    counter.server.granted = "read"
    proven = await counter.come_back(await counter.visit(await counter.begin()))
    with pytest.raises(connections.InstallFailed) as caught:
        await counter.desk.complete(proven, browser=BROWSER)
    assert caught.value.details == {"reason": "scopes_lost"}
    assert await counter.connection() == made
    fewer = await counter.come_back(await counter.visit(await counter.begin(scopes={"read"})))
    assert (await counter.desk.complete(fewer, browser=BROWSER)).scopes == {"read"}  # as it was asked


async def test_a_rotation_of_keys_meanwhile_stops_no_install(counter: Counter):
    """At each of its steps the row is sealed anew by others."""
    rotating = keys.Rotating(
        counter.ring, sql.KeyRecords(), sql.HOLDINGS, counter.store, clock=counter.clock, ids=counter.ids
    )
    rotations: Count[str] = Count()

    async def rotate() -> None:
        (begun,) = await rotating.begin(ANN.tenant_id)
        async for step in rotating.follow(begun):
            rotations["resealed"] = step.resealed

    install = await counter.begin(given={})
    query = await counter.visit(install)
    await rotate()
    counter.errands.meanwhile = rotate
    proven = await counter.come_back(query)
    await rotate()
    assert rotations == {"resealed": 1}
    made = await counter.desk.complete(proven, browser=BROWSER)
    assert await counter.secrets() == {"access_token": "at-canary-000000", "refresh_token": "rt-canary-000001"}
    await rotate()
    assert made == await counter.connection()


async def test_a_callback_counts_once(counter: Counter):
    install = await counter.begin()
    query = await counter.visit(install)
    proven = await counter.come_back(query)
    with pytest.raises(connections.InstallUsed):
        await counter.come_back(query)
    await counter.desk.complete(proven, browser=BROWSER)
    for again in (counter.come_back(query), counter.desk.complete(proven, browser=BROWSER)):
        with pytest.raises((connections.InstallEnded, connections.InstallUsed)):
            await again
    assert counter.server.calls == {"authorization_code": 1}


async def test_of_many_who_bring_the_callback_one_sends_the_code(counter: Counter):
    query = await counter.visit(await counter.begin())
    outcomes: Count[str] = Count()

    async def bring() -> None:
        try:
            outcomes[(await counter.come_back(query)).state] += 1
        except connections.InstallUsed:
            outcomes["used"] += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(bring)
    assert outcomes == {"proven": 1, "used": 7}
    assert counter.server.calls == {"authorization_code": 1}


async def test_a_forged_or_foreign_state_belongs_to_nothing(counter: Counter):
    query = await counter.visit(await counter.begin())
    told = dict(part.split("=") for part in query.split("&"))
    for state in ("forged", told["state"][:-1], told["state"] + "A", told["state"].swapcase()):
        with pytest.raises(connections.InstallNotFound):
            await counter.come_back(f"code={told['code']}&state={state}")
    assert counter.server.calls == {}
    assert (await counter.come_back(query)).state is InstallState.PROVEN  # nobody else could spoil it


async def test_two_states_cannot_be_swapped(counter: Counter):
    """A victim's browser is led to finish the attacker's install, and the other way round."""
    theirs, ours = await counter.begin(caller=BOB), await counter.begin()
    attacker = Secret("cookie-of-the-attacker")
    query, own = await counter.visit(theirs, attacker), await counter.visit(ours)
    for brought, browser in ((query, BROWSER), (own, attacker), (own, None)):
        with pytest.raises(connections.CallbackRefused):
            await counter.come_back(brought, browser)
    codes = [dict(part.split("=") for part in each.split("&"))["code"] for each in (query, own)]
    with pytest.raises(connections.InstallFailed) as caught:  # its code with our state: the verifier does not fit
        await counter.come_back(own.replace(codes[1], codes[0]))
    assert caught.value.details == {"reason": "invalid_grant"}
    assert await counter.connection() is None


@pytest.mark.parametrize("change", ["/", "?x=1", "x"])
async def test_an_address_off_by_a_character_is_refused(counter: Counter, change: str):
    query = await counter.visit(await counter.begin())
    with pytest.raises(connections.CallbackRefused):
        await counter.come_back(query, uri=counter.server.redirect_uri + change)
    assert counter.server.calls == {}


async def test_a_late_callback_changes_nothing(counter: Counter):
    install = await counter.begin()
    query = await counter.visit(install)
    counter.clock.advance(600)
    with pytest.raises(connections.InstallEnded):
        await counter.come_back(query)
    assert counter.server.calls == {}
    assert await counter.expire_over() == 1
    assert await counter.expire_over() == 0
    found = await counter.desk.fetch(ANN, install.install_id)
    assert (found.state, found.reason, found.sealed) == (InstallState.EXPIRED, Reason.TIME_OVER, None)


async def test_mixed_up_issuers_end_it_and_the_code_stays_here(counter: Counter):
    counter.server.issuer = "https://evil.dev"
    install = await counter.begin()
    with pytest.raises(connections.InstallFailed) as caught:
        await counter.come_back(await counter.visit(install))
    assert caught.value.details == {"reason": "issuer_mismatch"}
    assert counter.server.calls == {}


async def test_what_the_service_says_in_words_stays_there(counter: Counter):
    counter.server.denies = "access_denied"
    install = await counter.begin()
    with pytest.raises(connections.InstallFailed, match="access was denied") as caught:
        await counter.come_back(await counter.visit(install))
    assert "own words" not in str(caught.value.to_json())
    found = await counter.desk.fetch(ANN, install.install_id)
    assert (found.state, found.reason) == (InstallState.FAILED, Reason.ACCESS_DENIED)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"<html>oh no</html>", Reason.TEMPORARILY_UNAVAILABLE),
        (200, b"<html>fine</html>", Reason.UNREADABLE_ANSWER),
        (200, b'{"error": "invalid_grant", "error_description": "own words"}', Reason.INVALID_GRANT),
        (400, b'{"error": "made up"}', Reason.MISCONFIGURED),
        (200, b'{"token": "x"}', Reason.UNREADABLE_ANSWER),
    ],
)
async def test_a_token_endpoint_that_gives_no_token(counter: Counter, status: int, body: bytes, reason: Reason):
    counter.server.refusal = (status, body)
    install = await counter.begin()
    with pytest.raises(connections.InstallFailed) as caught:
        await counter.come_back(await counter.visit(install))
    assert caught.value.details == {"reason": reason.value}
    assert (await counter.desk.fetch(ANN, install.install_id)).reason is reason
    assert await counter.connection() is None


async def test_a_token_endpoint_that_cannot_be_reached(counter: Counter):
    install = await counter.begin()
    query = await counter.visit(install)
    counter.errands.fails = connections.ErrandFailed.unsendable("nobody is there")
    with pytest.raises(connections.InstallFailed):
        await counter.come_back(query)
    assert (await counter.desk.fetch(ANN, install.install_id)).reason is Reason.SERVICE_FAILED


async def test_a_token_that_does_not_work_becomes_no_connection(counter: Counter):
    counter.server.rejects_tokens = True
    install = await counter.begin()
    with pytest.raises(connections.InstallFailed):
        await counter.come_back(await counter.visit(install))
    found = await counter.desk.fetch(ANN, install.install_id)
    assert (found.reason, found.sealed) == (Reason.PROBE_FAILED, None)


async def test_a_process_that_dies_between_answer_and_commit_leaves_a_trace(counter: Counter):
    """What is committed then is that the exchange began; `tests/faults/test_installs.py` kills there."""
    install = await counter.begin()
    query = await counter.visit(install)

    def die() -> None:
        raise KeyboardInterrupt

    counter.errands.interrupt = die
    with pytest.raises(KeyboardInterrupt):
        await counter.come_back(query)
    with pytest.raises(connections.InstallUsed):
        await counter.come_back(query)
    counter.clock.advance(600)
    await counter.expire_over()
    found = await counter.desk.fetch(ANN, install.install_id)
    assert (found.state, found.reason, found.sealed) == (InstallState.EXPIRED, Reason.INTERRUPTED, None)
    assert await counter.connection() is None


@pytest.mark.parametrize("damage", [{"ciphertext": b"x" * 40}, {"key_id": "key_lost"}])
async def test_an_install_whose_tokens_cannot_be_read_any_more_expires_all_the_same(
    counter: Counter, damage: dict[str, Any]
):
    proven = await counter.come_back(await counter.visit(await counter.begin()))
    damaged = update(tables.installs).values(**damage)
    await counter.store.write(lambda tx: sql.connection(tx).execute(damaged) and None)
    counter.clock.advance(600)
    assert await counter.expire_over() == 1
    found = await counter.desk.fetch(ANN, proven.install_id)
    assert (found.state, found.sealed) == (InstallState.EXPIRED, None)
    assert await counter.expire_over() == 0


async def test_all_that_is_over_goes_at_once(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    """However much it is: installs, proven or not, and what connections had before."""
    monkeypatch.setattr(unwanted, "_BATCH", 2)
    for name in ("one", "two"):
        await counter.connect(name=name)
        await counter.refreshing.refresh(ANN, name)
        await counter.come_back(await counter.visit(await counter.begin(name=f"{name}-proven")))
    for _ in range(2):
        await counter.begin(name="begun")
    counter.clock.advance(600)
    assert await counter.expire_over() == 6
    assert await counter.expire_over() == 0


async def test_what_others_erase_is_not_tried_for_ever(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unwanted, "_BATCH", 1)
    await counter.connect()
    await counter.refreshing.refresh(ANN, "acme")
    counter.clock.advance(600)
    tries = 0

    def others_were_quicker(*_: object, **__: object) -> bool:
        nonlocal tries
        tries += 1
        assert tries < 3
        return False

    monkeypatch.setattr(sql.ConnectionRecords, "erase", others_were_quicker)
    assert (await counter.expire_over(), tries) == (0, 1)


async def test_a_caller_who_gives_up_loses_no_token(counter: Counter):
    install = await counter.begin()
    query = await counter.visit(install)
    with anyio.CancelScope() as scope:
        counter.errands.interrupt = scope.cancel
        await counter.come_back(query)
    assert (await counter.desk.fetch(ANN, install.install_id)).state is InstallState.PROVEN


async def test_an_install_is_carried_on_only_in_its_own_way(counter: Counter):
    """What belongs to another flow is refused, and the install goes on."""
    browser, device = await counter.begin(name="browser"), await counter.begin("device", name="device")
    query = await counter.visit(browser)
    await counter.desk.start_device(device)
    waiting = [await counter.desk.fetch(ANN, each.install_id) for each in (browser, device)]
    with pytest.raises(connections.InstallUsed, match="no second device"):
        await counter.desk.poll_device(ANN, browser.install_id)
    for each in waiting:
        with pytest.raises(connections.InstallUsed, match="by a person"):
            await counter.desk.obtain(each)
    assert [await counter.desk.fetch(ANN, each.install_id) for each in waiting] == waiting
    assert (await counter.come_back(query)).state is InstallState.PROVEN


async def test_a_caller_who_gives_up_before_the_request_stops_no_device(counter: Counter):
    """Whoever polls with a limit of time may poll again, also if the commit that begins it was the last that happened."""
    install = await counter.begin("device")
    await counter.desk.start_device(install)

    class GivesUp:
        """A store that notices only after the commit that nobody waits for it."""

        async def read(self, fn: Callable[[Tx], T], /) -> T:
            return await counter.store.read(fn)

        async def write(self, fn: Callable[[Tx], T], /) -> T:
            written = await counter.store.write(fn)
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            return written

    with anyio.CancelScope() as scope:
        await connections.Desk(replace(counter.means, store=GivesUp())).poll_device(ANN, install.install_id)
    counter.server.typed = True
    assert (await counter.desk.poll_device(ANN, install.install_id)).state is InstallState.PROVEN


async def test_a_device_waits_through_an_answer_that_did_not_come(counter: Counter):
    """RFC 8628 §3.5: to ask more slowly, and not to give up."""
    install = await counter.begin("device")
    await counter.desk.start_device(install)
    counter.errands.fails = connections.ErrandFailed("nobody was there", retry=Retry.LATER)
    with pytest.raises(connections.ErrandFailed):
        await counter.desk.poll_device(ANN, install.install_id)
    counter.errands.fails = None
    counter.server.refusal = (503, b"<html>")
    with pytest.raises(connections.GrantRefused, match="cannot answer now") as caught:
        await counter.desk.poll_device(ANN, install.install_id)
    assert caught.value.reason == "temporarily_unavailable"
    counter.server.refusal, counter.server.typed = None, True
    assert (await counter.desk.poll_device(ANN, install.install_id)).state is InstallState.PROVEN


async def test_a_device_does_not_wait_for_what_cannot_pass(counter: Counter):
    install = await counter.begin("device")
    await counter.desk.start_device(install)
    counter.errands.fails = connections.ErrandFailed("private addresses are refused", retry=Retry.AFTER_CHANGE)
    with pytest.raises(connections.InstallFailed, match="acme was not connected: the service could not be asked"):
        await counter.desk.poll_device(ANN, install.install_id)
    assert (await counter.desk.fetch(ANN, install.install_id)).reason is Reason.SERVICE_FAILED


async def test_reauthorising_keeps_what_works_until_the_new_one_is_proven(counter: Counter):
    made = await counter.connect()
    before = await counter.secrets()
    install = await counter.begin()
    assert install.connection_id == made.connection_id
    proven = await counter.come_back(await counter.visit(install))
    assert await counter.connection() == made
    assert await counter.secrets() == before
    renewed = await counter.desk.complete(proven, browser=BROWSER)
    assert (renewed.connection_id, renewed.revision) == (made.connection_id, made.revision + 1)
    assert (await counter.secrets())["access_token"] == "at-canary-000001"
    assert [event.type for event in counter.heard] == [Happening.CONNECTED, Happening.REPLACED]


@pytest.mark.parametrize("how", ["cancelled", "expired", "failed", "unproven"])
async def test_an_install_that_comes_to_nothing_leaves_all_as_it_was(counter: Counter, how: str):
    made = await counter.connect()
    install = await counter.begin()
    query = await counter.visit(install)
    if how == "cancelled":
        await counter.desk.cancel(await counter.come_back(query))
    elif how == "expired":
        await counter.come_back(query)
        counter.clock.advance(600)
        await counter.expire_over()
    else:
        counter.server.refusal = (400, b'{"error": "invalid_grant"}') if how == "failed" else None
        counter.server.rejects_tokens = how == "unproven"
        with pytest.raises(connections.InstallFailed):
            await counter.come_back(query)
    assert await counter.connection() == made
    assert (await counter.secrets())["access_token"] == "at-canary-000000"
    ended = await counter.desk.fetch(ANN, install.install_id)
    assert ended.sealed is None
    with pytest.raises(connections.InstallEnded):
        await counter.desk.complete(ended, browser=BROWSER)


async def test_a_connection_does_not_slip_to_another_account(counter: Counter):
    made = await counter.connect()
    counter.server.subject = "mallory"
    proven = await counter.come_back(await counter.visit(await counter.begin()))
    with pytest.raises(connections.InstallFailed) as caught:
        await counter.desk.complete(proven, browser=BROWSER)
    assert caught.value.details == {"reason": "subject_mismatch"}
    assert await counter.connection() == made


async def test_a_broken_connection_is_mended(counter: Counter):
    made = await counter.connect()
    resolved = await counter.accounts.resolve(ANN, connector_id="acme", scopes=set())
    counter.server.refusal = (400, b'{"error": "invalid_grant"}')
    await counter.accounts.report_rejected(ANN, resolved, "401")
    counter.server.refusal = None
    again = await counter.connect()
    assert (again.connection_id, again.state, again.broken_at) == (made.connection_id, State.CONNECTED, None)
    assert [event.type for event in counter.heard][-1] is Happening.RECOVERED


async def test_what_was_revoked_meanwhile_is_not_brought_back(counter: Counter):
    await counter.connect()
    proven = await counter.come_back(await counter.visit(await counter.begin()))
    counter.clock.advance(1)
    await counter.accounts.revoke(ANN, "acme", "laptop lost")
    with pytest.raises(connections.InstallFailed) as caught:
        await counter.desk.complete(proven, browser=BROWSER)
    assert caught.value.details == {"reason": "connection_changed"}
    found = await counter.connection()
    assert found is not None
    assert found.state is State.REVOKED
    counter.clock.advance(1)
    assert (await counter.connect()).state is State.CONNECTED  # begun since, by somebody who knows


async def test_a_name_that_was_taken_meanwhile_is_left_alone(counter: Counter):
    proven = await counter.come_back(await counter.visit(await counter.begin()))
    taken = await counter.accounts.connect_token(
        ANN,
        TokenGrant(
            connector_id="acme", profile_id="token", fields=("token",), secrets={"token": Secret("tok-0123456789")}
        ),
    )
    with pytest.raises(connections.InstallFailed) as caught:
        await counter.desk.complete(proven, browser=BROWSER)
    assert caught.value.details == {"reason": "connection_changed"}
    assert await counter.connection() == taken


@pytest.mark.parametrize("again", [False, True])
async def test_of_many_who_complete_one_does(counter: Counter, *, again: bool):
    if again:
        await counter.connect()
        counter.heard.clear()
    proven = await counter.come_back(await counter.visit(await counter.begin()))
    outcomes: Count[str] = Count()

    async def complete() -> None:
        try:
            await counter.desk.complete(proven, browser=BROWSER)
            outcomes["made"] += 1
        except (connections.InstallUsed, connections.InstallEnded, connections.InstallFailed):
            outcomes["refused"] += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(complete)
    assert outcomes == {"made": 1, "refused": 3}
    assert len(await counter.accounts.list_connections(ANN)) == 1
    assert [event.type for event in counter.heard] == [Happening.REPLACED if again else Happening.CONNECTED]


async def test_only_the_browser_that_began_completes(counter: Counter):
    proven = await counter.come_back(await counter.visit(await counter.begin()))
    for browser in (None, Secret("another-cookie-0123")):
        with pytest.raises(connections.CallbackRefused):
            await counter.desk.complete(proven, browser=browser)
    assert await counter.connection() is None


async def test_others_see_no_install(counter: Counter):
    install = await counter.begin()
    assert await counter.desk.list_installs(ANN) == [install]
    assert await counter.desk.list_installs(BOB) == []
    with pytest.raises(connections.InstallNotFound):
        await counter.desk.fetch(BOB, install.install_id)
    with pytest.raises(connections.InstallNotFound):
        await counter.desk.find_by_link(Secret("a-guessed-link"))


async def test_a_link_ends_with_its_install(counter: Counter):
    begun = await counter.desk.begin(ANN, connector_id="acme", profile_id="oauth2")
    await counter.desk.cancel(begun.install)
    with pytest.raises(connections.InstallEnded):
        await counter.desk.find_by_link(begun.link)


async def test_what_is_wrong_from_the_start_begins_nothing(counter: Counter):
    with pytest.raises(connections.InstallUnsupported):
        await counter.begin("token")
    with pytest.raises(connections.InvalidGrant):
        await counter.begin(given={"unknown": "x"})
    with pytest.raises(connections.InvalidGrant):
        await counter.begin(name="con_" + "0" * 32)
    await counter.connect()
    with pytest.raises(connections.NameTaken):
        await counter.desk.begin(ANN, connector_id="other", profile_id="oauth2", name="acme")
    assert len(await counter.desk.list_installs(ANN)) == 1


async def test_a_profile_that_does_not_fit_fails_without_asking_anybody(counter: Counter):
    profile = counter.profiles["oauth2"]
    assert isinstance(profile.grant, sdk.grants.AuthorizationCode)
    grant = profile.grant.model_copy(update={"authorize_url": "https://{site}.acme.dev/authorize"})
    counter.profiles["oauth2"] = profile.model_copy(update={"grant": grant})
    install = await counter.begin()
    with pytest.raises(connections.InstallFailed):
        await counter.visit(install)
    assert (await counter.desk.fetch(ANN, install.install_id)).reason is Reason.MISCONFIGURED


async def test_a_client_that_is_given_with_its_key_signs_for_itself(counter: Counter):
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    fields = [{"name": "client_id"}, {"name": "private_key", "secret": True}]
    draft = sdk.client_credentials(token_url="/token", base_url=counter.server.url, client_auth="private_key_jwt")
    draft = {**draft, "fields": fields}
    counter.profiles["client_credentials"] = sdk.AuthProfile.model_validate_json(canonical(draft))
    given = {"client_id": "mine", "private_key": pem}
    begun = await counter.desk.begin(ANN, connector_id="acme", profile_id="client_credentials", given=given)
    with pytest.raises(connections.InstallFailed):  # this server knows no keys
        await counter.desk.obtain(begun.install)
    (sent,) = counter.errands.sent
    assert b"client_id=mine" in sent.body
    assert b"client_assertion=" in sent.body


async def test_a_service_lives_where_what_is_given_says(counter: Counter):
    draft = sdk.client_credentials(token_url="/token", base_url="https://{site}.acme.dev")
    draft = {**draft, "fields": [*draft["fields"], {"name": "site"}]}
    counter.profiles["client_credentials"] = sdk.AuthProfile.model_validate_json(canonical(draft))
    given = {"client_id": "mine", "client_secret": "shh-client-secret", "site": "north"}
    begun = await counter.desk.begin(ANN, connector_id="acme", profile_id="client_credentials", given=given)
    assert begun.install.base_url == "https://north.acme.dev"
