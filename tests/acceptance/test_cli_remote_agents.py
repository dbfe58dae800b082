"""Agents at a server, from the command line: they are asked there, and every look at them says the same there and here."""

import json
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from fix_cli import Shell
from fix_models import KEY, ModelApi, Say

pytestmark = pytest.mark.faults

DESK = """\
id: desk
instructions: Answer in one sentence.
model: local:tiny
context_schema: {type: object, properties: {room: {type: integer}}}
operations:
  - name: wait
  - name: find_ticket
  - name: close_ticket
    approval: {message: It cannot be opened again.}
"""

TOOLS = '''\
import time
from pathlib import Path

from interlock import agents


@agents.operation(idempotency="pure")
def wait() -> str:
    """Wait until somebody says so."""
    Path("begun").touch()
    while not Path("over").exists():
        time.sleep(0.01)
    return "it is over"


@agents.operation(idempotency="pure")
def find_ticket(number: int) -> str:
    """Find a ticket."""
    return f"ticket {number}"


@agents.operation(idempotency="unsafe_once")
def close_ticket(number: int) -> str:
    """Close a ticket."""
    return f"ticket {number} is closed"
'''

SETTINGS = """\
[app]
modules = ["tools"]

[app.agents]
helpdesk = "desk.yaml"

[approvals]
self_review = true

[inference.providers.local]
kind = "compatible"
base_url = "{url}/v1"
api_key = "env:MODEL_KEY"
"""


@pytest.fixture
def desk(bare_shell: Shell, model_api: ModelApi) -> Shell:
    (bare_shell.folder / "desk.yaml").write_text(DESK)
    (bare_shell.folder / "tools.py").write_text(TOOLS)
    (bare_shell.folder / "interlock.toml").write_text(SETTINGS.format(url=model_api.url))
    allowed = [model_api.url.removeprefix("http://")]
    bare_shell.environment |= {"MODEL_KEY": KEY, "INTERLOCK_EXECUTION__EGRESS_ALLOW": json.dumps(allowed)}
    bare_shell.good("init")
    return bare_shell


@contextmanager
def served(desk: Shell) -> Generator[dict[str, dict[str, str]]]:
    """A server of this folder; what a caller and an operator put into the environment to ask it."""
    tokens = {
        role: desk.good("tokens", "create", role, "--role", role, "--role", "approver")["token"]
        for role in ("caller", "operator")
    }
    with desk.start("serve", "--bind", "127.0.0.1:0", "--json") as process:
        try:
            assert process.stdout is not None
            url = f"http://{json.loads(process.stdout.readline())['listening']}"
            yield {role: {"INTERLOCK_SERVER": url, "INTERLOCK_TOKEN": token} for role, token in tokens.items()}
        finally:
            process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")


def test_agents_are_asked_at_a_server(desk: Shell, model_api: ModelApi):
    with served(desk) as there:
        there_: Any = {"environment": there["caller"]}
        model_api.say(Say(calls=[("call_1", "find_ticket", {"number": 7})]), Say(text="It is open."))
        turn = desk.good("agent", "run", "agent:helpdesk", "What about 7?", "--context", "room=3", **there_)
        assert (turn["state"], turn["answer"], turn["operations"]) == ("completed", "It is open.", 1)
        model_api.say(Say(text="Still open."))
        lines = desk.run(
            "agent", "run", "agent:helpdesk", "And now?", "--session", "new", "--stream", "--json", **there_
        ).out.splitlines()
        *told, last = map(json.loads, lines)
        assert "".join(each["data"]["text"] for each in told if each["kind"] == "delta") == "Still open."
        model_api.say(Say(text="One."), Say(text="Two."))
        chat = desk.run("agent", "chat", "agent:helpdesk", "--json", stdin="1\n2\n", **there_).out.splitlines()
        assert [json.loads(each).get("answer") for each in chat] == ["One.", "Two.", None]
        model_api.say(Say(calls=[("call_1", "close_ticket", {"number": 7})]))
        held = desk.run("agent", "run", "agent:helpdesk", "Close it.", "--json", **there_)
        assert (held.code, held.json["state"]) == (4, "held")
        approval_id, run_id = held.json["waiting"][0]["approval_id"], held.json["run_id"]
        for look in (
            ["list"], ["list", "--agent", "desk", "--limit", "1"], ["inspect", run_id], ["inspect", turn["run_id"]],
            ["trace", run_id], ["sessions", "list"], ["sessions", "show", last["session_id"]],
        ):  # fmt: skip
            assert desk.run("agent", *look, "--json").json == desk.run("agent", *look, "--json", **there_).json, look
            assert desk.run("agent", *look).out == desk.run("agent", *look, **there_).out, look
        desk.good("approvals", "approve", approval_id, environment=there["operator"])
        model_api.say(Say(text="Closed."))
        assert desk.good("agent", "resume", run_id, **there_)["answer"] == "Closed."
        snapshot = ("agent", "snapshot", run_id, "--event", "9")
        assert desk.run(*snapshot, **there_).json["state"] == desk.run(*snapshot).json["state"]
        assert desk.good("agent", "fork", run_id, "--title", "Again", **there_)["session"]["title"] == "Again"
        forked = desk.good("agent", "sessions", "fork", last["session_id"], **there_)["session"]
        assert (
            desk.good("agent", "sessions", "delete", forked["session_id"], **there_)["deleted"] == forked["session_id"]
        )
        model_api.say(Say(text="Later."))
        left = desk.good("agent", "run", "agent:helpdesk", "When you can.", "--later", **there_)
        assert left["state"] in ("queued", "running", "completed")
        assert desk.good("runs", "wait", left["run_id"], **there_)["output"]["answer"] == "Later."


def test_what_a_server_refuses_is_told_as_here(desk: Shell, model_api: ModelApi):
    (desk.folder / "bad.yaml").write_text(DESK.replace("- name: find_ticket", "- name: find_tickets"))
    with served(desk) as there:
        caller, operator = there["caller"], there["operator"]

        def refused(*words: str, environment: dict[str, str]) -> tuple[int, str]:
            told = desk.run("agent", *words, "--json", environment=environment)
            return told.code, told.error["code"]

        assert refused("run", "agent:nobody", "?", environment=caller) == (2, "agent_not_found")
        assert refused("run", "desk.yaml", "?", environment=caller) == (2, "forbidden")
        assert refused("run", "desk.yaml", "?", "--model", "fake", environment=operator) == (2, "usage")
        assert refused("inspect", "run_none", environment=caller) == (2, "run_not_found")
        for word in (["replay", "run_1"], ["validate", "desk.yaml"], ["fork", "--snapshot", "desk.yaml"]):
            assert refused(*word, environment=caller) == (2, "not_remote")
        here = desk.run("agent", "run", "bad.yaml", "?")
        assert desk.run("agent", "run", "bad.yaml", "?", environment=operator) == here
        assert "line 7: operations[1].source.ref: there is no function 'find_tickets'" in here.err
        model_api.say(Say(text="Yes."))
        assert desk.good("agent", "run", "desk.yaml", "?", environment=operator)["answer"] == "Yes."
        model_api.say(*[Say(status=400)] * 3)
        failed = desk.run("agent", "run", "agent:helpdesk", "?", "--json", environment=caller)
        assert (failed.code, failed.error["code"]) == (1, "agent_turn_failed")


@pytest.mark.parametrize("path", ["/v1/agents/turns", "/v1/agents/turns/stream"])
def test_a_client_that_goes_away_ends_no_turn(desk: Shell, model_api: ModelApi, path: str):
    model_api.say(Say(calls=[("call_1", "wait", {})]), Say(text="It is over."))
    with served(desk) as there:
        told = there["caller"]
        headers = {"Authorization": f"Bearer {told['INTERLOCK_TOKEN']}"}
        with httpx2.Client(base_url=told["INTERLOCK_SERVER"], headers=headers, timeout=60) as client:
            request = client.build_request("POST", path, json={"agent": "helpdesk", "text": "Wait."})
            with socket.create_connection((request.url.host, request.url.port or 80)) as leaving:
                named = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
                leaving.sendall(f"POST {path} HTTP/1.1\r\n{named}\r\n".encode() + request.read())
                until((desk.folder / "begun").exists)
            (desk.folder / "over").touch()

            def turn() -> Any:
                [found] = client.get("/v1/agents/turns").json()["turns"]
                return client.get(f"/v1/agents/turns/{found['run_id']}").json()

            until(lambda: turn()["state"] == "completed")
            assert turn()["answer"] == "It is over."


def until(done: Callable[[], bool]) -> None:
    for _ in range(1200):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("a minute is over")
