"""What a token can be."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from interlock import tokens
from interlock.testing import ManualClock
from interlock.tokens import model

NOW = ManualClock().now()
TOKEN = tokens.Token(
    token_id="tok_1",
    tenant_id="t1",
    name="ci",
    actor="ci",
    roles=frozenset({"caller"}),
    capabilities=None,
    connections=None,
    created_by="me",
    created_at=NOW,
    expires_at=None,
)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"actor": "x" * 201}, "actor"),
        ({"roles": frozenset({""})}, "roles"),
        ({"roles": frozenset({"operator"}), "capabilities": frozenset({"github.*"})}, "limits"),
        ({"roles": frozenset({"operator"}), "connections": frozenset({"con_1"})}, "limits"),
        ({"capabilities": frozenset({"*"})}, "github.issue"),
        ({"capabilities": frozenset({"github.*.create"})}, "github.issue"),
        ({"capabilities": frozenset(f"a.b{n}" for n in range(101))}, "100"),
        ({"expires_at": NOW}, "lasts"),
        ({"expires_at": NOW + timedelta(days=3651)}, "lasts"),
    ],
)
def test_what_no_token_can_be(changes: dict[str, Any], word: str):
    with pytest.raises(tokens.InvalidToken, match=word):
        model.check(replace(TOKEN, **changes))


def test_what_a_token_can_be():
    model.check(TOKEN)
    model.check(replace(TOKEN, capabilities=frozenset({"github.issue.*"}), expires_at=NOW + timedelta(days=1)))


def test_a_token_is_good_until_it_ends():
    short = replace(TOKEN, expires_at=NOW + timedelta(seconds=1))
    assert (TOKEN.is_good(NOW), short.is_good(NOW), short.is_good(NOW + timedelta(seconds=1))) == (True, True, False)
    assert not replace(TOKEN, revoked_at=NOW).is_good(NOW)
