"""`interlock routes`, `triggers` and `deliveries`: a service of one's own reports, from the outside."""

import json
import os
import socket
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import httpx2
import pytest

from fix_cli import Shell
from fix_webhooks import BODY, HUB, signed
from interlock import Interlock
from interlock.app import Settings
from interlock.app.settings import ConnectorSettings
from interlock.triggers import webhooks

SECRET = "the-secret-that-the-service-showed"


@pytest.fixture
def hub(shell: Shell) -> Shell:
    (shell.folder / "hub.json").write_text(json.dumps(HUB.to_json()))
    shell.environment |= {"INTERLOCK_CONNECTORS__MANIFESTS": '["hub.json"]', "HUB_SECRET": SECRET}
    return shell


def create(hub: Shell, *more: str) -> Any:
    return hub.good("routes", "create", "hub", "--on", "issues=triage", *more)


def deliver(hub: Shell, address: str, request: webhooks.Incoming) -> webhooks.Outcome:
    async def take() -> webhooks.Outcome:
        given = ConnectorSettings(manifests=("hub.json",))
        settings = Settings(store=str(hub.store), folder=hub.folder, connectors=given)
        async with Interlock.open(settings=settings, background=False) as il:
            return await il.intake.take(address.rpartition("/")[2], request)

    with mock.patch.dict(os.environ, hub.environment):
        return anyio.run(take)


def test_a_route_is_made_and_its_address_and_secret_are_shown_once(hub: Shell):
    made = create(hub, "--only", 'issues:{"actions":["opened"]}')
    assert made["address"].startswith("http://127.0.0.1:8412/hooks/")
    assert len(made["secret"]) == 64
    assert made["verification"]["header"] == "X-Hub-Signature"
    shown = hub.run("routes", "create", "hub", "--on", "push=deploy", "--secret-env", "HUB_SECRET")
    assert "Give the service this address, which is not shown again: http://" in shown.out
    assert SECRET not in shown.out
    listed = hub.run("routes", "list")
    assert made["secret"] not in listed.out
    assert made["address"].rpartition("/")[2] not in listed.out
    assert [line.split()[1:4] for line in listed.out.splitlines()[1:]] == [["hub", "active", "hmac_sha256"]] * 2
    (trigger,) = hub.good("triggers", "list", "--route", made["route_id"])["triggers"]
    assert (trigger["name"], trigger["handler"], trigger["config"]) == ("hub.issues", "triage", {"actions": ["opened"]})


def test_what_came_is_listed_shown_and_handled_once_more(hub: Shell):
    made = create(hub, "--secret-env", "HUB_SECRET")
    came = deliver(hub, made["address"], signed(secret=SECRET))
    assert came.came is webhooks.Came.ACCEPTED
    deliver(hub, made["address"], signed(secret="wrong-secret"))
    rejected, accepted = hub.good("deliveries", "list")["deliveries"]
    assert (rejected["state"], rejected["reason"]) == ("rejected", "bad_signature")
    (run,) = accepted["runs"]
    assert hub.good("runs", "show", run["run_id"])["run"]["input"]["signal"]["data"] == BODY
    shown = hub.good("deliveries", "show", accepted["delivery_id"])
    assert json.loads(shown["body"]) == BODY
    lines = hub.run("deliveries", "show", accepted["delivery_id"]).out.splitlines()
    assert f'      "run_id": "{run["run_id"]}",' in lines
    deliver(hub, made["address"], signed({"zen": "x"}, event="ping", secret=SECRET))
    (idle, *_) = hub.good("deliveries", "list")["deliveries"]
    deliver(hub, made["address"], signed({"n": 2}, secret=SECRET))
    shown = hub.run("deliveries", "list").out
    assert "the event is not for a trigger of the route" in shown
    assert "hub.issues: " in shown
    assert "a required field is expected" in shown
    listed = [line.split() for line in shown.splitlines()]
    assert [line[2:4] for line in listed] == [
        ["STATE", "RUNS"],
        ["accepted", "none"],
        ["accepted", "none"],
        ["rejected", "bad_signature"],
        ["accepted", "1"],
    ]
    assert "none: `interlock triggers test` says" in hub.run("deliveries", "show", idle["delivery_id"]).out
    (again,) = hub.good("deliveries", "replay", accepted["delivery_id"])["replays"]
    assert again["runs"][0]["run_id"] != run["run_id"]
    told = hub.run("deliveries", "replay", rejected["delivery_id"], "--json")
    assert (told.code, told.error["code"]) == (2, "delivery_not_replayable")


def test_a_route_is_closed_opened_rotated_and_ended(hub: Shell):
    made = create(hub, "--secret-env", "HUB_SECRET")
    route = made["route_id"]
    assert hub.good("routes", "disable", route)["state"] == "disabled"
    assert deliver(hub, made["address"], signed(secret=SECRET)).came is webhooks.Came.REFUSED
    assert hub.good("routes", "enable", route)["state"] == "active"
    rotated = hub.good("routes", "rotate", route, "--overlap", "2h")
    assert rotated["address"] is None
    assert deliver(hub, made["address"], signed(secret=SECRET)).came is webhooks.Came.ACCEPTED
    assert deliver(hub, made["address"], signed({"n": 1}, secret=rotated["secret"])).came is webhooks.Came.ACCEPTED
    assert hub.good("routes", "revoke", route)["has_secret"] is False
    told = hub.run("routes", "enable", route, "--json")
    assert (told.code, told.error["code"]) == (2, "invalid_route")


def test_a_trigger_is_tried_out_and_switched_off(hub: Shell):
    create(hub)
    (trigger,) = hub.good("triggers", "list")["triggers"]
    asked = ("triggers", "test", trigger["trigger_id"], "-", "--header", "X-Hub-Event:issues")
    assert hub.good(*asked, stdin=json.dumps(BODY))["payload"]["signal"]["data"] == BODY
    for body, why in (("{}", "a required field is expected"), ("[", "not JSON")):
        told = hub.run(*asked, "--json", stdin=body)
        assert (told.code, why in told.json["why"]) == (1, True)
    assert "\\n" not in (shown := hub.run(*asked, stdin=json.dumps(BODY)).out)
    assert json.loads(shown.partition("\n")[2])["trigger"] == "hub.issues"
    other = hub.run(*asked[:-1], "X-Hub-Event:push", stdin=json.dumps(BODY))
    assert "Its handler would get nothing: the event is not for it" in other.out
    assert hub.good("triggers", "disable", trigger["trigger_id"])["state"] == "disabled"
    off = hub.run(*asked, stdin=json.dumps(BODY))
    assert (off.code, "nothing: the trigger is disabled" in off.out) == (1, True)
    assert hub.good("triggers", "enable", trigger["trigger_id"])["state"] == "enabled"
    assert hub.good("triggers", "show", trigger["trigger_id"])["state"] == "enabled"


def test_a_triggers_work_is_tried_as_often_as_is_said(hub: Shell):
    policy = '{"max_attempts":3,"base_seconds":2,"cap_seconds":60,"deadline_seconds":600}'
    made = create(hub, "--secret-env", "HUB_SECRET", "--retry", f"issues:{policy}")
    (trigger,) = hub.good("triggers", "list")["triggers"]
    deliver(hub, made["address"], signed(secret=SECRET))
    (due,) = hub.good("dispatch", "list")["work"]
    assert due["retry"] == {"max_attempts": 3, "base_seconds": 2.0, "cap_seconds": 60.0}
    assert due["deadline_at"] is not None
    shown = hub.run("triggers", "show", trigger["trigger_id"])
    assert "3 times, 2 s to 60 s apart; begun within 600 s" in shown.out
    changed = hub.good("triggers", "enable", trigger["trigger_id"], "--retry", '{"max_attempts":1}')
    assert changed["retry"]["max_attempts"] == 1
    assert "2 times, 1 s to 300 s apart; begun within 3600 s" in hub.run("connectors", "show", "hub").out


def test_an_app_has_one_address_for_many_tenants(hub: Shell):
    app = hub.good("routes", "create", "hub", "--resolve", "/team", "--secret-env", "HUB_SECRET")
    joined = hub.good(
        "routes", "join", app["route_id"], "--at", "/team=T2", "--for-tenant", "acme", "--on", "issues=triage"
    )
    assert (joined["tenant_id"], joined["app_route_id"]) == ("acme", app["route_id"])
    again = hub.run("routes", "join", app["route_id"], "--at", "/team=T2", "--on", "issues=triage", "--json")
    assert (again.code, again.error["code"]) == (2, "ambiguous_route")
    assert deliver(hub, app["address"], signed({**BODY, "team": "T2"}, secret=SECRET)).came is webhooks.Came.ACCEPTED
    (kept,) = hub.good("deliveries", "list", "--tenant", "acme")["deliveries"]
    assert kept["route_id"] == joined["route_id"]
    assert hub.good("deliveries", "list")["deliveries"] == []


@pytest.mark.faults
def test_a_server_takes_what_is_reported(hub: Shell, warm: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        hub.environment["INTERLOCK_CONNECT__URL"] = url = f"http://127.0.0.1:{free.getsockname()[1]}"
    made, request = create(hub, "--secret-env", "HUB_SECRET"), signed(secret=SECRET)
    with hub.start("serve", program=warm / "interlock") as process, httpx2.Client() as service:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{url}\n"
            assert service.post(made["address"], content=b"{}").status_code == 401
            took = service.post(made["address"], content=request.body, headers=dict(request.headers))
            assert (took.status_code, took.content) == (200, b"")
        finally:
            process.terminate()
        process.communicate()
    accepted, rejected = hub.good("deliveries", "list")["deliveries"]
    assert (accepted["state"], rejected["reason"]) == ("accepted", "missing_header")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--on", "issues=h", "--retry", 'issues:{"attempts":3}'), "attempts: Extra inputs"),
        (("--on", "issues=h", "--retry", "push:{}"), "--retry names push"),
        (("--on", "issues"), "--on: write TRIGGER=HANDLER"),
        (("--on", "issues=triage", "--only", "push:{}"), "--only names push, which no --on does"),
        (("--on", "issues=triage", "--only", "issues"), "write TRIGGER:JSON"),
        (("--on", "issues=triage", "--only", "issues:[]"), "write a JSON object"),
        (("--on", "issues=triage", "--secret-env", "NOTHING"), "the environment has no 'NOTHING'"),
        (("--on", "issues=triage", "--secret-env", "A", "--secret-file", "B"), "in one place"),
        (("--on", "issues=triage", "--scheme", "a", "--verification", "b"), "give one of them"),
        (("--on", "pull=triage"), "no webhook trigger 'pull'"),
        (("--on", "issues=triage", "--scheme", "nobody"), "there is no scheme 'nobody'"),
        (("--on", "issues=Triage!"), "a handler's name"),
    ],
)
def test_what_is_wrong_is_told(hub: Shell, arguments: tuple[str, ...], says: str):
    told = hub.run("routes", "create", "hub", *arguments, "--json")
    assert (told.code, says in told.error["message"]) == (2, True), told.error
