"""Cases of an agent, each taken as a turn."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, event

from fix_app import World
from interlock import agents, inference, runs
from interlock.testing import models

pytestmark = pytest.mark.anyio

CASES = """
cases:
- name: finds
  input: What is ticket 7?
  script:
  - [Let me see., {call: find_ticket, arguments: {number: 7}}]
  - It is a door.
  expect:
  - {answer: {contains: door}, ended: completed}
  - called: {operation: find_ticket, arguments: {number: 7}, times: 1, failed: false}
  - not_called: close_ticket
  - {most: {rounds: 2, operations: 1}, state: {at: /phase, equals: finished}}
  - graded: It is about a door.
- name: asks first
  input: Close it.
  script: [[{call: close_ticket, arguments: {number: 7}}]]
  expect: [{ended: held}, {called: {operation: close_ticket}}]
- name: goes wrong
  input: Anything
  script: ["", "", ""]
  expect: [{ended: failed, failure: no_answer}]
- name: breaks
  input: Anything
  script: []
  expect: [{answer: {contains: door}}]
- name: is not so
  input: What is ticket 7?
  script: [It is a window.]
  expect: [{answer: {contains: door}}, {most: {usd: 1}}]
"""


@agents.operation(idempotency="pure")
def find_ticket(number: int) -> str:
    """Find a ticket."""
    return f"ticket {number}: a door"


@agents.operation(idempotency="unsafe_once", approval={})
def close_ticket(number: int) -> None:
    """Close a ticket."""
    raise AssertionError("nobody said yes")


def grade(request: inference.Request) -> str:
    return '{"holds": true, "why": "it is"}' if "It is about a door." in request.messages[0].text else "?"


async def test_cases_are_turns_and_told_apart(file_world: World):
    suite = agents.evals.read_suite(CASES).model_copy(update={"grader": "grader:one"})
    given: dict[str, Callable[[str], inference.Model]] = {
        "fake": models.of_cases(suite),
        "grader": lambda _: models.Scripted(grade),
    }
    async with file_world.process(models=given) as process:
        process.il.agents.offer(find_ticket, close_ticket)
        spec = agents.agent("desk", "Help.", model="fake:echo", operations=[find_ticket, close_ticket])
        report = await process.il.agents.evaluate(spec, suite)
        told = {
            each.name: (each.passed, [found.text for found in each.findings if not found.held]) for each in report.cases
        }
        finds = report.cases[0]
        assert told["finds"] == (True, [])
        assert finds.findings[-1].text == "It is about a door.: it is"
        assert told["asks first"] == (True, [])
        assert told["goes wrong"] == (True, [])
        assert told["breaks"][0] is False
        assert told["is not so"] == (
            False,
            ['the answer contains "door"; found: "It is a window."', "at most 1 usd; found: nobody knows"],
        )
        assert not report.passed
        assert finds.seen is not None
        assert (await process.il.runs.fetch(finds.seen.run_id)).capability == "agent.desk"
        # What waited for a person waits no more.
        assert not await process.il.runs.list(states=[runs.State.HELD])
        asked = await process.il.runs.list(capability="inference.grader")
        assert [each.parent_run_id for each in asked] == [finds.seen.run_id]


async def test_what_a_case_costs_is_asked_once_of_all_questions_of_its_turn(file_world: World):
    script = [*(models.answer(models.call("find_ticket", number=each)) for each in range(3)), "Done."]
    suite = agents.evals.read_suite("cases: [{name: a, input: b, expect: [{most: {usd: 1}}]}]")
    micro, asked = Decimal("0.000001"), list[str]()

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM events" in statement and "parent_run_id" in statement:
            asked.append(statement)

    async with file_world.process(models={"fake": models.named}) as process:
        known: Any = process.parts.inference._models
        model = models.Scripted(script)
        known._made["fake:x"] = inference.Endpoint(
            provider="fake", name="x", model=model, price=lambda usage: usage.tokens * micro
        )
        process.il.agents.offer(find_ticket)
        spec = agents.agent("desk", "Help.", model="fake:x", operations=[find_ticket])
        event.listen(Engine, "before_cursor_execute", note)
        try:
            report = await process.il.agents.evaluate(spec, suite)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        seen = report.cases[0].seen
        assert seen is not None
        turn = await process.il.agents.fetch(seen.run_id)
        assert seen.usd == pytest.approx(float(turn.usage.tokens * micro))
    assert len(model.requests) == 4
    assert len(asked) == 1
    assert "LIMIT" not in asked[0]
