"""What commands ask of Interlock, which is opened here (`app.Interlock`) or is a server elsewhere (`client.Remote`): the same
methods with the same promises, which stand there."""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

from interlock import approvals, catalog, connections, dispatch, runs, sdk, tokens
from interlock.cli.agent_faces import AgentSessionsFace, AgentsFace
from interlock.cli.event_faces import (
    DeliveriesFace,
    PollsFace,
    RoutesFace,
    SchedulesFace,
    SubscriptionsFace,
    TriggersFace,
)
from interlock.kernel import JSON, Caller, Secret


class RunsFace(Protocol):
    """As `app.Runs`."""

    def fetch(self, run_id: str) -> Awaitable[runs.Run]: ...
    def list(
        self,
        *,
        states: Sequence[runs.State] = (),
        capability: str | None = None,
        connection_id: str | None = None,
        actor: str | None = None,
        trace_id: str | None = None,
        parent_run_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Awaitable[Sequence[runs.Listed]]: ...
    def history(self, run_id: str) -> Awaitable[runs.History]: ...
    def events(self, run_id: str, *, after_seq: int = 0, limit: int = 1000) -> Awaitable[Sequence[runs.Event]]: ...
    def outcome(self, run_id: str) -> Awaitable[runs.Outcome]: ...
    def artifact(self, artifact_id: str) -> Awaitable[tuple[runs.Artifact, bytes]]: ...
    def cancel(self, run_id: str, *, reason: str = "") -> Awaitable[runs.Run]: ...
    def settle(self, run_id: str, *, seen: runs.Seen | None = None, note: str = "") -> Awaitable[runs.Run]: ...
    def packet(self, run_id: str) -> Awaitable[bytes]: ...


class ApprovalsFace(Protocol):
    """As `app.Approvals`."""

    def list(
        self, *, states: Sequence[approvals.State] = (), cursor: str | None = None, limit: int = 50
    ) -> Awaitable[Sequence[approvals.Approval]]: ...
    def fetch(self, approval_id: str) -> Awaitable[approvals.Approval]: ...
    def approve(
        self, approval_id: str, *, edited_input: Mapping[str, JSON] | None = None
    ) -> Awaitable[approvals.Approval]: ...
    def execute(self, approval_id: str) -> Awaitable[runs.Outcome]: ...
    def deny(self, approval_id: str, *, reason: str) -> Awaitable[approvals.Approval]: ...


class DispatchFace(Protocol):
    """As `app.Dispatch`."""

    def invoke(
        self,
        capability: str,
        input: Mapping[str, JSON] | None = None,  # noqa: A002 - the domain's word
        *,
        connection: str | None = None,
        idempotency_key: str | None = None,
        target: str | Sequence[str] | None = None,
        environment: str | None = None,
        sandbox: str | None = None,
        cost: Mapping[str, int] | None = None,
        timeout: float = 120.0,
        due_at: datetime | None = None,
    ) -> Awaitable[runs.Outcome]: ...
    def wait(self, run_id: str, *, timeout: float = 60.0) -> Awaitable[runs.Outcome]: ...
    def list(
        self,
        *,
        standing: dispatch.Standing | None = None,
        handler: str | None = None,
        capability: str | None = None,
        connection_id: str | None = None,
        why: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Awaitable[Sequence[dispatch.Waiting]]: ...
    def fetch(self, run_id: str) -> Awaitable[dispatch.Waiting]: ...
    def stats(self) -> Awaitable[dispatch.Stats]: ...
    def replay(self, run_id: str, *, note: str = "") -> Awaitable[runs.Run]: ...
    def replay_all(
        self,
        *,
        handler: str | None = None,
        capability: str | None = None,
        connection_id: str | None = None,
        why: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        note: str = "",
        limit: int = 1000,
    ) -> Awaitable[Sequence[str]]: ...
    def dismiss(self, run_id: str, *, reason: str) -> Awaitable[runs.Run]: ...
    def dismiss_all(
        self,
        *,
        reason: str,
        handler: str | None = None,
        capability: str | None = None,
        connection_id: str | None = None,
        why: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
    ) -> Awaitable[Sequence[str]]: ...
    def compare(self, run_id: str, *, first: int = 1, last: int | None = None) -> Awaitable[dispatch.Comparison]: ...
    def pause(
        self, scope: dispatch.Scope | str, subject: str = "", *, reason: str = ""
    ) -> Awaitable[dispatch.Pause]: ...
    def resume(self, scope: dispatch.Scope | str, subject: str = "") -> Awaitable[int]: ...
    def pauses(self) -> Awaitable[Sequence[dispatch.Pause]]: ...


class LeasesFace(Protocol):
    """As `app.Leases`, for people."""

    def list(
        self, ref: str, *, cursor: str | None = None, limit: int = 100
    ) -> Awaitable[Sequence[connections.Lease]]: ...
    def revoke(self, lease_id: str, *, reason: str = "") -> Awaitable[connections.Lease]: ...


class InstallsFace(Protocol):
    """As `app.Installs`, for accounts that somebody else connects."""

    def invite(
        self,
        connector: str,
        given: Mapping[str, str | Secret] | None = None,
        *,
        profile: str | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> Awaitable[connections.Invitation]: ...


class ConnectionsFace(Protocol):
    """As `app.Connections`, but for what needs this machine: places of secrets, a browser, a device."""

    @property
    def leases(self) -> LeasesFace: ...
    @property
    def installs(self) -> InstallsFace: ...
    def connect_token(
        self,
        connector: str,
        token: str | Secret | Mapping[str, str | Secret],
        *,
        profile: str | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        overlap: float = 0,
    ) -> Awaitable[connections.Connection]: ...
    def list(
        self, *, connector: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Awaitable[Sequence[connections.Connection]]: ...
    def fetch(self, ref: str) -> Awaitable[connections.Connection]: ...
    def revoke(self, ref: str, *, reason: str = "", at_provider: bool = True) -> Awaitable[connections.Connection]: ...
    def refresh(self, ref: str) -> Awaitable[connections.Connection]: ...
    def check(self, ref: str) -> Awaitable[connections.Checked]: ...
    def check_all(self) -> Awaitable[Sequence[connections.Checked]]: ...
    def events(
        self, ref: str, *, after_seq: int = 0, limit: int = 500
    ) -> Awaitable[Sequence[connections.ConnectionEvent]]: ...


class ProvidersFace(Protocol):
    """As `app.Providers`, for reading."""

    def list(self, *, cursor: str | None = None, limit: int = 100) -> Awaitable[Sequence[catalog.KeptProvider]]: ...
    def fetch(self, provider: str) -> Awaitable[catalog.KeptProvider]: ...


class TokensFace(Protocol):
    """As `app.Tokens`."""

    def create(
        self,
        name: str,
        *,
        actor: str,
        roles: Sequence[str] = (),
        capabilities: Sequence[str] | None = None,
        connections: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> Awaitable[tuple[tokens.Token, Secret]]: ...
    def list(self, *, cursor: str | None = None, limit: int = 100) -> Awaitable[Sequence[tokens.Token]]: ...
    def revoke(self, token_id: str) -> Awaitable[tokens.Token]: ...


class CatalogFace(Protocol):
    """As `catalog.Catalog`, for one capability or connector."""

    def fetch_for(self, tenant_id: str, capability_id: str) -> Awaitable[catalog.Capability]: ...
    def fetch_connector_for(self, tenant_id: str, connector_id: str) -> Awaitable[sdk.Manifest]: ...


Outcome: TypeAlias = runs.Outcome  # `runs` is a room of the facade below


class Facade(Protocol):
    """As `app.Interlock`."""

    @property
    def caller(self) -> Caller: ...
    @property
    def runs(self) -> RunsFace: ...
    @property
    def approvals(self) -> ApprovalsFace: ...
    @property
    def dispatch(self) -> DispatchFace: ...
    @property
    def connections(self) -> ConnectionsFace: ...
    @property
    def providers(self) -> ProvidersFace: ...
    @property
    def catalog(self) -> CatalogFace: ...
    @property
    def routes(self) -> RoutesFace: ...
    @property
    def triggers(self) -> TriggersFace: ...
    @property
    def deliveries(self) -> DeliveriesFace: ...
    @property
    def schedules(self) -> SchedulesFace: ...
    @property
    def polls(self) -> PollsFace: ...
    @property
    def subscriptions(self) -> SubscriptionsFace: ...
    @property
    def agents(self) -> AgentsFace: ...
    @property
    def agent_sessions(self) -> AgentSessionsFace: ...
    @property
    def tokens(self) -> TokensFace: ...
    def invoke(
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
        timeout: float = 120.0,
        max_attempts: int = 3,
    ) -> Awaitable[Outcome]: ...
    def proxy(
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
        timeout: float = 120.0,
    ) -> Awaitable[Outcome]: ...
    def paging(self, connection: str) -> Awaitable[sdk.Paging]: ...
    def trust(self) -> Awaitable[bytes]: ...
