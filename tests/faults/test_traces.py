"""One trace over processes: a server takes a webhook, a worker dies over its work, and another one goes on to the last effect."""

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx2

from fix_cli import REPOSITORY, Shell, Started
from fix_parrot import Parrot
from fix_webhooks import HUB, SECRET, signed

HANDLER = f"""
import os
from pathlib import Path

from interlock import dispatch


@dispatch.handler("triage")
async def triage(event, context):
    if not Path("fell").exists():
        Path("fell").touch()
        os.kill(os.getpid(), {int(signal.SIGKILL)})
    made = await context.invoke("github.repo.fetch", {{"repo": "{REPOSITORY}"}}, step="look")
    return made.output["default_branch"]
"""

TOLD = "deliver run.completed"


def told_by(process: Started) -> list[dict[str, Any]]:
    """The spans of a command that ends: OpenTelemetry writes one document after the other."""
    process.terminate()
    _, err = process.communicate()
    spans, decoder = list[dict[str, Any]](), json.JSONDecoder()
    while err := err[max(err.find("{"), 0) :].strip():
        span, end = decoder.raw_decode(err)
        spans.append(span)
        err = err[end:]
    return spans


def way(spans: list[dict[str, Any]], name: str) -> list[str]:
    """From the root of its trace down to the span of that name."""
    known = {each["context"]["span_id"]: each for each in spans}
    span = next(each for each in spans if each["name"] == name)
    names = [name]
    while span["parent_id"] is not None:
        span = known[span["parent_id"]]
        names.insert(0, span["name"])
    return names


def prepare(shell: Shell, parrot: Parrot) -> str:
    """The address of a route, with somebody who hears what becomes of its work."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    (shell.folder / "hub.json").write_text(json.dumps(HUB.to_json()))
    (shell.folder / "triages.py").write_text(HANDLER)
    allowed = [shell.service.url.removeprefix("http://"), parrot.host]
    shell.environment |= {
        "INTERLOCK_APP__MODULES": '["triages"]',
        "INTERLOCK_CONNECT__URL": url,
        "INTERLOCK_CONNECTORS__MANIFESTS": '["hub.json"]',
        "INTERLOCK_EXECUTION__EGRESS_ALLOW": json.dumps(allowed),
        "INTERLOCK_EXECUTION__OWNER_LEASE": "2",
        "HUB_SECRET": SECRET,
    }
    shell.good("subscriptions", "create", f"{parrot.url}/hooks", "--type", "run.completed", "--capability", "github.*")
    made = shell.good("routes", "create", "hub", "--on", "issues=triage", "--secret-env", "HUB_SECRET")
    shell.environment["OTEL_TRACES_EXPORTER"] = "console"
    return made["address"]


def test_a_webhook_is_followed_from_a_server_to_the_last_effect(shell: Shell, warm: Path, parrot: Parrot):
    address, request = prepare(shell, parrot), signed()
    with shell.start("serve", "--no-worker", program=warm / "interlock") as server:
        assert server.stdout is not None
        server.stdout.readline()
        answer = httpx2.post(address, content=request.body, headers=dict(request.headers), trust_env=False)
        assert answer.status_code == 200
        spans = told_by(server)
    with shell.start("worker") as fallen:
        assert fallen.wait(60) == -signal.SIGKILL
        fallen.communicate()
    watched = shell.environment["INTERLOCK_CONNECT__URL"]  # the server is gone
    with shell.start("worker", "--health", watched.removeprefix("http://"), program=warm / "interlock") as worker:
        wait_for(parrot)
        for path, status in (("/livez", 204), ("/readyz", 204), ("/metrics", 401)):
            assert httpx2.get(watched + path, trust_env=False).status_code == status
        spans += told_by(worker)
    begin = ["POST /hooks/{token}", "send handler:triage", "process handler:triage", "invoke github.repo.fetch"]
    assert way(spans, "GET /repos/{repo}") == [*begin, "attempt", "GET /repos/{repo}"]
    assert way(spans, TOLD) == [*begin, TOLD]
    names = {each["context"]["trace_id"] for each in spans if each["name"] in (*begin, TOLD)}
    assert len(names) == 1
    [effect] = [each for each in spans if each["name"] == "process handler:triage"]
    assert effect["attributes"]["interlock.attempt.number"] == 2
    assert effect["resource"]["attributes"]["service.name"] == "interlock"
    assert SECRET not in json.dumps(spans)
    assert os.path.basename(address) not in json.dumps(spans)


def wait_for(parrot: Parrot) -> None:
    """What is under way when its worker is told to end is ended."""
    until = time.monotonic() + 120
    while not parrot.heard:
        assert time.monotonic() < until
        time.sleep(0.1)
