"""The GitHub connector at work: its operations by id, and a driver that sends what they ask for over real HTTP."""

from collections.abc import Generator
from datetime import datetime
from typing import Any, TypeVar, cast

import httpx2

from interlock import catalog, sdk
from interlock.connectors.github import connector

CATALOG = catalog.Catalog([connector.manifest])
OPERATIONS = {operation.operation_id: operation for operation in connector.manifest.operations}
WRITES = sorted(name for name, operation in OPERATIONS.items() if operation.effect is not sdk.Effect.READ)

GITHUB_OPERATIONS = {
    "check_runs.list_for_ref": "checks/list-for-ref",
    "comment.create": "issues/create-comment",
    "comment.update": "issues/update-comment",
    "commit.statuses.get_combined": "repos/get-combined-status-for-ref",
    "commit.statuses.list": "repos/list-commit-statuses-for-ref",
    "commits.list": "repos/list-commits",
    "contents.upsert": "repos/create-or-update-file-contents",
    "git.ref.create": "git/create-ref",
    "git.ref.delete": "git/delete-ref",
    "issue.close": "issues/update",
    "issue.create": "issues/create",
    "issue.fetch": "issues/get",
    "issue.label": "issues/add-labels",
    "issue.list": "issues/list-for-repo",
    "issue.update": "issues/update",
    "pr.create": "pulls/create",
    "pr.fetch": "pulls/get",
    "pr.list": "pulls/list",
    "pr.review.create": "pulls/create-review",
    "pr.review_comment.create": "pulls/create-review-comment",
    "pr.review_comments.list": "pulls/list-review-comments",
    "pr.reviews.list": "pulls/list-reviews",
    "pr.update": "pulls/update",
    "repo.fetch": "repos/get",
}
"""Every operation, with GitHub's own id of what it does."""

SHA = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
_FIELDS: dict[str, Any] = {
    "repo": "octocat/Hello-World", "ref": "refs/heads/main", "sha": SHA, "issue_number": 7, "pull_number": 7,
    "comment_id": 7, "title": "T", "body": "B", "labels": ["bug"], "path": "a.md", "message": "M", "content": "C",
    "head": "topic", "base": "main", "commit_id": SHA, "line": 1,
}  # fmt: skip

T = TypeVar("T")


def plain_input(operation_id: str) -> dict[str, Any]:
    """The least input that the operation accepts."""
    schema = OPERATIONS[operation_id].input_schema
    value = {name: _FIELDS[name] for name in schema["required"]}
    if len(value) < schema.get("minProperties", 0):
        value["title"] = _FIELDS["title"]
    return value


class Account:
    """Somebody at the service, by a token: runs operations, and settles them, as the platform would, but for records."""

    def __init__(self, url: str, *, token: str, login: str | None) -> None:
        self.login = login
        headers = {"authorization": f"Bearer {token}", "user-agent": "interlock-tests"}
        self._client = httpx2.Client(base_url=url, headers=headers, trust_env=False, verify=False, timeout=60)

    def close(self) -> None:
        self._client.close()

    def call(self, operation_id: str, *, now: datetime, **given: Any) -> dict[str, Any]:
        """Carry an operation out; input and output are judged by their schemas. Raises what the service's answer means,
        and httpx2's errors where there was none."""
        capability = CATALOG.fetch(f"github.{operation_id}")
        capability.validate_input(given)
        output = self._drive(sdk.program(capability.operation, given, self._facts(now)))
        capability.validate_output(output.value)
        return cast("dict[str, Any]", output.value)

    def settle(self, operation_id: str, *, since: datetime, **given: Any) -> sdk.Reconciled:
        """Find out by reading whether a write that began at that moment happened."""
        capability = CATALOG.fetch(f"github.{operation_id}")
        settled = self._drive(sdk.reconciliation(capability.operation, given, self._facts(since)))
        if settled.verdict is sdk.Verdict.HAPPENED:
            capability.validate_output(settled.output)
        return settled

    def _facts(self, now: datetime) -> sdk.Facts:
        return sdk.Facts(subject=self.login, started_at=now)

    def _drive(self, generator: Generator[sdk.HttpRequest, sdk.HttpResponse, T]) -> T:
        try:
            request = next(generator)
            while True:
                request = generator.send(self.send(request))
        except StopIteration as stop:
            return stop.value

    def send(self, request: sdk.HttpRequest) -> sdk.HttpResponse:
        headers = dict(request.headers)
        if request.content is not None:
            headers["content-type"] = "application/json"
        response = self._client.request(request.method, request.target, headers=headers, content=request.content)
        return sdk.HttpResponse(
            status=response.status_code,
            headers=tuple((name.lower(), value) for name, value in response.headers.items()),
            body=response.content,
        )
