"""The lanes that can be put to the test by name: ours, and those of installed packages."""

import tempfile
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from interlock import app, plane
from interlock.conformance.subject import (
    CREDENTIAL,
    HANDLE,
    Case,
    LaneSubject,
    OpenLaneSubject,
    SubjectBroken,
    UnknownSubject,
)
from interlock.testing import peer as peers

GROUP: Final = "interlock.lanes"
_PIECE: Final = 65_536
_SAYS: Final = 'printf x >> "$0/received"; '
_COMMANDS: Final = {
    Case.GOOD: _SAYS + 'echo "$1"',
    Case.FAILING: _SAYS + "exit 7",
    Case.ENDLESS: _SAYS + "sleep 3600 & wait",
    Case.HUGE: _SAYS + 'while :; do head -c 65536 /dev/zero; printf x >> "$0/sent"; done',
}


class _Web:
    """http, sse or websocket, against a peer on loopback."""

    def __init__(self, lane_id: str, peer: peers.LoopbackPeer) -> None:
        self._lane_id = lane_id
        self._peer = peer

    def make_lane(self, credentials: plane.CredentialResolver) -> plane.Lane:
        """Allowed to reach the peer."""
        allowed = plane.AddressPolicy(allow=(self._peer.host, self._peer.closed_host))
        return app.make_lane(self._lane_id, credentials=credentials, addresses=allowed)

    @property
    def received(self) -> int:
        """Bytes."""
        return self._peer.received

    @property
    def sent(self) -> int:
        """Bytes that the kernel took."""
        return self._peer.sent

    def intent(self, case: Case, *, identity: Mapping[str, Any], mark: str, total_ms: int) -> plane.Intent:
        """A request to the peer, or to a port where nobody listens."""
        host = self._peer.closed_host if case is Case.UNSENT else self._peer.host
        scheme = "ws" if self._lane_id == "websocket" else "http"
        common: dict[str, Any] = {
            **identity,
            "url": f"{scheme}://{host}/{self._lane_id}/{case}?{mark}",
            "allowed_hosts": (host,),
            "credential": CREDENTIAL,
        }
        if self._lane_id == "http":
            timeouts = plane.Timeouts(total_ms=total_ms)
            mode = "unary" if case in (Case.GOOD, Case.FAILING) else "stream"
            return plane.HttpIntent(
                **common, method="GET", timeouts=timeouts, response_mode=mode, max_response_bytes=2**31
            )
        if self._lane_id == "sse":
            return plane.SseIntent(**common, timeouts=plane.StreamTimeouts(total_ms=total_ms))
        return plane.WebSocketIntent(**common, timeouts=plane.WebSocketTimeouts(total_ms=total_ms))


class _Commands:
    """The process lane without a sandbox, with small shell programs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("received", "sent"):
            (folder / name).touch()

    def make_lane(self, credentials: plane.CredentialResolver) -> plane.Lane:
        """Unconfined."""
        return app.make_lane("process", credentials=credentials, addresses=plane.AddressPolicy())

    @property
    def received(self) -> int:
        """Commands that have begun."""
        return (self._folder / "received").stat().st_size

    @property
    def sent(self) -> int:
        """Bytes, in steps of a pipe's size."""
        return (self._folder / "sent").stat().st_size * _PIECE

    def intent(self, case: Case, *, identity: Mapping[str, Any], mark: str, total_ms: int) -> plane.Intent:
        """A command, or one that is not there."""
        program = _COMMANDS.get(case)
        argv = ("/no/such/command",) if program is None else ("/bin/sh", "-c", program, str(self._folder), mark)
        secret = plane.ProcessSecret(handle=HANDLE, field="token", host="conformance.invalid:443", env="TOKEN")
        return plane.ProcessIntent(**identity, argv=argv, secrets=(secret,), max_ms=total_ms, max_output_bytes=2**40)


@asynccontextmanager
async def _web(lane_id: str) -> AsyncGenerator[LaneSubject]:
    async with peers.loopback_peer() as peer:
        yield _Web(lane_id, peer)


@asynccontextmanager
async def _commands() -> AsyncGenerator[LaneSubject]:
    with tempfile.TemporaryDirectory(prefix="commands-") as folder:
        yield _Commands(Path(folder))


_OURS: Final[Mapping[str, OpenLaneSubject]] = {
    "http": partial(_web, "http"),
    "process": _commands,
    "sse": partial(_web, "sse"),
    "websocket": partial(_web, "websocket"),
}


def lane_names(*, entries: Iterable[EntryPoint] | None = None) -> tuple[str, ...]:
    """Ours and those of installed packages, sorted. Nothing is loaded."""
    return tuple(sorted({*_OURS, *(entry.name for entry in _installed(entries))}))


def find_lane(name: str, *, entries: Iterable[EntryPoint] | None = None) -> OpenLaneSubject:
    """The subject of that name; ours comes first. `entries` replaces what is installed. Raises UnknownSubject,
    SubjectBroken."""
    if name in _OURS:
        return _OURS[name]
    entry = next((entry for entry in _installed(entries) if entry.name == name), None)
    if entry is None:
        raise UnknownSubject(f"there is no lane {name[:60]!r} to test; known: {', '.join(lane_names(entries=entries))}")
    return partial(_foreign, entry)


@asynccontextmanager
async def _foreign(entry: EntryPoint) -> AsyncGenerator[LaneSubject]:
    async with AsyncExitStack() as stack:
        try:
            opened: OpenLaneSubject = entry.load()
            subject = await stack.enter_async_context(opened())
        except Exception as error:
            problem = f"the entry point {entry.name} ({entry.value}): {type(error).__name__}: {error}"
            raise SubjectBroken(problem[:500]) from error
        yield subject


def _installed(entries: Iterable[EntryPoint] | None) -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP) if entries is None else entries, key=lambda each: each.name)
