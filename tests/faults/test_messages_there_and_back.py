"""Our messages in a provider library's words and back: nothing is lost, whatever was said."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai import messages as pai

from interlock import inference
from interlock.adapters.models import translating

pytestmark = pytest.mark.faults  # the library takes seconds to import

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SOME = WORDS.filter(bool)
DETAILS = st.dictionaries(SOME, st.one_of(st.booleans(), st.integers(-9, 9), SOME), min_size=1, max_size=3)

Own = dict[str, Any]


def own(details: Own) -> Own:
    """What a provider wants back unchanged."""
    return {"part": {"provider_name": "acme", "provider_details": details}, "response": {"provider_name": "acme"}}


def of(kind: str, opaque: Own) -> Own:
    return {**opaque, "part": {**opaque["part"], "part_kind": kind}} if opaque else {}


def text(words: str, opaque: Own) -> inference.Piece:
    return inference.Text(text=words, opaque=of("text", opaque))


def thinking(words: str, opaque: Own) -> inference.Piece:
    return inference.Thinking(text=words, opaque=of("thinking", opaque))


def call(call_id: str, name: str, arguments: str, opaque: Own) -> inference.Piece:
    return inference.Call(call_id=call_id, name=name, arguments=arguments, opaque=of("tool-call", opaque))


NOTHING: Own = {}
OPAQUE = st.one_of(st.just(NOTHING), st.builds(own, DETAILS))
PARTS = st.one_of(
    st.builds(text, SOME, OPAQUE), st.builds(thinking, WORDS, OPAQUE), st.builds(call, SOME, SOME, WORDS, OPAQUE)
)


@given(st.lists(PARTS, min_size=1, max_size=5))
def test_what_a_model_said_goes_back_as_it_was(parts: list[inference.Piece]):
    said = inference.Message(role=inference.Role.MODEL, parts=tuple(parts))
    request = inference.Request(model="acme:a", instructions="Be brief.", messages=(inference.said("Well?"), said))
    asked, there = translating.asked(request)
    assert isinstance(asked, pai.ModelRequest)
    assert asked.instructions == "Be brief."
    assert isinstance(there, pai.ModelResponse)
    assert there.state == "suspended", "it goes on with what it has said"
    back = translating.answered(there, model="a", was_cut=False)
    assert back.message == said
    assert back.finish is inference.Finish.PAUSED


def test_what_this_version_has_no_word_for_is_kept_whole():
    native = pai.NativeToolCallPart("web_search", {"query": "rain"}, "n1", provider_name="acme")
    answer = translating.answered(
        pai.ModelResponse(parts=[native], finish_reason="stop", provider_name="acme"), model="a", was_cut=False
    )
    request = inference.Request(model="acme:a", instructions="", messages=(inference.said("x"), answer.message))
    there = translating.asked(request)[1]
    assert isinstance(there, pai.ModelResponse)
    assert there.parts == [native]
