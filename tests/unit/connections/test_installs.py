"""Why an install came to nothing, in words."""

from interlock.connections import Reason


def test_every_reason_has_words_of_its_own():
    assert len({reason.told for reason in Reason}) == len(Reason)
