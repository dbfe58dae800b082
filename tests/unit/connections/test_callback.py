"""What comes and goes with the browser."""

import pytest

from interlock.connections import callback
from interlock.kernel import Secret


def test_the_challenge_is_that_of_the_standards_own_example() -> None:
    """RFC 7636, appendix B."""
    chance = bytes(
        [116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214, 191,
         240, 91, 88, 5, 88, 83, 132, 141, 121]
    )  # fmt: skip
    made = callback.verifier(chance)
    assert made == Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert callback.challenge(made) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_too_little_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes are too few"):
        callback.verifier(b"x" * 31)


@pytest.mark.parametrize(
    ("issuer", "required", "sent", "fits"),
    [
        ("https://acme.dev", True, "https://acme.dev", True),
        ("https://acme.dev", False, "https://acme.dev", True),
        ("https://acme.dev", True, None, False),
        ("https://acme.dev", False, None, True),
        ("https://acme.dev", True, "https://evil.dev", False),
        ("https://acme.dev", False, "https://evil.dev", False),
        # RFC 9207 compares as texts: nothing is put into another form first.
        ("https://acme.dev", False, "https://acme.dev/", False),
        ("https://acme.dev", False, "https://ACME.dev", False),
        ("https://acme.dev", False, "https://acme.dev\u0000", False),
        ("https://acme.dev", False, "", False),
        (None, False, None, True),
        (None, False, "https://evil.dev", True),
    ],
)
def test_a_callback_of_another_issuer_is_told_apart(
    issuer: str | None, required: bool, sent: str | None, fits: bool
) -> None:
    assert callback.issuer_fits(issuer, sent, required=required) is fits


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("access_denied", "access_denied"),
        ("invalid_scope", "invalid_scope"),
        ("server_error", "temporarily_unavailable"),
        ("unsupported_response_type", "unsupported"),
        ("<script>", "misconfigured"),
        ("", "misconfigured"),
    ],
)
def test_a_refusal_in_the_callback_is_a_code(error: str, reason: str) -> None:
    assert callback.refusal(error) == reason
