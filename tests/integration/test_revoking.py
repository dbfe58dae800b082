"""Tokens that are ended at the service when they are no longer wanted here (RFC 7009)."""

import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import pytest
from sqlalchemy import select, update

import auth_server as auth
from auth_server import faults
from fix_notes import Place
from interlock import connections, plane
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.connections import State, unwanted
from interlock.kernel import InterlockError
from late import Late

pytestmark = pytest.mark.anyio

ALONE = {"of": "access_token", "ends": "token"}
GRANT = pytest.mark.parametrize("notes", [{"ends": "grant"}], indirect=True)


async def told(notes: Place) -> list[tuple[str, Any]]:
    """What the events say, and why."""
    found = await notes.process.il.connections.events("acme")
    return [(each.type.value, json.loads(each.body)["reason"]) for each in found]


def alive(notes: Place) -> int:
    """How many tokens the service still takes."""
    return sum(not each.revoked for each in notes.server.books.tokens)


async def test_a_connection_is_revoked_here_and_at_the_service(notes: Place):
    await notes.connect()
    after = await notes.process.il.connections.revoke("acme", reason="laptop lost")
    assert after.state is State.REVOKED
    assert alive(notes) == 0
    assert await told(notes) == [("connected", None), ("revoked", "laptop lost"), ("provider_revoked", None)]
    asked = parse_qs(notes.server.heard[-1].body.decode())
    assert asked["token_type_hint"] == ["refresh_token"]
    assert asked["token"] == [notes.server.books.tokens[-1].refresh_token]
    events = await notes.process.il.connections.events("acme")
    assert connections.check_history(after, events) is None
    evidence = repr([each.canonical for each in await notes.process.il.evidence()])
    assert after.connection_id in evidence
    assert "canary" not in evidence + repr(events)
    await notes.process.il.connections.revoke("acme")
    assert notes.server.calls["revoke"] == 1


@pytest.mark.parametrize(
    ("fault", "reason", "asked"),
    [
        (faults.UNAVAILABLE, "revoke_temporarily_unavailable", 3),
        (faults.CUT, "revoke_unanswered", 3),
        (faults.says(400, {"error": "unsupported_token_type"}), "revoke_unsupported", 1),
        (faults.says(200, {"error": "invalid_client"}), "revoke_invalid_client", 1),
    ],
)
async def test_it_is_revoked_here_whatever_the_service_does(notes: Place, fault: auth.Fault, reason: str, asked: int):
    await notes.connect()
    notes.server.keep_failing("revoke", fault)
    assert (await notes.process.il.connections.revoke("acme")).state is State.REVOKED
    assert (await told(notes))[-2:] == [("revoked", None), ("provider_revoke_failed", reason)]
    assert notes.server.calls["revoke"] == asked


async def test_a_service_that_comes_back_is_asked_again(notes: Place):
    await notes.connect()
    notes.server.fail("revoke", faults.CRASH, faults.CUT)
    await notes.process.il.connections.revoke("acme")
    assert (await told(notes))[-1] == ("provider_revoked", None)
    assert alive(notes) == 0


async def test_who_does_not_want_it_revokes_here_alone(notes: Place):
    await notes.connect()
    await notes.process.il.connections.revoke("acme", at_provider=False)
    assert (await told(notes))[-1] == ("revoked", None)
    assert alive(notes) == 1


async def test_what_others_use_is_not_ended_with_it(notes: Place):
    await notes.connect()
    await notes.connect("other")
    await notes.process.il.connections.revoke("acme")
    assert (await told(notes))[-1] == ("provider_revoke_failed", "others_depend")
    assert alive(notes) == 2


def ended(notes: Place) -> list[str]:
    """The tokens that the service was asked to end."""
    asked = [parse_qs(each.body.decode()) for each in notes.server.heard if each.path == "/revoke"]
    return [token for each in asked for token in each["token"]]


@GRANT
async def test_one_consent_of_several_is_ended(notes: Place):
    await notes.connect()
    await notes.connect("other")
    await notes.process.il.connections.revoke("acme")
    assert (await told(notes))[-1] == ("provider_revoked", None)
    assert (await notes.whose(connection="other")).output == {"login": auth.PERSON}


@GRANT
async def test_an_earlier_consent_is_ended_when_another_took_its_place(notes: Place):
    await notes.connect()
    made = await notes.connect()
    assert made.state is State.CONNECTED
    assert await told(notes) == [("connected", None), ("replaced", None), ("provider_revoked", None)]
    assert alive(notes) == 1
    assert (await notes.whose()).output == {"login": auth.PERSON}


def by_hand(notes: Place) -> str:
    """A token that the person has made at the service, without a consent."""
    made = replace(notes.server.books.tokens[-1], access_token="at-by-hand", refresh_token=None, family="by hand")
    notes.server.books.tokens.append(made)
    return made.access_token


@GRANT
async def test_an_earlier_consent_is_ended_when_a_token_took_its_place(notes: Place):
    await notes.connect()
    await notes.connect("other")
    made = await notes.process.il.connections.connect_token("acme", by_hand(notes), name="acme")
    assert await told(notes) == [("connected", None), ("replaced", None), ("provider_revoked", None)]
    assert (made.profile_id, alive(notes)) == ("token", 2)
    for name in ("acme", "other"):
        assert (await notes.whose(connection=name)).output == {"login": auth.PERSON}


@GRANT
async def test_an_earlier_consent_that_calls_at_work_go_on_with_is_told_of(notes: Place):
    await notes.connect()
    await notes.process.il.connections.connect_token("acme", by_hand(notes), name="acme", overlap=60)
    assert (await told(notes))[1:] == [("replaced", None), ("provider_revoke_failed", "overlap")]
    assert (notes.server.calls["revoke"], alive(notes)) == (0, 2)


@GRANT
async def test_an_earlier_consent_that_served_nobody_is_ended_whatever_the_overlap(notes: Place):
    await notes.connect()
    notes.server.fail("token refresh_token", faults.says(400, {"error": "invalid_grant"}))
    there = notes.process.il.connections
    assert (await there.refresh("acme")).state is State.REAUTH_REQUIRED
    await there.connect_token("acme", by_hand(notes), name="acme", overlap=60)
    assert [kind for kind, _ in await told(notes)][2:] == ["replaced", "recovered", "provider_revoked"]
    assert alive(notes) == 1


async def test_an_earlier_consent_is_told_of_where_its_end_might_take_the_token_along(notes: Place):
    await notes.connect()
    token = by_hand(notes)
    await notes.process.il.connections.connect_token("acme", token, name="acme")
    assert (await told(notes))[1:] == [("replaced", None), ("provider_revoke_failed", "others_depend")]
    await notes.process.il.connections.connect_token("acme", token, name="acme")
    assert [kind for kind, _ in await told(notes)][3:] == ["replaced"]
    assert notes.server.calls["revoke"] == 0


async def test_an_earlier_consent_is_left_where_its_end_would_take_the_new_one_along(notes: Place):
    await notes.connect()
    await notes.connect()
    assert [kind for kind, _ in await told(notes)] == ["connected", "replaced"]
    assert alive(notes) == 2


@pytest.mark.parametrize("end", ["cancel", "fail"])
@pytest.mark.parametrize("notes", [{"ends": "grant"}, {}], indirect=True)
async def test_tokens_of_an_install_that_came_to_nothing_are_ended(notes: Place, end: str):
    installs = notes.process.il.connections.installs
    if end == "cancel":
        await installs.cancel((await notes.agree()).install_id)
    else:
        notes.server.fail("me", faults.CRASH)
        with pytest.raises(connections.InstallFailed):
            await notes.agree()
    assert (notes.server.calls["revoke"], alive(notes)) == (1, 0)


@pytest.mark.parametrize(("notes", "left"), [({"ends": "grant"}, 1), ({}, 2)], indirect=["notes"])
async def test_an_install_that_came_to_nothing_ends_nothing_that_is_used(notes: Place, left: int):
    await notes.connect()
    await notes.process.il.connections.installs.cancel((await notes.agree()).install_id)
    assert alive(notes) == left
    assert (await notes.whose()).output == {"login": auth.PERSON}


async def test_what_an_install_holds_that_nobody_completed_is_ended(notes: Place):
    install = await notes.agree()
    assert await notes.process.parts.unwanted.tidy() == 0
    notes.world.advance(600)
    assert await notes.process.parts.unwanted.tidy() == 1
    found = await notes.process.il.connections.installs.fetch(install.install_id)
    assert (found.reason, found.sealed) == (connections.Reason.TIME_OVER, None)
    assert (notes.server.calls["revoke"], alive(notes)) == (1, 0)


@pytest.mark.parametrize("of", ["installs", "renewed connections"])
@pytest.mark.parametrize("notes", [ALONE], indirect=True)
async def test_who_closes_while_tokens_are_ended_waits_for_that(notes: Place, of: str, monkeypatch: pytest.MonkeyPatch):
    """They are erased by then. What was not begun is left for later."""
    monkeypatch.setattr(unwanted, "_AT_ONCE", 1)
    for name in ("acme", "other"):
        if of == "installs":
            await notes.agree(name)
        else:
            await notes.connect(name)
            await notes.process.il.connections.refresh(name)
    notes.world.advance(600)
    late = Late()

    def fail_slowly(answer: auth.Said) -> auth.Said:
        late.wait()
        return faults.UNAVAILABLE.spoil(answer)

    notes.server.fail("revoke", auth.Fault(fail_slowly))
    async with late.overtaken(partial(notes.process.parts.unwanted.keep, every=60)) as closing:
        closing.cancel()
    assert len(notes.server.books.tokens) - alive(notes) == 1
    assert await notes.process.parts.unwanted.tidy() == 1
    assert len(notes.server.books.tokens) - alive(notes) == 2


async def test_an_install_that_nobody_completed_ends_nothing_that_is_used(notes: Place):
    await notes.connect()
    await notes.agree()
    notes.world.advance(600)
    await notes.process.parts.unwanted.tidy()
    assert (notes.server.calls["revoke"], alive(notes)) == (0, 2)


@pytest.mark.parametrize(("notes", "ends"), [(ALONE, True), ({"ends": "grant"}, False)], indirect=["notes"])
async def test_what_a_renewed_connection_had_is_ended_once_it_serves_nobody(notes: Place, ends: bool):
    """Only where its end is its own: what is in use came of the same consent."""
    await notes.connect()
    await notes.process.il.connections.refresh("acme")
    assert await notes.process.parts.unwanted.tidy() == 0
    notes.world.advance(300)
    assert await notes.process.parts.unwanted.tidy() == 1
    first, present = notes.server.books.tokens
    assert ended(notes) == [first.access_token] * ends
    assert (first.revoked, present.revoked) == (ends, False)
    assert (await told(notes))[2:] == [("provider_revoked", None)] * ends
    assert (await notes.whose()).output == {"login": auth.PERSON}
    assert await notes.process.parts.unwanted.tidy() == 0


@pytest.mark.parametrize(("notes", "version"), [(ALONE, 1), (ALONE, 2)], indirect=["notes"])
async def test_a_key_that_is_lost_keeps_nothing_from_being_erased(notes: Place, version: int):
    """Of its own connection, and of all others. The connection `other` has its token ended."""
    for name in ("acme", "other"):
        await notes.connect(name)
        await notes.process.il.connections.refresh(name)
    rows, acme = tables.credentials, (await notes.present()).connection_id
    lost = update(rows).where(rows.c.connection_id == acme, rows.c.version == version).values(key_id="key_lost")
    store = notes.process.parts.store
    await store.write(lambda tx: sql.connection(tx).execute(lost) and None)
    notes.world.advance(300)
    assert await notes.process.parts.unwanted.tidy() == 2
    erased = select(rows.c.version).where(rows.c.ciphertext.is_(None))
    assert await store.read(lambda tx: sql.connection(tx).scalars(erased).all()) == [1, 1]
    assert len(ended(notes)) == 1


async def overtake_a_refresh(notes: Place, act: Callable[[], Awaitable[object]]) -> None:
    """Do something while the answer to a refresh is on its way."""
    late = Late()
    notes.server.fail("token refresh_token", faults.then(late.wait, done=True))
    async with late.overtaken(partial(notes.process.il.connections.refresh, "acme")):
        await act()


async def test_a_refresh_that_loses_to_a_revoke_has_its_tokens_ended(notes: Place):
    await notes.connect()
    await overtake_a_refresh(notes, partial(notes.process.il.connections.revoke, "acme"))
    found = await notes.present()
    assert (found.state, await told(notes)) == (
        State.REVOKED,
        [
            ("connected", None),
            ("revoked", None),
            ("provider_revoke_failed", "refresh_outcome_unknown"),
            ("provider_revoked", None),
        ],
    )
    assert ended(notes) == [each.refresh_token for each in notes.server.books.tokens]
    assert alive(notes) == 0
    events = await notes.process.il.connections.events("acme")
    assert connections.check_history(found, events) is None
    assert [each.data["versions"] for each in events[2:]] == [[1], [2]]


async def test_a_refresh_that_loses_to_a_revoke_here_alone_ends_nothing_there(notes: Place):
    await notes.connect()
    await overtake_a_refresh(notes, partial(notes.process.il.connections.revoke, "acme", at_provider=False))
    assert (await notes.present()).state is State.REVOKED
    assert await told(notes) == [("connected", None), ("revoked", None)]
    assert ended(notes) == []
    rows = tables.credentials.c
    stored = select(rows.version, rows.ciphertext)
    assert await notes.process.parts.store.read(lambda tx: sql.connection(tx).execute(stored).all()) == [(1, None)]


async def test_a_refresh_that_loses_waits_for_no_service_that_is_slow(notes: Place, monkeypatch: pytest.MonkeyPatch):
    """A call waits for it."""
    monkeypatch.setattr(unwanted, "_PATIENCE", 0.05)
    await notes.connect()
    over = threading.Event()

    async def revoke() -> None:
        await notes.process.il.connections.revoke("acme")
        notes.server.keep_failing("revoke", faults.then(partial(over.wait, 60), done=False))

    try:
        await overtake_a_refresh(notes, revoke)
    finally:
        over.set()
    assert (await told(notes))[-1] == ("provider_revoke_failed", "revoke_unanswered")
    assert notes.server.calls["revoke"] <= 2  # whoever revoked, and once more if there was time for it


@GRANT
async def test_a_refresh_that_loses_to_another_consent_has_its_tokens_ended(notes: Place):
    await notes.connect()
    await overtake_a_refresh(notes, notes.connect)
    assert (await told(notes))[1:] == [
        ("replaced", None),
        ("provider_revoke_failed", "refresh_outcome_unknown"),
        ("provider_revoked", None),
    ]
    assert (await notes.whose()).output == {"login": auth.PERSON}
    assert alive(notes) == 1


async def test_a_refresh_that_loses_leaves_what_others_use(notes: Place):
    await notes.connect()
    await notes.connect("other")
    await overtake_a_refresh(notes, partial(notes.process.il.connections.revoke, "acme"))
    assert (await told(notes))[2:] == [("provider_revoke_failed", "others_depend")] * 2
    assert ended(notes) == []


async def test_a_call_that_is_about_to_leave_loses_its_lease(notes: Place, monkeypatch: pytest.MonkeyPatch):
    await notes.connect()
    execute = notes.process.parts.wiring.node.execute

    async def late(*args: Any, **more: Any) -> plane.Receipt:
        await notes.process.il.connections.revoke("acme")
        return await execute(*args, **more)

    monkeypatch.setattr(notes.process.parts.wiring.node, "execute", late)
    heard = notes.server.calls["notes"]
    with pytest.raises(InterlockError) as caught:
        await notes.note()
    assert "revoked" in caught.value.message
    assert notes.server.calls["notes"] == heard == 0
