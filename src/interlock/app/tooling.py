"""The MCP servers of the settings: what was written down of them, and conversations with them over a plane of their own."""

import os
import shutil
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from interlock import plane, sdk
from interlock.app.local_plane import open_local_plane
from interlock.app.opened import LOCAL_NET, LocalPlane
from interlock.app.provided import FileUnreadable, read_text
from interlock.app.settings import Settings
from interlock.app.terms import McpSettings
from interlock.kernel import Caller, JsonLimits, RequestError, Secret, no_such, read_written

if TYPE_CHECKING:
    from interlock import agents

LIMITS: Final = JsonLimits(max_bytes=2 * 1_048_576, max_depth=64, max_nodes=200_000)
_BOUNDS: Final = plane.RpcLimits(max_message_bytes=2 * 1_048_576, max_batch=20, max_pending=20, max_nodes=100_000)
_HANDLE: Final = "token"


class Toolboxes:
    """`agents.ToolServers`, of the settings. What goes to servers and comes from them is evidence in `sinks`."""

    def __init__(self, settings: Settings, sinks: tuple[plane.EvidenceSink, ...] = ()) -> None:
        self._settings = settings
        self._sinks = sinks
        self._read: dict[str, agents.Toolbox | None] = {}

    @property
    def names(self) -> Iterable[str]:
        """What they are called."""
        return sorted(self._settings.mcp)

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
        OperationFailed, and RequestError for one that is not there."""
        from interlock import agents
        from interlock.adapters import mcp

        told = self._settings.mcp.get(server)
        if told is None:
            raise RequestError(
                no_such("MCP server", server, self._settings.mcp).replace("in this tenant", "in the settings")
            )
        failure: Exception | None = None
        async with open_local_plane(
            egress_allow=self._settings.execution.egress_allow,
            sandboxes=[plane.LOCAL_PROCESS] if told.command else (),
            sinks=self._sinks,
            secrets=_secrets(server, told),
            credentials=_Token(server, told),
        ) as local:
            intent = self._intent(server, told, local, caller=caller, run_id=run_id, seconds=seconds)
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
        self, server: str, told: McpSettings, local: LocalPlane, *, caller: Caller, run_id: str, seconds: float
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
                transport=self._transport(told, local.secrets),
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
        self, told: McpSettings, secrets: tuple[plane.ProcessSecret, ...]
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
        shown = plane.HeaderCredential(handle=_HANDLE, name="Authorization", template="Bearer {token}")
        return plane.HttpTransport(
            url=told.url,
            allowed_hosts=(host,),
            session_header="mcp-session-id",
            listens=True,
            credentials=() if told.token_env is None else (shown,),
        )


class _Token:
    """A `plane.CredentialResolver` of the token that a server's URL is shown."""

    def __init__(self, server: str, told: McpSettings) -> None:
        self._server = server
        self._told = told

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """The token, for that server's host alone. Raises RequestError."""
        told = self._told
        if told.url is None or told.token_env is None or ref.handle != _HANDLE or host != self._host:
            raise RequestError(f"the MCP server {self._server} has no credential for {host}")
        return _variable(self._server, told.token_env)

    @cached_property
    def _host(self) -> str:
        return plane.parse_url(self._told.url or "").host_port


def _secrets(server: str, told: McpSettings) -> Mapping[str, Secret]:
    return {name: _variable(server, ours) for name, ours in told.secrets.items()}


def _variable(server: str, name: str) -> Secret:
    from interlock import agents

    value = os.environ.get(name, "").strip()
    if not value:
        raise agents.OperationFailed(f"the MCP server {server} needs the variable {name}, which is empty or not set")
    return Secret(value)


def written_tools(server: str, tools: "tuple[agents.Tool, ...]") -> "dict[str, Any]":
    """What is written down of a server that offers these."""
    from interlock import agents

    box = agents.Toolbox(contract="interlock.toolbox/v1", server=server, tools=tools)
    return box.model_dump(mode="json", exclude_none=True)
