"""Errors as problem documents."""

import json

import pytest

from interlock import approvals, kernel, plane, runs, server, tokens
from interlock.server.errors import problem


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (kernel.RequestError("x"), 400),
        (server.Unauthenticated("x"), 401),
        (tokens.TokenRefused("x"), 401),
        (server.Forbidden("x"), 403),
        (approvals.SelfReview("x"), 403),
        (kernel.NotFoundError("x"), 404),
        (kernel.ConflictError("x"), 409),
        (server.RequestTooLarge("x"), 413),
        (server.WrongHost("x"), 421),
        (kernel.ProviderError("x"), 424),
        (kernel.ConnectionError_("x"), 424),
        (kernel.UnknownOutcome("x"), 424),
        (plane.InputClosed("x"), 409),
        (runs.RunCancelled("x"), 409),
        (runs.RunFailed({"code": "handler_raised"}, run_id="run_1"), 424),
        (runs.OverBudget("x"), 424),
        (runs.DeadlinePassed("x"), 424),
        (server.TooManyRequests("x"), 429),
        (kernel.InternalError("x"), 500),
        (kernel.ConfigurationError("x"), 500),
        (kernel.StoreError("x"), 503),
    ],
)
def test_each_branch_has_a_status(error: kernel.InterlockError, status: int):
    answer = problem(error)
    told = json.loads(bytes(answer.body))
    assert (answer.status_code, told["status"], told["type"]) == (status, status, f"urn:interlock:error:{error.code}")


def test_what_is_the_operators_stays_here():
    for error in (kernel.ConfigurationError("/etc/secret is missing"), kernel.StoreError("disk /dev/sda1 is full")):
        assert b"/" not in bytes(problem(error).body)


def test_when_to_come_again():
    assert problem(server.TooManyRequests("x", retry_after=0.2)).headers["retry-after"] == "1"
    assert "retry-after" not in problem(kernel.RequestError("x")).headers
