"""Unknown writes of the GitHub connector, settled by reading: they happened, they did not, or reading cannot tell."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import httpx2
import pytest

from fix_github import GITHUB_OPERATIONS, WRITES, Account
from interlock import sdk, testing
from interlock.testing import github

REPO = "acme/rocket"
AGENT, OTHER = "agent-token-1", "other-token-2"
HAPPENED, ABSENT, UNCLEAR = sdk.Verdict.HAPPENED, sdk.Verdict.ABSENT, sdk.Verdict.UNCLEAR


class Scene:
    """Two accounts at one service, and its clock."""

    def __init__(self, server: github.GitHub, clock: testing.ManualClock) -> None:
        self.server = server
        self.clock = clock
        self.agent = Account(server.url, token=AGENT, login="octo-agent")
        self.other = Account(server.url, token=OTHER, login="mona")

    def close(self) -> None:
        self.agent.close()
        self.other.close()

    def do(self, operation_id: str, *, by: Account | None = None, **given: Any) -> dict[str, Any]:
        return (by or self.agent).call(operation_id, now=self.clock.now(), **{"repo": REPO, **given})

    def lose(self, operation_id: str, given: dict[str, Any], *, applied: bool) -> datetime:
        """Let the agent's write be cut off, so that nobody knows what became of it; the moment when it began."""
        self.clock.advance(120)
        began = self.clock.now()
        github_id = GITHUB_OPERATIONS[operation_id]
        before = self.server.effects(github_id)
        self.server.fault("cut_before", match=github_id, apply=applied)
        with pytest.raises(httpx2.TransportError):
            self.do(operation_id, **given)
        assert self.server.effects(github_id) - before == applied
        self.clock.advance(2)
        return began

    def settle(self, operation_id: str, given: dict[str, Any], began: datetime) -> sdk.Reconciled:
        before = self.server.effects()
        settled = self.agent.settle(operation_id, since=began, **{"repo": REPO, **given})
        assert self.server.effects() == before
        return settled

    def main(self) -> str:
        return self.do("commits.list")["commits"][0]["sha"]

    def pull(self) -> dict[str, Any]:
        self.do("git.ref.create", ref="refs/heads/topic", sha=self.main())
        self.do("contents.upsert", path="plan.md", message="Plan", content="A plan.\n", branch="topic")
        return self.do("pr.create", title="Plan", head="topic", base="main", by=self.other)


@pytest.fixture(scope="module", name="running")
def _running() -> Iterator[tuple[github.GitHub, testing.ManualClock]]:
    clock = testing.ManualClock()
    with github.GitHub.start(tokens={AGENT: "octo-agent", OTHER: "mona"}, clock=clock, check_answers=True) as server:
        yield server, clock


@pytest.fixture
def scene(running: tuple[github.GitHub, testing.ManualClock]) -> Iterator[Scene]:
    found = Scene(*running)
    yield found
    found.close()
    found.server.reset()


def _issue(scene: Scene) -> int:
    return scene.do("issue.create", title="Leak", body="It drips.", labels=["bug"])["number"]


def _comment(scene: Scene) -> int:
    return scene.do("comment.create", issue_number=_issue(scene), body="First.")["comment_id"]


def _pull_create(scene: Scene) -> dict[str, Any]:
    scene.do("git.ref.create", ref="refs/heads/topic", sha=scene.main())
    scene.do("contents.upsert", path="plan.md", message="Plan", content="A plan.\n", branch="topic")
    return {"title": "Plan", "head": "acme:topic", "base": "main", "body": "Please."}


def _review_comment(scene: Scene) -> dict[str, Any]:
    pull = scene.pull()
    place: dict[str, Any] = {"path": "plan.md", "commit_id": pull["head_sha"], "line": 1, "side": "RIGHT"}
    return {"pull_number": pull["number"], "body": "Nit.", **place}


def _branch(scene: Scene) -> dict[str, Any]:
    # A longer name that begins alike must not be taken for it.
    for name in ("old", "older"):
        scene.do("git.ref.create", ref=f"refs/heads/{name}", sha=scene.main())
    return {"ref": "refs/heads/old"}


def _new_branch(scene: Scene) -> dict[str, Any]:
    scene.do("git.ref.create", ref="refs/heads/newer", sha=scene.main())
    return {"ref": "refs/heads/new", "sha": scene.main()}


SCENES: dict[str, Callable[[Scene], dict[str, Any]]] = {
    "comment.create": lambda scene: {"issue_number": _issue(scene), "body": "On\r\nmy way. "},
    "comment.update": lambda scene: {"comment_id": _comment(scene), "body": "Second."},
    "contents.upsert": lambda scene: {"path": "a/b c.md", "message": "Write", "content": "Grüße\n", "branch": "main"},
    "git.ref.create": _new_branch,
    "git.ref.delete": _branch,
    "issue.close": lambda scene: {"issue_number": _issue(scene)},
    "issue.create": lambda scene: {"title": "Leak", "body": "It drips.", "labels": ["bug"]},
    "issue.label": lambda scene: {"issue_number": _issue(scene), "labels": ["bug", "urgent"]},
    "issue.update": lambda scene: {"issue_number": _issue(scene), "title": "Flood", "labels": ["urgent", "wet"]},
    "pr.create": _pull_create,
    "pr.review.create": lambda scene: {"pull_number": scene.pull()["number"], "event": "APPROVE"},
    "pr.review_comment.create": _review_comment,
    "pr.update": lambda scene: {"pull_number": scene.pull()["number"], "title": "The plan", "body": "New."},
}
"""What must be there before each write, and the write's input."""

AUTHORED = ["comment.create", "issue.create", "pr.create", "pr.review.create", "pr.review_comment.create"]
REPEATABLE = [name for name in AUTHORED if name != "pr.create"]  # GitHub itself refuses a second one


def test_every_write_has_its_scene():
    assert sorted(SCENES) == WRITES


@pytest.mark.parametrize("operation_id", WRITES)
def test_what_happened_is_found(scene: Scene, operation_id: str):
    given = SCENES[operation_id](scene)
    began = scene.lose(operation_id, given, applied=True)
    settled = scene.settle(operation_id, given, began)
    assert (settled.verdict, settled.reason) == (HAPPENED, settled.reason)
    assert isinstance(settled.output, dict)
    assert (settled.output["repo"], settled.output["actor"]) == (REPO, "octo-agent")


@pytest.mark.parametrize("operation_id", WRITES)
def test_what_did_not_happen_is_absent(scene: Scene, operation_id: str):
    given = SCENES[operation_id](scene)
    began = scene.lose(operation_id, given, applied=False)
    assert scene.settle(operation_id, given, began).verdict is ABSENT


@pytest.mark.parametrize("operation_id", WRITES)
@pytest.mark.parametrize("kind", ["status:500", "status:404", "rate_limit", "garbage"])
def test_a_failing_read_proves_nothing(scene: Scene, operation_id: str, kind: str):
    if (operation_id, kind) == ("contents.upsert", "status:404"):
        return  # there 404 is how GitHub says that there is no such file
    given = SCENES[operation_id](scene)
    began = scene.lose(operation_id, given, applied=True)
    scene.server.fault(kind, match="GET *")
    settled = scene.settle(operation_id, given, began)
    assert settled.verdict is UNCLEAR
    assert settled.failure is not None


@pytest.mark.parametrize("operation_id", AUTHORED)
def test_the_same_by_somebody_else_does_not_count(scene: Scene, operation_id: str):
    given = SCENES[operation_id](scene)
    began = scene.lose(operation_id, given, applied=False)
    by = scene.other
    if operation_id == "pr.review.create":
        given = {**given, "event": "COMMENT", "body": "Good."}  # mona cannot approve what is hers
    scene.do(operation_id, by=by, **given)
    assert scene.settle(operation_id, given, began).verdict is ABSENT


@pytest.mark.parametrize("operation_id", AUTHORED)
def test_the_same_of_long_before_does_not_count(scene: Scene, operation_id: str):
    given = SCENES[operation_id](scene)
    scene.do(operation_id, **given)
    began = scene.lose(operation_id, given, applied=False)
    assert scene.settle(operation_id, given, began).verdict is ABSENT


@pytest.mark.parametrize("operation_id", REPEATABLE)
def test_two_that_match_are_unclear(scene: Scene, operation_id: str):
    given = SCENES[operation_id](scene)
    began = scene.lose(operation_id, given, applied=True)
    scene.do(operation_id, **given)
    settled = scene.settle(operation_id, given, began)
    assert (settled.verdict, settled.matches) == (UNCLEAR, 2)


def test_a_comment_is_found_behind_a_hundred_others(scene: Scene):
    number = _issue(scene)
    given: dict[str, Any] = {"issue_number": number, "body": "Mine."}
    scene.clock.advance(120)
    began = scene.clock.now()
    for index in range(105):
        scene.do("comment.create", by=scene.other, issue_number=number, body=f"Noise {index}")
    scene.do("comment.create", **given)
    assert scene.settle("comment.create", given, began).verdict is HAPPENED
    assert len(scene.server.requests("issues/list-comments")) == 2


def test_a_pull_request_is_no_issue(scene: Scene):
    given = _pull_create(scene)
    scene.clock.advance(120)
    began = scene.clock.now()
    scene.do("pr.create", **given)
    same = {"title": given["title"], "body": given["body"]}
    assert scene.settle("issue.create", same, began).verdict is ABSENT


def test_an_issue_whose_labels_were_dropped_is_not_opened_again(scene: Scene):
    began = scene.lose("issue.create", {"title": "Leak"}, applied=True)
    assert scene.settle("issue.create", {"title": "Leak", "labels": ["bug"]}, began).verdict is HAPPENED


def test_labels_of_an_update_are_compared_as_a_whole(scene: Scene):
    number = scene.do("issue.create", title="Leak", labels=["bug", "wet"])["number"]
    began = scene.clock.now()
    for labels, verdict in ((["wet", "bug"], HAPPENED), (["bug"], ABSENT), ([], ABSENT)):
        given: dict[str, Any] = {"issue_number": number, "labels": labels}
        assert scene.settle("issue.update", given, began).verdict is verdict


def test_a_body_that_was_emptied_is_seen(scene: Scene):
    number = _issue(scene)
    given: dict[str, Any] = {"issue_number": number, "body": ""}
    began = scene.clock.now()
    assert scene.settle("issue.update", given, began).verdict is ABSENT
    scene.do("issue.update", **given)
    assert scene.settle("issue.update", given, began).verdict is HAPPENED


def test_pull_requests_are_told_apart_by_branch(scene: Scene):
    given = _pull_create(scene)
    scene.do("git.ref.create", ref="refs/heads/topic-2", sha=scene.do("commits.list", sha="topic")["commits"][0]["sha"])
    other: dict[str, Any] = {**given, "head": "topic-2"}
    began = scene.clock.now()
    scene.do("pr.create", **other)
    assert scene.settle("pr.create", given, began).verdict is ABSENT
    assert scene.settle("pr.create", other, began).verdict is HAPPENED


def test_reviews_are_told_apart_by_what_they_say(scene: Scene):
    number = scene.pull()["number"]
    began = scene.clock.now()
    scene.do("pr.review.create", pull_number=number, event="COMMENT", body="Good.")
    for event, verdict in (("COMMENT", HAPPENED), ("APPROVE", ABSENT), (None, ABSENT)):
        given = {"pull_number": number, "body": "Good.", **({} if event is None else {"event": event})}
        assert scene.settle("pr.review.create", given, began).verdict is verdict


def test_comments_on_code_are_told_apart_by_line(scene: Scene):
    given = _review_comment(scene)
    began = scene.lose("pr.review_comment.create", given, applied=True)
    assert scene.settle("pr.review_comment.create", {**given, "line": 2}, began).verdict is ABSENT


def test_a_file_of_other_content_is_not_ours(scene: Scene):
    given = SCENES["contents.upsert"](scene)
    began = scene.lose("contents.upsert", given, applied=False)
    other: dict[str, Any] = {**given, "content": "Other.\n"}
    scene.do("contents.upsert", **other)
    assert scene.settle("contents.upsert", given, began).verdict is ABSENT
    with pytest.raises(sdk.ResourceConflict):  # so doing it again is safe
        scene.do("contents.upsert", **given)


def test_a_ref_at_another_commit_is_unclear(scene: Scene):
    given = _new_branch(scene)
    began = scene.lose("git.ref.create", given, applied=True)
    scene.do("contents.upsert", path="a.md", message="Move on", content="x", branch="new")
    assert scene.settle("git.ref.create", given, began).verdict is UNCLEAR


def test_a_repository_out_of_sight_is_no_deleted_ref(scene: Scene):
    given: dict[str, Any] = {"repo": "acme/elsewhere", "ref": "refs/heads/old"}
    assert scene.settle("git.ref.delete", given, scene.clock.now()).verdict is UNCLEAR


def test_without_a_name_nothing_is_claimed(scene: Scene):
    began = scene.lose("issue.create", {"title": "Leak"}, applied=True)
    nobody = Account(scene.server.url, token=AGENT, login=None)
    assert nobody.settle("issue.create", since=began, repo=REPO, title="Leak").verdict is UNCLEAR
    nobody.close()
