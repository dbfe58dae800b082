"""Every path of the API, as its description has them: for strangers, for who only reads, and for another tenant."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from fix_app import ACME, ASK_WRITES, TOKEN, World, asked
from fix_http_api import Line, lined
from fix_webhooks import BODY, HUB, SECRET, signed
from interlock import agents, kernel, policy
from interlock.server import api
from interlock.testing import models
from interlock.triggers import webhooks

pytestmark = pytest.mark.anyio

CANARY = "canary-of-the-first-tenant"
CONNECTORS = [ACME, HUB]
DOCUMENT = api.openapi()
PLAIN = agents.agent("plain", "Answer.", model="fake:echo")
TURNS = policy.Rule(rule_id="turns", then=policy.Effect.ALLOW, capability=("agent.*", "inference.*"))
LAW = replace(ASK_WRITES, rules=(TURNS, *ASK_WRITES.rules))


class Operation(NamedTuple):
    method: str
    path: str
    body: Any


def operations() -> Iterator[Operation]:
    """Each with the example of its body."""
    for path, methods in DOCUMENT["paths"].items():
        for method, said in methods.items():
            body = None
            if "requestBody" in said:
                name = said["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                body = DOCUMENT["components"]["schemas"][name]["examples"][0]
            yield Operation(method.upper(), path.removeprefix("/v1"), body)


ALL = list(operations())
NAMES = sorted({name.removesuffix(":path") for each in ALL for name in re.findall(r"{([\w:]+)}", each.path)})


async def things(line: Line) -> dict[str, str]:
    """Something of the first tenant for every name in a path."""
    il = line.process.il
    told = await il.subscriptions.create(f"https://hooks.example.com/{CANARY}", ["*"])
    assert told.secret is not None
    line.secrets.append(told.secret.reveal())
    held = await il.invoke("acme.issue.create", {"repo": "acme/rocket", "title": CANARY})
    done = await il.invoke("acme.issue.list", {"repo": "acme/rocket"})
    [artifact, *_] = (await il.runs.history(done.run_id)).artifacts
    connection = await il.connections.fetch("acme")
    begun = await il.connections.leases.request("acme")
    [delivery], [trigger] = await came(line), await il.triggers.list()
    daily = await il.schedules.create("daily", every=86_400, handler="report", input={"of": CANARY})
    now, config = line.process.parts.wiring.clock.now(), {"repo": f"acme/{CANARY}"}
    await il.polls.create("issues", "github.issue_updated", handler="triage", config=config, since=now)
    await line.process.parts.outgoing.feed.relay()
    session = await il.agent_sessions.create(PLAIN, title=CANARY)
    turn = await il.agents.run(PLAIN, CANARY, session=session.session_id)
    [message, *_] = await il.subscriptions.deliveries(told.subscription.subscription_id)
    return {
        "run_id": held.run_id,
        "artifact_id": artifact.artifact_id,
        "approval_id": asked(held),
        "ref": connection.connection_id,
        "lease_id": begun.lease_id,
        "install_id": "ins_" + "0" * 32,
        "connector_id": "acme",
        "capability_id": "acme.issue.create",
        "provider_id": "acme",
        "route_id": delivery.route_id,
        "trigger_id": trigger.trigger_id,
        "delivery_id": delivery.delivery_id,
        "schedule": daily.schedule_id,
        "poll": "issues",
        "subscription_id": told.subscription.subscription_id,
        "message_id": message.message_id,
        "name": "helpdesk",
        "turn_id": turn.run_id,
        "session_id": session.session_id,
        "token_id": (await il.tokens.create(CANARY, actor=CANARY))[0].token_id,
    }


async def came(line: Line) -> Sequence[webhooks.Delivery]:
    """What came on a route."""
    il = line.process.il
    wanted = webhooks.Wanted(name="issues", handler="triage", config={"repo": CANARY})
    made = await il.routes.create("hub", on=[wanted], secret=kernel.Secret(SECRET))
    assert made.address is not None
    token = made.address.reveal().rpartition("/")[2]
    line.secrets.append(token)
    await il.intake.take(token, signed({**BODY, "repository": CANARY}))
    return await il.deliveries.list()


def filled(path: str, known: dict[str, str]) -> str:
    return path.replace("{ref:path}", "{ref}").format(**known)


def test_every_operation_has_an_example_and_says_what_errors_are():
    for path, methods in DOCUMENT["paths"].items():
        for method, said in methods.items():
            assert said["summary"], (method, path)
            assert said["responses"]["default"]["content"].keys() == {"application/problem+json"}
    names = [said["operationId"] for methods in DOCUMENT["paths"].values() for said in methods.values()]
    assert len(set(names)) == len(names) == len(ALL)


async def test_another_tenants_token_sees_and_changes_nothing(file_world: World):
    async with lined(file_world, law=LAW, manifest=CONNECTORS, models={"fake": models.named}) as line:
        known = await things(line)
        theirs = await line.client("mallory", "operator", "caller", "approver", "token-admin", tenant="elsewhere")
        before = kernel.document(await line.process.il.runs.history(known["run_id"]))
        connection = await line.process.il.connections.fetch("acme")
        answers: dict[str, int] = {}
        for each in ALL:
            answer = await theirs.request(each.method, filled(each.path, known), json=each.body)
            answers[f"{each.method} {each.path}"] = answer.status_code
            assert CANARY not in answer.text, each
            assert connection.head_hash is not None
            assert connection.head_hash not in answer.text, each
            if answer.status_code == 200 and answer.headers["content-type"] == "application/json":
                told = answer.json()
                assert told.get("tenant_id", "elsewhere") == "elsewhere", each
                assert not [
                    name for name in ("runs", "approvals", "connections", "installs", "providers") if told.get(name)
                ]
        assert kernel.document(await line.process.il.runs.history(known["run_id"])) == before
        assert await line.process.il.connections.fetch("acme") == connection
    named = {
        each: status
        for each, status in answers.items()
        if "{" in each and "connectors" not in each and "capabilities" not in each
    }
    assert set(named.values()) == {404}, named


async def test_who_only_reads_changes_nothing(file_world: World):
    async with lined(file_world, law=LAW, manifest=CONNECTORS, models={"fake": models.named}) as line:
        known = await things(line)
        reader = await line.client("reader")
        before = kernel.document(await line.process.il.runs.history(known["run_id"]))
        for each in ALL:
            if each.path.endswith("/stream"):
                continue  # it is held open: its run is
            answer = await reader.request(each.method, filled(each.path, known), json=each.body)
            if each.method == "POST" or each.path.startswith("/tokens"):
                assert answer.status_code == 403, (each, answer.text)
            else:
                assert answer.status_code in (200, 202, 404), (each, answer.text)
            assert not [secret for secret in (TOKEN, SECRET, *line.secrets) if secret in answer.text], each
        assert kernel.document(await line.process.il.runs.history(known["run_id"])) == before


async def test_strangers_are_told_nothing_anywhere(line: Line):
    known: dict[str, str] = dict.fromkeys(NAMES, "x")
    stranger = line.bare()
    for each in ALL:
        assert (await stranger.request(each.method, filled(each.path, known), json=each.body)).status_code == 401
    assert (await stranger.get("/openapi.json")).json() == DOCUMENT


def test_how_often_work_is_tried_is_described():
    """A problem has a `Retry`, too: its words were once what was said of this."""
    shapes = DOCUMENT["components"]["schemas"]
    for shape in ("Enqueue", "Submit"):
        name = shapes[shape]["properties"]["retry"]["anyOf"][0]["$ref"].rpartition("/")[2]
        assert shapes[name]["properties"].keys() >= {"max_attempts", "cap_seconds", "deadline_seconds"}, shape
