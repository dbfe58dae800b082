"""The canonical JSON of what is said to models."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import inference, kernel

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MESSAGES = st.builds(
    inference.Message,
    role=st.sampled_from(inference.Role),
    parts=st.lists(
        st.one_of(
            st.builds(
                inference.Text, text=TEXTS, opaque=st.dictionaries(TEXTS, st.floats(allow_nan=False), max_size=2)
            ),
            st.builds(inference.Call, call_id=TEXTS, name=TEXTS, arguments=TEXTS),
            st.builds(inference.Outcome, call_id=TEXTS, name=TEXTS, text=TEXTS),
        ),
        max_size=3,
    ).map(tuple),
)
REQUESTS = st.builds(
    inference.Request,
    model=TEXTS,
    instructions=TEXTS,
    messages=st.lists(MESSAGES, max_size=3).map(tuple),
    params=st.dictionaries(TEXTS, st.integers(0, 9), max_size=2),
    result=st.none() | st.just({"messages": "none"}),
)


@given(REQUESTS)
def test_a_request_put_together_of_its_messages_is_as_it_is_as_a_whole(request: inference.Request):
    def whole() -> bytes | None:
        try:
            return kernel.canonical(request.model_dump(mode="json"))
        except ValueError:
            return None

    if (expected := whole()) is None:
        with pytest.raises(ValueError, match="canonical"):
            _ = request.canonical
    else:
        assert request.canonical == expected


def test_a_copy_has_words_of_its_own():
    message = inference.said("What is it?")
    assert b"What is it?" in message.canonical
    other = message.model_copy(update={"parts": (inference.Text(text="Nothing."),)})
    assert b"Nothing." in other.canonical
    assert b"What is it?" in message.canonical
