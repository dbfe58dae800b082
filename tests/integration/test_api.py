"""The HTTP API: who may ask what, and what is answered."""

import json
from datetime import timedelta
from typing import Any

import anyio
import pytest

from fix_app import ASK_WRITES, TOKEN, World
from fix_http_api import HOST, Line, Stream, good, lined, problem
from interlock import policy, runs
from interlock.server.api.access import MAX_BODY, Meters
from interlock.server.api.runs import LISTENING, SILENCE
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio

PROXIED = policy.Policy(rules=(policy.Rule(rule_id="mine", then=policy.Effect.ALLOW, capability=("acme.proxy.*",)),))
DOOR: dict[str, Any] = {"capability": "acme.issue.create", "input": {"repo": "acme/rocket", "title": "Door"}}


async def test_a_call_and_all_that_is_told_of_it(line: Line):
    client = await line.client("ann", "caller")
    made = good(await client.post("/invoke", json=DOOR))
    assert (made["state"], made["output"]["title"]) == ("completed", "Door")
    run_id = made["run_id"]
    run = good(await client.get(f"/runs/{run_id}"))
    assert (run["actor"], run["input"], run["state"]) == ("ann", DOOR["input"], "completed")
    [listed] = good(await client.get("/runs"))["runs"]
    assert listed == {name: value for name, value in run.items() if name != "input"}
    assert good(await client.get(f"/runs/{run_id}/outcome"))["output"] == made["output"]
    history = good(await client.get(f"/runs/{run_id}/history"))
    assert [each["delivery"] for each in history["sends"]] == ["responded"]
    told = good(await client.get(f"/runs/{run_id}/events"))["events"]
    assert [each["seq"] for each in told] == [*range(1, run["head_seq"] + 1)]
    packet, trust = await client.get(f"/runs/{run_id}/packet"), await client.get("/trust")
    assert runs.verify.verify(packet.content, trust=runs.Trust.parse(trust.content)).ok
    [artifact] = [each for each in history["artifacts"] if each["name"] == "output"]
    content = await client.get(f"/artifacts/{artifact['artifact_id']}/content")
    assert json.loads(content.content) == made["output"]
    assert content.headers["content-disposition"].startswith("attachment")
    assert good(await client.get(f"/artifacts/{artifact['artifact_id']}")) == artifact


async def test_the_same_key_never_acts_twice(line: Line):
    client = await line.client("ann", "caller")
    first, second = [good(await client.post("/invoke", json=DOOR, headers={"Idempotency-Key": "k"})) for _ in range(2)]
    assert (first["run_id"], second["replayed"]) == (second["run_id"], True)
    other = {**DOOR, "input": {**DOOR["input"], "title": "Other"}}
    problem(await client.post("/invoke", json=other, headers={"Idempotency-Key": "k"}), 409, "idempotency_conflict")


async def test_a_yes_takes_the_reviewers_own_token(file_world: World):
    async with lined(file_world, law=ASK_WRITES) as line:
        asker = await line.client("ann", "caller", "approver")
        reviewer, other = await line.client("ada", "approver"), await line.client("bob", "caller")
        held = good(await asker.post("/invoke", json=DOOR), 202)
        place = f"/approvals/{held['approval_id']}"
        problem(await asker.post(f"{place}/approve", json={}), 403, "self_review")
        problem(await other.post(f"{place}/approve", json={}), 403, "role_missing")
        assert good(await reviewer.post(f"{place}/approve", json={}))["reviewer"] == "ada"
        problem(await reviewer.post(f"{place}/execute"), 403, "forbidden")
        assert good(await asker.post(f"{place}/execute"))["output"]["title"] == "Door"
        [found] = good(await asker.get("/approvals", params={"state": "spent"}))["approvals"]
        assert found["approval_id"] == held["approval_id"]
        again = good(await asker.post("/invoke", json=DOOR), 202)
        denied = await reviewer.post(f"/approvals/{again['approval_id']}/deny", json={"reason": "no"})
        assert good(denied)["state"] == "denied"


async def test_a_denial_has_a_status_of_its_own(file_world: World):
    async with lined(file_world, rules='[policy]\ndefault = "deny"\n') as line:
        told = good(await (await line.client("ann", "caller")).post("/invoke", json=DOOR), 403)
    assert (told["state"], bool(told["reasons"])) == ("denied", True)


async def test_what_the_service_refuses_is_nobodys_5xx(line: Line):
    client = await line.client("ann", "caller")
    missing = {**DOOR, "input": {"repo": "acme/nowhere", "title": "x"}}
    told = problem(await client.post("/invoke", json=missing), 424, "resource_not_found")
    assert told["run_id"].startswith("run_")


async def test_connections_are_managed_by_operators(line: Line, file_world: World):
    operator, caller = await line.client("ops", "operator"), await line.client("ann", "caller")
    asked = {"connector": "acme", "token": TOKEN, "name": "second", "base_url": file_world.server.url}
    problem(await caller.post("/connections", json=asked), 403, "forbidden")
    made = await operator.post("/connections", json=asked)
    assert good(made)["name"] == "second"
    assert TOKEN not in made.text
    assert good(await caller.post("/connections/second/check"))["verdict"] == "accepted"
    assert [each["name"] for each in good(await caller.get("/connections"))["connections"]] == ["second", "acme"]
    gone = good(await operator.post("/connections/second/revoke", json={"reason": "spare"}))
    assert gone["state"] == "revoked"
    assert good(await caller.get("/connections/second/events"))["events"][-1]["type"] in ("revoked", "provider_revoked")


async def test_a_proxied_request(file_world: World):
    async with lined(file_world, law=PROXIED) as line:
        client = await line.client("ann", "caller")
        told = good(await client.post("/proxy", json={"connection": "acme", "method": "GET", "path": "/user"}))
        assert told["output"]["body"]["login"] == "octo-agent"
        wrong = {"connection": "acme", "method": "POST", "path": "/user", "base64": "?"}
        problem(await client.post("/proxy", json=wrong), 400, "invalid_request")


async def test_work_for_later(line: Line):
    client = await line.client("ann", "caller")
    limited = await line.client("ci", "caller", capabilities=["acme.issue.*", "handler.triage"])
    made = good(await client.post("/enqueue", json={**DOOR, "priority": "low"}, headers={"Idempotency-Key": "k"}), 202)
    assert good(await client.post("/enqueue", json=DOOR, headers={"Idempotency-Key": "k"}), 202)["replayed"]
    assert good(await client.get(f"/runs/{made['run_id']}/wait", params={"timeout": 0}), 202)["state"] == "queued"
    assert [each["priority"] for each in good(await client.get("/dispatch"))["dispatch"]] == ["low"]
    problem(await client.post("/pauses", json={"scope": "tenant"}), 403, "forbidden")
    problem(await client.post(f"/dispatch/{made['run_id']}/replay", json={}), 403, "forbidden")
    problem(await limited.post("/events", json={"handler": "incident"}), 403, "forbidden")
    problem(await limited.get("/dispatch"), 403, "forbidden")
    assert good(await limited.post("/events", json={"handler": "triage"}), 202)["capability"] == "handler.triage"
    comment = {"capability": "acme.comment.create", "input": {"repo": "acme/rocket", "issue_number": 1, "body": "x"}}
    assert good(await limited.post("/enqueue", json=comment), 403)["state"] == "denied"


async def test_work_that_is_begun_soon_or_never(line: Line):
    client, now = await line.client("ann", "caller"), ManualClock().now()  # as the clock of the API shows
    for path, asked in {"/enqueue": DOOR, "/events": {"handler": "incident"}}.items():
        for deadline_at, seconds in {None: 600, now + timedelta(seconds=60): 60, now + timedelta(hours=1): 600}.items():
            retry = {"max_attempts": 2, "deadline_seconds": 600}
            given = {"retry": retry, "deadline_at": None if deadline_at is None else deadline_at.isoformat()}
            made = good(await client.post(path, json={**asked, **given}), 202)
            due = (await line.process.il.dispatch.fetch(made["run_id"])).due
            assert (due.retry.max_attempts, due.deadline_at) == (2, now + timedelta(seconds=seconds)), (path, given)
        wrong = {**asked, "retry": {"deadline_seconds": 0}}
        problem(await client.post(path, json=wrong), 400, "invalid_request")


async def test_the_catalogue(line: Line):
    client = await line.client()
    assert [each["connector_id"] for each in good(await client.get("/connectors"))["connectors"]] == ["acme", "github"]
    page = good(await client.get("/capabilities", params={"connector": "acme", "limit": 2}))
    rest = good(await client.get("/capabilities", params={"connector": "acme", "cursor": page["next_cursor"]}))
    assert (len(page["capabilities"]), rest["next_cursor"]) == (2, None)
    [found] = good(await client.get("/capabilities", params={"search": "acme comment create", "limit": 1}))[
        "capabilities"
    ]
    whole = good(await client.get(f"/capabilities/{found['capability_id']}"))
    assert whole["input_schema"]["required"]
    problem(await client.get("/capabilities/acme.isue.create"), 404, "unknown_capability")
    assert good(await client.get("/connectors/acme"))["connector_id"] == "acme"
    assert good(await client.get("/providers")) == {"providers": [], "next_cursor": None}


async def test_pages_go_to_the_end(line: Line):
    client, seen, cursor = await line.client("ann", "caller"), list[str](), None
    made = [good(await client.post("/invoke", json=DOOR))["run_id"] for _ in range(3)]
    while True:
        page = good(await client.get("/runs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})))
        seen += [each["run_id"] for each in page["runs"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == made[::-1]
    problem(await client.get("/runs", params={"cursor": "run_'; --"}), 400, "invalid_request")


# -- who is there


async def test_strangers_learn_nothing(line: Line):
    known = {401}
    for headers in (
        {},
        {"Authorization": "Basic x"},
        {"Authorization": "Bearer ilk_" + "A" * 43},
        {"Authorization": "Bearer"},
    ):
        for path in ("/runs", "/nothing", "/runs/run_1"):
            known.add((await line.bare(**headers).get(path)).status_code)
    assert known == {401}
    answer = await line.bare().get("/runs")
    assert answer.headers["www-authenticate"] == "Bearer"
    problem(answer, 401, "unauthenticated")


async def test_a_revoked_token_opens_nothing_from_then_on(line: Line):
    client = await line.client("ann")
    [token] = await line.process.il.tokens.list()
    good(await client.get("/runs"))
    await line.process.il.tokens.revoke(token.token_id)
    problem(await client.get("/runs"), 401, "token_refused")


async def test_who_only_reads_asks_for_nothing(line: Line):
    client = await line.client("ann", "approver")
    problem(await client.post("/invoke", json=DOOR), 403, "forbidden")
    problem(
        await client.post("/proxy", json={"connection": "acme", "method": "GET", "path": "/user"}), 403, "forbidden"
    )


async def test_a_limited_token_sees_and_does_only_that(line: Line, file_world: World):
    await line.process.connect(file_world.server.url, name="other")
    limited = await line.client("ci", "caller", capabilities=["acme.issue.*"], connections=["acme"])
    whole = await line.client("ann", "caller")
    issue = good(await limited.post("/invoke", json=DOOR))
    comment = {"capability": "acme.comment.create", "input": {"repo": "acme/rocket", "issue_number": 1, "body": "x"}}
    denied = good(await limited.post("/invoke", json=comment), 403)
    assert "the request is not allowed to use acme.comment.create" in denied["reasons"]
    problem(await limited.post("/invoke", json={**DOOR, "connection": "other"}), 404, "connection_not_found")
    theirs = good(await whole.post("/invoke", json={**comment, "connection": "acme"}))
    over_other = good(await whole.post("/invoke", json={**DOOR, "connection": "other"}))
    assert [each["run_id"] for each in good(await limited.get("/runs"))["runs"]] == [issue["run_id"]]
    for hidden in (theirs["run_id"], over_other["run_id"], denied["run_id"]):
        for what in ("", "/history", "/events", "/packet", "/outcome", "/events/stream"):
            problem(await limited.get(f"/runs/{hidden}{what}"), 404, "run_not_found")
        problem(await limited.post(f"/runs/{hidden}/cancel", json={}), 404, "run_not_found")
    [left] = (await line.process.il.runs.history(theirs["run_id"])).artifacts[-1:]
    problem(await limited.get(f"/artifacts/{left.artifact_id}/content"), 404, "artifact_not_found")
    assert [each["name"] for each in good(await limited.get("/connections"))["connections"]] == ["acme"]
    problem(await limited.get("/connections/other"), 404, "connection_not_found")
    for whole_path in ("/installs", "/providers", "/trust", "/connections/acme/leases"):
        problem(await limited.get(whole_path), 403, "forbidden")


async def test_a_limited_reviewer_decides_only_that(file_world: World):
    async with lined(file_world, law=ASK_WRITES) as line:
        asker = await line.client("ann", "caller")
        held = good(await asker.post("/invoke", json=DOOR), 202)
        limited = await line.client("ada", "approver", capabilities=["acme.comment.create"])
        assert good(await limited.get("/approvals"))["approvals"] == []
        for what in ("approve", "deny"):
            body = {"reason": "no"} if what == "deny" else {}
            problem(
                await limited.post(f"/approvals/{held['approval_id']}/{what}", json=body), 404, "approval_not_found"
            )
        fitting = await line.client("ada", "approver", capabilities=["acme.issue.create"])
        assert len(good(await fitting.get("/approvals"))["approvals"]) == 1


# -- what is sent


async def test_who_is_spoken_to_and_from_where(line: Line):
    client = await line.client()
    for host in ("evil.example", "127.0.0.1", ""):
        problem(await client.get("/runs", headers={"Host": host}), 421, "wrong_host")
    for origin in ("https://evil.example", "null", f"http://{HOST}.evil.example"):
        problem(await client.get("/runs", headers={"Origin": origin}), 403, "wrong_origin")
    good(await client.get("/runs", headers={"Origin": f"http://{HOST}"}))


BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"capability": 3}',
    b'{"capability": "a", "input": []}',
    b'{"capability": "a", "surprise": 1}',
    b'{"capability": "a", "timeout": 1e999}',
    b'{"capability": "a", "timeout": NaN}',
    b'{"capability": "a\\u0000b"}',
    b'{"capability": "a", "capability": "b"}',
    b"[" * 100_000,
    b'{"input":' + b"[" * 5_000,
    b"\xff\xfe",
    b'{"capability": "\\ud800"}',
]


async def test_what_no_request_can_be(line: Line):
    client = await line.client("ann", "caller")
    for body in BODIES:
        answer = await client.post("/invoke", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, (body[:60], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    problem(await client.post("/invoke", content=b'{"capability": "a"}'), 400, "invalid_request")  # of no type


async def test_too_much_at_once(line: Line):
    client = await line.client("ann", "caller")
    problem(await client.post("/invoke", content=b" " * (MAX_BODY + 1)), 413, "request_too_large")


async def test_a_wrong_path_and_a_wrong_method(line: Line):
    client = await line.client()
    problem(await client.get("/nothing"), 404, "invalid_request")
    answer = await client.delete("/runs")
    problem(answer, 405, "invalid_request")
    assert answer.headers["allow"] == "GET"


async def test_a_token_that_asks_too_often_waits(file_world: World):
    meters = Meters(file_world.clock, per_second=2, burst=3)
    async with lined(file_world, meters=meters) as line:
        client, other = await line.client("ann"), await line.client("bob")
        for _ in range(3):
            good(await client.get("/runs"))
        answer = await client.get("/runs")
        problem(answer, 429, "too_many_requests")
        assert answer.headers["retry-after"] == "1"
        good(await other.get("/runs"))
        file_world.advance(0.5)
        good(await client.get("/runs"))
        problem(await client.get("/runs"), 429, "too_many_requests")


async def test_a_token_has_so_much_under_way(file_world: World):
    async with lined(file_world, law=ASK_WRITES, meters=Meters(file_world.clock, at_once=1)) as line:
        client = await line.client("ann", "caller")
        run_id = good(await client.post("/invoke", json=DOOR), 202)["run_id"]
        async with anyio.create_task_group() as group:
            stream = Stream(line, client, run_id)
            group.start_soon(stream.read)
            await stream.begun.wait()
            problem(await client.get("/runs"), 429, "too_many_requests")
            line.api.close()
        good(await client.get("/runs"))


async def test_a_body_that_does_not_say_that_it_is_json_is_told_the_header(file_world: World):
    async with lined(file_world) as line:
        client = await line.client("ann", "caller")
        told = problem(
            await client.post("/invoke", content=b'{"capability": "acme.issue.create"}'), 400, "invalid_request"
        )
        assert "with the header `Content-Type: application/json`" in told["message"]


MAKING: dict[str, Any] = {
    "/routes": {"connector": "github", "on": [{"name": "issues", "handler": "triage"}]},
    "/subscriptions": {"url": "https://hooks.acme.dev/x", "types": ["run.*"]},
    "/tokens": {"name": "ci", "actor": "ci", "roles": ["caller"]},
}
OTHERWISE: dict[str, list[dict[str, Any]]] = {
    "/routes": [{"on": [{"name": "issues", "handler": "other"}]}, {"dedupe_seconds": 60}, {"secret": "c" * 32}],
    "/subscriptions": [{"url": "https://hooks.acme.dev/y"}, {"types": ["run.*", "connection.*"]}],
    "/tokens": [{"actor": "cd"}, {"roles": ["reader"]}, {"capabilities": ["acme.issue.*"]}],
}


@pytest.mark.parametrize("path", MAKING)
async def test_what_is_asked_for_again_under_its_key_is_made_once(file_world: World, path: str):
    name = path.removeprefix("/")
    async with lined(file_world) as line:
        client = await line.client("ann", "operator", "token-admin")
        before = len(good(await client.get(path))[name])
        keyed: Any = {"headers": {"Idempotency-Key": "one"}, "json": MAKING[path]}
        made = good(await client.post(path, **keyed))
        told = problem(await client.post(path, **keyed), 409, "already_made")
        assert told["details"]["id"] == made[f"{name.removesuffix('s')}_id"]
        for otherwise in OTHERWISE[path]:
            changed = {**MAKING[path], **otherwise}
            problem(await client.post(path, headers=keyed["headers"], json=changed), 409, "idempotency_conflict")
        same: Any = {"headers": keyed["headers"], "json": dict(reversed(MAKING[path].items()))}
        problem(await client.post(path, **same), 409, "already_made")
        assert len(good(await client.get(path))[name]) == before + 1
        other = await line.client("bob", "operator", "token-admin", tenant="other")
        good(await other.post(path, **keyed))
        problem(await client.post(path, headers={"Idempotency-Key": ""}, json=MAKING[path]), 400, "invalid_request")
        file_world.advance(31 * 86_400)
        good(await client.post(path, **keyed))


# -- events as they happen


async def test_events_come_as_they_happen_and_the_stream_ends_with_the_run(file_world: World):
    async with lined(file_world, law=ASK_WRITES) as line:
        client = await line.client("ann", "caller")
        held = good(await client.post("/invoke", json=DOOR), 202)
        stream = Stream(line, client, held["run_id"])
        async with anyio.create_task_group() as group:
            group.start_soon(stream.read)
            await stream.begun.wait()
            await line.process.reviewer.approvals.approve(held["approval_id"])
            await line.process.reviewer.approvals.execute(held["approval_id"])
        told = good(await client.get(f"/runs/{held['run_id']}/events"))["events"]
        assert stream.events == told
        later = Stream(line, client, held["run_id"], last=told[-3]["seq"])
        await later.read()
        assert later.events == told[-2:]
        done = await client.get(
            f"/runs/{held['run_id']}/events/stream", headers={"Last-Event-ID": str(told[-1]["seq"])}
        )
        assert (done.status_code, done.content) == (204, b"")
        problem(
            await client.get(f"/runs/{held['run_id']}/events/stream", headers={"Last-Event-ID": "x"}),
            400,
            "invalid_request",
        )


async def test_a_silent_stream_says_that_it_is_there_and_reads_once_for_each_look(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with lined(file_world, law=ASK_WRITES) as line:
        client = await line.client("ann", "caller")
        stream = Stream(line, client, good(await client.post("/invoke", json=DOOR), 202)["run_id"])
        kind, reads = type(line.process.parts.store), 0
        read: Any = kind.read

        async def counted(*given: Any, **more: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(*given, **more)

        monkeypatch.setattr(kind, "read", counted)
        async with anyio.create_task_group() as group:
            group.start_soon(stream.read)
            await stream.silent.wait()
            line.api.close()
        assert reads < 1.5 * SILENCE / LISTENING
