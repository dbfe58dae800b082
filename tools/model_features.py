"""What we ask of every kind of provider, and what comes of it, in a few words: the rows of the table in `docs/models.md`.

A feature is a function that asks, through our wire and the provider's own library, and returns what it saw. Of one that a kind
has not, nothing is said. Where something is not as it must be, it raises AssertionError, and no table is made.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeAlias, cast

import anyio

from fix_models import KEY, ModelApi, Say
from interlock import inference, runs
from interlock.app import Interlock
from interlock.kernel import InterlockError

CITY: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Final = inference.Tool(name="weather", description="The weather.", input=CITY)
USER: Final = inference.said("How is it in Oslo?")


@dataclass(kw_only=True)
class Trial:
    """A provider of one kind, named `it`, and whoever plays it; `api` is None where it is real."""

    il: Interlock
    model: str
    api: ModelApi | None
    numbers: Any = field(default_factory=count)

    @property
    def body(self) -> Any:
        """The request that it heard last."""
        assert self.api is not None
        return self.api.heard[-1][2]

    async def ask(self, *says: Say, messages: Any = (USER,), told: Any = None, **more: Any) -> inference.Answered:
        """Ask, and be answered so."""
        timeout = more.pop("timeout", 60.0)
        if self.api is not None:
            self.api.script.clear()
            self.api.say(*says)
        asked = inference.Request(model=self.model, instructions="Be brief.", messages=messages, **more)
        return await self.il.inference.send(asked, key=f"k{next(self.numbers)}", told=told, timeout=timeout)

    async def fails(self, *says: Say, **more: Any) -> str:
        """The code of the error that comes of it; it shows no key."""
        failed: InterlockError | None = None
        try:
            await self.ask(*says, **more)
        except InterlockError as error:
            failed = error
        assert failed is not None, f"{self.model} answered {says}"
        assert KEY not in json.dumps(failed.to_json())
        return f"`{failed.code}`"

    async def last(self) -> runs.History:
        """What is on record of the last question."""
        [run] = await self.il.runs.list(limit=1)
        return await self.il.runs.history(run.run_id)


Feature: TypeAlias = Callable[[Trial], Awaitable[str | None]]


def silent(_delta: inference.Delta) -> None:
    """Watches, and does nothing."""


def finishing(say: Say, *, told: inference.Told | None = None) -> Feature:
    """Why the answer ended, in our words."""

    async def try_it(trial: Trial) -> str | None:
        return f"`{(await trial.ask(say, told=told)).answer.finish.value}`"

    return try_it


def failing(say: Say, **more: Any) -> Feature:
    """The code of the error, whoever asks how often."""

    async def try_it(trial: Trial) -> str | None:
        return await trial.fails(*[say] * 3, **more)

    return try_it


def asked_again(say: Say, *, after_s: float = 0) -> Feature:
    """That another attempt of ours follows, and none of the library's own."""

    async def try_it(trial: Trial) -> str | None:
        assert trial.api is not None
        before = len(trial.api.heard)
        answered = await trial.ask(say, Say(text="Now."), told=silent)
        history = await trial.il.runs.history(answered.run_id)
        assert answered.answer.message.text == "Now."
        assert len(history.attempts) == len(history.sends) == len(trial.api.heard) - before == 2
        waited = (history.attempts[1].started_at - history.attempts[0].started_at).total_seconds()
        assert waited >= after_s
        return f"asked again{', when it says' if after_s else ''}"

    return try_it


async def words(trial: Trial) -> str | None:
    """A whole answer."""
    answered = await trial.ask(Say(text="It rains."), params={"max_tokens": 50})
    assert answered.answer.message.text == "It rains." or (trial.api is None and answered.answer.message.text)
    return "yes"


async def streaming(trial: Trial) -> str | None:
    """The same, as it comes."""
    told: list[inference.Delta] = []
    answered = await trial.ask(Say(text="It rains in Oslo."), told=told.append, params={"max_tokens": 50})
    assert len(told) > 1
    assert "".join(each.text for each in told) == answered.answer.message.text
    return "yes"


async def usage(trial: Trial) -> str | None:
    """What is counted."""
    counted = (await trial.ask(Say(text="It rains."), params={"max_tokens": 50})).answer.usage
    assert min(counted.input_tokens, counted.output_tokens) > 0
    return _counts(counted)


async def usage_of_a_stream(trial: Trial) -> str | None:
    """The same, where the answer comes as a stream."""
    return _counts((await trial.ask(Say(text="It rains."), told=silent, params={"max_tokens": 50})).answer.usage)


def _counts(counted: inference.Usage) -> str:
    return (
        "nothing"
        if not counted.tokens
        else ", ".join(name.removesuffix("_tokens").replace("_", " ") for name, value in counted if value)
    )


async def cost(trial: Trial) -> str | None:
    """Who knows what it costs; `compatible` is set up with prices."""
    answered = await trial.ask(Say(text="It rains."), params={"max_tokens": 50})
    assert answered.cost is not None
    return "as declared" if trial.model == "it:tiny" else "listed"


async def calls(trial: Trial) -> str | None:
    """An operation, asked for with its arguments, and its outcome told in the next question."""
    return await _called(trial, [("c1", "weather", {"city": "Oslo"})])


async def calls_at_once(trial: Trial) -> str | None:
    """Two in one answer, each with its own outcome."""
    return await _called(trial, [("c1", "weather", {"city": "Oslo"}), ("c2", "weather", {"city": "Ås"})])


async def _called(trial: Trial, asked: list[tuple[str, str, Mapping[str, Any]]]) -> str | None:
    for told in (None, silent):
        first = (await trial.ask(Say(calls=asked), tools=(WEATHER,), told=told)).answer
        made = first.message.calls
        assert first.finish is inference.Finish.CALLS
        assert [(each.name, json.loads(each.arguments)) for each in made] == [(name, given) for _, name, given in asked]
        outcomes = tuple(
            inference.Outcome(call_id=each.call_id, name=each.name, text=f"rain {at}") for at, each in enumerate(made)
        )
        back = inference.Message(role=inference.Role.OPERATIONS, parts=outcomes)
        await trial.ask(Say(text="Rain."), messages=(USER, first.message, back), tools=(WEATHER,), told=told)
        assert all(f"rain {at}" in json.dumps(trial.body) for at in range(len(made)))
    return "yes"


async def thinking(trial: Trial) -> str | None:
    """Thoughts, and what of them the provider is given back."""
    asked = Say(thinking="Weather, then.", text="Let me see.", calls=[("c1", "weather", {"city": "Oslo"})])
    first = (await trial.ask(asked, tools=(WEATHER,))).answer.message
    if not any(isinstance(each, inference.Thinking) for each in first.parts):
        return None
    outcome = inference.Outcome(call_id=first.calls[0].call_id, name="weather", text="Rain.")
    back = inference.Message(role=inference.Role.OPERATIONS, parts=(outcome,))
    await trial.ask(Say(text="Rain."), messages=(USER, first, back), tools=(WEATHER,))
    sent = json.dumps(trial.body)
    assert "Weather, then." in sent or '"c2ln"' in sent
    return "comes, goes back sealed" if '"sealed"' in sent or '"c2ln"' in sent else "comes, goes back"


async def result(trial: Trial) -> str | None:
    """Where in the request the schema of the result stands."""
    return await _shaped(trial)


async def result_beside_tools(trial: Trial) -> str | None:
    """The same, where there are operations, too."""
    return await _shaped(trial, tools=(WEATHER.model_copy(update={"input": {"type": "object"}}),))


async def _shaped(trial: Trial, **more: Any) -> str | None:
    answered = await trial.ask(Say(text='{"city": "Oslo"}'), result=CITY, **more)
    assert json.loads(answered.answer.message.text) == {"city": "Oslo"}
    if path := _path(trial.body):
        return f"`{'.'.join(path)}`"
    assert "city" in json.dumps(trial.body)
    return "in words"


def _path(body: object) -> list[str] | None:
    """Where a schema with a city stands, but for that of an operation."""
    members: dict[str, Any] = cast("Any", body) if isinstance(body, dict) else {}
    for name, value in members.items():
        if isinstance(value, dict) and "city" in members[name].get("properties", ()):
            return [name]
        if deeper := _path(members[name]):
            return [name, *deeper]
    return None


async def pause(trial: Trial) -> str | None:
    """An answer that waits to be asked on; no other API has it."""
    if "claude" not in trial.model:
        return None
    first = (await trial.ask(Say(text="I will", stop="paused"))).answer
    await trial.ask(Say(text="…then."), messages=(USER, first.message))
    return f"`{first.finish.value}`, goes on"


async def cancelled(trial: Trial) -> str | None:
    """Whoever asked stops waiting at the first word."""
    with anyio.CancelScope() as scope:

        def told(_delta: inference.Delta) -> None:
            scope.cancel()

        await trial.ask(Say(text="It rains.", fault="stall"), told=told, params={"max_tokens": 50})
    assert scope.cancelled_caught
    if trial.api is not None:
        await anyio.to_thread.run_sync(trial.api.left.wait)
        trial.api.left.clear()
    history = await trial.last()
    assert history.run.state is runs.State.CANCELLED
    assert history.sends[0].delivery is runs.Delivery.UNKNOWN
    return "broken off"


async def grammar(trial: Trial) -> str | None:
    """A real model of random weights, which only a grammar can bring to it."""
    shape = {"response_format": {"type": "json_object", "schema": YES}}
    answered = await trial.ask(provider_options=shape, params={"max_tokens": 400, "seed": 3})
    assert isinstance(json.loads(answered.answer.message.text)["yes"], bool)
    return "by grammar, `provider_options`"


async def cut_short(trial: Trial) -> str | None:
    """A real model that would say more."""
    answered = await trial.ask(params={"max_tokens": 4, "seed": 3})
    return f"`{answered.answer.finish.value}`"


YES: Final = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
BUSY: Final = Say(status=429, headers={"retry-after": "1"}, body='{"error": {"message": "slow down"}}')
LONG: Final = "It rains in Oslo, and it will go on raining."

FEATURES: Final[Mapping[str, Feature]] = {
    "an answer": words,
    "streaming": streaming,
    "usage": usage,
    "… of a stream": usage_of_a_stream,
    "cost": cost,
    "an operation is called": calls,
    "two at once, in order": calls_at_once,
    "thinking": thinking,
    "structured result": result,
    "… beside operations": result_beside_tools,
    "ends for length": finishing(Say(text=LONG, stop="length")),
    "is refused": finishing(Say(text="I will not.", stop="refusal")),
    "… in a stream": finishing(Say(text="I will not.", stop="refusal"), told=silent),
    "pauses": pause,
    "a stream ends early, cleanly": finishing(Say(text=LONG, fault="clean"), told=silent),
    "a stream breaks": asked_again(Say(text=LONG, fault="cut")),
    "429 with `Retry-After`": asked_again(BUSY, after_s=1),
    "500": asked_again(Say(status=500, body='{"error": {"message": "broken"}}')),
    "… three times": failing(Say(status=500, body="{}")),
    "400": failing(Say(status=400, body='{"error": {"message": "too long"}}')),
    "401": failing(Say(status=401, body=json.dumps({"error": {"message": f"wrong key {KEY}"}}))),
    "404": failing(Say(status=404, body='{"error": {"message": "no such model"}}')),
    "200 with a page in HTML": failing(Say(body="<html><body>Welcome</body></html>")),
    "200 with other JSON": failing(Say(body='{"choices": 3}')),
    "no end within the time": failing(Say(text=LONG, fault="stall"), told=silent, timeout=1.0),
    "cancelled": cancelled,
}
"""In the order of the table."""

OF_A_REAL_MODEL: Final[Mapping[str, Feature]] = {
    "an answer": words,
    "streaming": streaming,
    "usage": usage,
    "… of a stream": usage_of_a_stream,
    "cost": cost,
    "structured result": grammar,
    "ends for length": cut_short,
    "cancelled": cancelled,
}
