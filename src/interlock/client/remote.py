"""The facade over the network: the same methods with the same promises, carried out by the server as whose token this is.

What they raise is what the facade's raise, and ServerUnreachable, AnswerLost and NotInterlock.
"""

import base64
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from interlock import catalog, runs, sdk
from interlock.client.accounts import Connections
from interlock.client.agents import Agents, AgentSessions
from interlock.client.dispatch import Dispatch
from interlock.client.link import Link, part, rows, value
from interlock.client.rooms import Approvals, Providers, Runs
from interlock.client.subscriptions import Subscriptions
from interlock.client.timed import Polls, Schedules
from interlock.client.tokens import Tokens
from interlock.client.webhooks import Deliveries, Routes, Triggers
from interlock.kernel import JSON, UNTRACED, Caller, Secret, Tracing

if TYPE_CHECKING:
    import httpx2


class Remote:
    """Another Interlock. Its `caller` says nothing: who asks, and in which tenant, is what the token says."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.caller = Caller(tenant_id="of the token", actor="of the token")
        self.runs = Runs(link)
        self.approvals = Approvals(link)
        self.dispatch = Dispatch(link)
        self.connections = Connections(link)
        self.providers = Providers(link)
        self.catalog = Catalog(link)
        self.routes = Routes(link)
        self.triggers = Triggers(link)
        self.deliveries = Deliveries(link)
        self.schedules = Schedules(link)
        self.polls = Polls(link)
        self.subscriptions = Subscriptions(link)
        self.tokens = Tokens(link)
        self.agents = Agents(link)
        self.agent_sessions = AgentSessions(link)

    async def invoke(
        self,
        capability: str,
        input: Mapping[str, JSON] | None = None,  # noqa: A002 - the domain's word
        *,
        connection: str | None = None,
        idempotency_key: str | None = None,
        target: str | Sequence[str] | None = None,
        environment: str | None = None,
        trace_id: str | None = None,
        sandbox: str | None = None,
        allowed_operations: Sequence[str] | None = None,
        parent_run_id: str | None = None,
        cost: Mapping[str, int] | None = None,
        extensions: Mapping[str, JSON] | None = None,
        timeout: float = 120.0,  # noqa: ASYNC109 - it becomes the run's recorded deadline
        max_attempts: int = 3,
    ) -> runs.Outcome:
        """As `app.Interlock.invoke`."""
        asked = {
            "capability": capability,
            "input": input or {},
            "connection": connection,
            "target": [target] if isinstance(target, str) else target,
            "environment": environment,
            "trace_id": trace_id,
            "sandbox": sandbox,
            "allowed_operations": allowed_operations,
            "parent_run_id": parent_run_id,
            "cost": cost or {},
            "extensions": extensions or {},
            "timeout": timeout,
            "max_attempts": max_attempts,
        }
        return value(runs.Outcome, await self._link.post("/invoke", asked, key=idempotency_key, seconds=timeout))

    async def proxy(
        self,
        connection: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, JSON] | None = None,
        headers: Mapping[str, str] | None = None,
        body: JSON = None,
        text: str | None = None,
        content: bytes | None = None,
        idempotency_key: str | None = None,
        environment: str | None = None,
        trace_id: str | None = None,
        timeout: float = 120.0,  # noqa: ASYNC109 - as in `invoke`
    ) -> runs.Outcome:
        """As `app.Interlock.proxy`."""
        asked = {
            "connection": connection,
            "method": method,
            "path": path,
            "params": params,
            "headers": headers,
            "body": body,
            "text": text,
            "base64": None if content is None else base64.b64encode(content).decode(),
            "environment": environment,
            "trace_id": trace_id,
            "timeout": timeout,
        }
        return value(runs.Outcome, await self._link.post("/proxy", asked, key=idempotency_key, seconds=timeout))

    async def paging(self, connection: str) -> sdk.Paging:
        """As `app.Interlock.paging`."""
        connector_id = (await self.connections.fetch(connection)).connector_id
        if not connector_id.startswith(sdk.PROVIDER_PREFIX):
            return sdk.Paging(style="link")
        found = await self.providers.fetch(connector_id.removeprefix(sdk.PROVIDER_PREFIX))
        return found.provider.paging or sdk.Paging(style="link")

    async def trust(self) -> bytes:
        """As `app.Interlock.trust`."""
        return await self._link.content("/trust")


class Catalog:
    """What the server's connectors can do."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def fetch_connector_for(self, tenant_id: str, connector_id: str) -> sdk.Manifest:
        """As `catalog.Catalog.fetch_connector_for`; the tenant is the token's."""
        told = await self._link.content(f"/connectors/{part(connector_id)}")
        return sdk.load_manifest(told, source=f"the server's {connector_id}")

    async def fetch_for(self, tenant_id: str, capability_id: str) -> catalog.Capability:
        """As `catalog.Catalog.fetch_for`; the tenant is the token's."""
        await self._link.get(f"/capabilities/{part(capability_id)}")  # which says the nearest, if there is none
        connector_id, _, operation_id = capability_id.partition(".")
        manifest = await self.fetch_connector_for(tenant_id, connector_id)
        known = (*manifest.operations, *sdk.PROXIES)
        return catalog.Capability(manifest, next(each for each in known if each.operation_id == operation_id))

    async def list_connectors(self) -> list[dict[str, Any]]:
        """The server's connectors, as documents."""
        return cast("list[dict[str, Any]]", rows(await self._link.get("/connectors"), "connectors"))

    async def list_capabilities(
        self, *, search: str | None, connector: str | None, effect: str | None, cursor: str | None, limit: int
    ) -> dict[str, Any]:
        """A page of the server's capabilities, as a document."""
        query = {"search": search, "connector": connector, "effect": effect, "cursor": cursor, "limit": limit}
        told = await self._link.get("/capabilities", **query)
        return {
            "capabilities": rows(told, "capabilities"),
            "next_cursor": cast("dict[str, Any]", told).get("next_cursor"),
        }


@asynccontextmanager
async def open_remote(
    url: str, token: Secret, *, transport: "httpx2.AsyncBaseTransport | None" = None, tracing: Tracing = UNTRACED
) -> AsyncGenerator[Remote]:
    """A server of ours at an address such as `https://interlock.example.com`; what it is asked for goes on in the trace of who
    asks. Raises ConfigurationError."""
    link = Link(url, token, transport=transport, tracing=tracing)
    try:
        yield Remote(link)
    finally:
        await link.aclose()
