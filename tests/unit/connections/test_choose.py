"""Which connection serves a call, and why another does not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fix_connections import CONNECTION, CREDENTIAL, NOW
from interlock import connections
from interlock.connections import choose
from interlock.connections.model import Connection, Credential, State
from interlock.kernel import InterlockError


def standing(name: str, state: State) -> connections.Standing:
    return replace(CONNECTION, name=name, state=state), CREDENTIAL


def admit(connection: Connection = CONNECTION, credential: Credential | None = CREDENTIAL) -> connections.Resolved:
    return choose.admit((connection, credential), connector_id="acme", scopes={"read"}, now=NOW)


def test_a_connection_that_fits_is_admitted():
    assert admit() == connections.Resolved(connection=CONNECTION, credential=CREDENTIAL)
    assert admit(replace(CONNECTION, state=State.DEGRADED)).connection.state is State.DEGRADED


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (State.REAUTH_REQUIRED, connections.ReauthRequired),
        (State.REVOKED, connections.ConnectionRevoked),
    ],
)
def test_every_other_state_has_its_own_refusal_with_the_reason(state: State, error: type[InterlockError]):
    with pytest.raises(error, match=r"'work' is .*: left the firm"):
        admit(replace(CONNECTION, state=state, reason="left the firm"))


def test_another_connectors_connection_is_refused_even_with_fitting_scopes():
    with pytest.raises(connections.WrongConnector, match="'other'"):
        admit(replace(CONNECTION, connector_id="other"))


def test_missing_scopes_are_named():
    with pytest.raises(connections.MissingScopes) as caught:
        choose.admit((CONNECTION, CREDENTIAL), connector_id="acme", scopes={"read", "admin", "root"}, now=NOW)
    assert caught.value.details == {"missing": ["admin", "root"]}


def test_a_credential_ends_at_its_moment():
    admit(credential=replace(CREDENTIAL, expires_at=NOW + timedelta(microseconds=1)))
    with pytest.raises(connections.ConnectionExpired, match="2026-05-01"):
        admit(credential=replace(CREDENTIAL, expires_at=NOW))


@pytest.mark.parametrize("credential", [None, replace(CREDENTIAL, nonce=None, ciphertext=None)])
def test_without_a_secret_nothing_serves(credential: Credential | None):
    with pytest.raises(connections.ReauthRequired):
        admit(credential=credential)


def test_the_only_usable_one_is_chosen_among_the_unusable():
    found = [standing("new", State.CONNECTED), standing("old", State.REVOKED), standing("half", State.REAUTH_REQUIRED)]
    assert choose.only_one(found, connector_id="acme", now=NOW)[0].name == "new"


def test_one_whose_credential_has_ended_is_left_out_where_another_serves():
    ended = replace(CREDENTIAL, expires_at=NOW)
    found = [(replace(CONNECTION, name="soon"), ended), standing("work", State.CONNECTED)]
    assert choose.only_one(found, connector_id="acme", now=NOW)[0].name == "work"
    found = [(replace(CONNECTION, name="soon"), ended), (replace(CONNECTION, name="late"), ended)]
    assert choose.only_one(found, connector_id="acme", now=NOW)[0].name == "soon"


def test_if_none_can_serve_the_latest_says_why():
    found = [standing("b", State.REAUTH_REQUIRED), standing("a", State.REVOKED)]
    assert choose.only_one(found, connector_id="acme", now=NOW)[0].name == "b"


def test_two_that_can_serve_are_never_guessed_between():
    found = [standing("work", State.CONNECTED), standing("home", State.DEGRADED), standing("old", State.REVOKED)]
    with pytest.raises(connections.AmbiguousConnection) as caught:
        choose.only_one(found, connector_id="acme", now=NOW)
    assert caught.value.details == {"connections": ["home", "work"]}


def test_none_at_all():
    with pytest.raises(connections.NoConnection, match="'acme'"):
        choose.only_one([], connector_id="acme", now=NOW)


def test_who_is_to_connect_again_is_told_how():
    ended = replace(CREDENTIAL, expires_at=NOW)
    with pytest.raises(connections.ConnectionExpired) as caught:
        admit(replace(CONNECTION, name="my soon"), ended)
    assert caught.value.next_step.endswith("`interlock connect acme --name 'my soon' --token-env NAME`.")
    with pytest.raises(connections.ReauthRequired) as refused:
        admit(replace(CONNECTION, name="acme", state=State.REAUTH_REQUIRED))
    assert refused.value.next_step.endswith("`interlock connect acme --token-env NAME`.")


@pytest.mark.parametrize(
    "facts",
    [
        {"params": {"client_id": "client-1"}},
        {"refreshed_at": NOW},
        {"management_mode": connections.ManagementMode.PROVIDER_NATIVE},
    ],
)
def test_who_is_to_give_more_than_a_token_is_led_to_what_the_profile_takes(facts: dict[str, Any]):
    with pytest.raises(connections.ConnectionRevoked) as caught:
        admit(replace(CONNECTION, profile_id="machine", state=State.REVOKED, **facts))
    line = "`interlock connect acme --name work --profile machine`"
    assert caught.value.next_step == f"Connect the service again: {line} says what it takes."
