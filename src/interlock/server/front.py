"""The front of `interlock serve`: which part of it a request is for, and by which names it may be spoken to."""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from interlock.server.connect import ConnectPages
from interlock.server.gate import Door

if TYPE_CHECKING:
    from interlock import app

_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "[::1]")


class Front(Door):
    """Several doors as one: the beginning of a path says which, and the pages take the rest."""

    def __init__(self, parts: Mapping[str, Door], pages: Door) -> None:
        super().__init__(pages)
        self._parts = parts
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))
        door = next((each for begin, each in self._parts.items() if path.startswith(begin)), self._pages)
        await door(scope, receive, send)

    def answer(self, error: Exception) -> Response:
        return self._pages.answer(error)

    def close(self) -> None:
        for each in (*self._parts.values(), self._pages):
            each.close()


def open_front(il: "app.Interlock", *, origin: str, host: str, port: int, names: Collection[str] = ()) -> Front:
    """All that one Interlock answers, listening there: the API, and at `origin` the pages. `names` are further `host:port` by
    which the API may be spoken to."""
    from interlock.server.api import Api  # here: a node has none of it

    known = {urlsplit(origin).netloc, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", *names}
    if is_loopback(host):
        known |= {f"{each}:{port}" for each in _THIS_MACHINE}
    return Front({"/v1/": Api(il, hosts=frozenset(each.lower() for each in known))}, ConnectPages(il, origin=origin))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
