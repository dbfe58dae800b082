"""Every kind of provider by its library, over our wire, against the shapes of its API: what is said comes through both ways, what
goes wrong is told in our words, and each request is on record without its key."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from fix_app import ALLOW, Process, World, run_of
from fix_models import KEY, NAMES, PATHS, ModelApi, Say
from interlock import budgets, inference, plane, runs
from interlock.app.inference_settings import InferenceSettings
from interlock.kernel import InterlockError, SystemClock
from interlock.testing import ManualClock, github

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

KINDS = ("openai", "anthropic", "google", "compatible")  # `openai-chat` speaks as `compatible` does
WEATHER = inference.Tool(
    name="weather",
    description="The weather.",
    input={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
RESULT = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A process whose provider `it` is of one kind."""

    process: Process
    api: ModelApi
    kind: str

    @property
    def model(self) -> str:
        return f"it:{NAMES[self.kind]}"

    def request(self, *messages: inference.Message, **more: Any) -> inference.Request:
        said = messages or (inference.said("How is it in Oslo?"),)
        return inference.Request(model=self.model, instructions="Be brief.", messages=said, **more)

    async def ask(
        self, *messages: inference.Message, key: str = "k1", told: Any = None, **more: Any
    ) -> inference.Answered:
        request = self.request(*messages, **more)
        return await self.process.parts.inference.ask(self.process.il.caller, request, key=key, told=told, timeout_s=30)

    async def fails(self, key: str = "k1", told: Any = None, **more: Any) -> InterlockError:
        with pytest.raises(InterlockError) as failed:
            await self.ask(key=key, told=told, **more)
        assert KEY not in json.dumps(failed.value.to_json())
        return failed.value


def silent(_delta: inference.Delta) -> None:
    """Watches, and does nothing."""


def cancelling(act: Callable[[], object]) -> inference.Told:
    """Acts as soon as something is said."""

    def told(_delta: inference.Delta) -> None:
        act()

    return told


@pytest.fixture
def small(tmp_path: Path, github_server: github.GitHub, root_key: None, clock: ManualClock) -> World:
    return World(store_url="sqlite:///:memory:", folder=tmp_path, server=github_server, clock=clock, law=ALLOW)


@asynccontextmanager
async def rigged(world: World, api: ModelApi, kind: str, **more: Any) -> AsyncGenerator[Rig]:
    told = {"kind": kind, "base_url": api.url + PATHS[kind], "api_key": "env:IT_KEY", "options": ["min_p"]}
    told |= more.pop("provider", {})
    given = {"rules": more.pop("rules")} if "rules" in more else {}
    settings = InferenceSettings.model_validate({"providers": {"it": told}, **more})
    allowed = (world.host, plane.parse_base(api.url).host_port)
    async with world.process(inference=settings, execution={"egress_allow": allowed}, **given) as process:
        yield Rig(process=process, api=api, kind=kind)


@pytest.fixture(params=KINDS)
async def rig(
    request: pytest.FixtureRequest, small: World, model_api: ModelApi, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Rig]:
    monkeypatch.setenv("IT_KEY", KEY)
    async with rigged(small, model_api, request.param) as made:
        yield made
        for run in await made.process.il.runs.list():
            packet = await made.process.il.runs.packet(run.run_id)
            assert KEY.encode() not in packet, "no key reaches a row"


@pytest.mark.parametrize("streamed", [False, True])
async def test_words_and_usage_come_through(rig: Rig, streamed: bool):
    told: list[inference.Delta] = []
    rig.api.say(Say(text="It rains in Oslo."))
    answered = await rig.ask(told=told.append if streamed else None, params={"max_tokens": 50, "top_k": 3})
    answer = answered.answer
    assert (answer.message.text, answer.finish) == ("It rains in Oslo.", inference.Finish.STOP)
    assert "".join(each.text for each in told) == ("It rains in Oslo." if streamed else "")
    expected = {
        "openai": (11, 7),
        "openai-chat": (11, 7),
        "anthropic": (16, 7),
        "google": (11, 7),
        "compatible": (11, 7),
    }
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == expected[rig.kind]
    assert (answered.cost is not None) == (rig.kind != "compatible"), "the list knows what known models cost"
    [(_, headers, body)] = rig.api.heard
    assert KEY in "".join(headers.get(each, "") for each in ("authorization", "x-api-key", "x-goog-api-key"))
    assert "Be brief." in json.dumps(body)
    if rig.kind == "compatible":
        assert body["max_tokens"] == 50, "others take no notice of the newer name"
    history = await rig.process.il.runs.history(answered.run_id)
    [send] = history.sends
    assert (send.delivery, send.target_class) == (runs.Delivery.RESPONDED, plane.LOCAL_HTTP)
    assert "inference.stream_closed" in await rig.process.events(answered.run_id)


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_come_through_and_their_outcomes_go_back(rig: Rig, streamed: bool):
    told: list[inference.Delta] = []
    rig.api.say(
        Say(
            text="Let me see.",
            thinking="Weather, then.",
            calls=[("c1", "weather", {"city": "Oslo"}), ("c2", "weather", {"city": "Ås"})],
        ),
        Say(text="Rain."),
    )
    user = inference.said("How is it?")
    first = await rig.ask(user, tools=(WEATHER,), told=told.append if streamed else None)
    calls = first.answer.message.calls
    assert first.answer.finish is inference.Finish.CALLS
    assert [(each.name, json.loads(each.arguments)) for each in calls] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Ås"}),
    ]
    assert all(each.call_id for each in calls)
    if streamed:
        assert {each.name for each in told if each.kind == "call"} >= {"weather"}
    outcomes = tuple(
        inference.Outcome(call_id=each.call_id, name=each.name, text=f"rain {at}") for at, each in enumerate(calls)
    )
    back = inference.Message(role=inference.Role.OPERATIONS, parts=outcomes)
    kept = inference.Message.model_validate_json(first.answer.message.model_dump_json())
    second = await rig.ask(user, kept, back, key="k2", tools=(WEATHER,))
    assert second.answer.message.text == "Rain."
    sent = json.dumps(rig.api.heard[1][2])
    assert "rain 0" in sent
    assert "rain 1" in sent
    opaque = {
        "openai": '"encrypted_content": "sealed"',
        "anthropic": '"signature": "c2ln"',
        "google": '"c2ln"',
        "compatible": '"reasoning_content": "Weather, then."',
    }
    assert opaque[rig.kind] in sent.replace("thoughtSignature", "thought_signature"), "what is the provider's goes back"


@pytest.mark.parametrize(
    ("stop", "finish"),
    [("length", inference.Finish.LENGTH), ("refusal", inference.Finish.REFUSAL), ("paused", inference.Finish.PAUSED)],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_why_a_model_stops_comes_through(rig: Rig, stop: Any, finish: inference.Finish, streamed: bool):
    if stop == "paused" and rig.kind != "anthropic":
        pytest.skip("only Anthropic's API pauses")
    rig.api.say(Say(text="I will not say", stop=stop))
    answered = await rig.ask(told=silent if streamed else None)
    assert answered.answer.finish is finish
    if stop != "refusal":
        assert answered.answer.message.text == "I will not say"
    if stop == "paused":
        rig.api.say(Say(text="…then."))
        assert (await rig.ask(inference.said("Go."), answered.answer.message, key="k2")).answer.message.text == "…then."


async def test_a_stream_that_ends_early_and_cleanly_is_no_whole_answer(rig: Rig):
    rig.api.say(Say(text="It rains in Oslo, and it will go on raining.", fault="clean"))
    answered = await rig.ask(told=silent)
    assert answered.answer.finish is inference.Finish.CUT
    assert answered.answer.message.text.startswith("It rains")
    assert len(answered.answer.message.text) < 40


async def test_a_stream_that_breaks_is_asked_again(rig: Rig):
    rig.api.say(Say(text="It rains in Oslo.", fault="cut"), Say(text="It rains."))
    answered = await rig.ask(told=silent)
    assert answered.answer.message.text == "It rains."
    history = await rig.process.il.runs.history(answered.run_id)
    assert [each.state.value for each in history.attempts] == ["failed", "completed"]
    assert [each.delivery.value for each in history.sends] == ["unknown", "responded"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_overload_is_tried_again_by_us_alone(rig: Rig, streamed: bool):
    busy = Say(
        status=429, headers={"retry-after": "1"}, body='{"error": {"message": "slow down", "type": "rate_limit_error"}}'
    )
    rig.api.say(busy, Say(status=500, body='{"error": {"message": "broken"}}'), Say(text="Now."))
    answered = await rig.ask(told=silent if streamed else None)
    assert answered.answer.message.text == "Now."
    history = await rig.process.il.runs.history(answered.run_id)
    assert len(history.attempts) == len(history.sends) == len(rig.api.heard) == 3, "a library tries nothing by itself"
    waited = history.attempts[1].started_at - history.attempts[0].started_at
    assert waited.total_seconds() >= 1, "as long as the provider has asked for"


@pytest.mark.parametrize(
    ("say", "error"),
    [
        (
            Say(status=400, body='{"error": {"message": "too long", "type": "invalid_request_error"}}'),
            inference.ModelRefused,
        ),
        (Say(status=404, body='{"error": {"message": "no such model"}}'), inference.ModelRefused),
        (Say(status=401, body=f'{{"error": {{"message": "wrong key {KEY}"}}}}'), inference.ModelForbidden),
        (Say(status=502, body="<html><body>Bad gateway</body></html>"), inference.ModelUnavailable),
        (Say(body="<html><body>Welcome</body></html>"), inference.ModelUnreadable),
        (Say(body='{"choices": 3}'), inference.ModelUnreadable),
    ],
    ids=["400", "404", "401", "502-html", "200-html", "200-other-json"],
)
async def test_what_is_no_answer_is_told_in_our_words(rig: Rig, say: Say, error: type[InterlockError]):
    rig.api.say(*[say] * 3)
    failed = await rig.fails()
    assert isinstance(failed, error), failed.to_json()
    assert "<html" not in failed.message
    run = await rig.process.il.runs.fetch(run_of(failed))
    assert (run.state, run.reason) == (runs.State.FAILED, failed.code)


async def test_a_result_is_asked_for_by_the_provider_s_own_means(rig: Rig):
    rig.api.say(Say(text='{"city": "Oslo"}'))
    answered = await rig.ask(result=RESULT)
    assert json.loads(answered.answer.message.text) == {"city": "Oslo"}
    [(_, _, body)] = rig.api.heard
    assert '"city"' in json.dumps(body), "the schema was sent"
    rig.api.say(Say(text='{"city": "Oslo"}'))
    await rig.ask(result=RESULT, tools=(WEATHER,), key="k2")


OPTIONS: dict[str, dict[str, Any]] = {
    "openai": {"service_tier": "flex", "metadata": {"of": ["a", "b"]}},
    "openai-chat": {"service_tier": "flex", "metadata": {"of": ["a", "b"]}},
    "anthropic": {"service_tier": "standard_only", "metadata": {"user_id": "u"}},
    "google": {"safetySettings": [{"category": "c", "threshold": "t"}]},
    "compatible": {"min_p": 0.1},
}


async def test_options_go_to_the_provider_as_they_are_and_replace_nothing_that_was_judged(rig: Rig):
    rig.api.say(Say(text="Yes."))
    await rig.ask(provider_options=OPTIONS[rig.kind])
    body = rig.api.heard[0][2]
    for name, value in OPTIONS[rig.kind].items():
        assert body[name] == value
    for key, name in (("k2", "model"), ("k3", "previous_response_id"), ("k4", "unheard_of")):
        failed = await rig.fails(key=key, provider_options={name: "x"})
        assert isinstance(failed, inference.ModelRefused)
        assert f"provider_options.{name}" in failed.message
    assert len(rig.api.heard) == 1


@pytest.mark.parametrize(("kind", "said"), [("openai", False), ("openai-chat", False), ("compatible", None)])
async def test_openai_is_told_to_keep_no_conversation_unless_the_operator_lets_it(
    small: World, model_api: ModelApi, kind: str, said: bool | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IT_KEY", KEY)
    async with rigged(small, model_api, kind, provider={"options": ["store"]}) as rig:
        model_api.say(Say(text="Yes."), Say(text="Yes."))
        await rig.ask()
        await rig.ask(key="k2", provider_options={"store": True})
    assert [body.get("store") for _, _, body in model_api.heard] == [said, True]


COUNTED = """
[policy]
default = "allow"
[[budgets]]
name = "models"
per = "tenant"
capability = "inference.*"
spend = { unit = "tokens", limit = 1_000_000, per_seconds = 86_400 }
"""
BOUNDS = {
    "openai": ("max_output_tokens",),
    "openai-chat": ("max_completion_tokens",),
    "anthropic": ("max_tokens",),
    "google": ("generationConfig", "maxOutputTokens"),
    "compatible": ("max_tokens",),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_counted_is_bounded_in_the_provider_s_own_words(
    small: World, model_api: ModelApi, kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IT_KEY", KEY)
    more: dict[str, Any] = {"rules": COUNTED, "provider": {"max_output_tokens": 1234}, "tries": 2}
    async with rigged(replace(small, law=None), model_api, kind, **more) as rig:
        model_api.say(Say(text="Yes."))
        answered = await rig.ask()
        body: Any = model_api.heard[0][2]
        for name in BOUNDS[kind]:
            body = body[name]
        assert body == 1234
        parts, came_to = rig.process.parts, answered.answer.usage.tokens
        since = budgets.Rate(limit=1, per_seconds=86_400).window(parts.wiring.clock.now())[0]
        key = budgets.Key(tenant_id="default", budget="models", subject="default")
        cap = budgets.Cap(key=key, unit="spend", limit=1, since=since)

        async def used() -> int:
            return await parts.store.read(lambda tx: parts.wiring.budgets.used_in(tx, cap))

        assert await used() == came_to
        model_api.say(Say(status=429, body="{}"), Say(status=404, body="{}"))
        failed = await rig.fails(key="k2")
        assert await used() == came_to, "a provider that says no has done nothing"
        history = await rig.process.il.runs.history(run_of(failed))
        assert [each.receipt_json is not None for each in history.sends] == [True, True], "what is known is on record"
        model_api.say(Say(text="It rains.", fault="cut"), Say(status=500, body="{}"))
        await rig.fails(key="k3", told=list[inference.Delta]().append)
        assert await used() >= came_to + 2 * 1234, "nobody knows what they came to"


async def test_who_stops_waiting_breaks_the_request_off(rig: Rig):
    rig.api.say(Say(text="It rains in Oslo.", fault="stall"))
    with anyio.CancelScope() as scope:
        await rig.ask(told=cancelling(scope.cancel))
    assert scope.cancelled_caught
    await anyio.to_thread.run_sync(rig.api.left.wait)
    history = await rig.process.last()
    assert (history.run.state, history.sends[0].delivery) == (runs.State.CANCELLED, runs.Delivery.UNKNOWN)


async def test_packets_hold_where_time_goes_by(small: World, model_api: ModelApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IT_KEY", KEY)
    model_api.say(Say(status=503, body="{}"), Say(text="It rains."), Say(status=400, body="{}"))
    async with rigged(replace(small, clock=SystemClock()), model_api, "compatible") as rig:
        assert (await rig.ask()).answer.message.text == "It rains."
        await rig.fails(key="k2")
    assert len(model_api.heard) == 3  # and as the process ended, all of it was verified


async def test_an_answer_that_takes_too_long_says_so_and_nobody_else_is_asked(
    small: World, model_api: ModelApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IT_KEY", KEY)
    model_api.say(Say(text="It rains."), Say(text="It rains in Oslo.", fault="stall"), Say(text="It rains."))
    timed = replace(small, clock=SystemClock())
    async with rigged(timed, model_api, "compatible", fallbacks={"it:tiny": ["it:other"]}) as rig:
        await rig.ask(key="k1")  # from now on the library is there
        asking = rig.process.parts.inference.ask
        with pytest.raises(runs.DeadlinePassed, match="it:tiny did not answer in full within 1 s"):
            await asking(rig.process.il.caller, rig.request(), key="k2", told=silent, timeout_s=1.0)
        history = await rig.process.last()
        assert [each.state for each in history.attempts] == [runs.AttemptState.FAILED]
    assert len(model_api.heard) <= 2


async def test_a_person_cancels_a_question_that_is_being_asked(rig: Rig):
    rig.api.say(Say(text="It rains in Oslo.", fault="stall"))
    begun = anyio.Event()

    async def cancel() -> None:
        await begun.wait()
        await rig.process.il.runs.cancel((await rig.process.last()).run.run_id)

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        assert isinstance(await rig.fails(told=cancelling(begun.set)), runs.RunCancelled)
    await anyio.to_thread.run_sync(rig.api.left.wait)
    assert (await rig.process.last()).run.state is runs.State.CANCELLED


async def test_fallbacks_are_the_operator_s_and_each_attempt_is_on_record(
    small: World, model_api: ModelApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IT_KEY", KEY)
    more: Mapping[str, Any] = {
        "fallbacks": {"it:tiny": ["it:denied", "it:other"]},
        "tries": 2,
        "provider": {"input_usd": "2", "output_usd": "10"},
    }
    rules = """
[policy]
default = "allow"
[[policy.rules]]
id = "not-that"
then = "deny"
capability = "inference.*"
model = "it:denied"
"""
    world = replace(small, law=None)
    told = {"kind": "compatible", "base_url": model_api.url + "/v1", "api_key": "env:IT_KEY", **more["provider"]}
    settings = InferenceSettings.model_validate(
        {"providers": {"it": told}, "fallbacks": more["fallbacks"], "tries": more["tries"]}
    )
    allowed = (world.host, plane.parse_base(model_api.url).host_port)
    async with world.process(inference=settings, execution={"egress_allow": allowed}, rules=rules) as process:
        rig = Rig(process=process, api=model_api, kind="compatible")
        model_api.say(Say(status=500, body="{}"), Say(status=500, body="{}"), Say(text="Here."))
        answered = await rig.ask()
        assert [each[2]["model"] for each in model_api.heard] == ["tiny", "tiny", "other"]
        assert str(answered.cost) == "0.000092"
        told_events = await process.events(answered.run_id)
        assert told_events.count("attempt.started") == 3
        assert told_events.count("inference.fallback_refused") == 1
        assert told_events.count("inference.target_resolved") == 3


async def test_without_a_key_nothing_leaves_where_one_is_needed(
    small: World, model_api: ModelApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("IT_KEY", raising=False)
    async with rigged(small, model_api, "compatible") as rig:
        failed = await rig.fails()
        assert failed.code == "secret_unavailable"
        assert "IT_KEY" in failed.message
    async with rigged(
        small, model_api, "compatible", provider={"base_url": model_api.url + "/open/v1", "api_key": ""}
    ) as rig:
        model_api.say(Say(text="Open."))
        assert (await rig.ask(key="k2")).answer.message.text == "Open."
        assert "authorization" not in model_api.heard[-1][1], "no library's own idea of a key is shown either"
