"""Where reading cannot come to an end, the GitHub connector claims nothing."""

from datetime import UTC, datetime

import pytest

from fix_github import OPERATIONS, plain_input
from interlock import sdk

FACTS = sdk.Facts(subject="octo-agent", started_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
NEWEST_FIRST = ["issue.create", "pr.create", "pr.review_comment.create"]
LISTS = ["comment.create", "git.ref.create", "git.ref.delete", "pr.review.create", *NEWEST_FIRST]


def read_on(operation_id: str, body: bytes) -> tuple[list[sdk.HttpRequest], sdk.Reconciled]:
    """The requests, and the verdict, where every page has this body and names a next one."""
    reading = sdk.reconciliation(OPERATIONS[operation_id], plain_input(operation_id), FACTS)
    requests = [next(reading)]
    try:
        while len(requests) < 100:
            link = ("link", f'<https://api.github.com/repositories/1/x?page={len(requests) + 1}>; rel="next"')
            requests.append(reading.send(sdk.HttpResponse(status=200, headers=(link,), body=body)))
    except StopIteration as stop:
        return requests, stop.value
    raise AssertionError(f"{operation_id} reads without end")


@pytest.mark.parametrize("operation_id", LISTS)
def test_a_list_without_end_is_unclear(operation_id: str):
    requests, settled = read_on(operation_id, b"[]")
    assert settled.verdict is sdk.Verdict.UNCLEAR
    assert len(requests) <= 20
    assert [request.query for request in requests[1:]] == [(("page", str(n)),) for n in range(2, len(requests) + 1)]
    assert len({request.path for request in requests}) == 1


@pytest.mark.parametrize("operation_id", NEWEST_FIRST)
def test_newest_first_stops_where_the_call_began(operation_id: str):
    requests, settled = read_on(operation_id, b'[{"created_at": "2026-03-01T11:00:00Z"}]')
    assert settled.verdict is sdk.Verdict.ABSENT
    assert {dict(request.query).get("page", "1") for request in requests} == {"1"}
