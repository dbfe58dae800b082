"""Models that follow a script: the same for the same conversation, wherever they are asked."""

from typing import Any, cast

import pytest

from interlock import inference
from interlock.kernel import RequestError
from interlock.testing import models

pytestmark = pytest.mark.anyio

WIRE = cast("inference.Wire", None)
OUTCOME = inference.Message(
    role=inference.Role.OPERATIONS,
    parts=(inference.Outcome(call_id="call_0_1", name="weather", text="rain"),),
)


def asked(*messages: inference.Message | str) -> inference.Request:
    said = tuple(inference.said(each) if isinstance(each, str) else each for each in messages)
    return inference.Request(model="fake:test", instructions="Help.", messages=said)


async def ask(model: models.Scripted, *messages: inference.Message | str) -> inference.Answer:
    return await model.answer(asked(*messages), wire=WIRE, told=None)


async def test_a_list_is_followed_by_how_often_the_model_has_spoken():
    script: list[models.Step] = [models.answer("Let me see.", models.call("weather", city="Oslo")), "It rains."]
    first = await ask(models.Scripted(script), "How is it?")
    assert first.finish is inference.Finish.CALLS
    assert [(each.call_id, each.arguments) for each in first.message.calls] == [("call_0_1", '{"city":"Oslo"}')]
    # Another process, another instance: it goes on where the conversation stands.
    second = await ask(models.Scripted(script), "How is it?", first.message, OUTCOME)
    assert (second.message.text, second.finish) == ("It rains.", inference.Finish.STOP)
    with pytest.raises(inference.ModelRefused, match="has 2 answers"):
        await ask(models.Scripted(script), "How is it?", first.message, OUTCOME, second.message, "And now?")


async def test_a_function_sees_what_is_asked_and_failures_are_raised():
    model = models.Scripted(lambda request: request.instructions.upper(), once=[models.unavailable(retry_after=2)])
    with pytest.raises(inference.ModelUnavailable) as failed:
        await ask(model, "hi")
    assert failed.value.retry_after == 2
    assert (await ask(model, "hi")).message.text == "HELP."
    assert len(model.requests) == 2


async def test_what_is_streamed_is_what_is_said():
    told: list[inference.Delta] = []
    said = models.answer("A sentence of some length.", models.call("weather", call_id="", city="Oslo"))
    answer = await models.Scripted([said]).answer(asked("hi"), wire=WIRE, told=told.append)
    assert answer == said, "a call without an id stays without one"
    assert "".join(each.text for each in told if each.kind == "text") == answer.message.text
    assert "".join(each.text for each in told if each.kind == "call") == answer.message.calls[0].arguments


@pytest.mark.parametrize(
    ("step", "finish"),
    [
        (models.refusal(), inference.Finish.REFUSAL),
        (models.cut("It is"), inference.Finish.CUT),
        (models.paused("Let me"), inference.Finish.PAUSED),
    ],
)
async def test_ends_of_all_kinds(step: models.Step, finish: inference.Finish):
    assert (await ask(models.Scripted([step]), "hi")).finish is finish


async def test_an_echo_says_what_it_was_told_last():
    assert (await ask(models.Scripted(models.echo), "hi")).message.text == "hi"
    assert (await ask(models.Scripted(models.echo), "hi", OUTCOME)).message.text == "rain"


async def test_scripts_are_read_from_documents():
    told: Any = {"answers": [["Wait.", {"call": "weather", "arguments": {"city": "Oslo"}}], "It rains."]}
    model = models.read(told)
    assert [each.name for each in (await ask(model, "hi")).message.calls] == ["weather"]
    for wrong in ({}, {"answers": "text"}, {"answers": [3]}, {"answers": [{"cal": "weather"}]}):
        with pytest.raises(RequestError):
            models.read(cast("Any", wrong))
