"""Errors leave Interlock in one shape; backoff and callers keep their bounds."""

from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.kernel import JSON, Backoff, Caller, Fault, InterlockError, RequestError, Retry, canonical


def test_the_shape() -> None:
    error = RequestError("no", details={"path": "$.a"}, run_id="run_1", retry_after=2.5)
    assert error.to_json() == {
        "code": "invalid_request",
        "message": "no",
        "retry": "after_change",
        "fault": "caller",
        "next_step": RequestError.next_step,
        "run_id": "run_1",
        "details": {"path": "$.a", "retry_after": 2.5},
    }
    canonical(error.to_json())


TEXT = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=5)


@given(
    TEXT,
    st.dictionaries(
        st.text(max_size=3),
        st.integers() | st.floats() | TEXT,
        max_size=3,
    ),
    st.none() | st.floats(),
)
@example("\udcff", {"when": 2**60}, float("inf"))
def test_every_error_can_be_kept(text: str, details: dict[str, JSON], after: float | None) -> None:
    error = InterlockError(text, details=details, next_step=text, retry_after=after)
    assert canonical(error.to_json())
    assert str(error) == error.message
    try:
        canonical([text, details])
    except ValueError:
        return
    assert (error.message, error.details) == (text, details)


def test_one_instance_can_say_more_than_its_class() -> None:
    error = InterlockError("no", retry=Retry.LATER, fault=Fault.PROVIDER, next_step="wait")
    assert (error.retry, error.fault, error.next_step) == (Retry.LATER, Fault.PROVIDER, "wait")
    assert InterlockError.retry is Retry.NEVER


@given(st.integers(1, 10**6), st.floats(0, 100) | st.none())
def test_backoff_stays_between_the_peers_wish_and_the_cap(failures: int, wish: float | None) -> None:
    backoff = Backoff(base=0.5, cap=20)
    for edge in (min, max):
        delay = backoff.delay(failures, at_least=wish, uniform=edge)
        assert (wish or 0) <= delay <= max(20, wish or 0)


def test_backoff_doubles() -> None:
    assert [Backoff(base=1, cap=10).ceiling(n) for n in (1, 2, 3, 4, 5, 6)] == [1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize("bad", ["", "x" * 201, "a\nb", "\x1b[31m"])
def test_callers_have_printable_names(bad: str) -> None:
    with pytest.raises(RequestError, match="printable"):
        Caller(actor=bad)
    with pytest.raises(RequestError, match="printable"):
        Caller(actor="ok", tenant_id=bad)


@pytest.mark.parametrize(
    "wrong", [{"actor": 5}, {"tenant_id": None}, {"roles": "admin"}, {"roles": {5}}, {"roles": {""}}]
)
def test_callers_of_other_kinds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        Caller(**cast("Any", {"actor": "ok", **wrong}))
