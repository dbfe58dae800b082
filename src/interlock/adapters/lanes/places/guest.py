"""Guests: places whose agent holds the same token as we do, behind a socket file or a port."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import anyio
import anyio.lowlevel

from interlock import plane
from interlock.adapters.lanes.places.handshake import PROOF, VERSION, agrees, prove, read_token
from interlock.adapters.lanes.places.link import Link, told_by
from interlock.adapters.lanes.places.place import CAPABILITIES, CONNECT, SILENCE
from interlock.adapters.lanes.wire import open_tcp

_NONCE: Final = 32


class GuestPlace:
    """A guest by its bridge. Both sides prove that they hold the token, and mark every frame after that; over a port, others
    can read along."""

    def __init__(
        self,
        url: plane.PlaceUrl,
        *,
        addresses: plane.AddressPolicy,
        token: Path,
        connect_seconds: float = CONNECT,
        silence: float = SILENCE,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`token` is the file that holds it, read at every use; `silence`: see `Link`."""
        self._url = url
        self._addresses = addresses
        self._token = token
        self._connect_seconds = connect_seconds
        self._silence = silence
        self._random_bytes = random_bytes

    @property
    def target_class(self) -> str:
        return plane.GUEST_BRIDGE

    @property
    def url(self) -> str:
        return self._url.text

    @property
    def private(self) -> bool:
        return bool(self._url.path)

    @asynccontextmanager
    async def reach(self, exchange: plane.Exchange, needs: frozenset[str]) -> AsyncGenerator[Link]:
        token = self._read_token()
        link = Link(silence=self._silence)
        transport: asyncio.BaseTransport | None = None
        try:
            try:
                with anyio.fail_after(self._connect_seconds):
                    transport, peer = await self._connect(link)
                    noted = await self._attach(link, token, needs)
                    await link.hello()
            except TimeoutError as error:
                message = f"{self.url} was not ready within {self._connect_seconds:g} seconds"
                raise plane.LaneFailure(plane.FailureClass.CONNECT_TIMEOUT, message, code="guest_timeout") from error
            exchange.peer = peer
            exchange.note("placed", {"placement": self.url, **noted})
            yield link
        finally:
            link.close()
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()  # then it is gone

    async def _connect(self, link: Link) -> tuple[asyncio.BaseTransport, str]:
        loop = asyncio.get_running_loop()
        if not self._url.path:
            taken, peer = await open_tcp(self._addresses, self._url.target, self._connect_seconds)
            return (await loop.create_connection(lambda: link, sock=taken))[0], peer
        try:
            return (await loop.create_unix_connection(lambda: link, self._url.path))[0], self._url.path
        except OSError as error:
            message = f"no connection to {self.url}: {(error.strerror or str(error)).lower()}"
            raise plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, message) from error

    async def _attach(self, link: Link, token: bytes, needs: frozenset[str]) -> dict[str, plane.Fact]:
        """Prove and be proved. Raises LaneFailure."""
        kind, hello = await link.greeting()
        told = told_by(hello)
        if kind != b"g" or VERSION not in _list(told, "versions"):
            message = f"{self.url} does not speak version {VERSION} of the guest bridge"
            raise plane.LaneFailure(plane.FailureClass.LAUNCH_FAILED, message, code="protocol_unknown")
        asked = json.dumps(
            {
                "version": VERSION,
                "nonce": self._random_bytes(_NONCE).hex(),
                "required": sorted(needs),
                "optional": [] if needs else sorted(CAPABILITIES),
            }
        ).encode()
        link.say(b"a", prove(token, b"node", hello, asked) + asked)
        kind, data = await link.greeting()
        if kind == b"f":
            raise self._refused(str(told_by(data).get("reason"))[:200])
        proof, answer = data[:PROOF], data[PROOF:]
        if kind != b"b" or not agrees(proof, token, b"guest", hello, asked, answer):
            message = f"whoever answers at {self.url} did not prove that it holds the token"
            raise plane.LaneFailure(plane.FailureClass.IDENTITY_REFUSED, message, code="guest_unproved")
        granted = {str(each) for each in _list(told_by(answer), "granted")}
        if not needs <= granted <= (needs or CAPABILITIES):
            message = f"{self.url} grants something else than it was asked for"
            raise plane.LaneFailure(plane.FailureClass.FRAMING_FAILED, message, code="grant_widened")
        link.granted = frozenset(granted)
        said = hello, asked, answer
        link.frames.seal(ours=prove(token, b"node frames", *said), theirs=prove(token, b"guest frames", *said))
        return {"guest": str(told.get("guest"))[:200], "granted": sorted(granted)}

    def _refused(self, reason: str) -> plane.LaneFailure:
        what, _, which = reason.partition(" ")
        if what == "token":
            message = f"{self.url} does not let us in by the token {self._token.name}"
            return plane.LaneFailure(plane.FailureClass.LOGIN_REFUSED, message)
        if what == "sessions":
            message = f"{self.url} runs as many commands as it does at once"
            return plane.LaneFailure(plane.FailureClass.TARGET_UNAVAILABLE, message, code="guest_busy")
        message = f"{self.url} does not grant {which}" if what == "capability" else f"{self.url} refuses: {reason}"
        return plane.LaneFailure(plane.FailureClass.TARGET_UNAVAILABLE, message, code="capability_missing")

    def _read_token(self) -> bytes:
        try:
            return read_token(self._token.read_bytes())
        except (OSError, ValueError) as error:
            message = f"the token {self._token} cannot be used: {error}"
            raise plane.LaneFailure(
                plane.FailureClass.CREDENTIAL_UNAVAILABLE, message, code="token_unreadable"
            ) from error


def _list(told: dict[str, Any], name: str) -> list[Any]:
    value = told.get(name)
    return cast("list[Any]", value) if isinstance(value, list) else []
