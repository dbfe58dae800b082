"""Check runs: what GitHub Apps, Actions among them, say of a commit."""

from typing import Final, Literal

from interlock import sdk
from interlock.connectors.github import rest


class CheckRun(sdk.Record):
    check_run_id: int = sdk.at("/id")
    name: str
    head_sha: str
    status: str
    conclusion: str | None = sdk.at("/conclusion")
    app: str | None = sdk.at("/app/slug")
    html_url: str | None = sdk.at("/html_url")
    started_at: str | None = sdk.at("/started_at")
    completed_at: str | None = sdk.at("/completed_at")


class CheckRuns(rest.Listed):
    ref: str = sdk.echo("ref")
    total_count: int
    check_runs: list[CheckRun]


class CheckRunList(sdk.Page):
    """List the check runs of a commit."""

    repo: sdk.Repo
    ref: rest.Revision
    check_name: str | None = None
    status: Literal["queued", "in_progress", "completed"] | None = None
    filter: Literal["latest", "all"] | None = None
    app_id: rest.Number | None = None


OPERATIONS: Final = [
    rest.pages(
        "check_runs.list_for_ref",
        "/repos/{repo}/commits/{ref}/check-runs",
        pagination=sdk.link_pages(items="/check_runs"),
        input=CheckRunList,
        output=CheckRuns,
        surface=sdk.local("check runs are what a code host has; other services have nothing alike"),
    )
]
