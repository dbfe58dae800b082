"""Every request that the GitHub connector makes is one that GitHub's own description allows."""

from collections.abc import Generator
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_github import GITHUB_OPERATIONS, OPERATIONS, WRITES
from fix_inputs import values
from interlock import sdk
from interlock.testing.github.description import Description

GITHUB = Description.load()
FACTS = sdk.Facts(subject="octo-agent", started_at=datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC))


def problems(request: sdk.HttpRequest) -> list[str]:
    return GITHUB.check_request(request.method, request.target, request.json_body)


def github_id(request: sdk.HttpRequest) -> str:
    found = GITHUB.find(request.method, unquote(urlsplit(request.target).path))
    assert found is not None, request.target
    return found[0].operation_id


def reads(generator: Generator[sdk.HttpRequest, sdk.HttpResponse, Any]) -> list[sdk.HttpRequest]:
    """What a generator asks for when nothing is there."""
    requests: list[sdk.HttpRequest] = []
    try:
        requests.append(next(generator))
        while True:
            requests.append(generator.send(sdk.HttpResponse(status=200, body=b"[]")))
    except StopIteration:
        return requests


@cache
def inputs(operation_id: str) -> st.SearchStrategy[Any]:
    """What the operation takes. Made once, for to make it takes longer than to draw from it."""
    return values(OPERATIONS[operation_id].input_schema)


FEW = settings(max_examples=settings().max_examples // 4)


@pytest.mark.parametrize("operation_id", OPERATIONS)
@FEW
@given(data=st.data())
def test_requests_are_as_described(operation_id: str, data: st.DataObject):
    operation = OPERATIONS[operation_id]
    value = data.draw(inputs(operation_id))
    jsonschema_rs.validate(operation.input_schema, value)
    request = next(sdk.program(operation, value, FACTS))
    assert problems(request) == []
    assert github_id(request) == GITHUB_OPERATIONS[operation_id]
    headers = dict(request.headers)
    assert headers["accept"] == "application/vnd.github+json"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert (request.content is None) == (request.method in ("GET", "DELETE"))


@pytest.mark.parametrize("operation_id", WRITES)
@FEW
@given(data=st.data())
def test_reads_that_settle_are_as_described(operation_id: str, data: st.DataObject):
    operation = OPERATIONS[operation_id]
    value = data.draw(inputs(operation_id))
    requests = reads(sdk.reconciliation(operation, value, FACTS))
    assert requests
    for request in requests:
        assert problems(request) == []
        assert request.method == "GET"
        assert request.purpose is sdk.Purpose.RECONCILE
        assert dict(request.headers)["x-github-api-version"] == "2022-11-28"


@pytest.mark.parametrize(
    "ref", ["feature/a b?c#d", "status", "x/check-runs", "heads/ünïcode", "100%", "a/../b"], ids=repr
)
def test_a_ref_cannot_leave_its_place(ref: str):
    program = sdk.program(OPERATIONS["commit.statuses.list"], {"repo": "acme/rocket", "ref": ref}, FACTS)
    if ".." in ref:
        with pytest.raises(sdk.InvalidPathValue):
            next(program)
        return
    request = next(program)
    found = GITHUB.find("GET", unquote(request.path))
    assert found is not None
    assert found[0].operation_id == "repos/list-commit-statuses-for-ref"
    assert found[1]["ref"] == ref


def test_what_is_left_out_is_not_sent():
    value: dict[str, Any] = {"repo": "acme/rocket", "issue_number": 7, "labels": []}
    request = next(sdk.program(OPERATIONS["issue.update"], value, FACTS))
    assert request.json_body == {"labels": []}
    request = next(sdk.program(OPERATIONS["issue.close"], {"repo": "acme/rocket", "issue_number": 7}, FACTS))
    assert request.json_body == {"state": "closed"}


@pytest.mark.parametrize("operation_id", ["issue.update", "pr.update"])
def test_an_update_that_changes_nothing_is_refused(operation_id: str):
    number = "issue_number" if operation_id == "issue.update" else "pull_number"
    value: dict[str, Any] = {"repo": "acme/rocket", number: 7}
    schema = OPERATIONS[operation_id].input_schema
    assert not jsonschema_rs.is_valid(schema, value)
    assert jsonschema_rs.is_valid(schema, {**value, "state": "closed"})


def test_files_are_sent_as_base64():
    value = {"repo": "acme/rocket", "path": "docs/a.md", "message": "Write", "content": "Grüße\n"}
    request = next(sdk.program(OPERATIONS["contents.upsert"], value, FACTS))
    assert request.json_body == {"message": "Write", "content": "R3LDvMOfZQo="}
