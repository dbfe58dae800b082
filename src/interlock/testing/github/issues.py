"""Issues, labels and comments."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from interlock.testing.github import events, shapes
from interlock.testing.github.answers import Answer, Ask, Handler, Refusal, invalid
from interlock.testing.github.world import Comment, Issue

_BODY_LIMIT = 65_536


def list_issues(ask: Ask) -> Answer:
    query = ask.query
    if query.get("milestone", "none") not in {"none", "*"}:
        raise invalid("Issue", "milestone")
    labels = {name.lower() for name in query.get("labels", "").split(",") if name}
    found = [
        issue
        for issue in ask.repo.issues.values()
        if query["state"] in {"all", issue.state}
        and labels <= {name.lower() for name in issue.labels}
        and query.get("creator", issue.login) == issue.login
        and _assignee_matches(query.get("assignee", "any"), issue)
        and f"@{query.get('mentioned', '')}" in f"@ {issue.body}"
        and not since(query, issue.updated_at)
        and query.get("milestone") != "*"
    ]
    ordered(found, query)
    items, links = ask.page(found)
    return Answer(body=[shapes.issue(ask.world, ask.repo, issue) for issue in items], headers=links)


def get_issue(ask: Ask) -> Answer:
    return Answer(body=shapes.issue(ask.world, ask.repo, ask.fetch_issue()))


def create_issue(ask: Ask) -> Answer:
    changes = _checked(ask, ask.body)
    issue = ask.world.add_issue(ask.repo, login=ask.login, title=changes["title"], body=changes.get("body"))
    _apply(ask, issue, changes)
    shape = shapes.issue(ask.world, ask.repo, issue)
    events.issue(ask.world, ask.repo, ask.login, "opened", issue)
    return Answer(status=201, body=shape, headers={"location": shape["url"]}, applied=True)


def update_issue(ask: Ask) -> Answer:
    issue = ask.fetch_issue()
    changes = _checked(ask, ask.body)
    before = Snapshot.of(issue)
    _apply(ask, issue, changes)
    tell_changes(ask, issue, before)
    return Answer(body=shapes.issue(ask.world, ask.repo, issue), applied=True)


def list_labels(ask: Ask) -> Answer:
    issue = ask.fetch_issue()
    items, links = ask.page(issue.labels)
    return Answer(body=[shapes.label(ask.world, ask.repo, ask.repo.labels[name]) for name in items], headers=links)


def add_labels(ask: Ask) -> Answer:
    issue = ask.fetch_issue()
    before = Snapshot.of(issue)
    for name in _names(ask.body.get("labels", ())):
        label = ask.world.add_label(ask.repo, name)
        if label.name not in issue.labels:
            issue.labels.append(label.name)
    issue.updated_at = ask.world.now()
    tell_changes(ask, issue, before)
    return Answer(
        body=[shapes.label(ask.world, ask.repo, ask.repo.labels[name]) for name in issue.labels], applied=True
    )


def list_comments(ask: Ask) -> Answer:
    issue = ask.fetch_issue()
    found = [
        comment
        for comment in ask.repo.comments.values()
        if comment.number == issue.number and not since(ask.query, comment.updated_at)
    ]
    items, links = ask.page(found)
    return Answer(body=[shapes.comment(ask.world, ask.repo, comment) for comment in items], headers=links)


def create_comment(ask: Ask) -> Answer:
    issue = ask.fetch_issue()
    now = ask.world.now()
    comment = Comment(
        comment_id=ask.world.new_id(),
        number=issue.number,
        login=ask.login,
        body=text(ask.body["body"], "IssueComment", "body"),
        created_at=now,
        updated_at=now,
    )
    ask.repo.comments[comment.comment_id] = comment
    issue.updated_at = now
    shape = shapes.comment(ask.world, ask.repo, comment)
    events.comment(ask.world, ask.repo, ask.login, "created", comment)
    return Answer(status=201, body=shape, headers={"location": shape["url"]}, applied=True)


def get_comment(ask: Ask) -> Answer:
    return Answer(body=shapes.comment(ask.world, ask.repo, _fetch_comment(ask)))


def update_comment(ask: Ask) -> Answer:
    comment = _fetch_comment(ask)
    changes = {"body": {"from": comment.body}}
    comment.body = text(ask.body["body"], "IssueComment", "body")
    comment.updated_at = ask.world.now()
    events.comment(ask.world, ask.repo, ask.login, "edited", comment, changes=changes)
    return Answer(body=shapes.comment(ask.world, ask.repo, comment), applied=True)


def text(value: str, resource: str, field_name: str) -> str:
    """The text, if it says something and is not too long. Refuses with 422."""
    if not value.strip():
        raise invalid(resource, field_name, "missing_field")
    if len(value) > _BODY_LIMIT:
        raise invalid(resource, field_name, "custom", message=f"{field_name} is too long (maximum is 65536 characters)")
    return value


def since(query: Mapping[str, Any], moment: datetime) -> bool:
    """Whether the moment is before the `since` of the query."""
    return "since" in query and moment < datetime.fromisoformat(query["since"])


def ordered(found: list[Issue], query: Mapping[str, Any], *, direction: str = "desc") -> None:
    """Sort by the query's `sort` and `direction`; the number decides between equals, as it grows with time."""
    by = query.get("sort", "created")
    found.sort(
        key=lambda issue: (issue.updated_at if by == "updated" else issue.created_at, issue.number),
        reverse=query.get("direction", direction) == "desc",
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What others are told about when it changes."""

    title: str
    body: str | None
    state: str
    labels: tuple[str, ...]

    @classmethod
    def of(cls, issue: Issue) -> "Snapshot":
        """How it is now."""
        return cls(issue.title, issue.body, issue.state, tuple(issue.labels))


def tell_changes(ask: Ask, issue: Issue, before: Snapshot) -> None:
    """Tell what became of an issue that is no pull request, in the order in which GitHub does."""
    if issue.pull is not None:
        return
    told = functools.partial(events.issue, ask.world, ask.repo, ask.login, item=issue)
    if changes := edits(issue, before):
        told("edited", changes=changes)
    for name in issue.labels:
        if name not in before.labels:
            told("labeled", label=shapes.label(ask.world, ask.repo, ask.repo.labels[name]))
    for name in before.labels:
        if name not in issue.labels:
            told("unlabeled", label=shapes.label(ask.world, ask.repo, ask.repo.labels[name]))
    if issue.state != before.state:
        told("closed" if issue.state == "closed" else "reopened")


def edits(issue: Issue, before: Snapshot) -> dict[str, Any]:
    """The texts that are different now, and what they were."""
    texts = {"title": (before.title, issue.title), "body": (before.body, issue.body)}
    return {name: {"from": was} for name, (was, now) in texts.items() if was != now}


def set_state(ask: Ask, issue: Issue, state: str, reason: str | None = None) -> None:
    """Open or close."""
    if state == issue.state:
        return
    issue.state = state
    closed = state == "closed"
    issue.closed_at = ask.world.now() if closed else None
    issue.closed_by = ask.login if closed else None
    issue.state_reason = None if issue.pull else reason or ("completed" if closed else "reopened")


def _checked(ask: Ask, body: Mapping[str, Any]) -> dict[str, Any]:
    """The wanted changes, checked before anything is changed."""
    changes = dict(body)
    if "title" in changes:
        changes["title"] = text(str(changes["title"]), "Issue", "title")
    if changes.get("body"):
        text(changes["body"], "Issue", "body")
    for field_name in ("milestone", "type", "issue_field_values"):  # none of them exists here
        if changes.get(field_name):
            raise invalid("Issue", field_name, value=str(changes[field_name]))
    if changes.get("assignee"):
        changes["assignees"] = [changes["assignee"]]
    logins = [entry if isinstance(entry, str) else entry["login"] for entry in changes.get("assignees", ())]
    unknown = [login for login in logins if not ask.world.knows(login)]
    if unknown:
        raise invalid("Issue", "assignees", value=unknown)
    if "assignees" in changes:
        changes["assignees"] = logins
    return changes


def _apply(ask: Ask, issue: Issue, changes: dict[str, Any]) -> None:
    issue.title = changes.get("title", issue.title)
    issue.body = changes.get("body", issue.body)
    if "labels" in changes:
        labels = [ask.world.add_label(ask.repo, name).name for name in _names(changes["labels"])]
        issue.labels = list(dict.fromkeys(labels))
    issue.assignees = list(dict.fromkeys(changes.get("assignees", issue.assignees)))
    set_state(ask, issue, changes.get("state", issue.state), changes.get("state_reason"))
    issue.updated_at = ask.world.now()


def _names(labels: Sequence[Any]) -> list[str]:
    return [label if isinstance(label, str) else label["name"] for label in labels]


def _assignee_matches(wanted: str, issue: Issue) -> bool:
    if wanted == "none":
        return not issue.assignees
    if wanted == "*":
        return bool(issue.assignees)
    return wanted == "any" or wanted in issue.assignees


def _fetch_comment(ask: Ask) -> Comment:
    comment = ask.repo.comments.get(int(ask.path["comment_id"]))
    if comment is None:
        raise Refusal(404, "Not Found")
    return comment


OPERATIONS: dict[str, Handler] = {
    "issues/list-for-repo": list_issues,
    "issues/get": get_issue,
    "issues/create": create_issue,
    "issues/update": update_issue,
    "issues/list-labels-on-issue": list_labels,
    "issues/add-labels": add_labels,
    "issues/list-comments": list_comments,
    "issues/create-comment": create_comment,
    "issues/get-comment": get_comment,
    "issues/update-comment": update_comment,
}
