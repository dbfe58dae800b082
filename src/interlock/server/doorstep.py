"""The listening socket of a node, which knows who has come and not finished the TLS handshake: such a connection is nobody's
yet, neither the event loop's server nor uvicorn counts it."""

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final

from interlock.server import wire

HANDSHAKE_SECONDS: Final = 10.0
"""How long a TLS handshake may take."""


class Doorstep(socket.socket):
    """Ends a handshake that takes too long, and the oldest one when there are too many."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shaking: dict[int, tuple[socket.socket, asyncio.TimerHandle]] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """As a socket's; the event loop calls it."""
        connection, address = super().accept()
        self.shaken(connection.fileno())  # another one had that number, and is gone
        if len(self._shaking) >= wire.MAX_STRANGERS:
            for number in [each for each, (gone, _) in self._shaking.items() if gone.fileno() < 0]:
                self.shaken(number)
        if len(self._shaking) >= wire.MAX_STRANGERS:
            self._end(next(iter(self._shaking)))
        timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._end, connection.fileno())
        self._shaking[connection.fileno()] = connection, timer
        return connection, address

    def shaken(self, number: int) -> None:
        """The handshake of the connection with this descriptor is over."""
        if (found := self._shaking.pop(number, None)) is not None:
            found[1].cancel()

    def close(self) -> None:
        for number in list(self._shaking):
            self.shaken(number)
        super().close()

    def _end(self, number: int) -> None:
        connection, timer = self._shaking.pop(number)
        timer.cancel()
        with suppress(OSError):  # it is gone by itself
            connection.shutdown(socket.SHUT_RDWR)


def listening(host: str, port: int) -> list[Doorstep]:
    """At all addresses of the host. Raises OSError."""
    found = list[Doorstep]()
    try:
        for family, kind, protocol, _name, address in dict.fromkeys(
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        ):
            found.append(one := Doorstep(family, kind, protocol))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except BaseException:
        for each in found:
            each.close()
        raise
    return found
