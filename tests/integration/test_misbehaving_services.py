"""Token endpoints that hang, trickle, answer with pages, break, or lead where nobody should go; and clocks that disagree: for who
connects, and for what is connected already."""

from datetime import timedelta
from typing import Any

import pytest

import auth_server as auth
from auth_server import faults
from fix_installs import ANN, BROWSER
from fix_service import REDIRECT, Hands, Service
from interlock import connections, sdk, testing
from interlock.connections import Reason, State

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

METADATA = "http://169.254.169.254/latest/meta-data"


def declare(provider: Service, **more: Any) -> None:
    provider.declare(sdk.oauth2(authorize_url="/authorize", token_url="/token", scopes=["read"], **more))


def patience(fault: auth.Fault) -> timedelta:
    """Short where it runs out."""
    waits = fault in (faults.HANG, faults.HANG_WHEN_DONE, faults.TRICKLE)
    return timedelta(milliseconds=100) if waits else connections.Errands.limit


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.HANG, Reason.SERVICE_FAILED),
        (faults.HANG_WHEN_DONE, Reason.SERVICE_FAILED),
        (faults.TRICKLE, Reason.SERVICE_FAILED),
        (faults.CUT_HALF_WAY, Reason.SERVICE_FAILED),
        (faults.HUGE, Reason.SERVICE_FAILED),
        (faults.HTML, Reason.UNREADABLE_ANSWER),
        (faults.CRASH, Reason.TEMPORARILY_UNAVAILABLE),
        (faults.says(307, {}, Location=METADATA), Reason.SERVICE_FAILED),
    ],
)
async def test_what_is_no_answer_ends_the_install_and_nothing_else(
    provider: Service, fault: auth.Fault, reason: Reason
):
    declare(provider)
    standing = await provider.connect()
    query = await provider.visit(install := await provider.begin())
    provider.server.fail("token", fault)
    provider.errands.limit = patience(fault)
    with pytest.raises(connections.InstallFailed, match="acme was not connected") as caught:
        await provider.desk.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
    assert caught.value.details == {"reason": reason.value}
    assert (await provider.desk.fetch(ANN, install.install_id)).sealed is None
    assert await provider.connection() == standing
    assert await provider.opens() == auth.PERSON


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.HANG, "refresh_unanswered"),
        (faults.HUGE, "refresh_unanswered"),
        (faults.HTML, "refresh_unreadable_answer"),
        (faults.CRASH, "refresh_temporarily_unavailable"),
        (faults.says(307, {}, Location=METADATA), "refresh_unanswered"),
    ],
)
async def test_what_is_no_answer_degrades_until_there_is_one(provider: Service, fault: auth.Fault, reason: str):
    declare(provider)
    made = await provider.connect()
    provider.clock.advance(3500)
    provider.server.fail("token", fault)
    provider.errands.limit = patience(fault)
    after = await provider.refreshing.refresh(ANN, "acme")
    assert (after.state, after.reason) == (State.DEGRADED, reason)
    assert after.current_credential_id == made.current_credential_id
    assert await provider.opens() == auth.PERSON  # what it has still serves
    provider.errands.limit = connections.Errands.limit
    assert (await provider.refreshing.refresh(ANN, "acme")).state is State.CONNECTED
    assert [each.type.value for each in provider.heard] == ["connected", "degraded", "refreshed", "recovered"]


@pytest.mark.parametrize("fault", [faults.CUT_WHEN_DONE, faults.CUT_HALF_WAY])
async def test_an_answer_that_was_on_its_way_is_asked_for_once_more_and_then_by_a_person(
    provider: Service, fault: auth.Fault
):
    """Nothing is known of this service, so the old refresh token is tried; it ends what is used twice."""
    declare(provider)
    await provider.connect()
    provider.clock.advance(3500)
    provider.server.fail("token", fault)
    assert (await provider.refreshing.refresh(ANN, "acme")).state is State.DEGRADED
    after = await provider.refreshing.refresh(ANN, "acme")
    assert (after.state, after.reason) == (State.REAUTH_REQUIRED, "refresh_outcome_unknown")


async def test_a_token_endpoint_on_a_private_address_is_not_asked(provider: Service):
    """For who connects, and for a credential whose refresh leads there."""
    private = "https://10.1.2.3/token"
    provider.declare(sdk.oauth2(authorize_url="/authorize", token_url=private))
    with pytest.raises(connections.InstallFailed) as caught:
        await provider.connect()
    assert caught.value.details == {"reason": "address_refused"}
    assert "egress_allow" in caught.value.next_step
    declare(provider, refresh={"exchange": sdk.exchange(private)})
    await provider.connect()
    provider.clock.advance(3500)
    after = await provider.refreshing.refresh(ANN, "acme")
    assert (after.state, after.reason) == (State.DEGRADED, "refresh_address_refused")
    assert await provider.opens() == auth.PERSON


@pytest.mark.parametrize("ahead", [-86_400, 86_400])
async def test_a_moment_by_a_clock_that_is_off_counts_from_that_clocks_present(
    provider: Service, running_auth_server: tuple[auth.AuthServer, Hands], ahead: int
):
    running_auth_server[1].shown = testing.ManualClock(provider.clock.now() + timedelta(seconds=ahead))
    ends = provider.server.books.now() + 3600
    declare(provider, answer={"expires_in": "/none", "expires_at": "/ends", "expires_at_format": "epoch"})
    provider.server.fail("token", faults.shaped(lambda told: {**told, "ends": ends}))
    made = await provider.connect()
    assert made.credential_expires_at == provider.clock.now() + timedelta(hours=1)
