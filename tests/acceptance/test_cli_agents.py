"""`interlock agent`: specs from the command line."""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import jsonschema_rs
import pytest

from fix_cli import Shell
from interlock import memory

DESK = """\
id: desk
instructions: Answer in one sentence.
operations:
  - name: find_ticket
  - name: close_ticket
    approval: {message: It cannot be opened again.}
controls:
  operations:
    - {control: office_hours, match: {idempotency: [unsafe_once, reconcile]}}
"""

TOOLS = '''\
from interlock import agents


@agents.operation(idempotency="pure")
def find_ticket(number: int) -> str:
    """Find a ticket."""
    return f"ticket {number}"


@agents.operation(idempotency="unsafe_once")
def close_ticket(number: int) -> None:
    """Close a ticket."""


@agents.control(boundaries=("operations",))
def office_hours(given: agents.ControlInput) -> agents.Ruling:
    return agents.allow()
'''


@pytest.fixture
def desk(bare_shell: Shell) -> Shell:
    (bare_shell.folder / "desk.yaml").write_text(DESK)
    (bare_shell.folder / "tools.py").write_text(TOOLS)
    (bare_shell.folder / "interlock.toml").write_text('[app]\nmodules = ["tools"]\n')
    return bare_shell


def _dump(desk: Shell) -> list[str]:
    with closing(sqlite3.connect(desk.store)) as store:
        return list(store.iterdump())


def test_a_model_that_these_settings_cannot_ask_is_a_warning(desk: Shell):
    (desk.folder / "far.yaml").write_text("id: far\ninstructions: Help.\nmodel: opnai:gpt-5-mini\n")
    told = desk.run("agent", "validate", "far.yaml", "--json")
    [spec] = json.loads(told.out)["specs"]
    [warning] = spec["warnings"]
    assert (told.code, spec["valid"], warning["path"]) == (0, True, "model")
    assert warning["problem"] == "these settings know no provider of models 'opnai'"
    assert "did you mean 'openai'" in warning["suggestion"]
    assert "no provider of models 'opnai'" in desk.run("agent", "validate", "far.yaml").out


def test_a_spec_is_validated_shown_and_written_in_full(desk: Shell):
    valid = desk.run("agent", "validate", "desk.yaml", "--json")
    assert valid.code == 0, valid.err
    [told] = valid.json["specs"]
    assert (told["valid"], told["id"]) == (True, "desk")
    shown = desk.run("agent", "show", "desk.yaml")
    assert shown.code == 0
    [row] = [line for line in shown.out.splitlines() if line.startswith("close_ticket")]
    assert row.split() == ["close_ticket", "function", "close_ticket", "unsafe_once", "approval,", "office_hours"]
    assert desk.run("agent", "export", "desk.yaml", "--format", "json", "-o", "full.json").code == 0
    full = json.loads((desk.folder / "full.json").read_text())
    assert full["operations"][0]["input"]["properties"] == {"number": {"type": "integer"}}
    (desk.folder / "interlock.toml").unlink()  # what is written in full needs nobody to look anything up
    assert desk.run("agent", "show", "full.json", "--json").json["fingerprint"] == told["fingerprint"]
    nobody = desk.run("agent", "validate", "full.json")
    assert "the registry has no control 'office_hours'" in nobody.out  # but nobody could run it


def test_all_that_is_wrong_is_told(desk: Shell):
    (desk.folder / "bad.yaml").write_text(
        DESK.replace("find_ticket", "find_tickets").replace("instructions", "instruct")
    )
    told = desk.run("agent", "validate", "nowhere.yaml", "desk.yaml", "bad.yaml")
    assert told.code == 2
    assert "cannot read the spec nowhere.yaml" in told.out
    assert "desk.yaml: agent desk, sha256:" in told.out
    assert "line 2: instruct: there is no such key (did you mean 'instructions'?)" in told.out
    assert "line 4: operations[0].source.ref: there is no function 'find_tickets'" in told.out
    assert "Traceback" not in told.out + told.err
    alone = desk.run("agent", "show", "bad.yaml", "--json")
    assert (alone.code, alone.error["code"]) == (2, "invalid_agent_spec")
    assert len(alone.error["details"]["problems"]) == 3


def test_what_a_turn_would_ask_is_shown_and_nothing_is_written(desk: Shell):
    (desk.folder / "interlock.toml").write_text('[app]\nmodules = ["tools"]\n[app.agents]\nfront = "desk.yaml"\n')
    desk.good("init")
    took = desk.good("agent", "run", "desk.yaml", "Hello.", "--session", "new", "--model", "fake")
    before = _dump(desk)
    asked = ("agent", "show", "agent:front", "--prompt", "-", "--session", took["session_id"], "--model", "fake")
    told = desk.run(*asked, "--json", stdin="And 7?\nSoon.").json
    messages = [part["text"] for each in told["request"]["messages"] for part in each["parts"]]
    assert messages == ["Hello.", took["answer"], "And 7?\nSoon."]
    assert told["request"]["tools"][0]["input"]["properties"] == {"number": {"type": "integer"}}
    assert (told["agent"], told["earlier"], told["recalled"], told["most_usd"]) == ("desk", 2, None, None)
    assert told["most"]["input_tokens"] > 100
    shown = desk.run(*asked, stdin="And 7?\nSoon.")
    assert (shown.code, shown.err) == (0, "")
    assert f"{took['session_id']}; messages before this one: 2" in shown.out
    assert "user: And 7?\n    Soon.\n" in shown.out
    assert "nobody here knows what the model costs" in shown.out
    [row] = [line for line in shown.out.splitlines() if line.startswith("find_ticket")]
    assert row.split() == ["find_ticket", "number", "Find", "a", "ticket."]
    assert all(each in shown.out for each in told["not_shown"])
    assert _dump(desk) == before

    paid = desk.run("agent", "show", "desk.yaml", "--prompt", "Hello.", "--model", "openai:gpt-4o-mini")
    assert "USD for this answer" in paid.out
    unknown = desk.run("agent", "show", "desk.yaml", "--prompt", "Hello.", "--model", "nowhere:x")
    assert (unknown.code, "the settings have no such model" in unknown.out) == (0, True)


def test_what_memory_adds_is_shown(desk: Shell, monkeypatch: pytest.MonkeyPatch):
    (desk.folder / "keeper.yaml").write_text(
        "id: keeper\ninstructions: Help.\nmodel: fake:echo\nmemory: {scope: agent, capture: conversation}\n"
    )
    desk.good("init")
    asked = ("agent", "show", "keeper.yaml", "--prompt", "What burns in room seven?")
    assert "memory nothing" in desk.run(*asked).out
    desk.good("agent", "run", "keeper.yaml", "The printer in room seven burns.")
    shown = desk.run(*asked).out
    assert "memory as data, among what is said" in shown
    assert "The printer in room seven burns." in shown.split("Said")[1]

    async def raising(*_: object) -> None:
        raise ValueError("what a stranger's provider says")

    monkeypatch.setattr(memory.Turns, "before", raising)
    assert "memory failed: its provider raised ValueError; a turn goes on without" in desk.run(*asked).out


def test_what_a_preview_cannot_show_is_said(desk: Shell):
    alone = desk.run("agent", "show", "desk.yaml", "--model", "fake", "--json")
    assert (alone.code, alone.error["code"]) == (2, "usage")
    assert "go with --prompt TEXT" in alone.error["message"]
    there = desk.run("agent", "show", "desk.yaml", "--prompt", "Hello.", "--server", "http://127.0.0.1:1", "--json")
    assert (there.code, there.error["code"]) == (2, "not_remote")
    nobody = desk.run("agent", "show", "agent:front", "--json")
    assert nobody.error["code"] == "agent_not_found"


def test_no_worker_is_left_what_only_this_command_plays(desk: Shell):
    desk.good("init")
    told = desk.run("agent", "run", "desk.yaml", "Hello", "--model", "fake", "--later", "--json")
    assert (told.code, told.error["code"]) == (2, "usage")
    assert "no worker plays fake:echo" in told.error["message"]
    assert not desk.good("agent", "list")["turns"]


def test_who_talks_in_a_session_that_is_not_there_is_told_at_once(desk: Shell):
    desk.good("init")
    told = desk.run("agent", "chat", "desk.yaml", "--model", "fake", "--session", "ags_none", stdin="")
    assert (told.code, told.out) == (2, "")
    assert "no session 'ags_none'" in told.err


def test_two_specs_are_compared(desk: Shell):
    (desk.folder / "other.yaml").write_text(DESK.replace("one sentence", "two sentences"))
    told = desk.run("agent", "diff", "desk.yaml", "other.yaml", "--json")
    assert told.code == 0
    assert [each["path"] for each in told.json["differences"]] == ["instructions"]
    assert "Both are the same agent" in desk.run("agent", "diff", "desk.yaml", "desk.yaml").out


def test_editors_get_a_schema(desk: Shell):
    told = desk.run("agent", "schema")
    assert told.code == 0
    validator = jsonschema_rs.Draft202012Validator(json.loads(told.out))
    assert validator.is_valid({"id": "desk", "instructions": "Answer.", "operations": [{"name": "find_ticket"}]})
    assert not validator.is_valid({"id": "desk", "instructions": "Answer.", "operation": []})
    assert not validator.is_valid(
        {"id": "desk", "instructions": "Answer.", "operations": [{"name": "a", "idempotency": "no"}]}
    )


def test_a_spec_comes_from_stdin(desk: Shell):
    assert desk.run("agent", "validate", "-", stdin=DESK).code == 0
    missing = desk.run("agent", "validate", "nowhere.yaml", "--json")
    assert (missing.code, missing.error["code"]) == (2, "file_refused")


def test_a_spec_leaves_as_an_open_agent_spec_and_comes_back(desk: Shell):
    left = desk.run("agent", "export", "desk.yaml", "--format", "open-agent-spec", "-o", "oas.yaml")
    assert left.code == 0, left.err
    assert "aside: operations[close_ticket].idempotency: unsafe_once" in left.out
    back = desk.run("agent", "import", "oas.yaml", "-o", "back.yaml", "--json")
    assert (back.code, back.json["report"]) == (0, [])
    assert "Both are the same agent" in desk.run("agent", "diff", "desk.yaml", "back.yaml").out
    wrong = desk.run("agent", "import", "desk.yaml", "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "foreign_spec")


TURN = """\
answers:
  - [{call: find_ticket, arguments: {number: 7}}]
  - Ticket 7 is answered.
"""


def test_a_turn_is_taken_shown_traced_and_replayed(desk: Shell):
    (desk.folder / "script.yaml").write_text(TURN)
    assert desk.run("init").code == 0
    said = desk.run("agent", "run", "desk.yaml", "Is ticket 7 answered?", "--model", "fake:script.yaml", "--json")
    assert said.code == 0, said.err
    assert (said.json["answer"], said.json["operations"]) == ("Ticket 7 is answered.", 1)
    run_id = said.json["run_id"]
    assert "model: call find_ticket" in desk.run("agent", "inspect", run_id).out
    kinds = [each["kind"] for each in desk.run("agent", "trace", run_id, "--json").json["lines"]]
    assert kinds[:3] == ["began", "intended", "answered"]
    replayed = desk.run("agent", "replay", run_id, "--json").json
    assert (replayed["same"], replayed["ended"], replayed["events"]) == (True, True, len(kinds))
    assert [each["run_id"] for each in desk.run("agent", "list", "--json").json["turns"]] == [run_id]
    assert desk.run("agent", "resume", run_id, "--json").json["state"] == "completed"
    lines = desk.run("agent", "run", "desk.yaml", "Again?", "--model", "fake", "--stream", "--json").out.splitlines()
    told = [json.loads(each) for each in lines]
    assert [each.get("kind") for each in told][:3] == ["turn.began", "turn.intended", "delta"]
    assert told[-1]["answer"] == "Again?"


def test_what_goes_wrong_in_a_stream_is_told_on_a_line(desk: Shell):
    assert desk.run("init").code == 0
    (desk.folder / "script.yaml").write_text("answers: ['']\n")
    stream = ("--stream", "--json")
    failed = desk.run("agent", "run", "desk.yaml", "Again?", "--model", "fake:script.yaml", *stream)
    told = [json.loads(each) for each in failed.out.splitlines()]
    assert [*told[-1]] == ["error"]
    assert told[0]["kind"] == "turn.began"
    for arguments in (("run", "nowhere.yaml", "Again?"), ("run",), ("resume", "run_1")):
        [line] = desk.run("agent", *arguments, *stream).out.splitlines()
        assert [*json.loads(line)] == ["error"]


SOURCE = """\
from interlock import agents


@agents.source
class Wiki:
    kind = "wiki"

    def describe(self, source):
        return {"description": "Read a page.", "idempotency": "pure"}

    def names(self):
        return ["rules", "start"]

    def objections(self, operation):
        if operation.idempotency != "pure":
            yield "idempotency", "a page is only read"

    async def absent(self, operations, *, caller, run_id):
        return {each.name: "the page is away" for each in operations if each.source.ref == "rules"}

    async def perform(self, invocation):
        return "Welcome."

    async def reconcile(self, invocation):
        return agents.Unclear(reason="a page is only read")


wiki = Wiki()
"""


def test_what_a_turn_goes_without_is_told(desk: Shell):
    (desk.folder / "wiki.py").write_text(SOURCE)
    settings = (desk.folder / "interlock.toml").read_text()
    (desk.folder / "interlock.toml").write_text(settings.replace('["tools"]', '["tools", "wiki"]'))
    source = "source: {kind: wiki, ref: %s}"
    guide = ["id: guide", "instructions: Help.", "operations:"]
    guide += [f"  - {{name: {each}, {source % each}}}" for each in ("rules", "start")]
    (desk.folder / "guide.yaml").write_text("\n".join(guide))
    assert desk.run("init").code == 0
    (desk.folder / "script.yaml").write_text("answers: [[{call: rules, arguments: {}}], Done.]\n")
    said = desk.run("agent", "run", "guide.yaml", "Help.", "--model", "fake:script.yaml", "--json")
    assert said.code == 0, said.err
    shown = desk.run("agent", "inspect", said.json["run_id"]).out
    assert "without: rules: the page is away" in shown
    assert "The operation rules cannot be asked for now: the page is away" in shown
    began = desk.run("agent", "trace", said.json["run_id"], "--json").json["lines"][0]
    assert began["data"]["absent"] == {"rules": "the page is away"}
    assert desk.run("agent", "replay", said.json["run_id"], "--json").json["same"]
    (desk.folder / "guide.yaml").write_text(
        "\n".join([*guide[:3], guide[4].replace("start,", "start, idempotency: unsafe_once, approval: {},")])
    )
    told = desk.run("agent", "validate", "guide.yaml")
    assert (told.code, "operations[0].idempotency: a page is only read" in told.out + told.err) == (2, True)


def test_a_conversation_is_held_forked_and_carried_away(desk: Shell):
    assert desk.run("init").code == 0
    chat = desk.run("agent", "chat", "desk.yaml", "--model", "fake", stdin="one\n\ntwo\n/exit\nthree\n")
    assert (chat.code, chat.out.count("> ")) == (0, 4)
    assert "> one\n> " in chat.out
    [kept] = desk.run("agent", "sessions", "list", "--json").json["sessions"]
    session_id = kept["session_id"]
    assert (kept["head"], kept["title"]) == (2, "one")
    more = desk.run("agent", "chat", "desk.yaml", "--session", session_id, "--model", "fake", "--json", stdin="three\n")
    said, last = map(json.loads, more.out.splitlines())
    assert (said["session_id"], said["state"], said["answer"]) == (session_id, "completed", "three")
    assert last == {"session_id": session_id, "turns": 1, "waiting": None}
    turn = desk.run("agent", "sessions", "show", session_id, "--json").json["turns"][2]
    assert desk.run("agent", "snapshot", turn["turn_id"], "-o", "turn.json").code == 0
    same = DESK.replace("id: desk", "id: desk\nmodel: fake:echo")
    (desk.folder / "same.yaml").write_text(same)
    for source in (["--snapshot", "turn.json"], [turn["turn_id"]]):
        forked = desk.run("agent", "fork", *source, "--json").json["session"]
        said = desk.run("agent", "sessions", "show", forked["session_id"], "--json").json["turns"]
        assert [each["parts"][0]["text"] for each in said[0]["said"]] == ["one", "one", "two", "two", "three", "three"]
        assert desk.run("agent", "fork", *source, "--spec", "same.yaml").code == 0
    changed = same.replace("id: desk", "id: desk\nmetadata: {since: today}")
    (desk.folder / "changed.yaml").write_text(changed)
    go_on = ["agent", "fork", "--snapshot", "turn.json", "--spec", "changed.yaml"]
    assert desk.run(*go_on, "--json").error["code"] == "snapshot_of_another"
    assert desk.run(*go_on[:2], turn["turn_id"], *go_on[4:], "--json").error["code"] == "agent_changed"
    accepted = desk.run(*go_on, "--accept", "--json").json["session"]["session_id"]
    assert desk.run("agent", "run", "changed.yaml", "five", "--session", accepted, "--model", "fake").code == 0
    (desk.folder / "other.yaml").write_text(changed.replace("id: desk", "id: other"))
    other = desk.run(*go_on[:-1], "other.yaml", "--accept", "--json")
    assert other.error["code"] == "invalid_session"
    begun = desk.run("agent", "fork", turn["turn_id"], "--event", "1", "--json")
    assert (begun.code, begun.error["code"]) == (2, "invalid_request")
    path = desk.folder / "turn.json"
    path.write_text(path.read_text().replace("three", "four"))
    assert desk.run("agent", "fork", "--snapshot", "turn.json", "--json").error["code"] == "snapshot_tampered"
    assert desk.run("agent", "snapshot", turn["turn_id"]).out.startswith('{"agent_id":"desk"')


CASES = """\
agent: desk.yaml
cases:
- name: looks it up
  input: Is ticket 7 answered?
  script: [[{call: find_ticket, arguments: {number: 7}}], It is.]
  expect: [{answer: {contains: It is}, called: {operation: find_ticket, arguments: {number: 7}}}]
- name: says so
  input: Is it?
  script: ["No."]
  expect: [{answer: {contains: "Yes"}}]
"""


def test_cases_are_held_against_an_agent(desk: Shell):
    assert desk.run("init").code == 0
    (desk.folder / "cases.yaml").write_text(CASES)
    told = desk.run("agent", "eval", "cases.yaml", "--junit", "report.xml", "--json")
    assert (told.code, told.json["passed"], told.json["failed"]) == (1, 1, 1)
    assert 'failures="1"' in (desk.folder / "report.xml").read_text()
    shown = desk.run("agent", "eval", "cases.yaml").out
    assert 'not so: the answer contains "Yes"; found: "No."' in shown
    assert "1 of 2 cases passed" in shown
    (desk.folder / "cases.yaml").write_text(CASES.replace('"Yes"', '"No"'))
    assert desk.run("agent", "eval", "cases.yaml").code == 0


GUEST = """
import asyncio
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from interlock import Interlock
from interlock.bridges import durability

agent = Agent(TestModel(), name="orders", capabilities=[durability.InterlockDurability()])
agent.tool_plain(requires_approval=True)(lambda order: f"order {order} is refunded")


async def main():
    async with Interlock.open() as il:
        print((await durability.run(il, agent, "What about order 0?", key="t7")).turn.run_id)


asyncio.run(main())
"""


def test_a_turn_of_another_framework_is_shown_and_traced(desk: Shell):
    (desk.folder / "orders.py").write_text(GUEST)
    assert desk.run("init").code == 0
    with desk.start("orders.py", program=Path(sys.executable)) as process:
        run_id = process.communicate()[0].strip()
    shown = desk.run("agent", "inspect", run_id)
    assert shown.code == 0, shown.err
    assert "then run its program again" in shown.out
    assert f"interlock agent trace {run_id}" in shown.out
    assert desk.run("agent", "inspect", run_id, "--json").json["state"] is None
    traced = desk.run("agent", "trace", run_id).out
    assert "the model is about to be asked" in traced
    assert "a person is asked about pyd_ai_" in traced
