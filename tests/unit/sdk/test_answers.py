import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fix_connector as fix
from interlock import sdk
from interlock.kernel import Retry


def failing(response: sdk.HttpResponse, operation_id: str = "ticket.create") -> sdk.OperationFailed:
    given_input = {"repo": "a/b", "title": "T"} if operation_id == "ticket.create" else {"repo": "a/b"}
    program = sdk.program(fix.operation(operation_id), given_input, fix.FACTS)
    next(program)
    with pytest.raises(sdk.OperationFailed) as raised:
        program.send(response)
    return raised.value


@pytest.mark.parametrize(
    ("status", "kind", "effect"),
    [
        (301, sdk.UnexpectedAnswer, "none"),
        (400, sdk.InvalidForProvider, "none"),
        (401, sdk.AuthFailed, "none"),
        (403, sdk.Forbidden, "none"),
        (404, sdk.ResourceNotFound, "none"),
        (408, sdk.ProviderUnavailable, "unknown"),
        (409, sdk.ResourceConflict, "none"),
        (410, sdk.ResourceNotFound, "none"),
        (422, sdk.InvalidForProvider, "none"),
        (429, sdk.RateLimited, "none"),
        (500, sdk.ProviderUnavailable, "unknown"),
        (503, sdk.ProviderUnavailable, "unknown"),
        (999, sdk.UnexpectedAnswer, "unknown"),
        (202, sdk.UnexpectedAnswer, "unknown"),
    ],
)
def test_the_built_in_rules(status: int, kind: type[sdk.OperationFailed], effect: str) -> None:
    error = failing(fix.answer({"message": "no\nway"}, status=status))
    assert (type(error), error.effect, error.status) == (kind, effect, status)
    assert error.message.endswith("no way")
    assert failing(fix.answer(status=status), "ticket.list").effect == "none"


def test_a_primary_rate_limit_waits_until_the_reset_by_the_services_clock() -> None:
    reset = str(int(fix.NOW.timestamp()) + 90)
    error = failing(
        fix.answer(status=403, x_ratelimit_remaining="0", x_ratelimit_reset=reset, date="Sun, 01 Mar 2026 12:01:00 GMT")
    )
    assert (type(error), error.retry_after, error.retry) == (sdk.RateLimited, 30.0, Retry.LATER)


def test_retry_after_beats_the_reset_and_may_be_a_date() -> None:
    limits = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": "99999999999"}
    assert failing(fix.answer(status=403, retry_after="7", **limits)).retry_after == 7.0
    dated = fix.answer(status=403, retry_after="Sun, 01 Mar 2026 12:00:09 GMT", **limits)
    assert failing(dated).retry_after == 9.0


def test_a_secondary_rate_limit_is_known_by_its_words() -> None:
    error = failing(fix.answer({"message": "You have exceeded a secondary rate limit."}, status=403))
    assert (type(error), error.retry_after) == (sdk.RateLimited, 60.0)


@pytest.mark.parametrize(
    ("status", "header", "value", "seconds"),
    [
        (403, "x_ratelimit_reset", "999999999999", 7 * 86_400),
        (429, "retry_after", "999999999999", 7 * 86_400),
        (429, "retry_after", "1000000", 7 * 86_400),
        (429, "retry_after", "Fri, 31 Dec 9999 23:59:59 GMT", 7 * 86_400),
        (429, "retry_after", "Mon, 01 Jan 0001 00:00:00 +2359", 0),
    ],
)
def test_no_service_can_ask_for_more_than_a_week(status: int, header: str, value: str, seconds: float) -> None:
    error = failing(fix.answer(status=status, **{"x_ratelimit_remaining": "0", header: value}))
    assert error.retry_after == seconds


HEADER = (
    st.text(max_size=40)
    | st.integers().map(str)
    | st.builds(
        "Sun, {:02} {} {} {:02}:{:02}:{:02} {}".format,
        st.integers(0, 40),
        st.sampled_from(["Jan", "Dec", "Xyz"]),
        st.integers(0, 10_000) | st.integers(),
        st.integers(0, 99),
        st.integers(0, 99),
        st.integers(0, 99),
        st.sampled_from(["GMT", "+2359", "-2359", "-9999", "", "+" + "9" * 30]),
    )
)


@given(status=st.sampled_from([403, 429, 503]), after=HEADER, reset=HEADER, date=HEADER)
def test_whatever_the_headers_say_the_wait_is_a_number_of_bounded_size(
    status: int, after: str, reset: str, date: str
) -> None:
    error = failing(
        fix.answer(status=status, retry_after=after, x_ratelimit_remaining="0", x_ratelimit_reset=reset, date=date)
    )
    wait = error.retry_after
    assert wait is None or (math.isfinite(wait) and 0 <= wait <= 7 * 86_400)


def test_an_operations_own_rule_comes_first() -> None:
    assert type(failing(fix.answer({"code": "taken"}, status=422))) is sdk.ResourceConflict
    assert type(failing(fix.answer({"code": "other"}, status=422))) is sdk.InvalidForProvider


def test_hostile_headers_and_bodies_do_not_break_the_mapping() -> None:
    error = failing(
        sdk.HttpResponse(
            status=403,
            headers=(
                ("x-ratelimit-remaining", "0"),
                ("retry-after", "²"),
                ("x-ratelimit-reset", "9" * 400),
                ("date", "?"),
            ),
            body=b"\xff" * 100,
        )
    )
    assert error.retry_after == 60.0
    assert len(failing(fix.answer({"message": "x" * 10_000}, status=400)).message) < 400
