"""A model that runs here: llama.cpp's server with random weights, asked as any provider that serves Chat Completions.

`make rig` builds the server into `.tools/llama` where there is a compiler; `TEST_LLAMA_PYTHON` names another Python that has
llama-cpp-python with its server, and gguf."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fix_app import ALLOW, Process, World
from fix_llama import PYTHON
from interlock import inference
from interlock.app.inference_settings import InferenceSettings
from interlock.testing import ManualClock, github

pytestmark = [
    pytest.mark.rig,
    pytest.mark.anyio,
    pytest.mark.skipif(not PYTHON.exists(), reason=f"no llama.cpp: {PYTHON} is not there (`make rig` builds it)"),
]
YES = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"], "additionalProperties": False}


@asynccontextmanager
async def asking(world: World, host: str) -> AsyncGenerator[Process]:
    provider = {
        "kind": "compatible",
        "base_url": f"http://{host}/v1",
        "api_key": "",
        "input_usd": "0",
        "output_usd": "0",
        "options": ["response_format"],
    }
    settings = InferenceSettings.model_validate({"providers": {"local": provider}})
    async with world.process(inference=settings, execution={"egress_allow": (world.host, host)}) as process:
        yield process


@pytest.fixture
def small(tmp_path: Path, github_server: github.GitHub, root_key: None) -> World:
    return World(store_url="sqlite:///:memory:", folder=tmp_path, server=github_server, clock=ManualClock(), law=ALLOW)


async def ask(process: Process, **more: Any) -> inference.Answered:
    told = more.pop("told", None)
    params = {"max_tokens": 64, "seed": 3, "temperature": 0.8, **more.pop("params", {})}
    request = inference.Request(
        model="local:tiny", instructions="Say anything.", messages=(inference.said("Well?"),), params=params, **more
    )
    return await process.parts.inference.ask(process.il.caller, request, key=json.dumps(more) + str(told), told=told)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_model_of_our_own_answers_streams_and_counts(small: World, llama: str, streamed: bool):
    told: list[inference.Delta] = []
    async with asking(small, llama) as process:
        answered = await ask(process, told=told.append if streamed else None, params={"max_tokens": 12})
        answer = answered.answer
        assert answer.finish in (inference.Finish.LENGTH, inference.Finish.STOP)
        assert answer.message.text
        assert answer.model == "tiny"
        if streamed:
            assert answered.cost is None  # this server counts nothing of a stream, so nobody knows
            assert "".join(each.text for each in told) == answer.message.text
            assert len(told) > 1
        else:
            assert str(answered.cost) == "0"
            assert 0 < answer.usage.output_tokens <= 16
            assert answer.usage.input_tokens > 10


async def test_a_grammar_makes_even_this_model_answer_in_the_shape(small: World, llama: str):
    async with asking(small, llama) as process:
        # The Python server's own spelling; llama.cpp's takes what `result` sends.
        shape = {"response_format": {"type": "json_object", "schema": YES}}
        answered = await ask(process, provider_options=shape, params={"max_tokens": 400})
        assert isinstance(json.loads(answered.answer.message.text)["yes"], bool)
