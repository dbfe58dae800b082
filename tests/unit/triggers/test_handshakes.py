"""What services are answered that make sure that somebody listens."""

import hashlib
import hmac
import json

import pytest

from interlock import sdk
from interlock.kernel import Secret
from interlock.triggers.webhooks import Answer, Incoming, answer_handshake

SECRET = Secret("s3cret-of-the-route")


def asked(
    scheme: str, body: object = None, *, query: str = "", headers: tuple[tuple[str, str], ...] = ()
) -> Answer | None:
    handshake = sdk.scheme(scheme).handshake
    assert handshake is not None
    raw = b"" if body is None else json.dumps(body).encode()
    return answer_handshake(
        handshake, Incoming(method="POST", url="", query=query, headers=headers, body=raw), present=SECRET
    )


def test_slack_gets_its_challenge_back():
    found = asked("slack", {"type": "url_verification", "challenge": "abc", "token": "t"})
    assert found == Answer(body=b'{"challenge":"abc"}', media_type="application/json")
    assert asked("slack", {"type": "event_callback", "challenge": "abc"}) is None
    assert asked("slack", {"type": "url_verification", "challenge": ["abc"]}) is None


def test_discord_is_answered_with_what_it_sent():
    found = asked("discord", {"type": 1})
    assert found is not None
    assert found.body == b'{"type":1}'
    others: list[object] = [{"type": True}, {"type": 1.0}, {"type": "1"}, {"type": 2}, [], 1]
    assert [asked("discord", other) for other in others] == [None] * 6


def test_discords_events_begin_with_another_ping_and_are_not_taken_for_one():
    assert asked("discord_events", {"version": 1, "application_id": "1", "type": 0}) == Answer()
    assert asked("discord_events", {"type": 1, "event": {"type": "APPLICATION_AUTHORIZED"}}) is None
    assert asked("discord_events", {"type": False}) is None


def test_zoom_gets_a_proof_that_we_have_the_secret():
    found = asked("zoom", {"event": "endpoint.url_validation", "payload": {"plainToken": "q1"}})
    assert found is not None
    told = hmac.new(SECRET.reveal().encode(), b"q1", hashlib.sha256).hexdigest()
    assert json.loads(found.body) == {"plainToken": "q1", "encryptedToken": told}


def test_microsoft_gets_its_token_back_as_text():
    found = asked("microsoft_graph", query="validationToken=Validation%3A+Testing")
    assert found is not None
    assert (found.body, found.media_type) == (b"Validation: Testing", "text/plain; charset=utf-8")
    for query in (
        "",
        "validationToken=",
        "validationToken=a&validationToken=b",
        "validationToken=%0Aa",
        "x=%zz&" * 200,
    ):
        assert asked("microsoft_graph", query=query) is None


def test_asana_hands_a_secret_over_and_sees_it_again():
    found = asked("asana", headers=(("x-hook-secret", "b537207f20cbfa02"),))
    assert found is not None
    assert found.headers == {"X-Hook-Secret": "b537207f20cbfa02"}
    assert found.secret == Secret("b537207f20cbfa02")


@pytest.mark.parametrize("told", [(), ("short",), ("has a space in it",), ("x" * 501,), ("twice-1234", "twice-1234")])
def test_what_is_no_secret_is_not_taken_for_one(told: tuple[str, ...]):
    assert asked("asana", headers=tuple(("x-hook-secret", each) for each in told)) is None


def test_notion_hands_a_secret_over_in_the_body():
    found = asked("notion", {"verification_token": "secret_tMrlL1qK5vuQAh1b6cZ"})
    assert found is not None
    assert (found.body, found.secret) == (b"", Secret("secret_tMrlL1qK5vuQAh1b6cZ"))
    assert asked("notion", {"type": "page.created"}) is None
