"""Pull requests, their reviews, and comments on their code."""

from collections.abc import Mapping
from typing import Any

from interlock.testing.github import code_shapes, events
from interlock.testing.github.answers import Answer, Ask, Handler, Refusal, invalid
from interlock.testing.github.issues import Snapshot, edits, ordered, set_state, since, text
from interlock.testing.github.world import Comment, Commit, Issue, Pull, Repository, Review

_STATES = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}
_PLACE = ("path", "position", "line", "side", "start_line", "start_side", "subject_type")


def list_pulls(ask: Ask) -> Answer:
    query = ask.query
    head = query.get("head", "").removeprefix(f"{ask.repo.owner}:")
    found = [
        issue
        for issue in ask.repo.issues.values()
        if issue.pull
        and query["state"] in {"all", issue.state}
        and head in {"", issue.pull.head}
        and query.get("base", issue.pull.base) == issue.pull.base
    ]
    # GitHub's default direction: newest first, except for other sortings.
    ordered(found, query, direction="desc" if query.get("sort") == "created" else "asc")
    items, links = ask.page(found)
    return Answer(
        body=[code_shapes.pull(ask.world, ask.repo, issue, issue.pull) for issue in items if issue.pull], headers=links
    )


def get_pull(ask: Ask) -> Answer:
    issue, pull = _fetch_pull(ask)
    return Answer(body=_full(ask, issue, pull))


def create_pull(ask: Ask) -> Answer:
    repo, body = ask.repo, ask.body
    if "issue" in body or "head_repo" in body:
        raise Refusal(422, "This fake makes pull requests neither from issues nor across repositories.")
    head = body["head"].removeprefix(f"{repo.owner}:")
    for field_name, branch in (("head", head), ("base", body["base"])):
        if f"refs/heads/{branch}" not in repo.refs:
            raise invalid("PullRequest", field_name)
    title = text(body.get("title", ""), "PullRequest", "title")
    pull = Pull(
        head=head,
        base=body["base"],
        draft=body.get("draft", False),
        maintainer_can_modify=body.get("maintainer_can_modify", True),
    )
    for issue in repo.issues.values():
        if issue.pull and issue.state == "open" and (issue.pull.head, issue.pull.base) == (pull.head, pull.base):
            raise _custom(f"A pull request already exists for {repo.owner}:{head}.")
    if not _commits(repo, pull):
        raise _custom(f"No commits between {pull.base} and {head}")
    issue = ask.world.add_issue(repo, login=ask.login, title=title, body=body.get("body"), pull=pull)
    shape = _full(ask, issue, pull)
    _tell(ask, "opened", issue, pull)
    return Answer(status=201, body=shape, headers={"location": shape["url"]}, applied=True)


def update_pull(ask: Ask) -> Answer:
    issue, pull = _fetch_pull(ask)
    body = ask.body
    base = body.get("base", pull.base)
    if f"refs/heads/{base}" not in ask.repo.refs:
        raise invalid("PullRequest", "base")
    before = Snapshot.of(issue)
    issue.title = text(body.get("title", issue.title), "PullRequest", "title")
    issue.body = body.get("body", issue.body)
    pull.base = base
    pull.maintainer_can_modify = body.get("maintainer_can_modify", pull.maintainer_can_modify)
    set_state(ask, issue, body.get("state", issue.state))
    issue.updated_at = ask.world.now()
    if changes := edits(issue, before):
        _tell(ask, "edited", issue, pull, changes=changes)
    if issue.state != before.state:
        _tell(ask, "closed" if issue.state == "closed" else "reopened", issue, pull)
    return Answer(body=_full(ask, issue, pull), applied=True)


def list_reviews(ask: Ask) -> Answer:
    issue, pull = _fetch_pull(ask)
    items, links = ask.page(list(pull.reviews.values()))
    return Answer(body=[code_shapes.review(ask.world, ask.repo, issue.number, item) for item in items], headers=links)


def get_review(ask: Ask) -> Answer:
    issue, pull = _fetch_pull(ask)
    review = pull.reviews.get(int(ask.path["review_id"]))
    if review is None:
        raise Refusal(404, "Not Found")
    return Answer(body=code_shapes.review(ask.world, ask.repo, issue.number, review))


def create_review(ask: Ask) -> Answer:
    issue, pull = _fetch_pull(ask)
    body = ask.body
    event = body.get("event")
    if event in {"APPROVE", "REQUEST_CHANGES"} and ask.login == issue.login:
        verb = "approve" if event == "APPROVE" else "request changes on"
        raise Refusal(422, "Unprocessable Entity", errors=[f"Can not {verb} your own pull request"])
    if event in {"REQUEST_CHANGES", "COMMENT"} and not body.get("body") and not body.get("comments"):
        raise Refusal(422, "Unprocessable Entity", errors=["Could not add a review: the body can't be blank"])
    commits = _commits(ask.repo, pull)
    if not commits:
        raise Refusal(422, "Unprocessable Entity", errors=["The pull request has no commits"])
    commit_id = body.get("commit_id") or commits[0].sha
    now = ask.world.now()
    review = Review(
        review_id=ask.world.new_id(),
        login=ask.login,
        body=body.get("body", ""),
        state=_STATES.get(event or "", "PENDING"),
        commit_id=commit_id,
        submitted_at=now if event else None,
    )
    entries = [{"side": "RIGHT", **entry, "commit_id": commit_id} for entry in body.get("comments", ())]
    for entry in entries:
        if field_name := _wrong_field(ask, pull, entry):
            raise Refusal(422, "Unprocessable Entity", errors=[f"{field_name} is invalid"])
    pull.reviews[review.review_id] = review
    for entry in entries:
        _add_comment(ask, issue, entry, review_id=review.review_id)
    return Answer(body=code_shapes.review(ask.world, ask.repo, issue.number, review), applied=True)


def list_review_comments(ask: Ask) -> Answer:
    issue, _ = _fetch_pull(ask)
    by = "updated_at" if ask.query["sort"] == "updated" else "created_at"
    found = [
        comment
        for comment in ask.repo.review_comments.values()
        if comment.number == issue.number and not since(ask.query, comment.updated_at)
    ]
    found.sort(
        key=lambda comment: (getattr(comment, by), comment.comment_id), reverse=ask.query.get("direction") == "desc"
    )
    items, links = ask.page(found)
    return Answer(body=[code_shapes.review_comment(ask.world, ask.repo, item) for item in items], headers=links)


def get_review_comment(ask: Ask) -> Answer:
    comment = ask.repo.review_comments.get(int(ask.path["comment_id"]))
    if comment is None:
        raise Refusal(404, "Not Found")
    return Answer(body=code_shapes.review_comment(ask.world, ask.repo, comment))


def create_review_comment(ask: Ask) -> Answer:
    issue, pull = _fetch_pull(ask)
    if "in_reply_to" in ask.body:
        raise Refusal(422, "This fake does not thread replies.")
    entry = {"side": "RIGHT", **ask.body}
    if field_name := _wrong_field(ask, pull, entry):
        raise invalid("PullRequestReviewComment", field_name)
    comment = _add_comment(ask, issue, entry)
    shape = code_shapes.review_comment(ask.world, ask.repo, comment)
    return Answer(status=201, body=shape, headers={"location": shape["url"]}, applied=True)


def _tell(ask: Ask, action: str, issue: Issue, pull: Pull, **more: Any) -> None:
    if ask.repo.hooks:
        shape = _full(ask, issue, pull)
        about = {"action": action, "number": issue.number, "pull_request": shape, **more}
        events.tell(ask.world, ask.repo, ask.login, "pull_request", **about)


def _full(ask: Ask, issue: Issue, pull: Pull) -> dict[str, Any]:
    return code_shapes.full_pull(ask.world, ask.repo, issue, pull, commits=_commits(ask.repo, pull))


def _fetch_pull(ask: Ask) -> tuple[Issue, Pull]:
    issue = ask.fetch_issue("pull_number")
    if issue.pull is None:
        raise Refusal(404, "Not Found")
    return issue, issue.pull


def _commits(repo: Repository, pull: Pull) -> list[Commit]:
    """The commits of the head that the base does not have, newest first; none if the head's branch is gone."""
    head, base = repo.find_commit(f"heads/{pull.head}"), repo.find_commit(f"heads/{pull.base}")
    if head is None or base is None:
        return []
    known = {commit.sha for commit in repo.history(base)}
    return [commit for commit in repo.history(head) if commit.sha not in known]


def _custom(message: str) -> Refusal:
    return Refusal(422, "Validation Failed", errors=[{"resource": "PullRequest", "code": "custom", "message": message}])


def _wrong_field(ask: Ask, pull: Pull, entry: Mapping[str, Any]) -> str | None:
    """The field that makes a comment on code impossible."""
    commits = _commits(ask.repo, pull)
    if entry["commit_id"] not in {commit.sha for commit in commits}:
        return "commit_id"
    if entry["path"] not in {path for commit in commits for path in ask.repo.changed(commit)}:
        return "pull_request_review_thread.path"
    if entry.get("subject_type") != "file" and not {"line", "position"} & entry.keys():
        return "pull_request_review_thread.line"
    return None if entry["body"].strip() else "body"


def _add_comment(ask: Ask, issue: Issue, entry: Mapping[str, Any], review_id: int | None = None) -> Comment:
    now = ask.world.now()
    place = {name: entry[name] for name in _PLACE if name in entry}
    comment = Comment(
        comment_id=ask.world.new_id(),
        number=issue.number,
        login=ask.login,
        body=entry["body"],
        created_at=now,
        updated_at=now,
        review_id=review_id,
        place={**place, "commit_id": entry["commit_id"]},
    )
    ask.repo.review_comments[comment.comment_id] = comment
    return comment


OPERATIONS: dict[str, Handler] = {
    "pulls/list": list_pulls,
    "pulls/get": get_pull,
    "pulls/create": create_pull,
    "pulls/update": update_pull,
    "pulls/list-reviews": list_reviews,
    "pulls/get-review": get_review,
    "pulls/create-review": create_review,
    "pulls/list-review-comments": list_review_comments,
    "pulls/get-review-comment": get_review_comment,
    "pulls/create-review-comment": create_review_comment,
}
