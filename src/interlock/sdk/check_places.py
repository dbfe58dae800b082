"""Whether credentials and operations leave each other their places in a request."""

from collections.abc import Iterator, Sequence

from interlock.sdk.auth import AuthProfile, CertificatePlace
from interlock.sdk.errors import Problem
from interlock.sdk.kinds import HttpOperation
from interlock.sdk.manifest import Operation
from interlock.sdk.requests import placement


def place_problems(path: str, operation: Operation, auth: Sequence[AuthProfile]) -> Iterator[Problem]:
    """A header or a parameter that a profile's credential takes is not the operation's: under that profile no call could be
    sent."""
    if operation.http is None:
        return
    taken = {
        (each.place, each.name.lower() if each.place == "header" else each.name): profile.profile_id
        for profile in auth
        for each in profile.apply
        if not isinstance(each, CertificatePlace)
    }
    for member, place, name in _own(operation, operation.http):
        if (profile_id := taken.get((place, name.lower() if place == "header" else name))) is not None:
            what = "header" if place == "header" else "query parameter"
            yield Problem(
                path=f"{path}.{member}", problem=f"the {what} {name!r} is the credential's (auth[{profile_id}])"
            )


def _own(operation: Operation, http: HttpOperation) -> Iterator[tuple[str, str, str]]:
    """What the operation's requests say themselves: where that is declared, its place and its name."""
    for name in http.headers:
        yield f"http.headers.{name}", "header", name
    if operation.idempotency_header is not None:
        yield "idempotency_header", "header", operation.idempotency_header
    if http.conditional:
        yield "http.conditional", "header", "if-none-match"
    for field, name in placement(operation, http)[0].items():
        yield f"http.query.{field}", "query", name
    if operation.reconcile is not None:
        for name in operation.reconcile.query:
            yield f"reconcile.query.{name}", "query", name
