"""What GitHub reports by webhooks: the events of a repository, as far as most need them. GitHub sends much more in each; what is
not named here is handed on as it came."""

from typing import Any, Final, Literal

from pydantic import Field

from interlock import sdk
from interlock.connectors.github import rest

_FILTERS: Final = {"repo": "/repository/full_name", "actions": "/action", "refs": "/ref"}
"""Where in an event is what a trigger's config may ask for."""


class Account(sdk.Record):
    login: str
    id: int


class Repository(sdk.Record):
    id: int
    name: str
    full_name: str = Field(description="owner/name")
    private: bool
    html_url: str
    default_branch: str


class Event(sdk.Record):
    repository: Repository
    sender: Account | None = Field(default=None, description="Who did it.")


class Label(sdk.Record):
    name: str


class Issue(sdk.Record):
    id: int
    number: int
    title: str
    body: str | None
    state: Literal["open", "closed"] | None = None
    html_url: str
    user: Account | None = Field(description="Who opened it.")
    labels: list[Label | None] | None = None
    assignees: list[Account | None]
    comments: int = Field(description="How many there are.")
    created_at: rest.Moment
    updated_at: rest.Moment
    closed_at: rest.Moment | None
    pull_request: dict[str, Any] | None = Field(default=None, description="Given only where it is a pull request.")


class IssueEvent(Event):
    action: str
    issue: Issue
    changes: dict[str, Any] | None = Field(default=None, description="What edited texts were before, as `from`.")
    label: Label | None = Field(default=None, description="Which label was added or removed.")


class Comment(sdk.Record):
    id: int
    body: str
    html_url: str
    user: Account | None
    created_at: rest.Moment
    updated_at: rest.Moment


class CommentEvent(Event):
    action: str
    issue: Issue
    comment: Comment


class Tip(sdk.Record):
    ref: str = Field(description="The branch.")
    sha: str


class PullRequest(sdk.Record):
    id: int
    number: int
    title: str
    body: str | None
    state: Literal["open", "closed"]
    draft: bool | None = None
    html_url: str
    user: Account | None
    head: Tip
    base: Tip
    labels: list[Label]
    created_at: rest.Moment
    updated_at: rest.Moment
    closed_at: rest.Moment | None
    merged_at: rest.Moment | None
    merge_commit_sha: str | None


class PullRequestEvent(Event):
    action: str
    number: int
    pull_request: PullRequest


class Person(sdk.Record):
    name: str
    email: str | None
    username: str | None = Field(default=None, description="The account, if GitHub knows it.")


class Commit(sdk.Record):
    id: str = Field(description="Its SHA.")
    message: str
    timestamp: rest.Moment
    url: str
    author: Person
    added: list[str] | None = None
    removed: list[str] | None = None
    modified: list[str] | None = None


class PushEvent(Event):
    ref: str = Field(description="Such as refs/heads/main or refs/tags/v1.")
    before: str = Field(description="Zeros where there was nothing before.")
    after: str = Field(description="Zeros where it was deleted.")
    created: bool
    deleted: bool
    forced: bool
    compare: str
    commits: list[Commit] = Field(description="The new ones, oldest first; GitHub tells of at most 2048.")
    head_commit: Commit | None
    pusher: dict[str, Any]


class App(sdk.Record):
    slug: str | None = None
    name: str


class CheckRun(sdk.Record):
    id: int
    name: str
    head_sha: str
    status: str
    conclusion: str | None
    html_url: str
    started_at: rest.Moment
    completed_at: rest.Moment | None
    app: App | None


class CheckRunEvent(Event):
    action: str | None = None
    check_run: CheckRun


class Release(sdk.Record):
    id: int
    tag_name: str
    name: str | None
    body: str | None
    draft: bool
    prerelease: bool
    html_url: str
    target_commitish: str
    author: Account | None
    created_at: rest.Moment | None
    published_at: rest.Moment | None


class ReleaseEvent(Event):
    action: str
    release: Release


class Hook(sdk.Record):
    id: int
    active: bool
    events: list[str]


class PingEvent(sdk.Record):
    zen: str
    hook_id: int
    hook: Hook
    repository: Repository | None = Field(default=None, description="Absent for a hook of an organization.")
    sender: Account | None = None


_ISSUE_ACTIONS: Final = (
    "opened", "edited", "deleted", "transferred", "pinned", "unpinned", "closed", "reopened", "assigned", "unassigned",
    "labeled", "unlabeled", "locked", "unlocked", "milestoned", "demilestoned", "typed", "untyped", "field_added",
    "field_removed",
)  # fmt: skip
_PULL_REQUEST_ACTIONS: Final = (
    "opened", "edited", "closed", "reopened", "synchronize", "converted_to_draft", "ready_for_review", "assigned",
    "unassigned", "labeled", "unlabeled", "locked", "unlocked", "milestoned", "demilestoned", "review_requested",
    "review_request_removed", "auto_merge_enabled", "auto_merge_disabled", "enqueued", "dequeued", "stacked",
)  # fmt: skip
_RELEASE_ACTIONS: Final = ("created", "edited", "deleted", "published", "unpublished", "prereleased", "released")


def _config(**lists: sdk.Schema) -> sdk.Schema:
    """What may be asked of an event: the repository, and lists of which one has to fit."""
    repo: sdk.Schema = {
        "type": "string",
        "pattern": "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$",
        "description": "Only of this repository, owner/name.",
    }
    wanted = {
        name: {"type": "array", "items": each, "minItems": 1, "uniqueItems": True, "description": f"Only these {name}."}
        for name, each in lists.items()
    }
    return {"type": "object", "properties": {"repo": repo, **wanted}, "additionalProperties": False}


def _event(event: str, signal: type[sdk.Record], about: str, *, config: sdk.Schema) -> sdk.Draft:
    return sdk.trigger(
        event,
        "webhook",
        signal=signal,
        about=about,
        config=config,
        event={"header": "X-GitHub-Event", "values": [event]},
        filters={name: _FILTERS[name] for name in config["properties"]},
        verification={"scheme": "github"},
        surface=sdk.local("it is told as GitHub tells it"),
    )


def _acted(event: str, signal: type[sdk.Record], about: str, *actions: str) -> sdk.Draft:
    return _event(event, signal, about, config=_config(actions={"enum": list(actions)}))


TRIGGERS: Final = [
    _acted("issues", IssueEvent, "An issue was opened, edited, labeled, closed, or the like.", *_ISSUE_ACTIONS),
    _acted(
        "issue_comment",
        CommentEvent,
        "Somebody commented on an issue or a pull request, or changed a comment.",
        *("created", "edited", "deleted", "pinned", "unpinned"),
    ),
    _acted(
        "pull_request",
        PullRequestEvent,
        "A pull request was opened, pushed to, reviewers were asked, it was closed, or the like.",
        *_PULL_REQUEST_ACTIONS,
    ),
    _event(
        "push",
        PushEvent,
        "Commits were pushed, or a branch or a tag was made or deleted.",
        config=_config(refs={"type": "string", "pattern": "^refs/.", "examples": ["refs/heads/main"]}),
    ),
    _acted(
        "check_run",
        CheckRunEvent,
        "A check of a commit began, came to its end, or is wanted again.",
        *("created", "completed", "rerequested", "requested_action"),
    ),
    _acted("release", ReleaseEvent, "A release was published, changed or withdrawn.", *_RELEASE_ACTIONS),
    _event("ping", PingEvent, "GitHub made the webhook, and tries whether somebody listens.", config=_config()),
]
