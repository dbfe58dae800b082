"""Why an install came to nothing, in words."""

from interlock.connections import Reason


def test_every_reason_has_words_of_its_own():
    assert len({reason.told for reason in Reason}) == len(Reason)


def test_what_is_done_about_each_names_the_connector():
    steps = {reason: reason.next_step("acme") for reason in Reason}
    assert all("`interlock connect acme" in step for step in steps.values())
    assert "--name NAME" in steps[Reason.SUBJECT_MISMATCH]
    assert "{" not in "".join(steps.values())
