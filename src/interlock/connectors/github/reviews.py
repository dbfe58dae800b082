"""Reviews of pull requests."""

from collections.abc import Mapping
from typing import Final, Literal

from interlock import sdk
from interlock.connectors.github import rest
from interlock.kernel import JSON

_REVIEWS: Final = "/repos/{repo}/pulls/{pull_number}/reviews"
_SURFACE: Final = sdk.local("reviews of pull requests are what a code host has; other services have nothing alike")
_STATES: Final[Mapping[str, str]] = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
}


class Review(sdk.Record):
    review_id: int = sdk.at("/id")
    state: str
    body: str
    author: str | None = sdk.at("/user/login")
    commit_id: str | None = sdk.at("/commit_id")
    html_url: str
    submitted_at: str | None = sdk.at("/submitted_at", required=False, description="Absent while it is pending.")


class ReviewHere(Review, rest.Here):
    pull_number: int = sdk.echo("pull_number")


class Reviews(rest.Listed):
    pull_number: int = sdk.echo("pull_number")
    reviews: list[Review] = sdk.at("")


class ReviewList(sdk.Page):
    """List the reviews of a pull request, oldest first."""

    repo: sdk.Repo
    pull_number: rest.Number


class DraftComment(sdk.Input):
    """A comment on code that is part of a review."""

    path: rest.Text
    body: rest.Text
    position: int | None = None
    line: rest.Number | None = None
    side: rest.Side | None = None
    start_line: rest.Number | None = None
    start_side: rest.Side | None = None


class ReviewCreate(sdk.Input):
    """Review a pull request. Without `event` the review stays pending; GitHub allows one pending review per account."""

    repo: sdk.Repo
    pull_number: rest.Number
    body: str | None = None
    event: Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"] | None = None
    comments: list[DraftComment] | None = None
    commit_id: rest.Sha | None = None


def settle_create(operation: sdk.Operation, input: Mapping[str, JSON], facts: sdk.Facts) -> sdk.Reconciliation:  # noqa: A002
    """By all reviews (the list has neither a filter nor an order): first in the state that was asked for, then in the
    one that approvals and requests fall into when somebody dismisses them."""
    wanted = _STATES.get(str(input.get("event")), "PENDING")
    rules = [
        rest.rule(
            _REVIEWS,
            query={"per_page": 100},
            items="",
            since="/submitted_at",
            max_pages=20,
            match={"/body": "{input.body}", "/user/login": "{subject}", "/state": state},
        )
        for state in (wanted, "DISMISSED")
    ]
    return rest.settle(operation, rules, input, facts)


OPERATIONS: Final = [
    rest.pages(
        "pr.reviews.list", _REVIEWS, pagination=sdk.link_pages(), input=ReviewList, output=Reviews, surface=_SURFACE
    ),
    rest.post(
        "pr.review.create",
        _REVIEWS,
        input=ReviewCreate,
        output=ReviewHere,
        surface=_SURFACE,
        reconcile=sdk.settle_by(settle_create),
    ),
]
