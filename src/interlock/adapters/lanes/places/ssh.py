"""SSH: a host behind a pinned key, where our outpost is started for each command.

What is executed there is one fixed text; the program, and then the order, go over the channel.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from interlock import plane
from interlock.adapters.lanes.places.link import Link
from interlock.adapters.lanes.places.place import CAPABILITIES, CONNECT, SILENCE
from interlock.adapters.lanes.places.program import outpost_program
from interlock.adapters.lanes.wire import open_tcp

if TYPE_CHECKING:
    from interlock.adapters.lanes.places import ssh_client

_START: Final = (
    'exec python3 -I -S -c \'f=open(0,"rb",closefd=False);'
    'exec(compile(f.read(int(f.read(8))),"interlock","exec"),{"__name__":"__main__"})\''
)
"""The whole of what the far shell is told, whatever the command."""

_NOT_FOUND: Final = 127
_CLOSED_WITHIN: Final = 5.0


class SshPlace:
    """A host by SSH. It must show one of the pinned host keys; we log in by one private key, and by nothing else: no agent,
    no password, nothing from the user's own SSH settings. Needs the extra `ssh`."""

    def __init__(
        self,
        url: plane.PlaceUrl,
        *,
        addresses: plane.AddressPolicy,
        identity: Path,
        host_keys: tuple[str, ...] = (),
        known_hosts: Path | None = None,
        connect_seconds: float = CONNECT,
        silence: float = SILENCE,
    ) -> None:
        """`host_keys` are fingerprints (`SHA256:…`) or public keys (`ssh-ed25519 AAAA…`); `known_hosts` is a file as
        OpenSSH keeps it. `silence`: see `Link`."""
        self._url = url
        self._addresses = addresses
        self._identity = identity
        self._host_keys = host_keys
        self._known_hosts = known_hosts
        self._connect_seconds = connect_seconds
        self._silence = silence

    @property
    def target_class(self) -> str:
        return plane.SSH_PINNED

    @property
    def url(self) -> str:
        return self._url.text

    @property
    def private(self) -> bool:
        return True

    @asynccontextmanager
    async def reach(self, exchange: plane.Exchange, needs: frozenset[str]) -> AsyncGenerator[Link]:
        del needs  # our own program grants all there is
        try:
            from interlock.adapters.lanes.places import ssh_client
        except ModuleNotFoundError as error:
            message = "places by SSH need asyncssh: install interlock[ssh]"
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, message, code="extra_missing") from error
        link = Link(silence=self._silence)
        link.granted = CAPABILITIES
        login: ssh_client.Login | None = None
        try:
            try:
                with anyio.fail_after(self._connect_seconds):
                    taken, peer = await open_tcp(self._addresses, self._url.target, self._connect_seconds)
                    try:
                        pins = ssh_client.read_pins(self._host_keys, self._known_hosts, self._url, peer)
                        login = await ssh_client.log_in(taken, self._url, pins, self._identity)
                    except BaseException:
                        taken.close()
                        raise
                    await self._load(link, await login.start(_START, link))
            except TimeoutError as error:
                message = f"{self.url} was not ready within {self._connect_seconds:g} seconds"
                raise plane.LaneFailure(plane.FailureClass.CONNECT_TIMEOUT, message, code="ssh_timeout") from error
            exchange.peer = peer
            exchange.note("placed", {"placement": self.url, "host_key": login.host_key})
            yield link
        finally:
            link.close()
            if login is not None:
                with anyio.move_on_after(_CLOSED_WITHIN, shield=True):
                    await login.aclose()

    async def _load(self, link: Link, session: "ssh_client.Session") -> None:
        program = outpost_program().encode()
        link.send(f"{len(program):08}".encode() + program)
        try:
            await link.hello()
        except plane.LaneFailure as error:
            said = f": {session.said}" if session.said else ""
            code, why = "far_side_not_started", f"did not start our program{said}"
            if session.status == _NOT_FOUND:
                code, why = "far_side_without_python", f"has no python3{said}"
            raise plane.LaneFailure(plane.FailureClass.LAUNCH_FAILED, f"{self.url} {why}", code=code) from error
