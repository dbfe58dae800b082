"""Pull requests."""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import ConfigDict

from interlock import sdk
from interlock.connectors.github import rest
from interlock.kernel import JSON

_PULL: Final = "/repos/{repo}/pulls/{pull_number}"
_SURFACE: Final = sdk.local("pull requests are what a code host has; other services have nothing alike")


class Pull(sdk.Record):
    number: int
    title: str
    body: str | None = sdk.at("/body")
    state: str
    draft: bool | None = sdk.at("/draft", required=False)
    head: str = sdk.at("/head/ref")
    head_label: str | None = sdk.at("/head/label", required=False, description="owner:branch")
    head_sha: str = sdk.at("/head/sha")
    base: str = sdk.at("/base/ref")
    author: str | None = sdk.at("/user/login")
    labels: list[str] = sdk.at("/labels/*/name")
    html_url: str
    created_at: str
    updated_at: str
    closed_at: str | None = sdk.at("/closed_at")
    merged_at: str | None = sdk.at("/merged_at")


class PullHere(Pull, rest.Here):
    # What lists do not tell, and so an output that was settled by a list does not either.
    merged: bool | None = sdk.at("/merged", required=False)
    mergeable: bool | None = sdk.at("/mergeable", required=False, description="Absent while GitHub finds out.")
    maintainer_can_modify: bool | None = sdk.at("/maintainer_can_modify", required=False)
    commits: int | None = sdk.at("/commits", required=False)
    changed_files: int | None = sdk.at("/changed_files", required=False)


class Pulls(rest.Listed):
    pull_requests: list[Pull] = sdk.at("")


class PullList(sdk.Page):
    """List pull requests."""

    repo: sdk.Repo
    state: Literal["open", "closed", "all"] | None = None
    head: str | None = None
    base: str | None = None
    sort: Literal["created", "updated", "popularity", "long-running"] | None = None
    direction: Literal["asc", "desc"] | None = None


class PullFetch(sdk.Input):
    """Fetch a pull request."""

    repo: sdk.Repo
    pull_number: rest.Number


class PullCreate(sdk.Input):
    """Open a pull request. `head` is a branch, or owner:branch in a fork."""

    repo: sdk.Repo
    title: rest.Text
    head: rest.Text
    base: rest.Text
    body: str | None = None
    draft: bool | None = None
    maintainer_can_modify: bool | None = None


class PullUpdate(sdk.Input):
    """Change a pull request."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 3})  # repo, pull_number and at least one change

    repo: sdk.Repo
    pull_number: rest.Number
    title: rest.Text | None = None
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    base: rest.Text | None = None
    maintainer_can_modify: bool | None = None


_CREATED: Final = rest.rule(
    "/repos/{repo}/pulls",
    query={"state": "all", "sort": "created", "direction": "desc", "per_page": 100},
    items="",
    since="/created_at",
    newest_first=True,
    match={
        "/title": "{input.title}",
        "/body": "{input.body}",
        "/head/ref": "{input.head}",
        "/base/ref": "{input.base}",
        "/user/login": "{subject}",
    },
)


def settle_create(operation: sdk.Operation, input: Mapping[str, JSON], facts: sdk.Facts) -> sdk.Reconciliation:  # noqa: A002
    """By the newest pull requests. A head in a fork is asked for as owner:branch and told apart as owner and branch; the
    owner's spelling may differ, so the branch is compared."""
    branch = str(input["head"]).rpartition(":")[2]
    return rest.settle(operation, [_CREATED], {**input, "head": branch}, facts)


OPERATIONS: Final = [
    rest.pages(
        "pr.list", "/repos/{repo}/pulls", pagination=sdk.link_pages(), input=PullList, output=Pulls, surface=_SURFACE
    ),
    rest.get("pr.fetch", _PULL, input=PullFetch, output=PullHere, surface=_SURFACE),
    rest.post(
        "pr.create",
        "/repos/{repo}/pulls",
        input=PullCreate,
        output=PullHere,
        surface=_SURFACE,
        errors=[sdk.error(422, "resource_conflict", when=sdk.when(contains="pull request already exists"))],
        reconcile=sdk.settle_by(settle_create),
    ),
    rest.patch(
        "pr.update",
        _PULL,
        input=PullUpdate,
        output=PullHere,
        surface=_SURFACE,
        reconcile=sdk.find(
            _PULL,
            match={
                "/title": sdk.same("{input.title}", optional=True),
                "/body": sdk.same("{input.body}", optional=True),
                "/state": sdk.same("{input.state}", optional=True),
                "/base/ref": sdk.same("{input.base}", optional=True),
                "/maintainer_can_modify": sdk.same("{input.maintainer_can_modify}", optional=True),
            },
        ),
    ),
]
