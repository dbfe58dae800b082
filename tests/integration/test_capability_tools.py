"""Capabilities as tools of other frameworks: each call is a run as any other, and what came of it is a value."""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from fix_app import ASK_WRITES, Process, World
from interlock import bridges, runs
from interlock.bridges import langchain, pydantic_ai
from interlock.kernel import Caller, RequestError

pytestmark = pytest.mark.anyio

DOOR = {"repo": "acme/rocket", "title": "Door"}


async def tools(process: Process, **more: Any) -> bridges.CapabilityTools:
    return await bridges.CapabilityTools.of(process.il, ["acme.issue.*", "acme.account.fetch"], **more)


async def count(process: Process) -> int:
    return len(await process.il.runs.list(capability="acme.issue.create"))


async def test_tools_are_what_the_caller_may_ask_for(file_world: World):
    async with file_world.process() as process:
        found = (await tools(process)).tools
        assert [each.name for each in found][:3] == ["acme_account_fetch", "acme_issue_close", "acme_issue_create"]
        create = found[2]
        assert (create.capability_id, create.effect) == ("acme.issue.create", "create")
        assert not [name for name in json.dumps(create.input_schema).split('"') if name.startswith("x-")]
        il = process.il.as_caller(Caller(actor="app", capabilities=frozenset({"acme.issue.close"})))
        narrow = await bridges.CapabilityTools.of(il, ["acme.issue.*"])
        assert [each.capability_id for each in narrow.tools] == ["acme.issue.close"]
        with pytest.raises(bridges.NoSuchTools, match=r"acme\.comment"):
            await bridges.CapabilityTools.of(il, ["acme.comment.*"])


async def test_what_comes_of_a_call_is_a_value(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        called = await tools(process)
        made = await called.call("acme_issue_create", DOOR, key="c1")
        assert made.status == "completed"
        assert isinstance(made.output, Mapping)
        assert (await called.call("acme_issue_create", json.dumps(DOOR), key="c1")).run_id == made.run_id
        assert await count(process) == 1
        for name, arguments, why in (
            ("acme_issue_creat", DOOR, "There is no tool"),
            ("acme_issue_create", {"repo": "acme/rocket"}, "title"),
            ("acme_issue_create", '{"repo": ', "not JSON"),
            ("acme_issue_create", "[1]", "no JSON object"),
            ("acme_issue_create", '{"a":' * 100, "arguments"),
        ):
            told = await called.call(name, arguments)
            assert told.status == "invalid"
            assert why.casefold() in (told.message or "").casefold()
            assert "nothing Asked" not in (told.message or "")  # two sentences
        missing = await called.call("acme_issue_close", {"repo": "acme/rocket", "issue_number": 999})
        assert (missing.status, missing.run_id is not None) == ("failed", True)
        assert json.loads(missing.text)["message"] == missing.message


async def test_what_policy_holds_is_told_and_not_done(file_world: World):
    async with file_world.process(rules=None) as process:
        await process.connect(file_world.server.url)
    asking = file_world
    asking.law = ASK_WRITES
    async with asking.process() as process:
        held = await (await tools(process)).call("acme_issue_create", DOOR)
        assert (held.status, held.output) == ("held", None)
        assert held.approval_id is not None
        assert held.run_id is not None
        assert (await process.il.runs.fetch(held.run_id)).state is runs.State.HELD


async def test_the_forms_of_openai(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        called = await tools(process)
        [account, *_] = bridges.openai_tools(called)
        assert (account["type"], account["name"], account["strict"]) == ("function", "acme_account_fetch", False)
        [chat, *_] = bridges.openai_tools(called, api="chat")
        assert chat["function"] == {name: value for name, value in account.items() if name != "type"}
        arguments = json.dumps(DOOR)
        item = SimpleNamespace(type="function_call", call_id="c1", name="acme_issue_create", arguments=arguments)
        answer = await bridges.answer_openai(called, item, conversation="conv")
        assert (answer["type"], answer["call_id"]) == ("function_call_output", "c1")
        asked = {"id": "c1", "type": "function", "function": {"name": "acme_issue_create", "arguments": arguments}}
        again = await bridges.answer_openai(called, asked, conversation="conv")
        assert (again["role"], again["tool_call_id"], again["content"]) == ("tool", "c1", answer["output"])
        assert await count(process) == 1
        with pytest.raises(RequestError, match="no function call"):
            await bridges.answer_openai(called, {"type": "message"})


async def test_the_tools_of_langchain(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        called = await tools(process)
        by_name = {each.name: each for each in langchain.langchain_tools(called)}
        create = by_name["acme_issue_create"]
        assert create.args.keys() >= {"repo", "title"}
        call = {"type": "tool_call", "id": "c1", "name": create.name, "args": DOOR}
        thread = RunnableConfig(configurable={"thread_id": "t1"})
        answers = [await create.ainvoke(call, thread) for _ in range(2)]
        assert await count(process) == 1
        assert all(isinstance(each, ToolMessage) for each in answers)
        assert json.loads(answers[0].content)["status"] == "completed"
        await create.ainvoke(call)
        assert await count(process) == 2
        with pytest.raises(RequestError, match="event loop"):
            create.invoke(DOOR)


async def test_the_toolset_of_pydantic_ai(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        toolset = pydantic_ai.InterlockToolset(await tools(process))
        seen: list[Any] = []

        def say(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            seen.append((messages[-1], info.function_tools))
            if len(seen) > 1:
                return ModelResponse(parts=[TextPart("done")])
            calls = [("acme_issue_create", DOOR, "a"), ("acme_issue_create", {"repo": "acme/rocket"}, "b")]
            return ModelResponse(
                parts=[ToolCallPart(name, arguments, tool_call_id=call_id) for name, arguments, call_id in calls]
            )

        agent = Agent(FunctionModel(say), toolsets=[toolset])
        assert (await agent.run("Open an issue.")).output == "done"
        offered = {each.name: each for each in seen[0][1]}
        assert offered["acme_issue_create"].parameters_json_schema["required"] == ["repo", "title"]
        answers = [part.content for part in seen[1][0].parts]
        assert [each["status"] for each in answers] == ["completed", "invalid"]
        assert await count(process) == 1
