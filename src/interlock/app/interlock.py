"""The facade: one object through which a program uses everything."""

import base64
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock import catalog, policy, sdk
from interlock.app import arguments, proxying
from interlock.app import settings as configuration
from interlock.app.accounts import Connections
from interlock.app.agent_sessions import AgentSessions
from interlock.app.agents import Agents
from interlock.app.archives import Archives
from interlock.app.asked_models import Inference
from interlock.app.asking import make_request
from interlock.app.dispatching import Dispatch
from interlock.app.faces import Approvals, Runs
from interlock.app.hooking import Deliveries, Routes, Triggers
from interlock.app.memories import Memories
from interlock.app.polling import Polls
from interlock.app.providing import Providers
from interlock.app.scheduling import Schedules
from interlock.app.settings import Settings, SettingsFile
from interlock.app.subscribing import Subscriptions
from interlock.app.telling import OnEvent, Teller
from interlock.app.tokens import Tokens
from interlock.app.turning import Holder
from interlock.kernel import JSON, Caller, Clock, Counts, IdSource, RequestError, SystemClock, Tracing, Uuid7Ids

if TYPE_CHECKING:
    from interlock import dispatch, plane, runs, subscriptions, triggers
    from interlock.app import assembly, inferring


class Interlock:
    """An open Interlock, acting for one caller.

        async with Interlock.open() as il:
            outcome = await il.invoke("github.repo.fetch", {"repo": "octocat/hello-world"})

    `runs`, `archives`, `approvals`, `dispatch`, `connections`, `providers`, `schedules`, `polls`, `subscriptions`, `tokens`,
    `memory`, `agents`, `agent_sessions` and `catalog` are its rooms.
    """

    def __init__(
        self, parts: "assembly.Parts", caller: Caller, *, operator: bool = False, turning: Holder | None = None
    ) -> None:
        """`operator`: it is the caller's own machine. `turning`: what takes agents' turns here already."""
        self._parts = parts
        self.caller = caller
        self.catalog: catalog.Catalog = parts.wiring.catalog
        self.runs = Runs(parts, caller)
        self.archives = Archives(parts, caller)
        self.approvals = Approvals(parts, caller)
        self.dispatch = Dispatch(parts, caller)
        self.connections = Connections(parts, caller, operator=operator)
        self.providers = Providers(parts, caller, operator=operator)
        self.routes = Routes(parts, caller, operator=operator)
        self.triggers = Triggers(parts, caller)
        self.deliveries = Deliveries(parts, caller)
        self.schedules = Schedules(parts, caller)
        self.polls = Polls(parts, caller)
        self.tokens = Tokens(parts, caller, operator=operator)
        self.subscriptions = Subscriptions(parts, caller)
        self.memory = Memories(parts, caller)
        self.inference = Inference(parts, caller)
        self.agent_sessions = AgentSessions(parts, caller)
        self._turning = turning or Holder(parts)
        self.agents = Agents(parts, caller, self._turning)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str | None = None,
        *,
        settings: Settings | None = None,
        file: SettingsFile | None = None,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        policy: policy.Policy | None = None,
        connectors: Sequence[sdk.Manifest] = (),
        create: bool = True,
        background: bool = True,
        on_connection_event: OnEvent | None = None,
        models: "inferring.Given | None" = None,
    ) -> AsyncGenerator["Interlock"]:
        """Open the store and the rooms; close them at the end.

        `url` is a path, `:memory:` or a database URL; without it, and without `settings`, the nearest `interlock.toml`,
        the environment and the defaults decide. A store on SQLite is made if it is missing, unless `create` is off.
        While it is open, it renews this process's hold on its attempts, once it has any, and, unless `background` is off or
        the store may only be read, recovers what dead processes left, follows a signing key that was replaced, and has the
        places for commands that it used probed again before their attestations end. `on_connection_event` is awaited for
        each thing that happens to a connection through this process, after its commit and outside of the call:
        `reauth_required` tells that one broke, `recovered` that it serves again. `models` has models in the program's own hands,
        by the name of their provider: `{"fake": interlock.testing.models.named}`.
        Raises RequestError for an argument of the wrong kind, ConfigurationError and StoreError.
        """
        arguments.check_opening(url=url, settings=settings, file=file, policy=policy, connectors=connectors)
        from interlock.app import assembly, beside  # here, so that whoever opens nothing loads no adapter

        if settings is None:
            found = configuration.find_file(Path.cwd())
            file = file or (None if found is None else configuration.read_file(found))
            settings = configuration.load(file, {} if url is None else {"store": url})
        clock = clock or SystemClock()
        teller = None if on_connection_event is None else Teller(on_connection_event)
        parts = await assembly.assemble(
            settings,
            file=file,
            clock=clock,
            ids=ids or Uuid7Ids(clock),
            create=create,
            rules=policy,
            more_connectors=connectors,
            listener=None if teller is None else teller.hear,
            models=models,
        )
        async with beside.kept_open(parts, teller, background=background):
            yield cls(parts, settings.caller, operator=True)

    def as_caller(self, caller: Caller) -> "Interlock":
        """The same Interlock, acting for somebody else: an app's user, an agent. They name no places of secrets on this machine
        (`connections.connect_from`)."""
        return Interlock(self._parts, caller, turning=self._turning)

    @arguments.checked
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
    ) -> "runs.Outcome":
        """Ask for an effect. Held, denied and shed come back as values; `timeout` is in seconds, `cost` is what the call
        takes from budgets of spend, by unit; `extensions` go on record as they are.

        Raises RequestError (the request is wrong; nothing was written), and with `run_id`: ProviderError, PlaneError,
        ConnectionError_, and UnknownOutcome when nobody can tell whether a write happened.
        """
        request = make_request(
            self._parts,
            capability,
            input,
            connection=connection,
            idempotency_key=idempotency_key,
            target=target,
            environment=environment,
            trace_id=trace_id,
            sandbox=sandbox,
            allowed_operations=allowed_operations,
            parent_run_id=parent_run_id,
            cost=cost,
            extensions=extensions,
            timeout=timeout,
            max_attempts=max_attempts,
        )
        return await self._parts.invoker.invoke(self.caller, request)

    @arguments.checked
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
    ) -> "runs.Outcome":
        """Send a request of your own over a connection: `path` is below the service's address, `params` are its query's. It is
        a run as any other, of the capability NAME.proxy.METHOD; GET and HEAD read, a POST counts as `execute`. `body` is sent as
        JSON, `text` and `content` as they are. The output has the answer's `status`, `headers` and `body`, or `text` where it is
        no JSON, or `base64` where it is no text.

        Raises as `invoke`, and ConnectionNotFound; an answer that is no success is an error.
        """
        if method.upper() not in sdk.METHODS:
            raise RequestError(f"method must be one of {', '.join(sdk.METHODS)}, not {method[:20]!r}")
        found = await self.connections.fetch(connection)
        said: dict[str, JSON] = {
            "query": dict(params) if params else None,
            "headers": dict(headers) if headers else None,
            "body": body,
            "text": text,
            "base64": None if content is None else base64.b64encode(content).decode(),
        }
        given: dict[str, JSON] = {"path": path, **{name: value for name, value in said.items() if value is not None}}
        return await self.invoke(
            f"{found.connector_id}.proxy.{method.lower()}",
            given,
            connection=found.connection_id,
            idempotency_key=idempotency_key,
            environment=environment,
            trace_id=trace_id,
            timeout=timeout,
        )

    @arguments.checked
    async def proxy_pages(
        self,
        connection: str,
        path: str,
        *,
        pages: int,
        params: Mapping[str, JSON] | None = None,
        headers: Mapping[str, str] | None = None,
        environment: str | None = None,
        trace_id: str | None = None,
        timeout: float = 120.0,  # noqa: ASYNC109 - as in `invoke`, for each page
    ) -> "runs.Outcome":
        """Follow a list over at most so many pages, each a GET and a run as `proxy` makes one. The outcome is the last one's; its
        output has the bodies as `pages`, and `more` if that was not all. A page that is held, denied or shed is the last.

        Raises as `proxy`.
        """
        if pages > proxying.MAX_PAGES:
            raise RequestError(f"pages must be at most {proxying.MAX_PAGES}, not {pages}")

        async def send(params: Mapping[str, JSON]) -> "runs.Outcome":
            return await self.proxy(
                connection, "GET", path, params=params, headers=headers, environment=environment, trace_id=trace_id,
                timeout=timeout,
            )  # fmt: skip

        return await proxying.follow(send, params or {}, paging=await self.paging(connection), pages=pages)

    @arguments.checked
    async def paging(self, connection: str) -> sdk.Paging:
        """How lists go on at a connection's service: as its provider says, else by the header Link (RFC 8288). Raises
        ConnectionNotFound, UnknownProvider."""
        connector_id = (await self.connections.fetch(connection)).connector_id
        if not connector_id.startswith(sdk.PROVIDER_PREFIX):
            return sdk.Paging(style="link")
        found = await self.providers.fetch(connector_id.removeprefix(sdk.PROVIDER_PREFIX))
        return found.provider.paging or sdk.Paging(style="link")

    def worker(self, *handlers: Callable[..., Any]) -> "dispatch.Worker":
        """What carries out work that is due, starts what schedules and polls say, and archives old runs where the settings say
        so, of every tenant, while `run` is awaited; when that is cancelled, what is begun ends, or is handed to another worker.
        `handlers` are functions marked by `dispatch.handler`; those of the modules that the settings name are there, too.
        Raises ModuleNotLoaded, InvalidHandlers."""
        from interlock import agents
        from interlock.app import workshop

        parts = self._parts
        doors = parts.wiring.actions.doors
        assert doors is not None
        found = workshop.collect_handlers(parts.settings, handlers)
        beside = [parts.timed.keep]
        if (days := parts.settings.retention.archive_after_days) is not None:
            folder = str(parts.settings.archive_path)
            beside.append(partial(parts.archiving.keep, after=timedelta(days=days), folder=folder))
        unpack = parts.webhooks.deliveries.unpack
        taking = agents.harness.TurnExecutor(parts.workshop.claiming, self._turning.harness)
        return parts.workshop.worker(parts.wiring, doors, found, also=[taking], beside=beside, unpack=unpack)

    def events(
        self,
        types: Sequence[str] = ("*",),
        *,
        capabilities: Sequence[str] = (),
        connections: Sequence[str] = (),
        after: str | None = None,
    ) -> "AsyncGenerator[subscriptions.Event]":
        """What happens to this tenant's runs and connections, as it happens, for ever.

            async for event in il.events(["run.completed", "connection.*"], after=cursor):
                cursor = event.cursor

        Nothing is lost between a cursor and where it goes on, for two weeks; without one it begins with what happens after the
        first step. The filters are those of `subscriptions.create`. Raises CursorExpired, InvalidSubscription,
        ConnectionNotFound.
        """
        return self.subscriptions.follow(types, capabilities, connections, after)

    async def evidence(self, *, cursor: str | None = None, limit: int = 50) -> "Sequence[plane.EvidenceRecord]":
        """What was carried out outside of runs for this tenant, newest first; go on with `cursor` = the digest of the last
        one. What a run sent is in its history and its packet."""
        sink, tenant_id = self._parts.evidence, self.caller.tenant_id
        return await self._parts.store.read(lambda tx: sink.list_records(tx, tenant_id, cursor=cursor, limit=limit))

    @property
    def evidence_sink(self) -> "plane.EvidenceSink":
        """For a plane of your own: its evidence then goes to this store, and is read by `evidence`."""
        return self._parts.evidence

    @property
    def failed_writes(self) -> int:
        """How many writes of this process in a row have failed at the store, of work that came or of what became of it."""
        return self._parts.store.failed_writes

    @property
    def pressure(self) -> Mapping[str, float]:
        """How strained this process finds the installation: the readings that policy judges by, over all tenants."""
        return self._parts.wiring.pressure.readings()

    @property
    def counts(self) -> Counts:
        """What this process has done since it began."""
        return self._parts.wiring.counts

    @property
    def at_work(self) -> int:
        """How many runs this process is at."""
        return len(self._parts.wiring.ownership.at_work)

    async def backlog(self) -> "Sequence[dispatch.Backlog]":
        """How much there is to do, for all tenants together. Raises StoreError."""
        return await self._parts.workshop.letters.backlog()

    @property
    def tracing(self) -> Tracing:
        """Where spans go."""
        return self._parts.wiring.tracing

    @property
    def intake(self) -> "triggers.webhooks.Intake":
        """For a server: it takes what services report, of every tenant."""
        return self._parts.webhooks.intake

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self._parts.settings

    @property
    def discovery(self) -> catalog.Discovery:
        """The connectors that are installed, and those that are broken."""
        return self._parts.discovery

    @arguments.checked
    async def trust(self) -> bytes:
        """The trust file for this installation's packets: its public signing keys as they stand now. Hand it to whoever
        verifies."""
        from interlock import runs

        return runs.Trust(await self._parts.keyring.public_keys()).dump()
