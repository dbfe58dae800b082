"""Which tokens serve nobody."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fix_connections import CONNECTION, NOW
from interlock import testing
from interlock.connections import State, history, renewal, unwanted
from interlock.connections.history import Happening, Told

CLAIMED = renewal.claimed(CONNECTION, "own_1", at=NOW)
ANOTHER: dict[str, Any] = {"current_credential_id": "crd_2"}


@pytest.mark.parametrize(
    ("became", "unwanted_now"),
    [
        ({"state": State.REVOKED}, True),
        (ANOTHER, True),
        ({**ANOTHER, "refreshed_at": NOW + timedelta(seconds=40)}, False),
        ({"state": State.REAUTH_REQUIRED}, False),
    ],
)
def test_what_a_late_refresh_was_given_is_unwanted(became: dict[str, Any], unwanted_now: bool):
    assert unwanted.serves_nobody(CLAIMED, replace(CLAIMED, **became), []) is unwanted_now


@pytest.mark.parametrize("data", [{}, history.ONLY_HERE])
def test_who_revoked_it_here_alone_wants_nothing_ended(data: dict[str, Any]):
    told = [Told(kind=Happening.REVOKED, actor="ann", data=data)]
    after, since = history.append(CLAIMED, told, ids=testing.SequentialIds(), at=NOW)
    revoked = replace(after, state=State.REVOKED)
    assert unwanted.serves_nobody(CLAIMED, revoked, since) is (data == {})
