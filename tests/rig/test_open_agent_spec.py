"""Agents as documents of the Open Agent Specification, read and written by its own library.

It wants an older pydantic than ours, so it gets an environment of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock import agents, bridges

LIBRARY = "pyagentspec==26.3.1"
THROUGH = """
import sys
from pyagentspec.serialization import AgentSpecDeserializer, AgentSpecSerializer
print(AgentSpecSerializer().to_yaml(AgentSpecDeserializer().from_yaml(sys.stdin.read())))
"""
THEIRS = """
from pyagentspec.agent import Agent
from pyagentspec.llms import LlmGenerationConfig, OpenAiConfig
from pyagentspec.property import IntegerProperty, StringProperty
from pyagentspec.serialization import AgentSpecSerializer
from pyagentspec.tools import ServerTool
parameters = LlmGenerationConfig(max_tokens=10, temperature=0.5)
model = OpenAiConfig(name="gpt", model_id="gpt-4o-mini", default_generation_parameters=parameters, api_key="a-secret-key")
tool = ServerTool(name="find_ticket", description="Find", inputs=[IntegerProperty(title="number")], requires_confirmation=True)
outputs = [StringProperty(title="label")]
agent = Agent(name="desk", llm_config=model, system_prompt="Answer {{who}}.", tools=[tool], outputs=outputs)
print(AgentSpecSerializer().to_yaml(agent))
"""

pytestmark = pytest.mark.rig


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a program with their library."""
    folder = tmp_path_factory.mktemp("pyagentspec")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "-q", folder, "--python", sys.executable, "--allow-existing"], check=True)
    python = folder / "bin" / "python"
    install = [uv, "pip", "install", "-q", "--python", python, LIBRARY]
    made = subprocess.run(install, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"{LIBRARY} cannot be installed: {made.stderr.strip().splitlines()[-1:]}")

    def run(program: str, given: str = "") -> str:
        done = subprocess.run([python, "-c", program], input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_their_library_reads_ours_and_what_it_writes_is_the_same_agent(library: Callable[..., str]):
    label, number = {"type": "string"}, {"type": "integer", "default": 1}
    pay = {
        "name": "pay",
        "idempotency": "unsafe_once",
        "approval": {},
        "source": {"kind": "mcp", "ref": "bank/pay"},
        "input": {"type": "object", "properties": {"n": number}},
    }
    result = {"type": "object", "properties": {"label": label, "why": label}, "required": ["label"]}
    told = {
        "id": "desk",
        "instructions": "Answer.\n\nAlways.",
        "model": "anthropic:some-model",
        "memory": {"max_entries": 3},
    }
    spec = agents.assemble({**told, "operations": [pay], "result": {"schema": result}}, source="a spec")
    ours, _ = bridges.to_open_agent_spec(spec)
    again, report = bridges.from_open_agent_spec(library(THROUGH, ours))
    assert agents.compare(spec, again) == []
    assert report.notes == ()


def test_theirs_is_read_and_no_secret_comes_with_it(library: Callable[..., str]):
    text = library(THEIRS)
    spec, report = bridges.from_open_agent_spec(text)
    assert (spec.id, spec.model, spec.instructions) == ("desk", "openai:gpt-4o-mini", "Answer {{who}}.")
    assert spec.operations[0].approval is not None
    assert {each.path for each in report.notes} == {"tools[find_ticket].idempotency", "instructions"}
    assert "a-secret-key" not in agents.write_spec(spec)
