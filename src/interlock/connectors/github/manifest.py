"""The connector: how to connect to GitHub, what its refusals mean, and the operations of all resources."""

from typing import Final

from interlock import sdk
from interlock.connectors.github import (
    checks,
    comments,
    commits,
    contents,
    events,
    issues,
    polled,
    pulls,
    refs,
    repositories,
    review_comments,
    reviews,
    statuses,
)

_A_MINUTE: Final = sdk.wait(header="retry-after", seconds=60)
"""GitHub asks to wait at least a minute where it does not say how long."""

_LIMITS: Final = [
    rule
    for status in (403, 429)
    for rule in (
        # The order is GitHub's own advice: what it says outright, then the primary limit's reset, then the words.
        sdk.error(status, "rate_limited", when=sdk.when(header="retry-after"), retry_after=_A_MINUTE),
        sdk.error(
            status,
            "rate_limited",
            when=sdk.when(header="x-ratelimit-remaining", equals="0"),
            retry_after=sdk.wait(reset_header="x-ratelimit-reset", seconds=60),
        ),
        sdk.error(status, "rate_limited", when=sdk.when(contains="secondary rate limit"), retry_after=_A_MINUTE),
        sdk.error(status, "rate_limited", when=sdk.when(contains="abuse detection"), retry_after=_A_MINUTE),
    )
]

connector = sdk.Connector(
    "github",
    version="1.0.0",
    display_name="GitHub",
    description="Repositories, issues, pull requests, reviews, code and checks on GitHub.",
    base_url="https://api.github.com",
    category="developer_tools",
    tags=["code", "issues", "pull_requests", "reviews", "ci"],
    docs_url="https://docs.github.com/en/rest",
    maturity="beta",
    auth=[
        sdk.token_profile(
            "personal_access_token",
            scopes=["repo"],
            probe=sdk.probe(
                "/user",
                subject="/login",
                scopes_header="x-oauth-scopes",
                expires_header="github-authentication-token-expiration",
            ),
        )
    ],
    errors=[
        *_LIMITS,
        sdk.error(429, "rate_limited", retry_after=_A_MINUTE),
        # Content made too fast is refused like wrong content.
        sdk.error(422, "rate_limited", when=sdk.when(contains="submitted too quickly"), retry_after=_A_MINUTE),
        # A repository that was renamed or moved has left this address; nothing was done.
        *(sdk.error(status, "resource_not_found", effect="none") for status in (301, 302, 307, 308)),
    ],
    operations=[
        *repositories.OPERATIONS,
        *issues.OPERATIONS,
        *comments.OPERATIONS,
        *pulls.OPERATIONS,
        *reviews.OPERATIONS,
        *review_comments.OPERATIONS,
        *contents.OPERATIONS,
        *refs.OPERATIONS,
        *commits.OPERATIONS,
        *statuses.OPERATIONS,
        *checks.OPERATIONS,
    ],
    triggers=[*events.TRIGGERS, *polled.TRIGGERS],
)
