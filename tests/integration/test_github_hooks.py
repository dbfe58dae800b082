"""Webhooks of the GitHub-shaped API: who is told of what, how it is signed, and what is delivered again."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs

import httpx2
import pytest

from interlock import catalog
from interlock.connectors.github import connector
from interlock.testing import github

TRIGGERS = {each.trigger_id: each for each in connector.manifest.triggers if each.delivery == "webhook"}
TOKEN, SECRET = "agent-token-1", "hook-secret-22"
REPO = "/repos/acme/rocket"
DESCRIPTION = github.Description.load()


@dataclass
class Listener:
    """Somebody who is told: keeps what came, and answers as the path says (`/503`), else with 204."""

    url: str = ""
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Events and payloads."""
        return [(headers["x-github-event"], json.loads(body)) for headers, body in self.came]


@pytest.fixture(scope="module", name="listening")
def _listening() -> Iterator[Listener]:
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            listener.came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(503 if "503" in self.path else 204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library has it
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        listener.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield listener
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", name="running")
def _running() -> Iterator[github.GitHub]:
    with github.GitHub.start(tokens={TOKEN: "octo-agent"}, check_answers=True) as server:
        yield server


@pytest.fixture
def listener(listening: Listener) -> Listener:
    listening.came.clear()
    return listening


@pytest.fixture
def server(running: github.GitHub) -> Iterator[github.GitHub]:
    yield running
    running.reset()


@pytest.fixture
def api(server: github.GitHub) -> Iterator[httpx2.Client]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=server.url, headers=headers, trust_env=False, verify=False, timeout=60) as client:
        yield client


def hooked(server: github.Control, listener: Listener, *events: str, secret: str | None = SECRET) -> int:
    return server.add_hook("acme/rocket", listener.url, secret=secret, events=events or ("*",))


def test_it_is_told_what_happens_and_each_event_is_as_described(
    server: github.GitHub, api: httpx2.Client, listener: Listener
):
    hook = hooked(server, listener)
    issue = api.post(f"{REPO}/issues", json={"title": "Leak"}).json()
    api.patch(f"{REPO}/issues/1", json={"title": "Big leak", "state": "closed", "labels": ["bug"]})
    api.patch(f"{REPO}/issues/1", json={"state": "open", "labels": []})
    comment = api.post(f"{REPO}/issues/1/comments", json={"body": "Where?"}).json()
    api.patch(f"{REPO}/issues/comments/{comment['id']}", json={"body": "Where exactly?"})
    main = api.get(f"{REPO}/commits/main").json()["sha"]
    api.post(f"{REPO}/git/refs", json={"ref": "refs/heads/fix", "sha": main})
    written = {"message": "Fix", "content": base64.b64encode(b"x").decode(), "branch": "fix"}
    api.put(f"{REPO}/contents/a.txt", json=written)
    api.post(f"{REPO}/pulls", json={"title": "Fix", "head": "fix", "base": "main"})
    api.patch(f"{REPO}/pulls/2", json={"state": "closed"})
    server.add_check_run("acme/rocket", "main", "build")
    server.add_release("acme/rocket", "v1")
    api.delete(f"{REPO}/git/refs/heads/fix")
    deliveries = server.wait_delivered(hook, 16)

    assert [(each["event"], each["action"]) for each in deliveries] == [
        ("ping", None), ("issues", "opened"), ("issues", "edited"), ("issues", "labeled"), ("issues", "closed"),
        ("issues", "unlabeled"), ("issues", "reopened"), ("issue_comment", "created"), ("issue_comment", "edited"),
        ("push", None), ("push", None), ("pull_request", "opened"), ("pull_request", "closed"),
        ("check_run", "completed"), ("release", "published"), ("push", None),
    ]  # fmt: skip
    payloads = [json.loads(each["payload"]) for each in deliveries]
    wrong = [
        DESCRIPTION.check_event(each["event"], payload) for each, payload in zip(deliveries, payloads, strict=True)
    ]
    assert wrong == [[]] * len(deliveries)
    for each, payload in zip(deliveries, payloads, strict=True):
        assert catalog.compile_schema(TRIGGERS[each["event"]].signal_schema)(payload) == []
    assert payloads[1]["issue"]["id"] == issue["id"]
    assert payloads[1]["repository"]["full_name"] == "acme/rocket"
    assert payloads[1]["sender"]["login"] == "octo-agent"
    assert payloads[2]["changes"] == {"title": {"from": "Leak"}}
    created, moved, gone = (
        payload for payload, each in zip(payloads, deliveries, strict=True) if each["event"] == "push"
    )
    assert (created["created"], created["commits"], created["head_commit"]["id"]) == (True, [], main)
    assert [(each["message"], each["added"]) for each in moved["commits"]] == [("Fix", ["a.txt"])]
    assert (gone["deleted"], gone["head_commit"], gone["before"]) == (True, None, moved["after"])
    assert sorted(event for event, _ in listener.told()) == sorted(each["event"] for each in deliveries)


def test_a_delivery_is_signed_over_its_very_bytes(server: github.GitHub, listener: Listener):
    hook = hooked(server, listener, "issues")
    server.add_issues("acme/rocket", 1)
    server.wait_delivered(hook, 2)
    headers, body = next(each for each in listener.came if each[0]["x-github-event"] == "issues")
    assert headers["x-hub-signature-256"] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["x-hub-signature"] == "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
    assert headers["content-type"] == "application/json"
    assert headers["x-github-hook-id"] == str(hook)
    assert headers["user-agent"].startswith("GitHub-Hookshot/")
    assert SECRET not in json.dumps(server.wait_delivered(hook))


def test_without_a_secret_nothing_is_signed_and_only_what_was_asked_for_is_told(
    server: github.GitHub, api: httpx2.Client, listener: Listener
):
    hook = hooked(server, listener, "issue_comment", secret=None)
    api.post(f"{REPO}/issues", json={"title": "Leak"})
    api.post(f"{REPO}/issues/1/comments", json={"body": "Where?"})
    server.wait_delivered(hook, 2)
    assert [event for event, _ in listener.told()] == ["ping", "issue_comment"]
    assert not any("signature" in name for headers, _ in listener.came for name in headers)


def test_it_is_delivered_again_only_when_asked_for_and_then_the_same(
    server: github.GitHub, api: httpx2.Client, listener: Listener
):
    config = {"url": f"{listener.url}/503", "content_type": "form", "secret": SECRET}
    made = api.post(f"{REPO}/hooks", json={"events": ["issues"], "config": config})
    hook = made.json()["id"]
    assert (made.status_code, made.json()["config"]["secret"]) == (201, "********")
    api.post(f"{REPO}/issues", json={"title": "Leak"})
    server.wait_delivered(hook, 2)
    failed = api.get(f"{REPO}/hooks/{hook}/deliveries", params={"status": "failure", "per_page": 1})
    [first] = cast("list[dict[str, Any]]", failed.json())
    assert (first["event"], first["status_code"], first["redelivery"]) == ("issues", 503, False)
    assert "cursor=" in failed.headers["link"]
    assert api.post(f"{REPO}/hooks/{hook}/deliveries/{first['id']}/attempts").status_code == 202
    last = server.wait_delivered(hook, 3)[-1]
    assert (last["guid"], last["redelivery"]) == (first["guid"], True)
    before, again = (each for each in listener.came if each[0]["x-github-event"] == "issues")
    assert before == again
    assert json.loads(parse_qs(again[1].decode())["payload"][0])["issue"]["title"] == "Leak"
    assert api.get(f"{REPO}/hooks").json()[0]["last_response"]["code"] == 503


def test_hooks_are_pinged_deleted_and_refused(server: github.GitHub, api: httpx2.Client, listener: Listener):
    hook = hooked(server, listener, "issues")
    assert api.post(f"{REPO}/hooks/{hook}/pings").status_code == 204
    assert [each["event"] for each in server.wait_delivered(hook, 2)] == ["ping", "ping"]
    assert api.delete(f"{REPO}/hooks/{hook}").status_code == 204
    assert api.post(f"{REPO}/hooks/{hook}/pings").status_code == 404
    for url in ("https://example.com/hook", "http://10.0.0.1/hook", ""):
        assert api.post(f"{REPO}/hooks", json={"config": {"url": url}}).status_code == 422
    with pytest.raises(ValueError, match="must lead to this machine"):
        server.add_hook("acme/rocket", "http://example.com", secret=None, events=["*"])
    with pytest.raises(ValueError, match="no hook 1"):
        server.redeliver(1, 1)


def test_who_does_not_answer_is_noted(server: github.GitHub, listener: Listener):
    """Nobody listens at port 1."""
    hook = server.add_hook("acme/rocket", "http://127.0.0.1:1/", secret=None, events=["*"])
    [ping] = server.wait_delivered(hook, 1)
    assert (ping["status_code"], ping["status"]) == (502, "failed to connect to host")
    server.redeliver(hook, ping["id"])
    assert [each["redelivery"] for each in server.wait_delivered(hook, 2)] == [False, True]
