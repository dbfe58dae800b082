"""Commits."""

from typing import Final

from pydantic import Field

from interlock import sdk
from interlock.connectors.github import rest


class Commit(sdk.Record):
    sha: str
    message: str = sdk.at("/commit/message")
    author: str | None = sdk.at(
        "/author/login", description="The account, where GitHub knows it by the e-mail address."
    )
    author_name: str | None = sdk.at("/commit/author/name", required=False)
    authored_at: str | None = sdk.at("/commit/author/date", required=False)
    committer: str | None = sdk.at("/committer/login")
    committed_at: str | None = sdk.at("/commit/committer/date", required=False)
    parents: list[str] = sdk.at("/parents/*/sha")
    html_url: str


class Commits(rest.Listed):
    commits: list[Commit] = sdk.at("")


class CommitList(sdk.Page):
    """List commits, newest first."""

    repo: sdk.Repo
    sha: rest.Text | None = Field(default=None, description="A branch, a tag or a SHA to begin with.")
    path: str | None = None
    author: str | None = None
    committer: str | None = None
    since: rest.Moment | None = None
    until: rest.Moment | None = None


OPERATIONS: Final = [
    rest.pages(
        "commits.list",
        "/repos/{repo}/commits",
        pagination=sdk.link_pages(),
        input=CommitList,
        output=Commits,
        surface=sdk.local("commits are what a code host has; other services have nothing alike"),
    )
]
