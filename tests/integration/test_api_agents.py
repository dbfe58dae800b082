"""Agents over the HTTP API: which may be asked by whom, their turns, and how these are told."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from fix_app import World
from fix_http_api import HOST, Line, good, lined, problem
from interlock import agents, inference
from interlock.app.settings import AppSettings
from interlock.testing import models

pytestmark = pytest.mark.anyio

DESK = """
id: desk
instructions: Answer.
model: fake:x
context_schema: {type: object, properties: {room: {type: integer}}}
operations: [{name: look}, {name: close, approval: {reason: careful, message: It stays closed.}}]
metadata: {description: Answers.}
"""
PLAIN = {"id": "plain", "instructions": "Answer.", "model": "fake:x"}


@agents.operation(idempotency="pure")
def look(number: int) -> str:
    """Look."""
    return f"ticket {number}"


@agents.operation(idempotency="unsafe_once")
def close(number: int) -> str:
    """Close."""
    return f"closed {number}"


@asynccontextmanager
async def desk(world: World, *script: Any, **changes: Any) -> AsyncGenerator[Line]:
    """The API of an installation with the agent `desk`, whose model says that."""
    (world.folder / "desk.yaml").write_text(DESK)
    (world.folder / "broken.yaml").write_text("id: broken\ninstructs: nothing\n")
    model = script[0] if len(script) == 1 and isinstance(script[0], models.Scripted) else models.Scripted([*script])

    def find(name: str) -> inference.Model:
        return model

    app = AppSettings(agents={"helpdesk": "desk.yaml", "broken": "broken.yaml"})
    async with lined(world, models={"fake": find}, app=app, **changes) as line:
        line.process.il.agents.offer(look, close)
        yield line


def called(name: str, number: int) -> inference.Answer:
    return models.answer(models.call(name, number=number))


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream, without their numbers."""
    told = [each for each in text.split("\n\n") if each and not each.startswith(":")]
    found: list[tuple[str, Any]] = []
    for each in told:
        members = dict(line.split(": ", 1) for line in each.split("\n"))
        found.append((members["event"], json.loads(members["data"])))
        assert "id" in members or members["event"] != "entry"
    return found


async def test_a_turn_is_taken_and_looked_at(file_world: World):
    async with desk(file_world, called("look", 7), "It is about a printer.") as line:
        client = await line.client("ann", "caller")
        said = {"agent": "helpdesk", "text": "What is ticket 7 about?", "context": {"room": 1}}
        turn = good(await client.post("/agents/turns", json=said, headers={"Idempotency-Key": "k"}))
        assert (turn["state"], turn["answer"], turn["operations"]) == ("completed", "It is about a printer.", 1)
        again = good(await client.post("/agents/turns", json=said, headers={"Idempotency-Key": "k"}))
        assert again["run_id"] == turn["run_id"]
        other = {**said, "text": "Another?"}
        conflict = await client.post("/agents/turns", json=other, headers={"Idempotency-Key": "k"})
        problem(conflict, 409, "idempotency_conflict")
        place = f"/agents/turns/{turn['run_id']}"
        assert good(await client.get(place)) == turn
        inspected = good(await client.get(f"{place}/state"))
        assert (inspected["turn"], inspected["state"]["said"][0]["parts"][0]["text"]) == (turn, said["text"])
        [*_, last] = good(await client.get(f"{place}/journal"))["lines"]
        assert last["kind"] == "ended"
        [listed] = good(await client.get("/agents/turns", params={"agent_id": "desk"}))["turns"]
        assert (listed["run_id"], listed["rounds"]) == (turn["run_id"], 2)
        kept = (await client.get(f"{place}/snapshot")).content
        assert (await line.process.il.agents.read_snapshot(kept)).state.answer == turn["answer"]
        forked = good(await client.post(f"{place}/fork", json={"title": "Again"}))
        assert (forked["agent_id"], forked["title"], forked["head"]) == ("desk", "Again", 1)
        run = good(await client.get(f"/runs/{turn['run_id']}"))
        assert (run["actor"], run["capability"]) == ("ann", "agent.desk")


async def test_who_may_ask_for_which_agent(file_world: World):
    async with desk(file_world, *["Yes."] * 9) as line:
        caller, limited = (
            await line.client("ann", "caller"),
            await line.client("bob", "caller", capabilities=["agent.x"]),
        )
        operator = await line.client("ops", "operator")
        told = good(await caller.get("/agents"))["agents"]
        assert [(each["name"], each["valid"], each["id"]) for each in told] == [
            ("broken", False, None),
            ("helpdesk", True, "desk"),
        ]
        one = good(await caller.get("/agents/installed/helpdesk"))
        assert (one["description"], one["context_schema"]["properties"].keys()) == ("Answers.", {"room"})
        (file_world.folder / "desk.yaml").write_text(DESK.replace("Answers.", "{no: text}"))
        assert good(await caller.get("/agents/installed/helpdesk"))["description"] is None
        assert good(await limited.get("/agents"))["agents"] == []
        for name in ("helpdesk", "helpdes"):  # neither whether there is one, nor how others are called
            unseen = problem(await limited.get(f"/agents/installed/{name}"), 404, "agent_not_found")
            assert unseen["message"] == f"no installed agent {name!r} in this tenant"
        near = problem(await caller.get("/agents/installed/helpdes"), 404, "agent_not_found")
        assert near["message"].endswith("did you mean 'helpdesk'?")
        for path, more in (("/turns", {"text": "?"}), ("/turns/stream", {"text": "?"}), ("/sessions", {})):
            problem(await limited.post(f"/agents{path}", json={"agent": "helpdesk", **more}), 404, "agent_not_found")
        assert good(await caller.get("/agents/sessions"))["sessions"] == []
        problem(await caller.post("/agents/turns", json={"agent": "desk", "text": "?"}), 404, "agent_not_found")
        mended = problem(
            await caller.post("/agents/turns", json={"agent": "broken", "text": "?"}), 500, "invalid_configuration"
        )
        assert "instructs" not in mended["message"]
        for own in ({"spec": PLAIN}, {"agent": "helpdesk", "model": "fake:y"}):
            refused = await caller.post("/agents/turns", json={**own, "text": "?"})
            assert problem(refused, 403, "forbidden")["details"] == {"role": "operator"}
            assert good(await operator.post("/agents/turns", json={**own, "text": "?"}))["answer"] == "Yes."
        wrong = {**PLAIN, "operations": [{"name": "lok"}]}
        refused = problem(
            await operator.post("/agents/turns", json={"spec": wrong, "text": "?"}), 400, "invalid_agent_spec"
        )
        assert refused["details"]["problems"][0]["path"] == "operations[0].source.ref"
        for both in ({"spec": PLAIN, "agent": "helpdesk"}, {}):
            problem(await operator.post("/agents/turns", json={**both, "text": "?"}), 400, "invalid_request")
        huge = {**PLAIN, "metadata": {"x": ["y"] * 30_000}}
        problem(await operator.post("/agents/turns", json={"spec": huge, "text": "?"}), 400, "invalid_agent_spec")


async def test_a_turn_that_waits_for_a_yes_goes_on(file_world: World):
    async with desk(file_world, called("close", 7), "Closed.") as line:
        client, reviewer = await line.client("ann", "caller"), await line.client("ada", "approver")
        held = good(await client.post("/agents/turns", json={"agent": "helpdesk", "text": "Close it."}), 202)
        [waiting] = held["waiting"]
        assert (held["state"], waiting["operation"], waiting["arguments"]) == ("held", "close", {"number": 7})
        place = f"/agents/turns/{held['run_id']}"
        assert good(await client.post(f"{place}/resume"), 202)["state"] == "held"
        good(await reviewer.post(f"/approvals/{waiting['approval_id']}/approve", json={}))
        problem(await reviewer.post(f"{place}/resume"), 403, "forbidden")
        told = events((await client.post(f"{place}/resume/stream")).text)
        assert told[-1][0] == "turn"
        assert (told[-1][1]["state"], told[-1][1]["answer"]) == ("completed", "Closed.")
        problem(await client.post(f"{place}/settle", json={"call_id": "x", "happened": True}), 403, "forbidden")
        both = await line.client("boss", "operator", "approver")
        problem(await both.post(f"{place}/settle", json={"call_id": "x", "happened": True}), 409, "run_not_waiting")


async def test_what_fails_is_told_as_what_it_is(file_world: World):
    async with desk(file_world) as line:
        client = await line.client("ann", "caller")
        failed = problem(
            await client.post("/agents/turns", json={"agent": "helpdesk", "text": "?"}), 424, "agent_turn_failed"
        )
        assert failed["details"]["failure"] == "model_failed"
        told = events((await client.post("/agents/turns/stream", json={"agent": "helpdesk", "text": "?"})).text)
        assert (told[-1][0], told[-1][1]["state"]) == ("turn", "failed")
        refused = await client.post("/agents/turns/stream", json={"agent": "helpdesk", "text": " "})
        problem(refused, 400, "invalid_request")
        wrong = {"agent": "helpdesk", "text": "?", "context": {"room": "x"}}
        problem(await client.post("/agents/turns/stream", json=wrong), 400, "invalid_agent_context")
        call = await line.process.create()
        for path in ("", "/state", "/journal", "/stream"):
            problem(await client.get(f"/agents/turns/{call.run_id}{path}"), 404, "run_not_found")


async def test_a_turn_is_told_as_it_happens_and_again(file_world: World):
    async with desk(file_world, called("look", 7), "It is about a printer.") as line:
        client = await line.client("ann", "caller")
        answer = await client.post("/agents/turns/stream", json={"agent": "helpdesk", "text": "What about 7?"})
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer.text)
        assert "".join(
            each["data"]["text"] for name, each in told if name == "delta" and each["data"]["kind"] == "text"
        ) == ("It is about a printer.")
        [*_, (last, turn)] = told
        assert (last, turn["state"]) == ("turn", "completed")
        entries = [each for name, each in told if name == "entry"]
        assert [each["kind"] for each in entries][:: len(entries) - 1] == ["turn.began", "turn.ended"]
        place = f"/agents/turns/{turn['run_id']}/stream"
        again = await client.get(place)
        assert events(again.text) == [*[("entry", each) for each in entries], ("turn", turn)]
        since = str(entries[-2]["seq"])
        assert events((await client.get(place, headers={"Last-Event-ID": since})).text) == [
            ("entry", entries[-1]),
            ("turn", turn),
        ]
        seen = again.text.rstrip().rpartition("id: ")[2].partition("\n")[0]
        assert (await client.get(place, headers={"Last-Event-ID": seen})).status_code == 204


class Listening:
    """A request over ASGI whose client may go away."""

    def __init__(self, line: Line, token: str, path: str, body: Any) -> None:
        self.heard, self.begun, self.gone = b"", anyio.Event(), anyio.Event()
        self._api, self._body = line.api, json.dumps(body).encode()
        headers = {"host": HOST, "authorization": token, "content-type": "application/json"}
        self._scope: dict[str, Any] = {
            "type": "http", "method": "POST", "path": f"/v1{path}", "raw_path": b"", "query_string": b"", "root_path": "",
            "scheme": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "state": {},
        }  # fmt: skip

    async def listen(self) -> None:
        asked = iter([{"type": "http.request", "body": self._body, "more_body": False}])

        async def receive() -> Any:
            if (first := next(asked, None)) is not None:
                return first
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if self.gone.is_set():
                if str(self._scope["path"]).endswith("/stream"):
                    raise OSError("the client is gone")
                return  # as uvicorn does
            self.heard += message.get("body", b"")
            if b"event: entry" in self.heard:
                self.begun.set()

        await self._api(self._scope, receive, send)


class Slow(models.Scripted):
    """A model that answers once it may."""

    def __init__(self, *script: Any) -> None:
        super().__init__([*script])
        self.asked, self.may = anyio.Event(), anyio.Event()

    async def answer(self, *given: Any, **more: Any) -> inference.Answer:
        self.asked.set()
        await self.may.wait()
        return await super().answer(*given, **more)


@pytest.mark.parametrize("path", ["/agents/turns", "/agents/turns/stream"])
async def test_a_client_that_goes_away_ends_nothing(file_world: World, path: str):
    model = Slow("All done.")
    async with desk(file_world, model) as line:
        client = await line.client("ann", "caller")
        listening = Listening(line, client.headers["authorization"], path, {"agent": "helpdesk", "text": "Go."})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listening.listen)
            await model.asked.wait()
            listening.gone.set()
            await anyio.wait_all_tasks_blocked()
            model.may.set()
        [turn] = good(await client.get("/agents/turns"))["turns"]
        assert turn["state"] == "completed"
        assert b"All done." not in listening.heard


async def test_a_server_that_ends_leaves_a_turn_to_be_gone_on_with(file_world: World):
    model = Slow("All done.")
    async with desk(file_world, model) as line:
        client = await line.client("ann", "caller")
        listening = Listening(
            line, client.headers["authorization"], "/agents/turns/stream", {"agent": "helpdesk", "text": "Go."}
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listening.listen)
            await model.asked.wait()
            await listening.begun.wait()
            line.api.close()
        name, told = events(listening.heard.decode())[-1]
        [turn] = good(await client.get("/agents/turns"))["turns"]
        assert (name, told["code"], told["run_id"]) == ("error", "node_closing", turn["run_id"])
        model.may.set()
        assert good(await client.post(f"/agents/turns/{turn['run_id']}/resume"))["answer"] == "All done."


async def test_a_turn_may_take_as_long_as_its_own_limit_says(file_world: World):
    async with desk(file_world) as line:
        for path in ("/agents/turns", "/agents/turns/stream", "/agents/turns/run_1/resume"):
            assert line.api.seconds({"path": f"/v1{path}"}) is None
        assert line.api.seconds({"path": "/v1/invoke"}) is not None


async def test_a_turn_is_left_to_a_worker(file_world: World):
    async with desk(file_world, "Yes.") as line:
        client = await line.client("ann", "caller")
        said = {"agent": "helpdesk", "text": "?", "later": True}
        turn = good(await client.post("/agents/turns", json=said), 202)
        assert (turn["state"], turn["phase"]) == ("queued", "new")
        cancelled = good(await client.post(f"/runs/{turn['run_id']}/cancel", json={"reason": "not needed"}))
        assert cancelled["state"] == "cancelled"
        assert good(await client.get(f"/agents/turns/{turn['run_id']}"))["state"] == "cancelled"


async def test_a_conversation_is_begun_read_forked_and_deleted(file_world: World):
    async with desk(file_world, "One.", "Two.", "Three.") as line:
        client = await line.client("ann", "caller")
        elsewhere = await line.client("bob", "caller", capabilities=["agent.other"])
        made = good(await client.post("/agents/sessions", json={"agent": "helpdesk", "title": "Talk"}))
        place = f"/agents/sessions/{made['session_id']}"
        for text in ("1?", "2?"):
            good(
                await client.post(
                    "/agents/turns", json={"agent": "helpdesk", "text": text, "session": made["session_id"]}
                )
            )
        told = good(await client.get(f"{place}/turns", params={"after": 1}))["turns"]
        assert [[part["text"] for said in each["said"] for part in said["parts"]] for each in told] == [["2?", "Two."]]
        assert good(await client.get(place))["head"] == 2
        forked = good(await client.post(f"{place}/fork", json={"at": 1}))
        assert (forked["forked_from"], forked["head"]) == (made["session_id"], 1)
        assert {each["session_id"] for each in good(await client.get("/agents/sessions"))["sessions"]} == {
            made["session_id"],
            forked["session_id"],
        }
        assert good(await elsewhere.get("/agents/sessions"))["sessions"] == []
        problem(await elsewhere.get(place), 404, "session_not_found")
        good(await client.post(f"{place}/delete"))
        problem(await client.get(place), 404, "session_not_found")
