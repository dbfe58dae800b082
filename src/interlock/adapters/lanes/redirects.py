"""Where an answer leads that redirects: to be followed by reads only, and only within their origin."""

from typing import Final

from interlock import plane

MAX_REDIRECTS: Final = 3
"""Redirects that one GET or HEAD follows."""

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
"""The statuses that redirect, if they say where to."""

_SAFE: Final = frozenset({"GET", "HEAD"})


def redirected(method: str, url: plane.Url, location: str, exchange: plane.Exchange) -> plane.Url:
    """The next URL, if a request of this method may follow the redirect. Raises LaneFailure."""
    if method not in _SAFE:
        raise refused(exchange, f"a {method} is not sent again elsewhere", code="redirect_of_write")
    try:
        target = plane.resolve_location(url, location)
    except ValueError as error:
        raise refused(exchange, "its location cannot be read", code="redirect_unreadable") from error
    if target.origin != url.origin:
        raise refused(exchange, f"it leads from {url.host_port} to {target.host_port}", code="redirect_elsewhere")
    exchange.note("redirected", {"status": exchange.status, "path": target.path})
    return target


def too_many(exchange: plane.Exchange) -> plane.LaneFailure:
    """The failure of a request that is sent on and on."""
    return refused(exchange, f"more than {MAX_REDIRECTS} redirects", code="redirect_loop")


def refused(exchange: plane.Exchange, reason: str, *, code: str) -> plane.LaneFailure:
    """The failure of a redirect that is not followed."""
    message = f"the answer {exchange.status} redirects, and is not followed: {reason}"
    return plane.LaneFailure(plane.FailureClass.REDIRECT_REFUSED, message, code=code)
