"""The GitHub connector against the GitHub-shaped API, over real HTTP: every operation does what it says."""

from collections.abc import Iterator
from typing import Any

import pytest

from fix_github import OPERATIONS, Account
from interlock import kernel, sdk, testing
from interlock.testing import github

REPO = "acme/rocket"
AGENT = "agent-token-1"


class Desk:
    """The agent at its desk: what it calls, it calls now."""

    def __init__(self, server: github.GitHub, clock: testing.ManualClock) -> None:
        self.server = server
        self.clock = clock
        self.account = Account(server.url, token=AGENT, login="octo-agent")

    def __call__(self, operation_id: str, **given: Any) -> dict[str, Any]:
        output = self.account.call(operation_id, now=self.clock.now(), **{"repo": REPO, **given})
        assert (output["repo"], output["actor"]) == (given.get("repo", REPO), "octo-agent")
        return output

    def main(self) -> str:
        return self("commits.list")["commits"][0]["sha"]

    def pull(self, branch: str = "topic") -> dict[str, Any]:
        """A pull request with one commit, which writes docs/plan.md."""
        self("git.ref.create", ref=f"refs/heads/{branch}", sha=self.main())
        self("contents.upsert", path="docs/plan.md", message="Plan", content="A plan.\n", branch=branch)
        return self("pr.create", title="Plan", head=branch, base="main", body="Please.")


@pytest.fixture(scope="module", name="running")
def _running() -> Iterator[tuple[github.GitHub, testing.ManualClock]]:
    clock = testing.ManualClock()
    with github.GitHub.start(
        tokens={AGENT: "octo-agent", "other-token-2": "mona"}, clock=clock, check_answers=True
    ) as it:
        yield it, clock


@pytest.fixture
def desk(running: tuple[github.GitHub, testing.ManualClock]) -> Iterator[Desk]:
    found = Desk(*running)
    yield found
    found.account.close()
    found.server.reset()


def test_a_repository_and_its_commits(desk: Desk):
    repository = desk("repo.fetch")
    assert (repository["full_name"], repository["default_branch"], repository["private"]) == (REPO, "main", False)
    first = desk("commits.list", per_page=1)
    assert first["commits"][0]["message"] == "Initial commit"
    assert "next_page" not in first
    desk("contents.upsert", path="a/b c.md", message="Two", content="2")
    listed = desk("commits.list", per_page=1)
    assert (listed["commits"][0]["message"], listed["next_page"]) == ("Two", 2)
    assert listed["commits"][0]["author"] == "octo-agent"
    assert [each["message"] for each in desk("commits.list", per_page=1, max_pages=5)["commits"]] == [
        "Two",
        "Initial commit",
    ]
    assert [each["message"] for each in desk("commits.list", path="a/b c.md", sha="main")["commits"]] == ["Two"]


def test_an_issue_from_its_opening_to_its_end(desk: Desk):
    issue = desk("issue.create", title="Leak", body="It drips.", labels=["bug"], assignees=["mona"])
    assert (issue["number"], issue["author"], issue["labels"], issue["assignees"]) == (
        1,
        "octo-agent",
        ["bug"],
        ["mona"],
    )
    assert desk("issue.label", issue_number=1, labels=["urgent"])["labels"] == ["bug", "urgent"]
    changed = desk("issue.update", issue_number=1, title="Big leak", labels=["urgent"])
    assert (changed["title"], changed["labels"], changed["body"]) == ("Big leak", ["urgent"], "It drips.")
    comment = desk("comment.create", issue_number=1, body="On my way.")
    edited = desk("comment.update", comment_id=comment["comment_id"], body="Done.")
    assert (edited["comment_id"], edited["body"], edited["author"]) == (comment["comment_id"], "Done.", "octo-agent")
    closed = desk("issue.close", issue_number=1)
    assert (closed["state"], closed["state_reason"]) == ("closed", "completed")
    fetched = desk("issue.fetch", issue_number=1)
    assert (fetched["state"], fetched["comments"]) == ("closed", 1)
    assert desk("issue.list")["issues"] == []
    assert [each["title"] for each in desk("issue.list", state="all")["issues"]] == ["Big leak"]


def test_lists_follow_pages(desk: Desk):
    desk.server.add_issues(REPO, 25)
    page = desk("issue.list", per_page=10)
    assert (len(page["issues"]), page["next_page"]) == (10, 2)
    joined = desk("issue.list", per_page=10, page=2, max_pages=2)
    assert [each["number"] for each in joined["issues"]] == list(range(15, 0, -1))
    assert "next_page" not in joined


def test_pull_requests_and_their_reviews(desk: Desk):
    pull = desk.pull()
    assert (pull["head"], pull["base"], pull["state"], pull["author"]) == ("topic", "main", "open", "octo-agent")
    assert (pull["commits"], pull["changed_files"], pull["merged"]) == (1, 1, False)
    number = pull["number"]
    assert desk("pr.update", pull_number=number, title="The plan")["title"] == "The plan"
    assert desk("pr.fetch", pull_number=number)["title"] == "The plan"
    assert [each["number"] for each in desk("pr.list", head="acme:topic", base="main")["pull_requests"]] == [number]
    assert desk("pr.list", state="closed")["pull_requests"] == []
    assert desk("issue.fetch", issue_number=number)["pull_request_url"] == pull["html_url"]

    review = desk(
        "pr.review.create", pull_number=number, event="COMMENT", body="See below.",
        comments=[{"path": "docs/plan.md", "line": 1, "body": "Which plan?"}],
    )  # fmt: skip
    assert (review["state"], review["pull_number"]) == ("COMMENTED", number)
    comment = desk(
        "pr.review_comment.create", pull_number=number, body="This one.", path="docs/plan.md", line=1, side="RIGHT",
        commit_id=pull["head_sha"],
    )  # fmt: skip
    assert (comment["path"], comment["line"], comment["side"]) == ("docs/plan.md", 1, "RIGHT")
    assert [each["review_id"] for each in desk("pr.reviews.list", pull_number=number)["reviews"]] == [
        review["review_id"]
    ]
    comments = desk("pr.review_comments.list", pull_number=number, sort="created", direction="desc")["comments"]
    assert [each["body"] for each in comments] == ["This one.", "Which plan?"]


def test_files_are_written_and_replaced(desk: Desk):
    first = desk("contents.upsert", path="docs/a b.md", message="One", content="Grüße\n")
    assert len(first["content_sha"]) == len(first["commit_sha"]) == 40
    person = {"name": "Mona", "email": "mona@example.com"}
    second = desk(
        "contents.upsert", path="docs/a b.md", message="Two", content="", sha=first["content_sha"], branch="main",
        author=person, committer={**person, "date": "2026-01-01T00:00:00Z"},
    )  # fmt: skip
    assert second["content_sha"] == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git's name of nothing
    with pytest.raises(sdk.ResourceConflict):
        desk("contents.upsert", path="docs/a b.md", message="Three", content="x")
    with pytest.raises(sdk.ResourceConflict):
        desk("contents.upsert", path="docs/a b.md", message="Three", content="x", sha=first["content_sha"])


def test_branches_and_tags_come_and_go(desk: Desk):
    sha = desk.main()
    made = desk("git.ref.create", ref="refs/heads/feature/x", sha=sha)
    assert (made["ref"], made["sha"], made["object_type"]) == ("refs/heads/feature/x", sha, "commit")
    desk("git.ref.create", ref="refs/tags/v1", sha=sha)
    with pytest.raises(sdk.ResourceConflict):
        desk("git.ref.create", ref="refs/tags/v1", sha=sha)
    gone = desk("git.ref.delete", ref="refs/heads/feature/x")
    assert (gone["ref"], gone["deleted"]) == ("refs/heads/feature/x", True)
    with pytest.raises(sdk.ResourceNotFound):
        desk("git.ref.delete", ref="refs/heads/feature/x")


def test_statuses_and_check_runs(desk: Desk):
    sha = desk.main()
    for state in ("pending", "success"):
        request = sdk.HttpRequest(
            method="POST", path=f"/repos/{REPO}/statuses/{sha}", json_body={"state": state, "context": "ci"}
        )
        assert desk.account.send(request).status == 201
    combined = desk("commit.statuses.get_combined", ref="main")
    assert (combined["sha"], combined["state"], combined["total_count"]) == (sha, "success", 1)
    assert [each["context"] for each in combined["statuses"]] == ["ci"]
    listed = desk("commit.statuses.list", ref=sha, per_page=1, max_pages=3)
    assert [(each["state"], each["author"]) for each in listed["statuses"]] == [
        ("success", "octo-agent"),
        ("pending", "octo-agent"),
    ]
    desk.server.add_check_run(REPO, "main", "lint", conclusion="failure")
    desk.server.add_check_run(REPO, "main", "test")
    runs = desk("check_runs.list_for_ref", ref="main", per_page=1, max_pages=5)
    assert (runs["total_count"], [run["name"] for run in runs["check_runs"]]) == (2, ["lint", "test"])
    assert (
        desk("check_runs.list_for_ref", ref="main", check_name="lint", filter="all")["check_runs"][0]["conclusion"]
        == "failure"
    )


@pytest.mark.parametrize(
    "operation_id", [name for name, each in OPERATIONS.items() if each.http and each.http.conditional]
)
def test_reads_can_be_asked_for_again_at_no_cost(desk: Desk, operation_id: str):
    number = desk.pull()["number"]
    given = {"ref": "main", "issue_number": number, "pull_number": number}
    fields = OPERATIONS[operation_id].input_schema["properties"]
    value = {"repo": REPO, **{name: value for name, value in given.items() if name in fields}}
    facts = sdk.Facts(subject="octo-agent", started_at=desk.clock.now())
    request = next(sdk.program(OPERATIONS[operation_id], value, facts))
    etag = desk.account.send(request).header("etag")
    assert etag is not None
    assert desk.account.send(request.with_header("if-none-match", etag)).status == 304


def test_limits_are_told():
    clock = kernel.SystemClock()  # the service tells its own time in the Date header
    with github.GitHub.start(tokens={AGENT: "octo-agent"}) as server:
        account = Account(server.url, token=AGENT, login="octo-agent")
        server.limit(remaining=0, reset_in=90)
        with pytest.raises(sdk.RateLimited) as raised:
            account.call("issue.list", now=clock.now(), repo=REPO)
        assert 80 < (raised.value.retry_after or 0) <= 91
        server.reset()
        server.fault("secondary_limit", match="issues/create", retry_after=7)
        with pytest.raises(sdk.RateLimited) as raised:
            account.call("issue.create", now=clock.now(), repo=REPO, title="x")
        assert (raised.value.retry_after, raised.value.effect) == (7, "none")
        assert server.effects("issues/create") == 0
        account.close()
