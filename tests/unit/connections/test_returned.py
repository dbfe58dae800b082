"""What a browser brings back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import connections
from interlock.connections import Reason, returned


def test_a_callback_is_read():
    told = returned.parse("code=c%2B1&state=s-1&iss=https%3A%2F%2Facme.dev&extra=")
    assert (told.state.reveal(), told.code and told.code.reveal()) == ("s-1", "c+1")
    assert (told.error, told.issuer) == (None, "https://acme.dev")
    assert "c+1" not in repr(told)
    assert "s-1" not in repr(told)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        "state=s",
        "state=&code=c",
        "state=s&code=",
        "state=s&code=a&code=b",
        "state=s&state=s&code=c",
        "state=s&code=%ff",
        "&".join(["state=s", "code=c", *(f"x{number}=1" for number in range(60))]),
        "state=s&code=" + "c" * 17_000,
    ],
)
def test_what_is_no_callback_is_refused(query: str):
    with pytest.raises(connections.CallbackRefused) as caught:
        returned.parse(query)
    assert "code=c" not in str(caught.value)


@given(st.text(max_size=60))
def test_no_query_raises_anything_else(query: str):
    try:
        told = returned.parse(query)
    except connections.CallbackRefused:
        return
    assert told.state
    assert told.code or told.error


@pytest.mark.parametrize(
    ("said", "known", "required", "refused"),
    [
        (None, None, False, False),
        (None, "https://acme.dev", False, False),
        (None, "https://acme.dev", True, True),
        ("https://acme.dev", "https://acme.dev", True, False),
        ("https://acme.dev", "https://acme.dev", False, False),
        ("https://acme.dev/", "https://acme.dev", False, True),
        ("https://evil.dev", "https://acme.dev", False, True),
        ("https://evil.dev", None, False, False),
        ("https://evil.dev", None, True, True),
        ("", "https://acme.dev", False, True),
    ],
)
@pytest.mark.parametrize("answer", ["code=c", "error=access_denied"])
def test_another_issuer_ends_it_whatever_it_says(
    said: str | None, known: str | None, answer: str, *, required: bool, refused: bool
):
    iss = "" if said is None else f"&iss={said}"
    reason = returned.refusal(returned.parse(f"state=s&{answer}{iss}"), issuer=known, iss_required=required)
    assert (reason is Reason.ISSUER_MISMATCH) is refused


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("access_denied", Reason.ACCESS_DENIED),
        ("server_error", Reason.TEMPORARILY_UNAVAILABLE),
        ("temporarily_unavailable", Reason.TEMPORARILY_UNAVAILABLE),
        ("you have been hacked, call 555", Reason.MISCONFIGURED),
    ],
)
def test_a_services_words_become_ours(error: str, reason: Reason):
    told = returned.parse(f"state=s&error={error}&error_description=call+555&code=c")
    assert returned.refusal(told, issuer=None, iss_required=False) is reason
