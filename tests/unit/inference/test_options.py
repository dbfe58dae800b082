"""What of a spec's `provider_options` providers are told: nothing that moves state, effects or money out of sight."""

from typing import Any

import pytest

from interlock import agents, inference
from interlock.inference import options
from interlock.testing import models


def found(kind: str, *declared: str, **given: Any) -> dict[str, str | None]:
    return {each.path: each.suggestion for each in options.flaws(given, kind=kind, declared=declared)}


EVERYWHERE = [
    "previous_response_id", "conversation", "background", "mcp_servers", "cachedContent", "tools", "system", "n", "stream",
    "base_url", "headers", "extra_headers", "max_tokens", "max_output_tokens", "max_completion_tokens", "maxOutputTokens",
    "candidate_count", "model", "messages", "input", "contents", "container", "web_search_options", "best_of",
]  # fmt: skip


@pytest.mark.parametrize("kind", [*options.ALLOWED, "scripted"])
@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_nobody_is_told_has_words_of_our_own(kind: str, name: str):
    told = found(kind, name, **{name: 1})
    assert list(told) == [name], "though the settings let it through"
    assert told[name]
    assert not inference.is_declarable(name)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("openai", {"store": True}),
        ("openai", {"service_tier": "priority"}),
        ("openai", {"reasoning": {"effort": "low", "mode": "pro"}}),
        ("openai", {"reasoning": "high"}),
        ("openai", {"text": {"format": {}}}),
        ("openai-chat", {"tool_choice": "auto"}),
        ("openai-chat", {"store": 0.5}),
        ("anthropic", {"speed": "fast"}),
        ("anthropic", {"thinking": {"type": "enabled", "max_tokens": 1}}),
        ("google", {"generationConfig": {"maxOutputTokens": 1}}),
        ("google", {"generationConfig": {"candidateCount": 2}}),
        ("google", {"generation_config": {}}),
        ("compatible", {"min_p": 0.1}),
        ("openai", {"invented_tomorrow": 1}),
    ],
)
def test_what_is_not_listed_is_refused(kind: str, given: dict[str, Any]):
    assert found(kind, **given)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("openai", {"store": False, "service_tier": "flex", "reasoning": {"effort": "low"}, "metadata": {"a": "b"}}),
        ("openai-chat", {"reasoning_effort": "low", "logit_bias": {"1": 2}}),
        ("anthropic", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("google", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}, "safetySettings": []}),
        ("scripted", {"anything": 1}),
    ],
)
def test_what_changes_an_answer_alone_is_allowed(kind: str, given: dict[str, Any]):
    assert found(kind, **given) == {}


def test_what_a_server_of_its_own_takes_its_setting_says():
    assert found("compatible", "min_p", min_p=0.1, grammar="x") == {
        "grammar": "the operator may let it through: `options = ['grammar']` under [inference.providers]"
    }
    assert found("anthropic", temperature=1) == {"temperature": "say `params.temperature`"}
    assert found("openai", reasonin={}) == {"reasonin": "did you mean 'reasoning'?"}


def test_a_spec_is_told_where_and_what_to_say_instead():
    def spec(model: str, **given: Any) -> agents.Spec:
        return agents.agent("desk", "Help.", model=model, generation={"provider_options": given})

    with pytest.raises(agents.InvalidSpec) as wrong:
        spec("openai:gpt-5", max_output_tokens=9, reasoning={"mode": "pro"})
    assert "generation.provider_options.max_output_tokens: is no option of a provider" in wrong.value.message
    assert "say `params.max_tokens`" in wrong.value.message
    assert "generation.provider_options.reasoning.mode" in wrong.value.message
    with pytest.raises(agents.InvalidSpec, match="mcp_servers"):
        spec("local:qwen3", mcp_servers=[])
    assert spec("local:qwen3", min_p=0.1), "what a server takes that nobody here knows, its setting says"
    assert spec("openai:gpt-5", reasoning_effort="low"), "of OpenAI's two APIs either may be set up under its name"


@pytest.mark.anyio
async def test_a_request_is_refused_before_anything_leaves():
    from interlock import Interlock

    model = models.Scripted(["Yes."])
    async with Interlock.open(":memory:", models={"fake": lambda _: model}) as il:
        request = inference.Request(
            model="fake:x", instructions="", messages=(inference.said("Hm?"),), provider_options={"n": 3}
        )
        with pytest.raises(
            inference.ModelRefused, match=r"provider_options\.n is no option of a provider; leave it out"
        ):
            await il.inference.send(request)
    assert model.requests == []
