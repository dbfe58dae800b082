"""What GitHub's refusals mean."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fix_github import GITHUB_OPERATIONS, OPERATIONS, plain_input
from interlock import sdk
from interlock.kernel import Retry
from interlock.testing.github.description import Description

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FACTS = sdk.Facts(subject="octo-agent", started_at=NOW)
DATE = ("date", "Sun, 01 Mar 2026 12:00:00 GMT")
GITHUB = Description.load()


def failure(operation_id: str, status: int, message: str = "No.", *headers: tuple[str, str]) -> sdk.OperationFailed:
    operation = OPERATIONS[operation_id]
    program = sdk.program(operation, plain_input(operation.operation_id), FACTS)
    next(program)
    body = json.dumps({"message": message, "documentation_url": "https://docs.github.com/rest"}).encode()
    with pytest.raises(sdk.OperationFailed) as raised:
        program.send(sdk.HttpResponse(status=status, headers=(DATE, *headers), body=body))
    assert raised.value.status == status
    return raised.value


LIMITS: list[tuple[str, int, str, tuple[tuple[str, str], ...], float]] = [
    ("primary", 403, "API rate limit exceeded", (("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1772366490")), 90),
    ("primary", 429, "API rate limit exceeded", (("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1772366490")), 90),
    ("primary, no reset", 403, "API rate limit exceeded", (("x-ratelimit-remaining", "0"),), 60),
    ("secondary, told", 403, "You have exceeded a secondary rate limit.", (("retry-after", "17"),), 17),
    ("secondary, told", 429, "You have exceeded a secondary rate limit.", (("retry-after", "17"),), 17),
    ("secondary, both", 403, "You have exceeded a secondary rate limit.",
     (("retry-after", "17"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1772366490")), 17),
    ("secondary, by words", 403, "You have exceeded a Secondary Rate Limit.", (("x-ratelimit-remaining", "4999"),), 60),
    ("abuse", 403, "You have triggered an abuse detection mechanism.", (), 60),
    ("too fast", 422, "Validation Failed: was submitted too quickly", (), 60),
    ("only the status", 429, "Slow down.", (), 60),
]  # fmt: skip


@pytest.mark.parametrize(("name", "status", "message", "headers", "seconds"), LIMITS)
@pytest.mark.parametrize("operation_id", ["issue.create", "issue.list"])
def test_limits_say_how_long(
    operation_id: str, name: str, status: int, message: str, headers: tuple[tuple[str, str], ...], seconds: float
):
    error = failure(operation_id, status, message, *headers)
    assert isinstance(error, sdk.RateLimited)
    assert (error.retry, error.retry_after, error.effect) == (Retry.LATER, seconds, "none")


CODES: list[tuple[int, type[sdk.OperationFailed], str]] = [
    (301, sdk.ResourceNotFound, "none"),
    (302, sdk.ResourceNotFound, "none"),
    (307, sdk.ResourceNotFound, "none"),
    (308, sdk.ResourceNotFound, "none"),
    (400, sdk.InvalidForProvider, "none"),
    (401, sdk.AuthFailed, "none"),
    (403, sdk.Forbidden, "none"),
    (404, sdk.ResourceNotFound, "none"),
    (406, sdk.InvalidForProvider, "none"),
    (409, sdk.ResourceConflict, "none"),
    (410, sdk.ResourceNotFound, "none"),
    (415, sdk.InvalidForProvider, "none"),
    (422, sdk.InvalidForProvider, "none"),
    (451, sdk.ResourceNotFound, "none"),
    (500, sdk.ProviderUnavailable, "unknown"),
    (502, sdk.ProviderUnavailable, "unknown"),
    (503, sdk.ProviderUnavailable, "unknown"),
    (504, sdk.ProviderUnavailable, "unknown"),
]


@pytest.mark.parametrize(("status", "kind", "effect"), CODES)
@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_refusal_is_named(operation_id: str, status: int, kind: type[sdk.OperationFailed], effect: str):
    error = failure(operation_id, status, "Not today.", ("x-ratelimit-remaining", "4999"))
    assert type(error) is kind
    is_read = OPERATIONS[operation_id].effect is sdk.Effect.READ
    assert error.effect == ("none" if is_read else effect)
    assert "Not today." in error.message


def test_all_documented_refusals_are_tried():
    documented = {
        int(status)
        for name in GITHUB_OPERATIONS.values()
        for status in GITHUB.operations[name].answers
        if status[0] != "2" and status != "304"  # the platform answers 304 itself, with what it kept
    }
    assert documented <= {status for status, _, _ in CODES}


@pytest.mark.parametrize(
    ("operation_id", "message", "kind"),
    [
        ("git.ref.create", "Reference already exists", sdk.ResourceConflict),
        ("git.ref.create", "Object does not exist", sdk.InvalidForProvider),
        ("git.ref.delete", "Reference does not exist", sdk.ResourceNotFound),
        ("pr.create", "A pull request already exists for acme:topic.", sdk.ResourceConflict),
        ("pr.create", "No commits between main and topic", sdk.InvalidForProvider),
        ("contents.upsert", 'Invalid request.\n\n"sha" wasn\'t supplied.', sdk.ResourceConflict),
    ],
)
def test_validation_errors_that_mean_something_else(operation_id: str, message: str, kind: type[sdk.OperationFailed]):
    assert type(failure(operation_id, 422, message)) is kind


def test_an_answer_that_is_no_json_of_a_write_happened():
    operation = OPERATIONS["comment.create"]
    program: Any = sdk.program(operation, plain_input(operation.operation_id), FACTS)
    next(program)
    with pytest.raises(sdk.UnexpectedAnswer) as raised:
        program.send(sdk.HttpResponse(status=201, body=b"<html>"))
    assert raised.value.effect == "happened"
