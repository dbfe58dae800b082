"""Repositories."""

from typing import Final

from interlock import sdk
from interlock.connectors.github import rest


class RepositoryFetch(sdk.Input):
    """Fetch a repository."""

    repo: sdk.Repo


class Repository(rest.Here):
    repository_id: int = sdk.at("/id")
    full_name: str
    description: str | None = sdk.at("/description")
    default_branch: str
    private: bool
    archived: bool
    fork: bool
    html_url: str
    pushed_at: str | None = sdk.at("/pushed_at")


OPERATIONS: Final = [
    rest.get(
        "repo.fetch",
        "/repos/{repo}",
        input=RepositoryFetch,
        output=Repository,
        surface=sdk.local("repositories are what a code host has; other services have nothing alike"),
    )
]
