"""What a server can do wrong, at an endpoint, when a test asks for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from auth_server.talk import Delivery, Said, said


@dataclass(frozen=True)
class Fault:
    """How an answer is spoilt. Unless `done`, the server does nothing of what it is asked: it has read the request, no more."""

    spoil: Callable[[Said], Said]
    done: bool = False


def _arrives(delivery: Delivery, *, done: bool) -> Fault:
    return Fault(lambda answer: replace(answer, delivery=delivery), done=done)


HANG = _arrives("hang", done=False)
HANG_WHEN_DONE = _arrives("hang", done=True)
CUT = _arrives("reset", done=False)
CUT_WHEN_DONE = _arrives("reset", done=True)
"""The worst: what was asked is done, and nobody hears of it."""
CUT_HALF_WAY = _arrives("cut", done=True)
TRICKLE = _arrives("trickle", done=True)
HTML = Fault(
    lambda _: Said(200, b"<!doctype html><title>Sign in</title><p>Welcome back!", {"Content-Type": "text/html"})
)
CRASH = Fault(lambda _: Said(500, b"Traceback: secret things", {"Content-Type": "text/plain"}))
UNAVAILABLE = Fault(lambda _: said(503, {"error": "temporarily_unavailable"}, Retry_After="7"))
HUGE = Fault(lambda _: said(200, {"access_token": "a" * 4_000_000}))


def then(act: Callable[[], object], *, done: bool) -> Fault:
    """What comes when the server has done what was asked, or before, and before its answer leaves."""

    def spoil(answer: Said) -> Said:
        act()
        return answer

    return Fault(spoil, done=done)


def says(status: int, document: Mapping[str, Any], **headers: str) -> Fault:
    """Another answer, and nothing is done."""
    return Fault(lambda _: said(status, document, **headers))


def shaped(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Fault:
    """The answer's document in another shape, where it is good news."""

    def spoil(answer: Said) -> Said:
        if answer.status >= 300:
            return answer
        return replace(answer, body=said(200, change(answer.document)).body)

    return Fault(spoil, done=True)


AS_FORM = Fault(
    lambda answer: replace(
        answer,
        body=urlencode(answer.document).encode(),
        headers={**answer.headers, "Content-Type": "application/x-www-form-urlencoded"},
    ),
    done=True,
)
ERROR_AS_200 = Fault(lambda answer: replace(answer, status=200), done=True)
"""A refusal that calls itself a success."""
EXPIRY_AS_TEXT = shaped(lambda told: {**told, "expires_in": str(told["expires_in"])})
WITHOUT_EXPIRY = shaped(lambda told: {name: value for name, value in told.items() if name != "expires_in"})
WITHOUT_REFRESH_TOKEN = shaped(lambda told: {name: value for name, value in told.items() if name != "refresh_token"})
NESTED = shaped(lambda told: {"ok": True, "authed_user": told})
