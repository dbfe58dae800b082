"""The lanes that can be put to the test by name: our six, each with a peer, and those of installed packages."""

import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from interlock import app, plane
from interlock.conformance.shelf import Shelf
from interlock.conformance.subject import CREDENTIAL, HANDLE, Case, LaneSubject
from interlock.kernel import JSON
from interlock.testing import peer as peers

_PIECE: Final = 65_536
_IN_QUERY: Final = plane.QueryCredential(handle=HANDLE, name="key", template="{token}")
_SAYS: Final = 'printf x >> "$0/received"; '
_COMMANDS: Final = {
    Case.GOOD: _SAYS + 'echo "$1"',
    Case.FAILING: _SAYS + "exit 7",
    Case.ENDLESS: _SAYS + "sleep 3600 & wait",
    Case.HUGE: _SAYS + 'while :; do head -c 65536 /dev/zero; printf x >> "$0/sent"; done',
}
_ANSWERS: Final = {
    Case.GOOD: _SAYS + 'read -r asked; printf \'{"jsonrpc":"2.0","id":1,"result":"%s"}\\n\' "$1"',
    Case.FAILING: _SAYS + "read -r asked; exit 7",
    Case.ENDLESS: _SAYS + "sleep 3600 & wait",
    Case.HUGE: _SAYS
    + """while :; do
        printf '{"jsonrpc":"2.0","method":"more","params":["%065536d"]}\\n' 0; printf x >> "$0/sent"
    done""",
}
_SCRIPTS: Final = {
    Case.GOOD: "tell(mark=input)\ninput",
    Case.UNSENT: "this is no program",
    Case.FAILING: "tell(mark=input)\n1 / 0",
    Case.ENDLESS: "wait()",
    Case.HUGE: "while True:\n    print('x' * 65535)\n    more()",
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
            "credentials": (CREDENTIAL, _IN_QUERY),
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

    lane_id = "process"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("received", "sent"):
            (folder / name).touch()

    def make_lane(self, credentials: plane.CredentialResolver) -> plane.Lane:
        """Unconfined."""
        return app.make_lane(self.lane_id, credentials=credentials, addresses=plane.AddressPolicy())

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
        command = self._command(_COMMANDS.get(case), mark)
        return plane.ProcessIntent(**identity, **command, max_ms=total_ms, max_output_bytes=2**40)

    def _command(self, program: str | None, mark: str) -> dict[str, Any]:
        argv = ("/no/such/command",) if program is None else ("/bin/sh", "-c", program, str(self._folder), mark)
        secret = plane.ProcessSecret(handle=HANDLE, field="token", host="conformance.invalid:443", env="TOKEN")
        return {"argv": argv, "secrets": (secret,)}


class _Servers(_Commands):
    """The JSON-RPC lane over commands of its own, which answer a call, or talk without an end."""

    lane_id = "jsonrpc"

    def intent(self, case: Case, *, identity: Mapping[str, Any], mark: str, total_ms: int) -> plane.Intent:
        """A call; where the peer talks, a session."""
        command = self._command(_ANSWERS.get(case), mark)
        session = case is Case.HUGE
        return plane.JsonRpcIntent(
            **identity,
            transport=plane.ProcessTransport(framing="newline", **command),
            mode="session" if session else "call",
            method=None if session else "answer",
            timeouts=plane.RpcTimeouts(total_ms=total_ms),
        )


class _Scripts:
    """The script lane. Its peer is who carries out the actions, and holds whatever credentials they need: the lane has
    none to lose."""

    def __init__(self) -> None:
        self.received = 0
        """Actions that were asked for."""
        self.sent = 0
        """Bytes that were printed, up to the last one that was taken."""

    def make_lane(self, credentials: plane.CredentialResolver) -> plane.Lane:
        """With us as its host."""
        return app.make_lane("script", credentials=credentials, addresses=plane.AddressPolicy(), actions=self)

    def intent(self, case: Case, *, identity: Mapping[str, Any], mark: str, total_ms: int) -> plane.Intent:
        """A small program, or no program at all."""
        return plane.ScriptIntent(
            **identity,
            source=_SCRIPTS[case],
            input=mark,
            actions=tuple(plane.ScriptAction(name=name) for name in ("tell", "wait", "more")),
            limits=plane.ScriptLimits(wall_ms=total_ms, output_bytes=2**26, max_actions=1000),
        )

    async def perform(
        self, action: str, arguments: Mapping[str, JSON], execution: plane.ScriptExecution
    ) -> JSON | plane.Denied:
        """Count it; `wait` never ends."""
        del arguments, execution
        self.received += 1
        if action == "more":
            self.sent += _PIECE
        elif action == "wait":
            await anyio.sleep_forever()
        return None


@asynccontextmanager
async def _web(lane_id: str) -> AsyncGenerator[LaneSubject]:
    async with peers.loopback_peer() as peer:
        yield _Web(lane_id, peer)


@asynccontextmanager
async def _commands(kind: type[_Commands]) -> AsyncGenerator[LaneSubject]:
    with tempfile.TemporaryDirectory(prefix="commands-") as folder:
        yield kind(Path(folder))


@asynccontextmanager
async def _scripts() -> AsyncGenerator[LaneSubject]:
    yield _Scripts()


LANES: Final[Shelf[LaneSubject]] = Shelf(
    "lane",
    {
        "http": partial(_web, "http"),
        "jsonrpc": partial(_commands, _Servers),
        "process": partial(_commands, _Commands),
        "script": _scripts,
        "sse": partial(_web, "sse"),
        "websocket": partial(_web, "websocket"),
    },
)
"""Every lane that can be tried here."""
