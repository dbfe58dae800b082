"""What every request over HTTP begins with: the hosts that it may go to, and its headers; and what of an answer's headers is
kept."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from interlock import plane
from interlock.adapters.lanes.credentials import Shown
from interlock.kernel import VERSION

Lines: TypeAlias = list[tuple[bytes, bytes]]
"""Headers as they go to the wire, where the secret is in them."""

FRAMING: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "set-cookie",
        "set-cookie2",
    }
)
"""Headers of an answer that only framed it, and cookies."""

USER_AGENT: Final = ("User-Agent", f"interlock/{VERSION}")


def check_host(intent: plane.WebIntent) -> None:
    """Raises LaneFailure if the intent's host is not one that it may reach."""
    if intent.host not in intent.allowed_hosts:
        message = f"{intent.host} is not among the hosts that this call may reach"
        raise plane.LaneFailure(plane.FailureClass.HOST_NOT_ALLOWED, message)


def header_lines(
    intent: plane.WebIntent,
    shown: Shown,
    *,
    defaults: Sequence[tuple[str, str]],
    own: Iterable[tuple[str, str]] = (),
) -> Lines:
    """The request's headers: `defaults` where the intent has none of that name, the intent's, the lane's `own`, and those
    with secrets."""
    given = {name.lower() for name, _value in intent.headers}
    lines = [("Host", intent.target.host_header)]
    lines += [line for line in defaults if line[0].lower() not in given]
    lines += intent.headers
    lines += own
    lines += shown.headers
    return [(name.encode("ascii"), value.encode("utf-8")) for name, value in lines]


def received_headers(raw: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """An answer's headers as the receipt holds them."""
    received = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)
    return tuple(header for header in received if header[0] not in FRAMING)
