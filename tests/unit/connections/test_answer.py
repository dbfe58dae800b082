"""From providers' answers, in all the shapes in which they come, to tokens or refusals."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import connections, sdk
from interlock.connections import answer
from interlock.kernel import Secret

AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
RULE = sdk.grants.TokenAnswer
PLAIN = RULE()
TOKEN = "access-12345678"


def said(document: object, status: int = 200, **headers: str) -> answer.Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer.Answer(status=status, headers={"content-type": "application/json", **named}, body=body, asked_at=AT)


def form(status: int = 200, **fields: str) -> answer.Answer:
    return said(urlencode(fields).encode(), status, content_type="application/x-www-form-urlencoded; charset=utf-8")


def shown(tokens: answer.Tokens) -> dict[str, Any]:
    return {
        "token": tokens.access_token.reveal(),
        "refresh": None if tokens.refresh_token is None else tokens.refresh_token.reveal(),
        "seconds": None if tokens.expires_at is None else (tokens.expires_at - AT).total_seconds(),
        "scopes": None if tokens.scopes is None else sorted(tokens.scopes),
        "extra": {name: value.reveal() for name, value in tokens.extra.items()},
    }


USUAL: dict[str, Any] = {"token": TOKEN, "refresh": None, "seconds": None, "scopes": None, "extra": {}}


@pytest.mark.parametrize(
    ("rule", "came", "expected"),
    [
        (PLAIN, said({"access_token": TOKEN}), {}),
        (PLAIN, said({"access_token": TOKEN, "refresh_token": "r-1", "expires_in": 3600, "scope": "a b"}),
         {"refresh": "r-1", "seconds": 3600.0, "scopes": ["a", "b"]}),
        (PLAIN, said({"access_token": TOKEN, "expires_in": "3600"}), {"seconds": 3600.0}),
        (PLAIN, said({"access_token": TOKEN, "expires_in": "soon"}), {}),
        (PLAIN, said({"access_token": TOKEN, "expires_in": 0}), {}),
        (PLAIN, said({"access_token": TOKEN, "expires_in": -1}), {}),
        (PLAIN, said({"access_token": TOKEN, "expires_in": True}), {}),
        (PLAIN, said({"access_token": TOKEN, "expires_in": 1e18}), {}),
        (PLAIN, said({"access_token": TOKEN, "scope": ["a", 5, "b"]}), {"scopes": ["a", "b"]}),
        (PLAIN, said({"access_token": TOKEN, "scope": ""}), {"scopes": []}),
        (PLAIN, said({"access_token": TOKEN, "error": None}), {}),
        (PLAIN, said({"access_token": TOKEN, "refresh_token": None}), {}),
        (PLAIN, form(access_token=TOKEN, scope="a b", expires_in="60"), {"seconds": 60.0, "scopes": ["a", "b"]}),
        (PLAIN, said(urlencode({"access_token": TOKEN}).encode(), content_type="text/plain"), {}),
        (PLAIN, said({"access_token": TOKEN}, content_type="text/plain"), {}),
        (PLAIN, said({"access_token": TOKEN}, content_type="application/vnd.acme+json; charset=utf-8"), {}),
        (PLAIN, said({"access_token": TOKEN}, 201), {}),
        (RULE(scope_separator=","), said({"access_token": TOKEN, "scope": "repo, user"}), {"scopes": ["repo", "user"]}),
        (RULE(access_token="/data/auth/token", extra={"team": "/data/team", "cell": "/data/cell"}),
         said({"data": {"auth": {"token": TOKEN}, "team": 42}}), {"extra": {"team": "42"}}),
        (RULE(expires_in="/ttl", expires_in_unit="ms"), said({"access_token": TOKEN, "ttl": 90_000}), {"seconds": 90.0}),
        (RULE(expires_at="/ends"), said({"access_token": TOKEN, "ends": "2026-11-20T13:00:00Z"}), {"seconds": 3600.0}),
        (RULE(expires_at="/ends", expires_at_format="epoch"),
         said({"access_token": TOKEN, "ends": int(AT.timestamp()) + 60}), {"seconds": 60.0}),
        (RULE(expires_at="/ends", expires_at_format="epoch_ms"),
         said({"access_token": TOKEN, "ends": str(int(AT.timestamp() * 1000) + 60_000)}), {"seconds": 60.0}),
        (RULE(expires_at="/ends"), said({"access_token": TOKEN, "ends": "tomorrow"}), {}),
        (RULE(expires_at="/ends"), said({"access_token": TOKEN, "ends": "2026-11-20T11:00:00Z"}), {"seconds": 0.0}),
        (RULE(expires_at="/ends", expires_at_format="epoch"), said({"access_token": TOKEN, "ends": 0}), {}),
        # Its clock is an hour ahead of ours, which its own present tells.
        (RULE(expires_at="/ends"), said({"access_token": TOKEN, "ends": "2026-11-20T14:00:00Z"},
         date="Fri, 20 Nov 2026 13:00:00 GMT"), {"seconds": 3600.0}),
        (RULE(lifetime_seconds=30), said({"access_token": TOKEN}), {"seconds": 30.0}),
        (RULE(lifetime_seconds=30), said({"access_token": TOKEN, "expires_in": 5}), {"seconds": 5.0}),
        (RULE(error="/code"), said({"access_token": TOKEN, "code": 0, "msg": "ok"}), {}),
        (RULE(error="/ok", error_codes={}), said({"access_token": TOKEN, "ok": False}), {}),
    ],
)  # fmt: skip
def test_tokens_are_found_in_every_shape(rule: RULE, came: answer.Answer, expected: dict[str, Any]) -> None:
    assert shown(answer.read(rule, came)) == USUAL | expected


def refused(rule: sdk.grants.TokenAnswer, came: answer.Answer) -> connections.GrantRefused:
    with pytest.raises(connections.GrantRefused) as caught:
        answer.read(rule, came)
    return caught.value


NASTY = "Sekret text of the provider <script>"


@pytest.mark.parametrize(
    ("rule", "came", "reason"),
    [
        (PLAIN, said({"error": "invalid_grant", "error_description": NASTY}, 400), "invalid_grant"),
        (PLAIN, said({"error": "invalid_grant"}, 200), "invalid_grant"),
        (PLAIN, said({"error": "invalid_grant", "access_token": TOKEN}, 200), "invalid_grant"),
        (PLAIN, form(400, error="invalid_client"), "invalid_client"),
        (PLAIN, form(200, error="bad_verification_code", error_description=NASTY), "misconfigured"),
        (RULE(error_codes={"bad_verification_code": "invalid_grant"}), form(200, error="bad_verification_code"), "invalid_grant"),
        (PLAIN, said({"error": "invalid_request"}, 400), "misconfigured"),
        (PLAIN, said({"error": "invalid_scope"}, 400), "invalid_scope"),
        (PLAIN, said({"error": "unsupported_grant_type"}, 400), "unsupported"),
        (PLAIN, said({"error": "authorization_pending"}, 400), "authorization_pending"),
        (PLAIN, said({"error": "slow_down"}, 400), "slow_down"),
        (PLAIN, said({"error": "expired_token"}, 400), "expired_token"),
        (PLAIN, said({"error": {"message": NASTY}}, 200), "misconfigured"),
        (PLAIN, said({"error": True}, 200), "misconfigured"),
        (PLAIN, said({"error": NASTY}, 400), "misconfigured"),
        (PLAIN, said({"error": NASTY}, 503), "temporarily_unavailable"),
        (RULE(error="/error/code", error_codes={"7": "invalid_grant"}), said({"error": {"code": 7}}, 200), "invalid_grant"),
        (RULE(error_codes={"404": "invalid_grant"}), said({"message": NASTY}, 404), "invalid_grant"),
        (PLAIN, said({"message": NASTY}, 404), "misconfigured"),
        (PLAIN, said({}, 401), "invalid_client"),
        (PLAIN, said({}, 403), "access_denied"),
        (PLAIN, said({}, 429), "temporarily_unavailable"),
        (PLAIN, said({}, 302), "misconfigured"),
        (PLAIN, said(b"<html>" + NASTY.encode(), 500, content_type="text/html"), "temporarily_unavailable"),
        (PLAIN, said(b"<html>" + NASTY.encode(), 200, content_type="text/html"), "unreadable_answer"),
        (PLAIN, said(b"access_token=first-12345678&access_token=other-12345678", content_type=""), "unreadable_answer"),
        (PLAIN, said(b"", 200), "unreadable_answer"),
        (PLAIN, said(b"", 204, content_type=""), "unreadable_answer"),
        (PLAIN, said(b"null", 200), "unreadable_answer"),
        (PLAIN, said(b"[1,2]", 200), "unreadable_answer"),
        (PLAIN, said(b"{" * 5000, 200), "unreadable_answer"),
        (PLAIN, said({"access_token": TOKEN, "more": "x" * 1_048_576}), "unreadable_answer"),
        (PLAIN, said({"access_token": ""}), "unreadable_answer"),
        (PLAIN, said({"access_token": {"a": 1}}), "unreadable_answer"),
        (PLAIN, said({"access_token": ["a" * 20]}), "unreadable_answer"),
        (PLAIN, said({"access_token": True}), "unreadable_answer"),
        (PLAIN, said({"access_token": "short"}), "unreadable_answer"),
        (PLAIN, said({"access_token": "token\r\nx-admin: 1"}), "unreadable_answer"),
        (PLAIN, said({"access_token": "x" * 20_000}), "unreadable_answer"),
        (RULE(format="json"), form(access_token=TOKEN), "unreadable_answer"),
        (RULE(format="form"), said({"access_token": TOKEN}), "unreadable_answer"),
    ],
)  # fmt: skip
def test_a_refusal_says_a_code_and_nothing_else(rule: RULE, came: answer.Answer, reason: str) -> None:
    error = refused(rule, came)
    assert error.reason == reason
    assert error.details == {"reason": reason}
    chain = f"{error!r} {error.to_json()} {error.__cause__!r} {error.__context__!r}"
    assert "Sekret" not in chain
    assert TOKEN not in chain


def test_a_provider_may_say_when_to_come_again() -> None:
    assert refused(PLAIN, said({}, 503, retry_after="7")).retry_after == 7.0
    assert refused(PLAIN, said({}, 503, retry_after="99999999")).retry_after == 86_400.0
    assert refused(PLAIN, said({}, 503, retry_after="Fri")).retry_after is None


def test_an_answer_without_a_refresh_token_keeps_the_one_before() -> None:
    alone = answer.read(PLAIN, said({"access_token": TOKEN}))
    both = answer.read(PLAIN, said({"access_token": TOKEN, "refresh_token": "new-12345678"}))
    before = Secret("old-12345678")
    assert alone.after(before).refresh_token == before
    assert both.after(before) == both
    assert alone.after(None) == alone
    assert set(alone.after(before).secrets()) == {"access_token", "refresh_token"}


def test_a_step_tells_the_next_ones() -> None:
    rule = RULE(extra={"id": "/id", "gone": "/gone"})
    found = answer.read_step(rule, said({"id": 7, "access_token": TOKEN}), number=1)
    assert {name: value.reveal() if isinstance(value, Secret) else value for name, value in found.items()} == {
        "step1.id": "7",
        "step1.access_token": TOKEN,
    }
    assert answer.read_step(rule, said({"id": 7}), number=2).keys() == {"step2.id"}


def device(**changes: Any) -> answer.Answer:
    codes = {
        "device_code": "d-12345678",
        "user_code": "AB-12",
        "verification_uri": "https://acme.dev/d",
        "expires_in": 900,
    }
    return said({name: value for name, value in {**codes, **changes}.items() if value is not None})


DEVICE = sdk.grants.Device(
    type="device",
    start=sdk.grants.Exchange(url="https://acme.dev/d"),
    token=sdk.grants.Exchange(url="https://acme.dev/t"),
)


def test_codes_are_read() -> None:
    found = answer.read_codes(DEVICE, device(interval=1, verification_uri_complete="https://acme.dev/d?c=AB-12"))
    assert (found.user_code, found.verification_uri, found.interval) == ("AB-12", "https://acme.dev/d", 1.0)
    assert found.verification_uri_complete == "https://acme.dev/d?c=AB-12"
    assert found.expires_at == AT + timedelta(minutes=15)
    assert answer.read_codes(DEVICE, device(expires_in=None)).expires_at == AT + timedelta(minutes=10)
    assert answer.read_codes(DEVICE, device(interval="0")).interval == 1.0
    assert answer.read_codes(DEVICE, device()).interval == 5.0


@pytest.mark.parametrize(
    "changes",
    [
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "http://acme.dev/d"},
        {"user_code": "a\x1b[2Jb"},
        {"user_code": "x" * 65},
        {"user_code": None},
        {"device_code": None},
    ],
)
def test_codes_that_nobody_should_see_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(connections.GrantRefused) as caught:
        answer.read_codes(DEVICE, device(**changes))
    assert caught.value.reason == "unreadable_answer"


def test_a_program_prints_its_token() -> None:
    plain = sdk.grants.NativeCli(type="native_cli", argv=("gh", "auth", "token"))
    assert answer.read_printed(plain, f"{TOKEN}\n".encode(), asked_at=AT).access_token.reveal() == TOKEN
    spoken = plain.model_copy(update={"output": "json", "answer": RULE(access_token="/token")})
    assert (
        answer.read_printed(spoken, json.dumps({"token": TOKEN}).encode(), asked_at=AT).access_token.reveal() == TOKEN
    )
    for printed in (b"", b"not logged in: \xff", b"two\nlines of text", b"short"):
        with pytest.raises(connections.GrantRefused):
            answer.read_printed(plain, printed, asked_at=AT)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e300, 1e300) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
NAMES = st.sampled_from(["access_token", "refresh_token", "expires_in", "ends", "scope", "token_type", "error"])


@given(
    st.dictionaries(NAMES, VALUES, max_size=7), st.integers(100, 599), st.sampled_from(["rfc3339", "epoch", "epoch_ms"])
)
def test_no_answer_breaks_the_reader(document: dict[str, Any], status: int, kind: Any) -> None:
    rule = RULE(expires_at="/ends", expires_at_format=kind)
    try:
        found = answer.read(rule, said(document, status))
    except connections.GrantRefused:
        return
    assert found.access_token.reveal() == str(document["access_token"])
    assert found.expires_at is None or found.expires_at >= AT
    assert found.access_token.reveal() not in repr(found)


@given(
    st.binary(max_size=60), st.sampled_from(["", "text/html", "application/json", "application/x-www-form-urlencoded"])
)
def test_no_bytes_break_the_reader(body: bytes, kind: str) -> None:
    with pytest.raises(connections.GrantRefused):
        answer.read(PLAIN, said(body, content_type=kind))
