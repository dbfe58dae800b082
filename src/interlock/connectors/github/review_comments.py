"""Comments on the code of pull requests."""

from collections.abc import Mapping
from typing import Final, Literal

from interlock import sdk
from interlock.connectors.github import rest
from interlock.kernel import JSON

_COMMENTS: Final = "/repos/{repo}/pulls/{pull_number}/comments"
_SURFACE: Final = sdk.local("comments on lines of code are what a code host has; other services have nothing alike")


class ReviewComment(sdk.Record):
    comment_id: int = sdk.at("/id")
    review_id: int | None = sdk.at("/pull_request_review_id")
    body: str
    path: str
    line: int | None = sdk.at("/line", required=False, description="Absent once the comment is outdated.")
    side: str | None = sdk.at("/side", required=False)
    start_line: int | None = sdk.at("/start_line", required=False)
    in_reply_to_id: int | None = sdk.at("/in_reply_to_id", required=False)
    author: str | None = sdk.at("/user/login")
    commit_id: str
    html_url: str
    created_at: str
    updated_at: str


class ReviewCommentHere(ReviewComment, rest.Here):
    pull_number: int = sdk.echo("pull_number")


class ReviewComments(rest.Listed):
    pull_number: int = sdk.echo("pull_number")
    comments: list[ReviewComment] = sdk.at("")


class ReviewCommentList(sdk.Page):
    """List the comments on the code of a pull request."""

    repo: sdk.Repo
    pull_number: rest.Number
    sort: Literal["created", "updated"] | None = None
    direction: Literal["asc", "desc"] | None = None
    since: rest.Moment | None = None


class ReviewCommentCreate(sdk.Input):
    """Comment on a line of a pull request's code: by `line` and `side`, or by `position` in the diff."""

    repo: sdk.Repo
    pull_number: rest.Number
    body: rest.Text
    commit_id: rest.Sha
    path: rest.Text
    position: int | None = None
    line: rest.Number | None = None
    side: rest.Side | None = None
    start_line: rest.Number | None = None
    start_side: rest.Side | None = None


def settle_create(operation: sdk.Operation, input: Mapping[str, JSON], facts: sdk.Facts) -> sdk.Reconciliation:  # noqa: A002
    """By the newest comments, told apart by their place. GitHub documents neither form of the place as always there:
    `line` is lost when later commits change the code, so `original_line` comes first."""
    rules = [
        rest.rule(
            _COMMENTS,
            query={"sort": "created", "direction": "desc", "since": "{started_at-60s}", "per_page": 100},
            items="",
            since="/created_at",
            newest_first=True,
            match={
                "/body": "{input.body}",
                "/path": "{input.path}",
                "/original_commit_id": "{input.commit_id}",
                "/user/login": "{subject}",
                f"/{prefix}line": sdk.same("{input.line}", optional=True),
                f"/{prefix}position": sdk.same("{input.position}", optional=True),
            },
        )
        for prefix in ("original_", "")
    ]
    return rest.settle(operation, rules, input, facts)


OPERATIONS: Final = [
    rest.pages(
        "pr.review_comments.list",
        _COMMENTS,
        pagination=sdk.link_pages(),
        input=ReviewCommentList,
        output=ReviewComments,
        surface=_SURFACE,
    ),
    rest.post(
        "pr.review_comment.create",
        _COMMENTS,
        input=ReviewCommentCreate,
        output=ReviewCommentHere,
        surface=_SURFACE,
        reconcile=sdk.settle_by(settle_create),
    ),
]
