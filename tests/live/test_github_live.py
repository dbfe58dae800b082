"""The GitHub connector against GitHub itself: all 24 operations, and every write settled by reading. See docs/live/github.md."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, cast

import orjson
import pytest

from fix_github import OPERATIONS, WRITES, Account
from interlock import kernel, sdk

# Read when the tests are collected: while they run, nothing of the user's environment is left.
TOKEN = os.environ.get("INTERLOCK_LIVE_GITHUB_TOKEN")
REPO = os.environ.get("INTERLOCK_LIVE_GITHUB_REPO")
URL = "https://api.github.com"

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (TOKEN and REPO),
        reason="set INTERLOCK_LIVE_GITHUB_TOKEN and INTERLOCK_LIVE_GITHUB_REPO (docs/live/github.md) to run this",
    ),
]


class Live:
    """An account at GitHub, and what it has called so far."""

    def __init__(self) -> None:
        self.account = Account(URL, token=TOKEN or "", login=None)
        self.clock = kernel.SystemClock()
        answer = self.account.send(sdk.HttpRequest(method="GET", path="/user"))
        assert answer.status == 200, answer.body
        self.account.login = cast("dict[str, Any]", orjson.loads(answer.body))["login"]
        self.called: set[str] = set()
        self.settled: set[str] = set()

    def __call__(self, operation_id: str, **given: Any) -> dict[str, Any]:
        """Call it, and if it writes, ask GitHub whether it happened."""
        began = self.clock.now()
        output = self.account.call(operation_id, now=began, repo=REPO, **given)
        self.called.add(operation_id)
        if operation_id in WRITES:
            self.expect(sdk.Verdict.HAPPENED, operation_id, given, began)
            self.settled.add(operation_id)
        return output

    def expect(self, verdict: sdk.Verdict, operation_id: str, given: dict[str, Any], began: datetime) -> None:
        """Reads may come from a replica that lags behind."""
        found: sdk.Reconciled | None = None
        for _ in range(int(OPERATIONS[operation_id].settled_after)):
            found = self.account.settle(operation_id, since=began, repo=REPO, **given)
            if found.verdict is verdict:
                return
            time.sleep(1)
        raise AssertionError(f"{operation_id}: expected {verdict}, found {found}")


@pytest.fixture
def live() -> Iterator[Live]:
    found = Live()
    yield found
    found.account.close()


@pytest.fixture
def undo() -> Iterator[list[Callable[[], Any]]]:
    """What to do in the end, last first, however the test went."""
    steps: list[Callable[[], Any]] = []
    yield steps
    for step in reversed(steps):
        step()


def test_all_operations(live: Live, undo: list[Callable[[], Any]]):
    stamp = live.clock.now().strftime("%Y%m%d-%H%M%S")
    branch, title = f"interlock-live-{stamp}", f"Interlock live test {stamp}"
    repository = live("repo.fetch")
    base = repository["default_branch"]
    head = live("commits.list", sha=base, per_page=1)["commits"][0]["sha"]
    live("commit.statuses.get_combined", ref=head)
    live("commit.statuses.list", ref=head)
    live("check_runs.list_for_ref", ref=head)

    issue = live("issue.create", title=title, body="Made by a test; it closes itself.")
    number = issue["number"]
    undo.append(lambda: live("issue.close", issue_number=number))
    assert any(each["number"] == number for each in live("issue.list", state="all")["issues"])
    live("issue.label", issue_number=number, labels=["bug"])
    live("issue.update", issue_number=number, body="Changed by a test.")
    comment = live("comment.create", issue_number=number, body=f"Comment {stamp}")
    live("comment.update", comment_id=comment["comment_id"], body=f"Changed comment {stamp}")
    live("issue.close", issue_number=number)
    assert live("issue.fetch", issue_number=number)["state"] == "closed"

    live("git.ref.create", ref=f"refs/heads/{branch}", sha=head)
    undo.append(lambda: live("git.ref.delete", ref=f"refs/heads/{branch}"))
    path = f"interlock-live/{stamp}.md"
    written = live("contents.upsert", path=path, message=title, content=f"{title}\n", branch=branch)
    pull = live("pr.create", title=title, head=branch, base=base, body="Made by a test; it closes itself.")
    number = pull["number"]
    undo.append(lambda: live("pr.update", pull_number=number, state="closed"))
    live("pr.update", pull_number=number, body="Changed by a test.")
    live("pr.fetch", pull_number=number)
    assert any(each["number"] == number for each in live("pr.list", state="all", base=base)["pull_requests"])
    # One's own pull request can be commented on, but not approved.
    live("pr.review.create", pull_number=number, event="COMMENT", body=f"Review {stamp}")
    assert live("pr.reviews.list", pull_number=number)["reviews"]
    place = {"path": path, "line": 1, "side": "RIGHT", "commit_id": written["commit_sha"]}
    live("pr.review_comment.create", pull_number=number, body=f"Line {stamp}", **place)
    assert live("pr.review_comments.list", pull_number=number)["comments"]

    while undo:
        undo.pop()()
    assert live.called == OPERATIONS.keys()
    assert live.settled == set(WRITES)


def test_what_did_not_happen_is_absent(live: Live):
    given = {"title": "Interlock never opens this issue", "body": "It is only looked for."}
    live.expect(sdk.Verdict.ABSENT, "issue.create", given, live.clock.now())


def test_refusals_are_named(live: Live):
    with pytest.raises(sdk.ResourceNotFound):
        live("issue.fetch", issue_number=999_999_999)
    stranger = Account(URL, token="github_pat_of_nobody", login=None)
    with pytest.raises(sdk.AuthFailed):
        stranger.call("repo.fetch", now=live.clock.now(), repo=REPO)
    stranger.close()
