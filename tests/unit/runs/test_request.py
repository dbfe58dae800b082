"""What a request may be."""

from datetime import timedelta
from typing import Any

import pytest

from interlock.kernel import RequestError
from interlock.runs import Request


@pytest.mark.parametrize(
    "change",
    [
        {"capability": ""},
        {"capability": "x" * 201},
        {"idempotency_key": ""},
        {"idempotency_key": "line\nbreak"},
        {"connection": "\x1b[31m"},
        {"environment": ""},
        {"trace_id": "x" * 201},
        {"targets": ("local-http",) * 21},
        {"targets": ("local-http", "")},
        {"extensions": {"x": float("nan")}},
        {"extensions": {"x": "y" * 20_000}},
        {"max_attempts": 0},
        {"max_attempts": 21},
        {"timeout": timedelta(0)},
        {"timeout": timedelta(hours=1, seconds=1)},
    ],
)
def test_what_is_out_of_bounds_is_refused(change: dict[str, Any]):
    values: dict[str, Any] = {"capability": "acme.issue.create", "input": {}, **change}
    with pytest.raises(RequestError):
        Request(**values)


def test_a_plain_request_passes():
    assert Request(capability="acme.issue.create", input={}).targets == ()
