"""Commands at a server: what is done there is there, and every look at it says the same there and here."""

import json
import re
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from fix_cli import Shell
from fix_webhooks import HUB, signed

pytestmark = pytest.mark.faults

ONCE: Final = ("address", "secret", "token")
SECRET: Final = "the-secret-that-the-service-showed"

WEBHOOKS: Final = """
    routes create hub --on issues=triage --only issues:{{"actions":["opened"]}} --secret-env HUB_SECRET
    = routes list
    = routes list --connector github
    = routes show {route_id}
    = triggers list --route {route_id}
    = triggers show {trigger_id}
    triggers test {trigger_id} body.json --header X-Hub-Event:issues
    = triggers test {trigger_id} body.json --header X-Hub-Event:push
    triggers disable {trigger_id}
    triggers enable {trigger_id}
    POST {address}
    = deliveries list --state accepted
    = deliveries show {delivery_id}
    deliveries replay {delivery_id}
    = dispatch list
    = dispatch stats
    = dispatch dead
    = dispatch show {run_id}
    dispatch pause handler triage --reason drill
    = dispatch stats
    dispatch resume handler triage
    ! no_dead_letter runs replay {run_id}
    ! no_dead_letter dispatch dismiss {run_id} --reason drill
    runs cancel {run_id}
    = dispatch show {run_id}
    routes disable {route_id}
    routes enable {route_id}
    routes rotate {route_id} --overlap 2h
    = routes show {route_id}
    routes revoke {route_id}
    ! invalid_route routes enable {route_id}
    ! route_not_found routes show rte_1
    ! trigger_not_found triggers show trg_1
    ! delivery_not_found deliveries show dlv_1
"""
TIMED: Final = """
    schedules create morning --cron @daily --zone Europe/Berlin --handler report of=yesterday --catch-up all --cap 3
    schedules create look --every 90s --capability github.issue.fetch repo=acme/rocket issue_number=7 --priority high
    schedules create once --at 2h --handler report
    = schedules list
    = schedules list --limit 1 --cursor look
    = schedules show morning --next 3
    = schedules show {schedule_id}
    schedules pause morning
    = schedules show morning
    schedules resume morning
    schedules delete once
    ! schedule_not_found schedules show once
    ! schedule_exists schedules create look --every 1h --handler report
    ! invalid_schedule schedules create x --cron nonsense --handler report
    ! unknown_capability schedules create x --every 1h --capability github.isue.fetch
    polls create issues github.issue_updated repo=acme/rocket --handler incident --every 5m --priority high
    polls create old github.issue_updated repo=acme/rocket --handler incident --since 2h
    = polls list
    = polls show issues
    polls pause issues
    = polls show {trigger_id}
    polls resume issues
    triggers list
    = triggers show {trigger_id}
    triggers disable {trigger_id}
    = polls list
    triggers enable {trigger_id}
    = triggers list
    = triggers test {trigger_id} body.json
    polls delete issues
    ! poll_not_found polls show issues
    ! poll_exists polls create old github.issue_updated repo=acme/rocket --handler incident
    ! invalid_poll polls create x github.push --handler incident
"""

OUTGOING: Final = """
    subscriptions create https://hooks.example.com/interlock --type run.* --type connection.broken --capability github.*
    = subscriptions list
    = subscriptions show {subscription_id}
    subscriptions pause {subscription_id} --reason moving
    = subscriptions show {subscription_id}
    subscriptions resume {subscription_id}
    subscriptions rotate {subscription_id} --overlap 12h
    = subscriptions show {subscription_id}
    = subscriptions deliveries {subscription_id}
    = subscriptions deliveries {subscription_id} --state failed
    ! message_not_found subscriptions redeliver msg_1
    ! invalid_subscription subscriptions create http://hooks.example.com/ --type *
    subscriptions delete {subscription_id}
    ! subscription_not_found subscriptions test {subscription_id}
    subscriptions create https://hooks.example.com/interlock --type * --signature v1a
    = subscriptions list
"""


TOKENS: Final = """
    tokens create ci --role caller --capability github.* --expires 30d
    = tokens list
    ! invalid_token tokens create x --role token-admin
    ! invalid_token tokens create x --role operator --capability github.*
    tokens revoke {token_id}
    = tokens list --limit 1
    ! token_not_found tokens revoke tok_1
"""


class There:
    """A server of the folder's store, and what it has answered.

    A line is a command. `=`: it is asked here, too. `!`: it fails with that code. Names in braces stand for what was answered
    before."""

    def __init__(self, shell: Shell, url: str, token: str) -> None:
        self.shell = shell
        self.url = url
        self.environment = {"INTERLOCK_SERVER": url, "INTERLOCK_TOKEN": token}
        self.names: dict[str, str] = {}
        self.secrets: set[str] = set()

    def take(self, line: str) -> None:
        if not line:
            return
        sign, words = re.findall(r"([=!] )?(.*)", line)[0]
        code, words = (words.partition(" ")[0], words.partition(" ")[2]) if sign == "! " else (None, words)
        given = words.format(**self.names).split()
        if given[0] == "POST":
            self._deliver(given[1])
            return
        told = self.shell.run(*given, "--json", environment=self.environment)
        if code is not None:
            assert told.error["code"] == code, line
            return
        if sign:
            here = self.shell.run(*given, "--json")
            assert (here.code, here.json) == (told.code, told.json), line
            assert self.shell.run(*given).out == self.shell.run(*given, environment=self.environment).out, line
            assert not [secret for secret in self.secrets if secret in told.out], line
        else:
            assert told.code == 0, (line, told.json)
        self._note(told.json)

    def _note(self, told: Any) -> None:
        for name, value in told.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                self._note(value[0])
            elif isinstance(value, str) and (name.endswith("_id") or name in ONCE):
                self.names[name] = value
        self.secrets |= {str(told[name]).rpartition("/")[2] for name in ONCE if told.get(name)}

    def _deliver(self, address: str) -> None:
        request = signed(secret=SECRET)
        path = address.partition("/hooks/")[2]
        answer = httpx2.post(f"{self.url}/hooks/{path}", content=request.body, headers=dict(request.headers))
        assert answer.status_code == 200


def test_what_is_done_there_is_told_alike_there_and_here(shell: Shell, warm: Path):
    (shell.folder / "hub.json").write_text(json.dumps(HUB.to_json()))
    (shell.folder / "body.json").write_bytes(signed().body)
    shell.environment |= {"INTERLOCK_CONNECTORS__MANIFESTS": '["hub.json"]', "HUB_SECRET": SECRET}
    token = shell.good("tokens", "create", "ops", "--role", "operator", "--role", "token-admin")["token"]
    serve = ("serve", "--bind", "127.0.0.1:0", "--no-worker", "--json")
    with shell.start(*serve, program=warm / "interlock") as process:
        try:
            assert process.stdout is not None
            there = There(shell, f"http://{json.loads(process.stdout.readline())['listening']}", token)
            there.secrets |= {token, SECRET}
            for line in (WEBHOOKS + TIMED + OUTGOING + TOKENS).splitlines():
                there.take(line.strip())
        finally:
            process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")
