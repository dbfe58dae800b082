"""What an operator says of models."""

from decimal import Decimal
from typing import Any

import pytest

from interlock import app, inference
from interlock.app import inferring

LOCAL: dict[str, Any] = {"kind": "compatible", "base_url": "http://127.0.0.1:11434/v1", "api_key": ""}


def providers(**told: Any) -> inferring.Providers:
    settings = app.Settings.model_validate({"inference": told})
    return inferring.Providers(settings.inference, {}, {})


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"providers": {"x": {"kind": "compatible"}}}, "base_url"),
        ({"providers": {"x": {"kind": "opena"}}}, "openai"),
        ({"providers": {"X y": LOCAL}}, "small letters"),
        ({"providers": {"x": {**LOCAL, "api_key": "sk-0123456789"}}}, "KIND:PLACE"),
        ({"providers": {"x": {**LOCAL, "base_url": "ftp://x"}}}, "base_url"),
        ({"providers": {"x": {**LOCAL, "input_usd": 1}}}, "go together"),
        ({"fallbacks": {"gpt": ["x:y"]}}, "provider:name"),
        ({"tries": 0}, "tries"),
        ({"providers": {"x": {**LOCAL, "options": ["min p"]}}}, "name of an option"),
        ({"providers": {"x": {**LOCAL, "options": ["maxTokens"]}}}, "maxTokens cannot be let through"),
        ({"providers": {"x": {**LOCAL, "ceiling_usd": "NaN"}}}, "ceiling_usd"),
        ({"providers": {"x": {**LOCAL, "input_usd": -1, "output_usd": 1}}}, "input_usd"),
        ({"providers": {"x": {**LOCAL, "input_usd": "Infinity", "output_usd": 1}}}, "input_usd"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(told: dict[str, Any], problem: str):
    with pytest.raises(app.InvalidSettings, match=problem) as wrong:
        providers(**told)
    assert "sk-0123456789" not in str(wrong.value.to_json()), "a key that stands in the wrong place is not told on"


def test_models_are_found_by_their_provider_and_nothing_is_loaded():
    found = providers(providers={"local": {**LOCAL, "lacks": ["tools"]}}, fallbacks={"local:a": ["openai:b"]})
    assert found.providers == ["anthropic", "google", "local", "openai"]
    assert found.fallbacks("local:a") == ("openai:b",)
    endpoint = found.fetch("local:qwen3:8b")
    assert (endpoint.name, endpoint.host, endpoint.show) == ("qwen3:8b", "127.0.0.1:11434", ())
    tool = inference.Tool(name="t", input={})
    request = inference.Request(model="local:a", instructions="", messages=(), tools=(tool,))
    assert list(endpoint.missing(request, stream=True)) == [inference.Feature.TOOLS]
    with pytest.raises(inference.UnknownModel, match="did you mean 'openai'"):
        found.fetch("opnai:gpt-5")
    with pytest.raises(inference.UnknownModel):
        found.fetch("openai")


def test_what_a_call_may_cost_is_known_before_it_is_made_where_somebody_said_a_price():
    request = inference.Request(model="x:a", instructions="", messages=(), params={"max_tokens": 100})
    priced = providers(providers={"x": {**LOCAL, "input_usd": "3", "output_usd": "15"}}).fetch("x:a")
    usage, dollars = priced.most(request, 2998)
    assert (usage.input_tokens, usage.output_tokens, dollars) == (1000, 100, Decimal("0.0045"))
    assert providers(providers={"x": LOCAL}).fetch("x:a").most(request, 300)[1] is None
    bounded = providers(providers={"x": {**LOCAL, "ceiling_usd": "0.02"}}).fetch("x:a")
    assert bounded.most(request, 300)[1] == Decimal("0.02")


def test_many_names_fill_no_memory():
    found = providers(providers={"x": LOCAL})
    for number in range(inferring.MOST_MADE + 5):
        found.fetch(f"x:model-{number}")
    assert found.fetch("x:model-0").name == "model-0"
