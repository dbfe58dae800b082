"""Lines that serve one execution each, for the lanes that stream: as many as may be open at once, none kept."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache

import anyio
import anyio.lowlevel

from interlock import plane
from interlock.adapters.lanes.line import Line
from interlock.adapters.lanes.tunnel import Proxy
from interlock.adapters.lanes.wire import Dialler


class Lines:
    """Lends lines to checked addresses, at most `most` at a time; each is closed where its block ends."""

    def __init__(
        self, addresses: plane.AddressPolicy, ssl_context: ssl.SSLContext | None, proxy: Proxy | None, *, most: int
    ) -> None:
        """`ssl_context` replaces the system's trust store. ValueError if it does not verify certificates and names."""
        self._dialler = Dialler(addresses, speaking_http(ssl_context), proxy)
        self._places = anyio.Semaphore(most)
        self._lent: set[Line] = set()
        self._closed = False

    @asynccontextmanager
    async def lend(self, url: plane.Url, timeouts: plane.Timeouts) -> AsyncGenerator[Line]:
        """A line to the URL's origin. Raises LaneFailure."""
        await self._place(timeouts.pool_ms / 1000)
        try:
            line = Line(await self._dialler.dial(url, timeouts.connect_ms / 1000))
            self._lent.add(line)
            try:
                self._check_open()
                yield line
            finally:
                self._lent.discard(line)
                line.close()
        finally:
            self._places.release()

    async def aclose(self) -> None:
        """Close all lines; executions under way end with what a broken connection means."""
        self._closed = True
        for line in self._lent:
            line.close()
        await anyio.lowlevel.checkpoint()  # then they are gone

    async def _place(self, patience: float) -> None:
        self._check_open()
        try:
            with anyio.fail_after(patience):
                await self._places.acquire()
        except TimeoutError as error:
            message = "no connection of the lane became free in time"
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, message) from error

    def _check_open(self) -> None:
        if self._closed:
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, "the lane is closed", code="lane_closed")


def speaking_http(ssl_context: ssl.SSLContext | None) -> ssl.SSLContext:
    """A context for HTTP/1.1; the system's trust store if None. ValueError if it does not verify certificates and names."""
    return verifying(ssl_context, "http/1.1")


def verifying(ssl_context: ssl.SSLContext | None, *protocols: str) -> ssl.SSLContext:
    """A context that offers these protocols; the system's trust store if None. ValueError if it does not verify certificates
    and names."""
    if ssl_context is None:
        return _system_context(protocols)
    if not (ssl_context.check_hostname and ssl_context.verify_mode is ssl.CERT_REQUIRED):
        raise ValueError("the lane's TLS context must verify certificates and host names")
    if protocols:
        ssl_context.set_alpn_protocols([*protocols])
    return ssl_context


@cache  # reading the system's trust store takes longer than everything else in opening an Interlock
def _system_context(protocols: tuple[str, ...]) -> ssl.SSLContext:
    import httpx2  # only for the system's trust store, found without the environment

    context = httpx2.create_ssl_context(trust_env=False)
    if protocols:
        context.set_alpn_protocols([*protocols])
    return context
