"""Comments on issues and on pull requests as a whole."""

from typing import Final

from interlock import sdk
from interlock.connectors.github import rest


class Comment(rest.Here):
    comment_id: int = sdk.at("/id")
    body: str | None = sdk.at("/body")
    author: str | None = sdk.at("/user/login")
    html_url: str
    created_at: str
    updated_at: str


class CommentCreate(sdk.Input):
    """Comment on an issue or a pull request."""

    repo: sdk.Repo
    issue_number: rest.Number
    body: rest.Text


class CommentUpdate(sdk.Input):
    """Replace the text of a comment."""

    repo: sdk.Repo
    comment_id: rest.Number
    body: rest.Text


OPERATIONS: Final = [
    rest.post(
        "comment.create",
        "/repos/{repo}/issues/{issue_number}/comments",
        input=CommentCreate,
        output=Comment,
        surface=sdk.common("comment.create", "create_comment"),
        # The list is sorted oldest first and cannot be turned round: `since` leaves only what is new, which is read to
        # its end.
        reconcile=sdk.find(
            "/repos/{repo}/issues/{issue_number}/comments",
            query={"since": "{started_at-60s}", "per_page": 100},
            items="",
            since="/created_at",
            max_pages=10,
            match={"/body": "{input.body}", "/user/login": "{subject}"},
        ),
    ),
    rest.patch(
        "comment.update",
        "/repos/{repo}/issues/comments/{comment_id}",
        input=CommentUpdate,
        output=Comment,
        surface=sdk.common("comment.update", "update_comment"),
        reconcile=sdk.find("/repos/{repo}/issues/comments/{comment_id}", match={"/body": "{input.body}"}),
    ),
]
