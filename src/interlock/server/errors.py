"""What a request over the network can be refused for, and how errors look on the way out."""

from math import ceil
from typing import Final

from starlette.responses import JSONResponse

from interlock import approvals, connections, kernel, plane, runs, tokens


class Unauthenticated(kernel.RequestError):
    """Nobody whom this node knows has sent the request."""

    code = "unauthenticated"
    next_step = "Show a client certificate that the node trusts, or a fresh token signed by a key that it knows."


class Forbidden(kernel.RequestError):
    """The token does not open this."""

    code = "forbidden"
    next_step = "Use a token that may do this: `interlock tokens create` says what one may do."


class WrongOrigin(kernel.RequestError):
    """A page of another site asks."""

    code = "wrong_origin"
    next_step = "Ask from a program, or from a page of this server."


class TooManyRequests(kernel.RequestError):
    """The token asks for more at once than it may."""

    code = "too_many_requests"
    retry = kernel.Retry.LATER
    next_step = "Ask again after the seconds in Retry-After."


class RequestTooLarge(kernel.RequestError):
    """The request has more bytes than the node takes."""

    code = "request_too_large"
    next_step = "Send less at once."


class RequestTooSlow(kernel.RequestError):
    """The request did not arrive, or its answer was not taken, in time."""

    code = "request_too_slow"
    retry = kernel.Retry.LATER
    next_step = "Try again over a better link."


class WrongHost(kernel.RequestError):
    """The request names a host that this node is not."""

    code = "wrong_host"
    next_step = "Speak to the node by a name or address that stands in its certificate."


class NodeClosing(kernel.PlaneError):
    """The node is ending and accepts nothing more."""

    code = "node_closing"
    retry = kernel.Retry.LATER
    fault = kernel.Fault.OPERATOR
    next_step = "Ask again when the node is back, with the same idempotency key."


class NodeBusy(kernel.PlaneError):
    """The node has as many connections as it holds, and has not heard the request."""

    code = "node_busy"
    retry = kernel.Retry.LATER
    fault = kernel.Fault.OPERATOR
    next_step = "Ask again in a while."


_ENDS: Final = (runs.RunFailed, runs.OverBudget, runs.RefusedByPolicy, runs.DeadlinePassed)
"""What a run failed with, which is no defect of the server that tells it."""

_STATUS: tuple[tuple[type[kernel.InterlockError], int], ...] = (
    (Unauthenticated, 401),
    (tokens.TokenRefused, 401),
    (Forbidden, 403),
    (WrongOrigin, 403),
    (approvals.RoleMissing, 403),
    (approvals.SelfReview, 403),
    (TooManyRequests, 429),
    (RequestTooLarge, 413),
    (RequestTooSlow, 408),
    (WrongHost, 421),
    (NodeBusy, 503),
    (NodeClosing, 503),
    (plane.InputClosed, 409),
    (runs.RunCancelled, 409),
    (kernel.NotFoundError, 404),
    (connections.LeaseNotFound, 404),
    (kernel.ConflictError, 409),
    (kernel.RequestError, 400),
    (kernel.StoreError, 503),
    # What others failed at. No 5xx: a proxy or a library would send the request again by itself, and who knows what happened.
    (kernel.ConnectionError_, 424),
    (kernel.ProviderError, 424),
    (kernel.UnknownOutcome, 424),
    (kernel.PlaneError, 424),
    *((kind, 424) for kind in _ENDS),
)

_NO_JOURNAL: Final[dict[str, kernel.JSON]] = {
    "message": "this node cannot write down what it accepts; its log says why",
    "next_step": "Ask again later, with the same idempotency key, or tell the node's operator.",
    "details": {},
}
"""What clients are told of a StoreError: where a node keeps what, and what its disk said, is for its operator."""

_NOT_SET_UP: Final[dict[str, kernel.JSON]] = {
    "message": "this server is not set up for that; its log says what is missing",
    "next_step": "Tell the server's operator.",
    "details": {},
}
"""What clients are told of a ConfigurationError: settings and places of files are the operator's, too."""


def problem(error: kernel.InterlockError, *, status: int | None = None) -> JSONResponse:
    """The error as problem+json (RFC 9457), with the members that errors have everywhere."""
    code = status or next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    headers = {"WWW-Authenticate": "Bearer"} if code == 401 else {}
    if isinstance(error, NodeBusy) or error.retry_after is not None:
        headers["Retry-After"] = str(ceil(error.retry_after or 1))
    told = {
        "type": f"urn:interlock:error:{error.code}",
        "title": error.code.replace("_", " "),
        "status": code,
        **error.to_json(),
    }
    if isinstance(error, kernel.StoreError):
        told |= _NO_JOURNAL
    if isinstance(error, kernel.ConfigurationError) and status is None:
        told |= _NOT_SET_UP
    return JSONResponse(told, status_code=code, media_type="application/problem+json", headers=headers)
