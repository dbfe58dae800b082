"""Issues. To GitHub a pull request is an issue too, so lists and fetches may answer with one; `pull_request_url` tells."""

from typing import Final, Literal

from pydantic import ConfigDict, Field

from interlock import sdk
from interlock.connectors.github import rest

_ISSUE: Final = "/repos/{repo}/issues/{issue_number}"


class Issue(sdk.Record):
    number: int
    title: str
    body: str | None = sdk.at("/body")
    state: str
    state_reason: str | None = sdk.at("/state_reason")
    labels: list[str] = sdk.at("/labels/*/name")
    assignees: list[str] | None = sdk.at("/assignees/*/login", required=False)
    author: str | None = sdk.at("/user/login")
    comments: int = sdk.at("/comments", description="How many there are.")
    html_url: str
    created_at: str
    updated_at: str
    closed_at: str | None = sdk.at("/closed_at")
    pull_request_url: str | None = sdk.at(
        "/pull_request/html_url", required=False, description="Given only where the issue is a pull request."
    )


class IssueHere(Issue, rest.Here):
    pass


class Issues(rest.Listed):
    issues: list[Issue] = sdk.at("")


class IssueList(sdk.Page):
    """List issues, newest first. GitHub lists pull requests among them: those have a `pull_request_url`."""

    repo: sdk.Repo
    state: Literal["open", "closed", "all"] | None = None
    sort: Literal["created", "updated", "comments"] | None = None
    direction: Literal["asc", "desc"] | None = None
    since: rest.Moment | None = Field(default=None, description="Only those that changed then or later.")


class IssueFetch(sdk.Input):
    """Fetch an issue, or a pull request as an issue."""

    repo: sdk.Repo
    issue_number: rest.Number


class IssueCreate(sdk.Input):
    """Open an issue. Without push access GitHub silently drops labels and assignees."""

    repo: sdk.Repo
    title: rest.Text
    body: str | None = None
    labels: list[str] | None = None
    assignees: list[str] | None = None


class IssueUpdate(sdk.Input):
    """Change an issue. Labels and assignees replace those that are there."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 3})  # repo, issue_number and at least one change

    repo: sdk.Repo
    issue_number: rest.Number
    title: rest.Text | None = None
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    labels: list[str] | None = None
    assignees: list[str] | None = None


class IssueLabel(sdk.Input):
    """Add labels to an issue; those that are there stay."""

    repo: sdk.Repo
    issue_number: rest.Number
    labels: list[rest.Text] = Field(min_length=1)


class Labels(rest.Here):
    issue_number: int = sdk.echo("issue_number")
    labels: list[str] = sdk.at("/*/name", description="All labels of the issue.")


class IssueClose(sdk.Input):
    """Close an issue."""

    repo: sdk.Repo
    issue_number: rest.Number


OPERATIONS: Final = [
    rest.pages(
        "issue.list",
        "/repos/{repo}/issues",
        pagination=sdk.link_pages(),
        input=IssueList,
        output=Issues,
        surface=sdk.common("work_item.list", "list_work_items"),
    ),
    rest.get(
        "issue.fetch",
        _ISSUE,
        input=IssueFetch,
        output=IssueHere,
        surface=sdk.common("work_item.fetch", "fetch_work_item"),
    ),
    rest.post(
        "issue.create",
        "/repos/{repo}/issues",
        input=IssueCreate,
        output=IssueHere,
        surface=sdk.common("work_item.create", "create_work_item"),
        # Labels and assignees are not compared: GitHub drops them from those who may not set them, and an issue that
        # was overlooked would be opened twice.
        reconcile=sdk.find(
            "/repos/{repo}/issues",
            query={"state": "all", "creator": "{subject}", "sort": "created", "direction": "desc", "per_page": 100},
            items="",
            since="/created_at",
            newest_first=True,
            match={
                "/title": "{input.title}",
                "/body": "{input.body}",
                "/user/login": "{subject}",
                "/pull_request": None,
            },
        ),
    ),
    rest.patch(
        "issue.update",
        _ISSUE,
        input=IssueUpdate,
        output=IssueHere,
        surface=sdk.common("work_item.update", "update_work_item"),
        reconcile=sdk.find(
            _ISSUE,
            match={
                "/title": sdk.same("{input.title}", optional=True),
                "/body": sdk.same("{input.body}", optional=True),
                "/state": sdk.same("{input.state}", optional=True),
                "/labels/*/name": sdk.same("{input.labels}", op="set", optional=True),
                "/assignees/*/login": sdk.same("{input.assignees}", op="set", optional=True),
            },
        ),
    ),
    rest.post(
        "issue.label",
        f"{_ISSUE}/labels",
        input=IssueLabel,
        output=Labels,
        effect="update",
        idempotency="natural",
        surface=sdk.local("labels by name are GitHub's way; other services have tags, types or none"),
        # An issue has at most 100 labels: one page.
        reconcile=sdk.find(
            f"{_ISSUE}/labels",
            query={"per_page": 100},
            match={"/*/name": sdk.same("{input.labels}", op="subset")},
        ),
    ),
    rest.patch(
        "issue.close",
        _ISSUE,
        input=IssueClose,
        output=IssueHere,
        constants={"state": "closed"},
        surface=sdk.common("work_item.close", "close_work_item"),
        reconcile=sdk.find(_ISSUE, match={"/state": "closed"}),
    ),
]
