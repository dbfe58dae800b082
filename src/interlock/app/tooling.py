"""The MCP servers of the settings: what was written down of them, and conversations with them over a plane of their own."""

import os
import shutil
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import ValidationError

from interlock import plane, sdk
from interlock.app.local_plane import open_local_plane
from interlock.app.opened import LOCAL_NET, LocalPlane
from interlock.app.provided import FileUnreadable, read_text
from interlock.app.settings import Settings
from interlock.app.terms import McpSettings
from interlock.kernel import Caller, JsonLimits, RequestError, Secret, is_id, no_such, read_written

if TYPE_CHECKING:
    from interlock import agents, connections

LIMITS: Final = JsonLimits(max_bytes=2 * 1_048_576, max_depth=64, max_nodes=200_000)
_BOUNDS: Final = plane.RpcLimits(max_message_bytes=2 * 1_048_576, max_batch=20, max_pending=20, max_nodes=100_000)
_HANDLE: Final = "token"


class Toolboxes:
    """`agents.ToolServers`, of the settings. What goes to servers and comes from them is evidence in `sinks`; `leases` are on
    connections, which an open Interlock has."""

    def __init__(
        self,
        settings: Settings,
        sinks: tuple[plane.EvidenceSink, ...] = (),
        leases: "connections.Leases | None" = None,
    ) -> None:
        self._settings = settings
        self._sinks = sinks
        self._leases = leases
        self._read: dict[str, agents.Toolbox | None] = {}

    @property
    def names(self) -> Iterable[str]:
        """What they are called."""
        return sorted(self._settings.mcp)

    def presence(self, server: str) -> Literal["required", "optional"] | None:
        """What turns do without it; None also for a server that is not there."""
        told = self._settings.mcp.get(server)
        return None if told is None else told.presence

    def begins_within(self, server: str) -> float:
        """Seconds that its beginning may take."""
        told = self._settings.mcp.get(server)
        return McpSettings.model_fields["timeout"].default if told is None else told.timeout

    def read(self, server: str) -> "agents.Toolbox | None":
        """What was written down of a server, read once. Raises FileUnreadable."""
        if server not in self._settings.mcp:
            return None
        if server not in self._read:
            self._read[server] = self._written(server)
        return self._read[server]

    def file(self, server: str) -> str:
        """Where that is written down."""
        return self._settings.mcp[server].tools or f"{server}.tools.json"

    @asynccontextmanager
    async def open(
        self, server: str, *, caller: Caller, run_id: str, seconds: float
    ) -> "AsyncGenerator[agents.ToolSession]":
        """A conversation with a server, in a process or a session of its own, which ends with the block. Raises
        OperationFailed, RequestError for one that is not there, and what a lease on its connection raises."""
        from interlock import agents
        from interlock.adapters import mcp

        told = self._settings.mcp.get(server)
        if told is None:
            raise RequestError(
                no_such("MCP server", server, self._settings.mcp).replace("in this tenant", "in the settings")
            )
        failure: Exception | None = None
        async with (
            self._token(server, told, caller=caller, run_id=run_id, seconds=seconds + told.timeout) as token,
            open_local_plane(
                egress_allow=self._settings.execution.egress_allow,
                sandboxes=[plane.LOCAL_PROCESS] if told.command else (),
                sinks=self._sinks,
                secrets=_secrets(server, told),
                credentials=token,
            ) as local,
        ):
            intent = self._intent(server, told, local, token, caller=caller, run_id=run_id, seconds=seconds)
            try:
                ref = await local.start(intent, target_class=plane.LOCAL_PROCESS if told.command else LOCAL_NET)
            except plane.ExecutionRejected as error:
                raise agents.OperationFailed(f"the MCP server {server} does not begin: {error.message}") from error
            async with mcp.open_session(local.executions, ref, server) as session:
                try:
                    yield session
                except Exception as error:  # noqa: BLE001 - raised outside the groups of tasks, which would wrap it in others
                    failure = error
        if failure is not None:
            raise failure

    @asynccontextmanager
    async def _token(
        self, server: str, told: McpSettings, *, caller: Caller, run_id: str, seconds: float
    ) -> "AsyncGenerator[_Token | _Leased]":
        """What the server is shown, for the block alone."""
        from interlock import agents, connections

        if told.connection is None:
            yield _Token(server, told)
            return
        if self._leases is None:
            raise agents.OperationFailed(
                f"the MCP server {server} is shown the credential of a connection, which only an open Interlock has"
            )
        async with self._leases.lent(
            caller,
            told.connection,
            scopes=frozenset(told.scopes),
            run_id=run_id if is_id(run_id, "run") else None,
            ttl=min(connections.MAX_LEASE, timedelta(seconds=seconds)),
        ) as lease:
            host = plane.parse_url(told.url or "").host_port
            if host not in lease.hosts:
                raise agents.OperationFailed(
                    f"the MCP server {server} is at {host}, and the connection {told.connection!r} is for "
                    f"{', '.join(sorted(lease.hosts))}: its credential goes nowhere else"
                )
            yield _Leased(self._leases, caller, lease, await self._leases.shown(caller, lease))

    def _written(self, server: str) -> "agents.Toolbox":
        from interlock import agents

        path = self._settings.folder / self.file(server)
        step = f"Write it: `interlock mcp tools {server} -o {self.file(server)}`."
        if not path.exists():
            raise FileUnreadable(
                f"nothing is written down of the MCP server {server}: {path} is not there", next_step=step
            )
        try:
            raw = read_written(read_text(path, "list of tools"), limits=LIMITS, what="list of tools").value
        except ValueError as error:
            raise FileUnreadable(f"{path}: {error}", next_step=step) from error
        problems: list[sdk.Problem] = []
        found = sdk.read_part(agents.Toolbox, raw, "", problems)
        if found is None:
            raise FileUnreadable(f"{path} is no list of tools: {'; '.join(map(str, problems[:5]))}", next_step=step)
        return found

    def _intent(
        self,
        server: str,
        told: McpSettings,
        local: LocalPlane,
        token: "_Token | _Leased",
        *,
        caller: Caller,
        run_id: str,
        seconds: float,
    ) -> plane.JsonRpcIntent:
        from interlock import agents

        total = seconds + told.timeout
        whose: dict[str, Any] = {
            **local.identity(seconds=total),
            "tenant_id": caller.tenant_id,
            "run_id": run_id,
        }
        try:
            return plane.JsonRpcIntent(
                **whose,
                transport=self._transport(told, local.secrets, token.shown),
                mode="session",
                serves_peer=True,
                cancellation="mcp",
                limits=_BOUNDS,
                timeouts=plane.RpcTimeouts(
                    request_ms=max(1, int(1000 * min(seconds, 3600))),
                    connect_ms=max(1, int(1000 * min(told.timeout, seconds, 60))),
                    close_ms=5_000,
                    total_ms=max(1, int(1000 * total)),
                ),
            )
        except ValidationError as error:
            raise agents.OperationFailed(f"the MCP server {server}: {plane.flaws(error)}") from error

    def _transport(
        self, told: McpSettings, secrets: tuple[plane.ProcessSecret, ...], shown: tuple[plane.CredentialRef, ...]
    ) -> "plane.ProcessTransport | plane.HttpTransport":
        if told.command:
            program, *rest = told.command
            found = sys.executable if program == "python" else shutil.which(program) or program
            return plane.ProcessTransport(
                argv=(found, *rest),
                cwd=str(self._settings.folder.absolute()),
                framing="newline",
                env=tuple(told.env.items()),
                secrets=secrets,
            )
        assert told.url is not None
        host = plane.parse_url(told.url).host_port
        return plane.HttpTransport(
            url=told.url,
            allowed_hosts=(host,),
            session_header="mcp-session-id",
            listens=True,
            credentials=shown,
        )


class _Token:
    """A `plane.CredentialResolver` of the token that a server's URL is shown."""

    def __init__(self, server: str, told: McpSettings) -> None:
        self._server = server
        self._told = told

    @property
    def shown(self) -> tuple[plane.CredentialRef, ...]:
        """How requests show it."""
        bearer = plane.HeaderCredential(handle=_HANDLE, name="Authorization", template="Bearer {token}")
        return () if self._told.token_env is None else (bearer,)

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """The token, for that server's host alone. Raises RequestError."""
        told = self._told
        if told.url is None or told.token_env is None or ref.handle != _HANDLE or host != self._host:
            raise RequestError(f"the MCP server {self._server} has no credential for {host}")
        return _variable(self._server, told.token_env)

    @cached_property
    def _host(self) -> str:
        return plane.parse_url(self._told.url or "").host_port


@dataclass(frozen=True, slots=True)
class _Leased:
    """A `plane.CredentialResolver` of what a lease on a connection is for."""

    leases: "connections.Leases"
    caller: Caller
    lease: "connections.Lease"
    shown: tuple[plane.CredentialRef, ...]

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """As `connections.Leases.redeem`, under this lease alone."""
        if ref.handle != self.lease.lease_id or tenant_id != self.caller.tenant_id:
            raise RequestError(f"this lease is not {ref.handle}")
        return await self.leases.redeem(self.caller, ref.handle, ref.field, host=host, run_id=self.lease.run_id)


def _secrets(server: str, told: McpSettings) -> Mapping[str, Secret]:
    return {name: _variable(server, ours) for name, ours in told.secrets.items()}


def _variable(server: str, name: str) -> Secret:
    from interlock import agents

    value = os.environ.get(name, "").strip()
    if not value:
        raise agents.OperationFailed(f"the MCP server {server} needs the variable {name}, which is empty or not set")
    return Secret(value)


def written_tools(server: str, tools: "Sequence[agents.Tool]") -> "dict[str, Any]":
    """What is written down of a server that offers these."""
    from interlock import agents

    box = agents.Toolbox(contract="interlock.toolbox/v1", server=server, tools=tuple(tools))
    return box.model_dump(mode="json", exclude_none=True)
