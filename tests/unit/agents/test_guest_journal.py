"""Where the turn of another framework's agent stands, by its journal."""

from interlock.agents.harness import Step
from interlock.agents.harness.guest_journal import GuestSheet, done, follow, intended, settled
from interlock.agents.operations import Idempotency

STEP = Step(key="a", kind="tool", name="pay", idempotency=Idempotency.UNSAFE_ONCE, call_id="c1")


def test_what_a_person_said_is_known_until_it_is_told():
    sheet = GuestSheet()
    follow(sheet, *intended(STEP, again=False))
    assert sheet.doubtful_calls == {"c1": "a"}
    follow(sheet, *settled("a", by="ada", happened=True, text="paid", note=""))
    follow(sheet, *intended(STEP, again=True))
    assert (sheet.doubtful_calls, sheet.settled) == ({}, {"a": "paid"}), "a process that falls here asks nobody again"
    follow(sheet, *done(STEP, "paid", took_s=0.0, kept=None))
    assert (sheet.begun, sheet.settled, sheet.done) == ({}, {}, {"a": "paid"})
    again = GuestSheet()
    for entry in (
        intended(STEP, again=False),
        settled("a", by="ada", happened=False, text="", note=""),
        intended(STEP, again=False),
    ):
        follow(again, *entry)
    assert again.doubtful_calls == {"c1": "a"}, "it may have been done since"
