"""The GitHub-shaped API over real sockets: its operations, its manners, its faults, and its life as a process."""

import base64
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock import kernel, testing
from interlock.testing import github
from interlock.testing.github import shapes
from interlock.testing.github.answers import Answer, Ask, Handler
from interlock.testing.github.passage import OPERATIONS

AGENT, OTHER, WEAK = "agent-token-1", "other-token-2", "weak-token-33"
ENDING, ENDED = "ending-token-4", "ended-token-55"
REPO = "/repos/acme/rocket"


def connect(server: github.Control, token: str = AGENT, **headers: str) -> httpx2.Client:
    headers = {"authorization": f"Bearer {token}", **headers}
    return httpx2.Client(base_url=server.url, headers=headers, trust_env=False, verify=False, timeout=60)


@pytest.fixture(scope="module", name="running")
def _running() -> Iterator[github.GitHub]:
    clock = testing.ManualClock()
    tokens = {
        AGENT: "octo-agent",
        OTHER: "mona",
        WEAK: github.Token("guest", scopes=()),
        ENDING: github.Token("mona", expires_at=clock.now() + timedelta(hours=1)),
        ENDED: github.Token("mona", expires_at=clock.now()),
    }
    with github.GitHub.start(tokens=tokens, clock=clock, check_answers=True) as server:
        yield server


@pytest.fixture
def server(running: github.GitHub) -> Iterator[github.GitHub]:
    yield running
    running.reset()


@pytest.fixture
def api(server: github.GitHub) -> Iterator[httpx2.Client]:
    with connect(server) as client:
        yield client


def ok(response: httpx2.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json() if response.content else None


def write_file(api: httpx2.Client, path: str, text: str, **more: str) -> httpx2.Response:
    content = base64.b64encode(text.encode()).decode()
    return api.put(f"{REPO}/contents/{path}", json={"message": f"Write {path}", "content": content, **more})


def make_pull(api: httpx2.Client) -> dict[str, Any]:
    sha = ok(api.get(f"{REPO}/git/ref/heads/main"))["object"]["sha"]
    ok(api.post(f"{REPO}/git/refs", json={"ref": "refs/heads/topic", "sha": sha}), 201)
    ok(write_file(api, "docs/plan.md", "A plan.\n", branch="topic"), 201)
    return ok(api.post(f"{REPO}/pulls", json={"title": "Plan", "head": "topic", "base": "main"}), 201)


# What it does ------------------------------------------------------------------------------------------------------


def test_the_caller_and_the_repository(api: httpx2.Client):
    assert ok(api.get("/user"))["login"] == "octo-agent"
    repo = ok(api.get("/repos/ACME/rocket"))
    assert (repo["full_name"], repo["default_branch"], repo["private"]) == ("acme/rocket", "main", False)


def test_an_issue_lives(server: github.GitHub, api: httpx2.Client):
    created = api.post(f"{REPO}/issues", json={"title": "One", "labels": ["bug", "fresh"], "assignees": ["mona"]})
    issue = ok(created, 201)
    assert created.headers["location"] == issue["url"]
    assert (issue["number"], issue["state"], issue["user"]["login"]) == (1, "open", "octo-agent")
    assert [label["name"] for label in issue["labels"]] == ["bug", "fresh"]
    ok(api.post(f"{REPO}/issues/1/labels", json={"labels": ["bug", "question"]}))
    assert [label["name"] for label in ok(api.get(f"{REPO}/issues/1/labels"))] == ["bug", "fresh", "question"]
    closed = ok(api.patch(f"{REPO}/issues/1", json={"state": "closed", "body": "Done.", "labels": []}))
    assert (closed["state"], closed["state_reason"], closed["body"], closed["labels"]) == (
        "closed",
        "completed",
        "Done.",
        [],
    )
    assert ok(api.get(f"{REPO}/issues/1")) == closed
    assert ok(api.get(f"{REPO}/issues")) == []
    assert ok(api.get(f"{REPO}/issues?state=all&assignee=mona")) == [closed]
    assert server.effects("issues/*") == 3


def test_comments_live(api: httpx2.Client):
    ok(api.post(f"{REPO}/issues", json={"title": "One"}), 201)
    comment = ok(api.post(f"{REPO}/issues/1/comments", json={"body": "Hello."}), 201)
    address = f"{REPO}/issues/comments/{comment['id']}"
    assert ok(api.patch(address, json={"body": "Hello again."}))["body"] == "Hello again."
    assert ok(api.get(address))["body"] == "Hello again."
    assert [item["id"] for item in ok(api.get(f"{REPO}/issues/1/comments"))] == [comment["id"]]
    assert ok(api.get(f"{REPO}/issues/1"))["comments"] == 1


def test_files_and_refs_live(api: httpx2.Client):
    written = ok(write_file(api, "a/b.txt", "one\n"), 201)
    sha = written["content"]["sha"]
    assert sha == "5626abf0f72e58d7a153368ba57db4c673c0e171"  # as git names this content
    assert ok(api.get(f"{REPO}/contents/a/b.txt"))["content"] == base64.b64encode(b"one\n").decode() + "\n"
    assert [entry["path"] for entry in ok(api.get(f"{REPO}/contents/a"))] == ["a/b.txt"]
    assert "wasn't supplied" in ok(write_file(api, "a/b.txt", "two\n"), 422)["message"]
    assert "does not match" in ok(write_file(api, "a/b.txt", "two\n", sha="0" * 40), 409)["message"]
    again = ok(write_file(api, "a/b.txt", "two\n", sha=sha))
    commits = ok(api.get(f"{REPO}/commits?path=a"))
    assert [commit["sha"] for commit in commits] == [again["commit"]["sha"], written["commit"]["sha"]]
    assert ok(api.get(f"{REPO}/commits/main"))["sha"] == again["commit"]["sha"]
    ref = {"ref": "refs/heads/feature/x", "sha": written["commit"]["sha"]}
    ok(api.post(f"{REPO}/git/refs", json=ref), 201)
    assert ok(api.post(f"{REPO}/git/refs", json=ref), 422)["message"] == "Reference already exists"
    assert ok(api.get(f"{REPO}/git/ref/heads/feature%2Fx"))["ref"] == ref["ref"]
    assert [item["ref"] for item in ok(api.get(f"{REPO}/git/matching-refs/heads/fea"))] == [ref["ref"]]
    ok(api.delete(f"{REPO}/git/refs/heads/feature/x"), 204)
    ok(api.get(f"{REPO}/git/ref/heads/feature/x"), 404)
    assert ok(api.delete(f"{REPO}/git/refs/heads/feature/x"), 422)["message"] == "Reference does not exist"


def test_a_pull_request_lives(server: github.GitHub, api: httpx2.Client):
    pull = make_pull(api)
    again = ok(api.post(f"{REPO}/pulls", json={"title": "Plan", "head": "acme:topic", "base": "main"}), 422)
    assert "already exists" in again["errors"][0]["message"]
    assert ok(api.patch(f"{REPO}/pulls/1", json={"title": "Better plan"}))["title"] == "Better plan"
    assert ok(api.get(f"{REPO}/issues/1"))["pull_request"]["url"] == pull["url"]
    with connect(server, OTHER) as reviewer:
        place = {"path": "docs/plan.md", "line": 1, "body": "Why?"}
        review = ok(reviewer.post(f"{REPO}/pulls/1/reviews", json={"event": "APPROVE", "comments": [place]}))
        comment = ok(reviewer.post(f"{REPO}/pulls/1/comments", json={**place, "commit_id": pull["head"]["sha"]}), 201)
    own = ok(api.post(f"{REPO}/pulls/1/reviews", json={"event": "APPROVE"}), 422)
    assert own["errors"] == ["Can not approve your own pull request"]
    assert [item["state"] for item in ok(api.get(f"{REPO}/pulls/1/reviews"))] == ["APPROVED"]
    assert ok(api.get(f"{REPO}/pulls/1/reviews/{review['id']}"))["id"] == review["id"]
    assert [item["pull_request_review_id"] for item in ok(api.get(f"{REPO}/pulls/1/comments"))] == [review["id"], None]
    assert ok(api.get(f"{REPO}/pulls/comments/{comment['id']}"))["body"] == "Why?"
    assert ok(api.patch(f"{REPO}/pulls/1", json={"state": "closed"}))["state"] == "closed"
    assert [item["number"] for item in ok(api.get(f"{REPO}/pulls?state=closed&head=acme:topic"))] == [1]


def test_statuses_and_check_runs(server: github.GitHub, api: httpx2.Client):
    sha = ok(api.get(f"{REPO}/commits/main"))["sha"]
    assert ok(api.get(f"{REPO}/commits/main/status"))["state"] == "pending"
    for state in ("failure", "success"):
        ok(api.post(f"{REPO}/statuses/{sha}", json={"state": state, "context": "ci"}), 201)
    assert ok(api.get(f"{REPO}/commits/heads/main/status"))["state"] == "success"
    assert [item["state"] for item in ok(api.get(f"{REPO}/commits/main/statuses"))] == ["success", "failure"]
    server.add_check_run("acme/rocket", "main", "lint")
    server.add_check_run("acme/rocket", "main", "tests", status="in_progress", conclusion=None)
    runs = ok(api.get(f"{REPO}/commits/{sha}/check-runs?status=completed"))
    assert [run["name"] for run in runs["check_runs"]] == ["lint"]
    with pytest.raises(ValueError, match="no commit"):
        server.add_check_run("acme/rocket", "nowhere", "lint")


def test_a_ref_moves_forward_or_by_force(api: httpx2.Client):
    first = ok(api.get(f"{REPO}/commits/main"))["sha"]
    second = ok(write_file(api, "a.txt", "one\n"), 201)["commit"]["sha"]
    ok(api.post(f"{REPO}/git/refs", json={"ref": "refs/heads/topic", "sha": first}), 201)
    assert ok(api.patch(f"{REPO}/git/refs/heads/topic", json={"sha": second}))["object"]["sha"] == second
    ok(api.patch(f"{REPO}/git/refs/heads/topic", json={"sha": first}), 422)
    assert ok(api.patch(f"{REPO}/git/refs/heads/topic", json={"sha": first, "force": True}))["object"]["sha"] == first


def test_lists_are_filtered(api: httpx2.Client):
    for issue in (
        {"title": "A", "labels": ["bug"]},
        {"title": "B", "assignees": ["mona"]},
        {"title": "C", "body": "@mona"},
    ):
        ok(api.post(f"{REPO}/issues", json=issue), 201)
    for query, titles in (
        ("labels=BUG", "A"),
        ("assignee=none", "CA"),
        ("assignee=*", "B"),
        ("mentioned=mona", "C"),
        ("creator=mona", ""),
        ("milestone=*", ""),
        ("direction=asc", "ABC"),
        ("since=2030-01-01T00:00:00Z", ""),
    ):
        assert "".join(issue["title"] for issue in ok(api.get(f"{REPO}/issues?{query}"))) == titles
    write_file(api, "a.txt", "one\n")
    for query, count in (
        ("author=octo-agent", 1),
        ("author=acme", 1),
        ("committer=acme@users.noreply.github.com", 1),
        ("until=2020-01-01T00:00:00Z", 0),
        ("since=2020-01-01T00:00:00Z", 2),
        ("path=a.txt", 1),
    ):
        assert len(ok(api.get(f"{REPO}/commits?{query}"))) == count
    ok(api.get(f"{REPO}/commits?sha=nothing"), 404)


def test_a_directory_lists_files_and_folders(api: httpx2.Client):
    ok(write_file(api, "src/a.txt", "a"), 201)
    ok(write_file(api, "src/deep/b.txt", "b"), 201)
    entries = ok(api.get(f"{REPO}/contents/src?ref=main"))
    assert [(entry["name"], entry["type"]) for entry in entries] == [("a.txt", "file"), ("deep", "dir")]
    ok(api.get(f"{REPO}/contents/src?ref=nothing"), 404)


def test_a_closed_issue_opens_again(api: httpx2.Client):
    ok(api.post(f"{REPO}/issues", json={"title": "One"}), 201)
    ok(api.patch(f"{REPO}/issues/1", json={"state": "closed", "state_reason": "not_planned"}))
    opened = ok(api.patch(f"{REPO}/issues/1", json={"state": "open"}))
    assert (opened["state_reason"], opened["closed_at"], opened["closed_by"]) == ("reopened", None, None)


def test_a_pull_request_without_its_branch_cannot_be_reviewed(api: httpx2.Client):
    make_pull(api)
    ok(api.delete(f"{REPO}/git/refs/heads/topic"), 204)
    assert ok(api.get(f"{REPO}/pulls/1"))["commits"] == 0
    ok(api.post(f"{REPO}/pulls/1/reviews", json={"body": "x"}), 422)


# How it behaves ----------------------------------------------------------------------------------------------------


def test_a_request_without_a_good_token_is_refused(server: github.GitHub):
    for headers, message in (
        ({"authorization": ""}, "Requires authentication"),
        ({"authorization": "Bearer wrong"}, "Bad credentials"),
        ({"authorization": f"Basic {AGENT}"}, "Bad credentials"),
    ):
        with connect(server, **headers) as client:
            assert ok(client.get("/user"), 401)["message"] == message
    assert AGENT not in repr(server.requests())


def test_a_token_tells_its_end_and_is_bad_from_then_on(server: github.GitHub):
    told = "github-authentication-token-expiration"
    with connect(server, ENDING) as client:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", client.get("/user").headers[told])
    with connect(server, ENDED) as client:
        ok(client.get("/user"), 401)
    with connect(server) as client:
        assert told not in client.get("/user").headers


def test_scopes_decide(server: github.GitHub):
    server.add_repository("acme/secret", private=True)
    with connect(server, WEAK) as guest:
        assert guest.get(REPO).headers["x-oauth-scopes"] == ""
        ok(guest.get("/repos/acme/secret"), 404)
        refused = guest.post(f"{REPO}/issues", json={"title": "x"})
        assert "not accessible" in ok(refused, 403)["message"]
        assert refused.headers["x-accepted-oauth-scopes"] == "repo"
    with connect(server) as client:
        ok(client.get("/repos/acme/secret"))
    assert server.effects() == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/repos/acme/nothing", None, 404),
        ("GET", f"{REPO}/issues/99", None, 404),
        ("GET", f"{REPO}/contents/nothing", None, 404),
        ("PATCH", f"{REPO}/issues/comments/99", b'{"body": "x"}', 404),
        ("GET", f"{REPO}/commits/nothing", None, 422),
        ("GET", f"{REPO}/issues?colour=red", None, 422),
        ("POST", f"{REPO}/issues", b'{"title": ', 400),
        ("POST", f"{REPO}/issues", b'["title"]', 400),
        ("POST", f"{REPO}/issues", None, 422),
        ("POST", f"{REPO}/issues", b'{"title": " "}', 422),
        ("POST", f"{REPO}/issues", b'{"title": "x", "assignees": ["nobody-here"]}', 422),
        ("POST", f"{REPO}/issues", b'{"title": "x", "colour": "red"}', 422),
        ("POST", f"{REPO}/pulls", b'{"title": "x", "head": "main", "base": "main"}', 422),
        ("POST", f"{REPO}/pulls", b'{"title": "x", "head": "nothing", "base": "main"}', 422),
        ("POST", f"{REPO}/git/refs", b'{"ref": "main", "sha": "x"}', 422),
        ("PUT", f"{REPO}/contents/x", b'{"message": "x", "content": "***"}', 422),
    ],
)
def test_bad_requests_get_githubs_answers(
    server: github.GitHub, api: httpx2.Client, method: str, path: str, body: bytes | None, status: int
):
    answer = ok(api.request(method, path, content=body), status)
    assert answer["message"]
    assert answer["documentation_url"]
    assert server.effects() == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("issues", {"title": "x", "milestone": 1}),
        ("issues", {"title": "x", "body": "x" * 65_537}),
        ("issues/1/comments", {"body": " "}),
        ("issues/1/labels", {"labels": []}),
        ("pulls", {"head": "topic", "base": "main"}),
        ("pulls", {"head": "topic", "base": "main", "issue": 1}),
        ("pulls/1/reviews", {"event": "COMMENT"}),
        ("pulls/1/reviews", {"event": "REQUEST_CHANGES", "body": "x"}),
        ("pulls/1/reviews", {"comments": [{"path": "nothing", "body": "x", "line": 1}]}),
        ("pulls/1/comments", {"path": "docs/plan.md", "line": 1, "body": "x", "commit_id": "0" * 40}),
        ("pulls/1/comments", {"path": "docs/plan.md", "body": "x", "commit_id": "HEAD"}),
        ("pulls/1/comments", {"path": "docs/plan.md", "line": 1, "body": " ", "commit_id": "HEAD"}),
        ("pulls/1/comments", {"path": "docs/plan.md", "body": "x", "commit_id": "HEAD", "in_reply_to": 1}),
        ("git/refs", {"ref": "refs/heads/x", "sha": "0" * 40}),
        ("statuses/0000000", {"state": "success"}),
    ],
)
def test_what_makes_no_sense_on_a_pull_request_is_refused(
    server: github.GitHub, api: httpx2.Client, path: str, body: dict[str, Any]
):
    pull = make_pull(api)
    effects = server.effects()
    if body.get("commit_id") == "HEAD":
        body = {**body, "commit_id": pull["head"]["sha"]}
    ok(api.post(f"{REPO}/{path}", json=body), 422)
    assert server.effects() == effects


def test_a_request_without_user_agent_is_refused(server: github.GitHub):
    with connect(server) as client:
        del client.headers["user-agent"]
        assert "administrative rules" in ok(client.get("/user"), 403)["message"]


def test_an_answer_that_is_not_as_described_shows(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch):
    def wrong(ask: Ask) -> Answer:
        return Answer(body={**shapes.account(ask.world, ask.login), "id": "one"})

    monkeypatch.setitem(cast("dict[str, Handler]", OPERATIONS), "users/get-authenticated", wrong)
    assert "not as described" in ok(api.get("/user"), 500)["message"]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.sampled_from(["", "x", "main", "open", "bug", "mona", "\0", "é"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "path", "body", "login"]), inner)
    ),
    max_leaves=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_no_request_makes_it_stumble(api: httpx2.Client, data: st.DataObject):
    """Whatever is asked, the answer is GitHub's: described for the operation, and never a 500."""
    operation = data.draw(st.sampled_from(list(github.Description.load().operations.values())))
    path = operation.path.replace("{owner}/{repo}", "acme/rocket")
    path = re.sub(
        r"\{\w+\}", lambda _: data.draw(st.sampled_from(["1", "main", "heads/main", "README.md", "1001"])), path
    )
    query = data.draw(
        st.dictionaries(st.sampled_from([*operation.query, "odd"]), st.sampled_from(["1", "-1", "main", "all"]))
    )
    names = sorted((operation.body or {}).get("properties", {"odd": {}}))
    body = data.draw(st.none() | st.dictionaries(st.sampled_from(names), VALUES) | VALUES)
    response = api.request(operation.method, path, params=query, json=body)
    assert response.status_code < 500, response.text


def test_lists_come_in_pages(server: github.GitHub, api: httpx2.Client):
    server.add_issues("acme/rocket", 250)
    seen: list[int] = []
    target: str | None = f"{REPO}/issues?per_page=100&direction=asc&sort=created"
    while target:
        response = api.get(target)
        seen += [issue["number"] for issue in ok(response)]
        target = response.links.get("next", {}).get("url")
    assert seen == list(range(1, 251))
    assert len(server.requests("issues/list-for-repo")) == 3
    assert len(ok(api.get(f"{REPO}/issues"))) == 30
    assert server.effects() == 0


def test_an_unchanged_answer_is_304_and_free(api: httpx2.Client):
    first = api.get(f"{REPO}/issues")
    second = api.get(f"{REPO}/issues", headers={"if-none-match": first.headers["etag"]})
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["x-ratelimit-remaining"] == first.headers["x-ratelimit-remaining"]
    ok(api.post(f"{REPO}/issues", json={"title": "x"}), 201)
    third = api.get(f"{REPO}/issues", headers={"if-none-match": first.headers["etag"]})
    assert third.status_code == 200
    assert third.headers["etag"] != first.headers["etag"]


def test_the_primary_limit_refuses(server: github.GitHub, api: httpx2.Client):
    server.limit(remaining=1)
    assert api.get(REPO).headers["x-ratelimit-remaining"] == "0"
    refused = api.post(f"{REPO}/issues", json={"title": "x"})
    assert "rate limit exceeded" in ok(refused, 403)["message"]
    assert int(refused.headers["x-ratelimit-reset"]) == int(testing.ManualClock().now().timestamp()) + 60
    assert server.effects() == 0


# How it fails on demand --------------------------------------------------------------------------------------------

BREAKS = {
    "cut_before": httpx2.RemoteProtocolError,
    "cut_answer": httpx2.RemoteProtocolError,
    "reset": httpx2.ReadError,
    "hang": httpx2.ReadTimeout,
    "late": httpx2.RemoteProtocolError,
}


@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize("kind", ["cut_before", "cut_answer", "reset", "hang"])
def test_a_broken_answer_tells_nothing_about_the_effect(
    server: github.GitHub, api: httpx2.Client, kind: str, apply: bool
):
    server.fault(kind, match="issues/create", apply=apply)
    ok(api.get(f"{REPO}/issues"))  # another operation is left alone
    with pytest.raises(BREAKS[kind]):
        api.post(f"{REPO}/issues", json={"title": "x"}, timeout=httpx2.Timeout(60, read=3 if kind == "hang" else 60))
    assert server.effects("issues/create") == apply
    assert len(ok(api.get(f"{REPO}/issues"))) == apply
    exchange = server.requests("issues/create")[0]
    assert (exchange.fault, exchange.effect) == (kind, apply)
    ok(api.post(f"{REPO}/issues", json={"title": "y"}), 201)  # the fault is spent


@pytest.mark.parametrize("kind", ["cut_answer", "garbage"])
def test_an_answer_without_a_body_is_broken_too(server: github.GitHub, api: httpx2.Client, kind: str):
    sha = ok(api.get(f"{REPO}/commits/main"))["sha"]
    ok(api.post(f"{REPO}/git/refs", json={"ref": "refs/tags/v1", "sha": sha}), 201)
    server.fault(kind, match="git/delete-ref")
    if kind == "garbage":
        assert api.delete(f"{REPO}/git/refs/tags/v1").content == b"<html>not JSON"
    else:
        with pytest.raises(httpx2.RemoteProtocolError):
            api.delete(f"{REPO}/git/refs/tags/v1")
    assert server.effects("git/delete-ref") == 1


@pytest.mark.parametrize("apply", [True, False])
def test_an_error_status_may_hide_an_effect(server: github.GitHub, api: httpx2.Client, apply: bool):
    server.fault("status:502", match="POST */issues", times=2, apply=apply, retry_after=3)
    for _ in range(2):
        response = api.post(f"{REPO}/issues", json={"title": "x"})
        assert (response.status_code, response.headers["retry-after"]) == (502, "3")
    ok(api.post(f"{REPO}/issues", json={"title": "y"}), 201)
    assert server.effects() == (3 if apply else 1)


def test_limits_on_demand(server: github.GitHub, api: httpx2.Client):
    server.fault("secondary_limit", retry_after=5)
    server.fault("rate_limit", seconds=9)
    secondary = api.post(f"{REPO}/issues", json={"title": "x"})
    assert "secondary rate limit" in ok(secondary, 403)["message"]
    assert (secondary.headers["retry-after"], secondary.headers["x-ratelimit-remaining"]) == ("5", "4999")
    primary = api.post(f"{REPO}/issues", json={"title": "x"})
    assert primary.headers["x-ratelimit-remaining"] == "0"
    ok(api.get(REPO), 403)
    assert server.effects() == 0


def test_garbage_and_slowness(server: github.GitHub, api: httpx2.Client):
    server.fault("garbage")
    server.fault("slow", seconds=0.05)
    response = api.post(f"{REPO}/issues", json={"title": "x"})
    assert response.status_code == 201
    with pytest.raises(json.JSONDecodeError):
        response.json()
    ok(api.post(f"{REPO}/issues", json={"title": "y"}), 201)
    assert server.effects() == 2


class Caller(threading.Thread):
    """A request in a thread of its own, so that it can be held."""

    def __init__(self, server: github.Control, title: str = "x") -> None:
        super().__init__()
        self._server = server
        self._title = title
        self.outcome: object = None
        self.start()

    def run(self) -> None:
        with connect(self._server) as client:
            try:
                self.outcome = client.post(f"{REPO}/issues", json={"title": self._title}).status_code
            except httpx2.TransportError as error:
                self.outcome = type(error)


@pytest.mark.parametrize(("kind", "before"), [("hold", 1), ("hold_before", 0)])
def test_a_held_request_goes_on_when_it_is_released(server: github.GitHub, kind: str, before: int):
    server.fault(kind, match="issues/create", times=2)
    callers = [Caller(server), Caller(server)]
    held = server.wait_held(2)
    assert [(exchange.status, exchange.fault) for exchange in held] == [(None, kind)] * 2
    assert server.effects() == before * 2
    assert server.release() == 2
    for caller in callers:
        caller.join()
    assert [caller.outcome for caller in callers] == [201, 201]
    assert server.effects() == 2
    assert server.release() == 0


def test_a_late_effect_comes_after_the_client_has_gone(server: github.GitHub, api: httpx2.Client):
    server.fault("late")
    with pytest.raises(BREAKS["late"]):
        api.post(f"{REPO}/issues", json={"title": "x"})
    server.wait_held()
    assert ok(api.get(f"{REPO}/issues")) == []
    server.release()
    assert len(ok(api.get(f"{REPO}/issues"))) == 1


KILLED = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1])
connection.request("POST", "/repos/acme/rocket/issues", body='{"title": "x"}',
    headers={"authorization": "Bearer " + sys.argv[2], "user-agent": "test"})
connection.getresponse()
"""


@pytest.mark.parametrize(("kind", "effects"), [("hold", 1), ("hold_before", 0)])
def test_a_client_killed_while_it_is_held(server: github.GitHub, kind: str, effects: int):
    server.fault(kind, match="issues/create")
    client = subprocess.Popen([sys.executable, "-c", KILLED, server.url.removeprefix("http://"), AGENT])
    server.wait_held()
    client.kill()
    assert client.wait() == -signal.SIGKILL
    server.release()
    with connect(server) as api:
        assert len(ok(api.get(f"{REPO}/issues"))) == effects
    assert server.effects() == effects


def test_waiting_for_a_hold_ends(server: github.GitHub):
    with pytest.raises(TimeoutError):
        server.wait_held(timeout=0.02)


def test_reset_forgets_everything(server: github.GitHub, api: httpx2.Client):
    server.fault("hold", match="issues/create")
    caller = Caller(server)
    server.wait_held()
    server.fault("cut_before", times=9)
    server.limit(remaining=0)
    server.reset()
    caller.join()
    assert caller.outcome is httpx2.RemoteProtocolError
    assert (server.effects(), server.requests()) == (0, [])
    assert ok(api.get(f"{REPO}/issues?state=all")) == []


def test_faults_can_be_cleared_and_wrong_orders_are_refused(server: github.GitHub, api: httpx2.Client):
    server.fault("cut_before", times=9)
    server.clear_faults()
    ok(api.get(REPO))
    with pytest.raises(ValueError, match="no fault 'explode'"):
        server.fault("explode")
    with pytest.raises(ValueError, match="no repository"):
        server.add_issues("acme/nothing", 1)


def test_the_control_channel_needs_its_secret(server: github.GitHub, api: httpx2.Client):
    ok(api.post("/_control/reset", json={}), 404)
    ok(api.post("/_control/reset", json={}, headers={"x-control-secret": "wrong"}), 404)
    with pytest.raises(ValueError, match="Not Found"):
        github.Control(server.url, kernel.Secret("not-the-secret")).reset()


# Its life ----------------------------------------------------------------------------------------------------------


def test_stopping_cuts_what_is_held_and_frees_the_port():
    server = github.GitHub.start(tokens={AGENT: "octo-agent"})
    server.fault("hold")
    caller = Caller(server)
    server.wait_held()
    server.stop()
    server.stop()
    caller.join()
    assert caller.outcome is httpx2.RemoteProtocolError
    with pytest.raises(OSError, match="refused"):
        server.effects()


def test_two_servers_know_nothing_of_each_other(server: github.GitHub):
    with github.GitHub.start(tokens={AGENT: "octo-agent"}, repos=["acme/other"]) as second, connect(second) as api:
        ok(api.get(REPO), 404)
        ok(api.post("/repos/acme/other/issues", json={"title": "x"}), 201)
        assert (second.effects(), server.effects()) == (1, 0)


def test_as_a_process(tmp_path: Path):
    state = tmp_path / "github.json"
    module = [sys.executable, "-W", "error", "-m", "interlock.testing.github"]
    options = [
        "--token",
        f"{AGENT}=mona",
        "--port",
        "0",
        "--repo",
        "acme/other",
        "--issue",
        "Old",
        "--state-file",
        str(state),
    ]
    with subprocess.Popen([*module, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert state.stat().st_mode & 0o777 == 0o600
            control = github.Control.from_file(state)
            assert control.url == url
            control.fault("cut_answer", match="issues/create")
            with connect(control) as api:
                assert ok(api.get("/user"))["login"] == "mona"
                assert ok(api.get("/repos/acme/other/issues/1"))["title"] == "Old"
                with pytest.raises(httpx2.RemoteProtocolError):
                    api.post("/repos/acme/other/issues", json={"title": "x"})
            assert control.effects("issues/create") == 1
        finally:
            process.terminate()
        assert process.communicate() == ("", "")
    assert process.returncode == 0


def test_a_process_says_what_it_needs():
    module = [sys.executable, "-m", "interlock.testing.github"]
    done = subprocess.run(module, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--token" in done.stderr
    assert "Traceback" not in done.stderr
