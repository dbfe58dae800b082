"""Runs whose credential the service no longer takes, against a strict authorization server with a service behind it."""

from typing import Any

import anyio
import pytest

import auth_server as auth
from auth_server import faults
from fix_notes import Place
from interlock import plane, runs, sdk
from interlock.connections import State
from interlock.kernel import JSON, Clock, InterlockError, Retry, SystemClock
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Clock:
    """One that a test moves, unless it names another."""
    return getattr(request, "param", None) or ManualClock()


async def told(notes: Place) -> list[str]:
    return [each.type.value for each in await notes.process.il.connections.events("acme")]


@pytest.mark.parametrize("write", [False, True])
async def test_a_refused_call_goes_on_with_a_new_credential(notes: Place, write: bool):
    await notes.connect()
    notes.end_tokens()
    outcome = await (notes.note() if write else notes.whose())
    assert outcome.state is runs.State.COMPLETED
    assert notes.refreshes == 1
    assert notes.server.books.notes == ["hello"] * write
    history = await notes.process.last()
    first, second = history.attempts
    assert (first.state, second.state) == (runs.AttemptState.FAILED, runs.AttemptState.COMPLETED)
    assert "auth_failed" in repr(first.error)
    assert first.lease_id != second.lease_id
    assert [send.delivery for send in history.sends][-1] is runs.Delivery.RESPONDED
    assert await told(notes) == ["connected", "refreshed"]


async def test_both_secrets_are_taken_out_of_what_the_service_says(notes: Place):
    await notes.connect()
    old = notes.server.books.tokens[-1].access_token
    notes.end_tokens()

    def echo(answer: auth.Said) -> auth.Said:
        new = notes.server.books.tokens[-1].access_token
        assert new != old
        return faults.says(200, {"login": f"{old} and {new}"}).spoil(answer)

    notes.server.fail("me", faults.says(401, {"message": f"not {old}"}), auth.Fault(echo))
    outcome = await notes.whose()
    assert outcome.output == {"login": "[redacted] and [redacted]"}
    assert "canary" not in repr(await notes.process.last())


async def test_a_body_can_tell_that_a_token_is_dead(notes: Place):
    await notes.connect()
    dead = {"ok": False, "error": "token_revoked"}
    for fault in (faults.says(200, dead), faults.says(409, dead)):
        notes.server.fail("me", fault)
        assert (await notes.whose()).output == {"login": auth.PERSON}
        notes.world.advance(100)
    notes.server.fail("notes", faults.says(200, dead))
    assert (await notes.note()).output == {"number": 1}
    assert notes.server.books.notes == ["hello"]
    assert notes.refreshes == 3


async def test_a_new_credential_that_is_refused_too_is_not_replaced_again(notes: Place):
    await notes.connect()
    notes.server.keep_failing("me", faults.says(401, {}))
    with pytest.raises(sdk.AuthFailed) as caught:
        await notes.whose()
    assert notes.refreshes == 1
    assert notes.server.calls["me"] == 2
    assert (await notes.present()).state is State.REAUTH_REQUIRED
    assert caught.value.next_step == "Connect the service again: `interlock connect acme`."


async def test_a_run_goes_on_with_another_credential_once(notes: Place):
    await notes.connect()

    def refuse_late(answer: auth.Said) -> auth.Said:
        notes.world.advance(61)  # what is refused then is no longer new
        return auth.Said(401)

    notes.server.fail("me", faults.says(401, {}), auth.Fault(refuse_late))
    with pytest.raises(sdk.AuthFailed):
        await notes.whose()
    assert notes.server.calls["me"] == 2
    assert len((await notes.process.last()).attempts) == 2


@pytest.mark.parametrize("clock", [SystemClock()], indirect=True)
async def test_of_many_runs_with_one_dead_token_one_has_it_renewed(notes: Place):
    await notes.connect()
    notes.end_tokens()
    ended: list[JSON] = []

    async def use() -> None:
        ended.append((await notes.whose()).output)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(use)
    assert ended == [{"login": auth.PERSON}] * 8
    assert notes.refreshes == 1
    assert not notes.server.books.families_ended


async def test_a_lease_that_ended_because_another_renewed_is_followed_by_one_on_the_next(
    notes: Place, monkeypatch: pytest.MonkeyPatch
):
    await notes.connect()
    wiring, held = notes.process.parts.wiring, anyio.Event()
    execute = wiring.node.execute

    async def late(*args: Any, **more: Any) -> plane.Receipt:
        if not held.is_set():
            held.set()
            await notes.process.parts.refreshing.refresh(notes.process.il.caller, "acme", over=True)
        return await execute(*args, **more)

    monkeypatch.setattr(wiring.node, "execute", late)
    assert (await notes.whose()).output == {"login": auth.PERSON}
    assert [send.delivery for send in (await notes.process.last()).sends] == [
        runs.Delivery.NOT_SENT,
        runs.Delivery.RESPONDED,
    ]


async def test_what_happened_is_not_done_again(notes: Place):
    await notes.connect()
    notes.server.fail("me", faults.says(401, {}))
    with pytest.raises(InterlockError) as caught:
        await notes.note("note.look")
    assert caught.value.retry is Retry.NEVER
    assert "It happened" in caught.value.next_step
    assert notes.server.books.notes == ["hello"]
    assert notes.refreshes == 1  # for those who come next


async def test_a_call_of_one_attempt_is_told_to_ask_again(notes: Place):
    await notes.connect()
    notes.end_tokens()
    with pytest.raises(sdk.AuthFailed) as caught:
        await notes.whose(max_attempts=1)
    assert (caught.value.retry, caught.value.next_step) == (
        Retry.LATER,
        "The credential has been renewed meanwhile: ask again.",
    )
    assert caught.value.next_step in repr((await notes.process.last()).run.error)
    assert (await notes.whose()).output == {"login": auth.PERSON}
    assert notes.refreshes == 1


async def test_a_provider_that_is_down_is_told(notes: Place):
    await notes.connect()
    notes.end_tokens()
    notes.server.keep_failing("token", faults.UNAVAILABLE)
    with pytest.raises(sdk.AuthFailed) as caught:
        await notes.whose()
    assert (await notes.present()).state is State.DEGRADED
    assert "refresh_temporarily_unavailable" in caught.value.next_step
    assert notes.server.calls["me"] == notes.refreshes == 1


async def test_what_a_person_gave_is_asked_of_a_person_again(notes: Place):
    token = notes.server.books.make("pat")
    il = notes.process.il
    notes.server.fail("me", faults.says(200, {"login": "me"}), faults.says(401, {}))
    await il.connections.connect_token("acme", {"token": token}, name="robot")
    with pytest.raises(sdk.AuthFailed) as caught:
        await notes.whose(connection="robot")
    assert caught.value.next_step == (
        "Connect the service again: `interlock connect acme --name robot --token-env NAME`."
    )
    assert notes.server.calls["me"] == 2


async def test_a_secret_that_was_replaced_at_its_place_is_taken(notes: Place, monkeypatch: pytest.MonkeyPatch):
    il, books = notes.process.il, notes.server.books
    await notes.connect()
    monkeypatch.setenv("ROBOT", "an-old-token-0123456789")
    notes.server.fail("me", faults.says(200, {"login": "me"}))
    await il.connections.connect_from("acme", "env:ROBOT", name="robot")
    await il.connections.leases.request("robot")
    monkeypatch.setenv("ROBOT", books.tokens[-1].access_token)
    assert (await notes.whose(connection="robot")).output == {"login": auth.PERSON}
    monkeypatch.setenv("ROBOT", "a-dead-token-0123456789")
    with pytest.raises(sdk.AuthFailed) as caught:
        await notes.whose(connection="robot")
    assert caught.value.next_step.endswith("again: `interlock connect acme --name robot --from env:ROBOT`.")
