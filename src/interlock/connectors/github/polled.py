"""What GitHub reports when it is asked: issues that were opened or changed."""

from typing import Final

from interlock import sdk
from interlock.connectors.github import issues, rest


class IssuesOf(sdk.Input):
    """Whose issues."""

    repo: sdk.Repo


TRIGGERS: Final = [
    sdk.trigger(
        "issue_updated",
        "poll",
        signal=issues.Issue,
        about="An issue was opened or changed. To GitHub a pull request is one, too: those have a pull_request_url.",
        config=IssuesOf,
        scopes=["repo"],
        polling=sdk.polling(
            default_seconds=60,
            min_seconds=10,
            listing={
                "operation": "issue.list",
                "input": {
                    "repo": "{config.repo}",
                    "state": "all",
                    "sort": "updated",
                    "direction": "asc",
                    "per_page": 100,
                },
                "items": "/issues",
                "id": "/number",
                "moment": "/updated_at",
                "since_field": "since",
                # What was changed a moment ago may be missing from a replica's list.
                "overlap_seconds": 2 * rest.SETTLE_SECONDS,
                "following": "/next_page",
                "following_field": "page",
            },
        ),
    ),
]
