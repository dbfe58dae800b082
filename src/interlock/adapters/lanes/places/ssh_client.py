"""The SSH protocol, by asyncssh: who is let in to us, how we log in, and the one session of a connection."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import asyncssh

from interlock import plane
from interlock.adapters.lanes.places.link import Link

_KINDS: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""The signatures of host keys that we take, best first; no certificates."""

_DEFAULT_PORT: Final = 22
_SAID: Final = 300


@dataclass(frozen=True, slots=True)
class Pins:
    """The host keys that are taken for one host: whole ones, or their fingerprints."""

    fingerprints: frozenset[str]
    kinds: frozenset[str] = frozenset()
    revoked: frozenset[str] = frozenset()

    def accept(self, key: asyncssh.SSHKey) -> bool:
        """Whether that is one of them."""
        fingerprint = key.get_fingerprint()
        return fingerprint in self.fingerprints and fingerprint not in self.revoked

    @property
    def algorithms(self) -> list[str]:
        """Those of the pinned keys first; the others too, so that a host with another key is told by that key."""
        return sorted(_KINDS, key=lambda kind: kind not in self.kinds)


def read_pins(host_keys: Sequence[str], known_hosts: Path | None, url: plane.PlaceUrl, peer: str) -> Pins:
    """The pins as an operator writes them. Raises LaneFailure if they cannot be read, or are none."""
    fingerprints = {each for each in host_keys if each.startswith("SHA256:")}
    try:
        keys = [asyncssh.import_public_key(each) for each in host_keys if each not in fingerprints]
        revoked: Sequence[asyncssh.SSHKey] = ()
        if known_hosts is not None:
            port = None if url.port == _DEFAULT_PORT else url.port
            known = asyncssh.import_known_hosts("\n".join(map(_named, known_hosts.read_text().splitlines())))
            # By the name alone: whoever steers the name lookup could else show the key of any address in the file.
            named = known.match(url.host, "", port)
            keys += named[0]
            revoked = [*named[2], *known.match(url.host, peer, port)[2]]
    except (OSError, ValueError) as error:
        message = f"the pinned host keys of {url.text} cannot be read: {error}"
        raise plane.LaneFailure(plane.FailureClass.IDENTITY_REFUSED, message, code="host_keys_unreadable") from error
    pins = Pins(
        fingerprints=frozenset(fingerprints | {key.get_fingerprint() for key in keys}),
        kinds=frozenset(kind.decode() for key in keys for kind in key.sig_algorithms),
        revoked=frozenset(key.get_fingerprint() for key in revoked),
    )
    if not pins.fingerprints:
        message = f"no host key is pinned for {url.text}"
        raise plane.LaneFailure(plane.FailureClass.IDENTITY_REFUSED, message, code="host_key_unknown")
    return pins


def _named(line: str) -> str:
    """The line without empty names, as a comma too many makes them: the library takes them for those of every host."""
    words = line.split(None, 2)
    at = 1 if line.lstrip().startswith("@") else 0
    if len(words) <= at or line.lstrip().startswith("#"):
        return line
    words[at] = ",".join(name for name in words[at].split(",") if name)
    return " ".join(words) if words[at] else ""


class _Client(asyncssh.SSHClient):
    """Judges the host's key, before anything else is said."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self.shown: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key
        return self._pins.accept(key)


class Session(asyncssh.SSHClientSession[bytes]):
    """What the far program writes goes to the link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._errors = bytearray()
        self.status: int | None = None

    @property
    def said(self) -> str:
        """The last of what came on stderr."""
        return self._errors.decode(errors="replace").strip()

    def connection_made(self, chan: Any) -> None:
        self._link.connect(chan.write)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is None:
            self._link.data_received(data)
        else:
            self._errors = (self._errors + data)[-_SAID:]

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.connection_lost(exc)


@dataclass(slots=True)
class Login:
    """A connection whose host has proved itself, and has let us in."""

    connection: asyncssh.SSHClientConnection
    host_key: str

    async def start(self, command: str, link: Link) -> Session:
        """Have a fixed command executed, with the link at its streams. Raises LaneFailure."""
        try:
            session = Session(link)
            connection = cast("Any", self.connection)  # whose types say nothing of bytes
            await connection.create_session(lambda: session, command, encoding=None, request_pty=False)
        except (OSError, asyncssh.Error) as error:
            message = f"the far side executes nothing for us: {_reason(error)}"
            raise plane.LaneFailure(plane.FailureClass.LAUNCH_FAILED, message, code="session_refused") from error
        return session

    async def aclose(self) -> None:
        """End it at once."""
        self.connection.abort()
        await self.connection.wait_closed()


async def log_in(taken: socket.socket, url: plane.PlaceUrl, pins: Pins, identity: Path) -> Login:
    """Speak SSH over a connected socket. Raises LaneFailure."""
    client = _Client(pins)
    try:
        connection = await asyncssh.connect(
            url.host,
            url.port,
            sock=taken,
            config=[],
            client_factory=lambda: client,
            username=url.user,
            client_keys=[str(identity)],
            preferred_auth=["publickey"],
            known_hosts=_nobody,
            server_host_key_algs=pins.algorithms,
            x509_trusted_certs=None,
            agent_path=None,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
            send_env=[],
            env={},
            compression_algs=None,
            login_timeout=0,
            keepalive_interval=0,
            disable_trivial_auth=True,
        )
    except (OSError, ValueError, asyncssh.Error) as error:
        raise _told(error, url, pins, client.shown, identity) from error
    assert client.shown is not None
    return Login(connection, client.shown.get_fingerprint())


def _nobody(host: str, addr: str, port: int | None) -> tuple[list[str], list[str], list[str]]:
    """All keys are unknown to the library: it asks us about each. An empty list would have it look for the user's own."""
    del host, addr, port
    return [], [], []


def _told(
    error: Exception, url: plane.PlaceUrl, pins: Pins, shown: asyncssh.SSHKey | None, identity: Path
) -> plane.LaneFailure:
    where = f"{url.host}:{url.port}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        key = "no plain key" if shown is None else f"{shown.get_algorithm()} {shown.get_fingerprint()}"
        message = f"{where} showed the host key {key}; pinned: {', '.join(sorted(pins.fingerprints))}"
        return plane.LaneFailure(plane.FailureClass.IDENTITY_REFUSED, message, code="host_key_changed")
    if isinstance(error, asyncssh.PermissionDenied):
        message = f"{where} does not let {url.user} in by the key {identity.name}"
        return plane.LaneFailure(plane.FailureClass.LOGIN_REFUSED, message)
    if isinstance(error, asyncssh.KeyImportError | asyncssh.KeyEncryptionError | FileNotFoundError | PermissionError):
        message = f"the private key {identity} cannot be used: {_reason(error)}"
        return plane.LaneFailure(plane.FailureClass.CREDENTIAL_UNAVAILABLE, message, code="identity_unreadable")
    message = f"no SSH connection to {where}: {_reason(error)}"
    if isinstance(error, asyncssh.ProtocolError | asyncssh.ProtocolNotSupported | asyncssh.KeyExchangeFailed):
        return plane.LaneFailure(plane.FailureClass.PROTOCOL_ERROR, message, code="ssh_refused")
    return plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, message, code="ssh_failed")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error) or type(error).__name__)[:_SAID]
