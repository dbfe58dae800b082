"""Bodies of requests: read within a size and a time, and what was promised of them."""

from collections.abc import Callable
from typing import Final

import anyio
from starlette.requests import ClientDisconnect, Request

from interlock import plane
from interlock.kernel import digest_bytes
from interlock.server.errors import RequestTooLarge, RequestTooSlow, Unauthenticated

BODY_SECONDS: Final = 30.0
"""How long a body may take to arrive."""


def _whole(_size: int) -> bool:
    return True


async def read_body(request: Request, *, limit: int = plane.MAX_REQUEST, keep: Callable[[int], bool] = _whole) -> bytes:
    """The body, of `limit` bytes at most; of its parts those that are to be kept, which `keep` says of each. Raises
    RequestTooLarge, RequestTooSlow; Unauthenticated if it is not the one that the token is for."""
    parts: list[bytes] = []
    size = 0
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise RequestTooLarge(f"the request has more than {limit} bytes")
                if keep(len(part)):
                    parts.append(part)
    except TimeoutError as error:
        raise RequestTooSlow(f"the request did not arrive within {BODY_SECONDS:g} seconds") from error
    except ClientDisconnect as error:
        raise RequestTooSlow("the client is gone") from error
    body = b"".join(parts)
    promised: str | None = request.scope.get("state", {}).get("promised")
    if promised is not None and digest_bytes(body) != promised:
        raise Unauthenticated("this node does not know who is asking")
    return body
