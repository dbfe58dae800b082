"""Commit statuses: what outside services say of a commit."""

from typing import Final

from interlock import sdk
from interlock.connectors.github import rest

_SURFACE: Final = sdk.local("statuses of commits are what a code host has; other services have nothing alike")


class Status(sdk.Record):
    status_id: int = sdk.at("/id")
    state: str
    context: str
    description: str | None = sdk.at("/description")
    target_url: str | None = sdk.at("/target_url")
    created_at: str
    updated_at: str


class AuthoredStatus(Status):
    author: str | None = sdk.at("/creator/login")


class Combined(rest.Listed):
    ref: str = sdk.echo("ref")
    sha: str
    state: str
    total_count: int
    statuses: list[Status]


class Statuses(rest.Listed):
    ref: str = sdk.echo("ref")
    statuses: list[AuthoredStatus] = sdk.at("")


class CombinedStatusQuery(sdk.Page):
    """Fetch the combined status of a commit: its state, and the newest status of every context."""

    repo: sdk.Repo
    ref: rest.Revision


class StatusList(sdk.Page):
    """List the statuses of a commit, newest first."""

    repo: sdk.Repo
    ref: rest.Revision


OPERATIONS: Final = [
    rest.pages(
        "commit.statuses.get_combined",
        "/repos/{repo}/commits/{ref}/status",
        pagination=sdk.link_pages(items="/statuses"),
        input=CombinedStatusQuery,
        output=Combined,
        surface=_SURFACE,
    ),
    rest.pages(
        "commit.statuses.list",
        "/repos/{repo}/commits/{ref}/statuses",
        pagination=sdk.link_pages(),
        input=StatusList,
        output=Statuses,
        surface=_SURFACE,
    ),
]
