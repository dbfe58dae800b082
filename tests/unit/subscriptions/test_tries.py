"""How a try ends, and when the next one follows."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fix_subscriptions import MESSAGE, NOW
from interlock.subscriptions import MOST_TRIES, WAITS, MessageState, Sent, tries

TAKEN, REFUSED = Sent(status=204), Sent(status=503, error="it answered 503")


def test_what_was_taken_is_delivered():
    done = tries.after(MESSAGE, TAKEN, at=NOW)
    assert (done.state, done.tries, done.status, done.error, done.finished_at) == (
        MessageState.DELIVERED, 1, 204, None, NOW,
    )  # fmt: skip


def test_the_schedule_is_that_of_standard_webhooks_with_a_tenth_of_jitter():
    message, at = MESSAGE, NOW
    for tried, wait in enumerate(WAITS, 1):
        message = tries.after(message, REFUSED, at=at)
        assert (message.state, message.tries) == (MessageState.PENDING, tried)
        waited = (message.due_at - at).total_seconds()
        assert wait <= waited <= wait * 1.1 + 0.001
        at = message.due_at
    assert (message.tries, sum(WAITS)) == (MOST_TRIES - 1, 272_105)
    done = tries.after(message, REFUSED, at=at)
    assert (done.state, done.tries, done.finished_at) == (MessageState.FAILED, MOST_TRIES, at)


def test_a_later_retry_after_is_waited_for_and_an_earlier_one_is_not():
    for asked, least in ((3600.0, 3600.0), (1.0, 5.0)):
        waits = tries.after(MESSAGE, replace(REFUSED, retry_after=asked), at=NOW)
        assert least <= (waits.due_at - NOW).total_seconds() <= least + 0.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("Fri, 01 May 2026 00:02:00 GMT", 120.0),
        ("Thu, 30 Apr 2026 00:00:00 GMT", 0.0),
        ("999999999999", 86_400.0),
        ("Fri, 01 May 2099 00:00:00 GMT", 86_400.0),
        *((text, None) for text in ("", "soon", "-1", "1.5", "²", "Fri, 99 May 2026 00:02:00 GMT", "0" * 5000 + "x")),
    ],
)
def test_what_a_retry_after_says(text: str, seconds: float | None):
    assert tries.read_wait(text, at=NOW) == seconds


@pytest.mark.parametrize(
    ("status", "taken"), [(200, True), (299, True), (199, False), (301, False), (400, False), (500, False)]
)
def test_what_is_not_2xx_is_not_taken(status: int, taken: bool):
    assert Sent.answered(status, {}, at=NOW).taken is taken


def test_a_place_that_is_gone_is_told_no_more_at_once():
    gone = Sent.answered(410, {}, at=NOW)
    done = tries.after(MESSAGE, gone, at=NOW)
    assert (done.state, done.tries) == (MessageState.FAILED, 1)
    assert tries.ended_by(done, gone, failing_since=None, at=NOW) == "gone"


def test_a_place_is_given_up_once_a_message_has_failed_and_nothing_was_taken_for_days():
    failed = tries.after(replace(MESSAGE, tries=MOST_TRIES - 1), REFUSED, at=NOW)
    long_ago, lately = NOW - timedelta(days=3), NOW - timedelta(days=2)
    assert tries.ended_by(failed, REFUSED, failing_since=long_ago, at=NOW) == "failing"
    assert tries.ended_by(failed, REFUSED, failing_since=lately, at=NOW) is None
    assert tries.ended_by(failed, REFUSED, failing_since=None, at=NOW) is None
    waits = tries.after(MESSAGE, REFUSED, at=NOW)
    assert tries.ended_by(waits, REFUSED, failing_since=long_ago, at=NOW) is None
