"""The composition root: settings become adapters, adapters become rooms."""

import logging
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import anyio
import anyio.to_thread

from interlock import approvals, budgets, catalog, connections, plane, policy, runs, sdk
from interlock.adapters import blobs, handlers, keys, sql
from interlock.app import provided
from interlock.app.settings import Settings, SettingsFile
from interlock.kernel import Clock, IdSource, StoreError

_log = logging.getLogger(__name__)

NODE_ID = "node-local"
ERRANDS_ID = "node-errands"
LANE_ID = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that one open Interlock consists of."""

    settings: Settings
    store: sql.SqlStore
    wiring: runs.Wiring
    reading: runs.Reading
    invoker: runs.Invoker
    holding: runs.Holding
    recovery: runs.Recovery
    steering: runs.Steering
    discovery: catalog.Discovery
    pending: connections.Pending
    keyring: keys.Keyring
    evidence: sql.LedgerSink
    errands: plane.Node
    """For what is done outside of runs; its evidence goes to `evidence`."""


class LateHttp:
    """The HTTP lane, made for the first intent, in a thread: to load it takes longer than most commands."""

    lane_id = LANE_ID
    carries = plane.HttpIntent

    def __init__(self, credentials: plane.CredentialResolver, addresses: plane.AddressPolicy) -> None:
        self._credentials = credentials
        self._addresses = addresses
        self._lane: plane.Lane | None = None
        self._making = anyio.Lock()
        self._closed = False

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        lane = self._lane or await self._load()
        await lane.execute(intent, exchange)

    async def aclose(self) -> None:
        self._closed = True
        if self._lane is not None:
            await self._lane.aclose()

    async def _load(self) -> plane.Lane:
        async with self._making:
            if self._lane is None:
                self._lane = await anyio.to_thread.run_sync(self._make)
                if self._closed:
                    await self._lane.aclose()
            return self._lane

    def _make(self) -> plane.Lane:
        from interlock.adapters import lanes

        return lanes.HttpLane(credentials=self._credentials, egress=lanes.Egress(addresses=self._addresses))


async def assemble(
    settings: Settings,
    *,
    file: SettingsFile | None,
    clock: Clock,
    ids: IdSource,
    create: bool,
    rules: policy.Policy | None = None,
    more_connectors: Sequence[sdk.Manifest] = (),
) -> Parts:
    """Open the store and wire the rooms. The caller closes what it gets (`close`). Raises StoreError, ConfigurationError."""
    judged, limits = provided.read_rules(settings, file)
    discovery = catalog.discover()
    capabilities = catalog.Catalog([*provided.read_manifests(settings), *more_connectors], installed=discovery)
    # Before the store: a missing key must not leave an empty store behind.
    root = provided.load_root(settings, create=create)
    store = sql.open_store(settings.store_url, clock=clock, create=create)
    try:
        ring = keys.Keyring(root, sql.KeyRecords(), store, clock=clock, ids=ids)
        await ring.check()
        desk = connections.Connections(store, sql.ConnectionRecords(), ring, clock=clock, ids=ids)
        pending = connections.Pending(desk)
        lane = LateHttp(pending, plane.AddressPolicy(allow=settings.execution.egress_allow))
        wiring = _wire(
            settings,
            store=store,
            capabilities=capabilities,
            desk=desk,
            lane=lane,
            rules=rules or judged,
            limits=limits,
            signer=await ring.signer(),
            clock=clock,
            ids=ids,
        )
    except BaseException:
        store.close()
        raise
    evidence = sql.LedgerSink(store)
    sinks = plane.SinkSet([evidence], capture=plane.Capture.OFF, redactor=pending.redactor)
    errands = _node(lane, wiring.authorizer, clock, node_id=ERRANDS_ID, sinks=sinks)
    return _rooms(settings, store, wiring, discovery, pending, ring, evidence, errands)


def _wire(
    settings: Settings,
    *,
    store: sql.SqlStore,
    capabilities: catalog.Catalog,
    desk: connections.Connections,
    lane: plane.Lane,
    rules: policy.Policy,
    limits: Sequence[budgets.Rule],
    signer: runs.Signer,
    clock: Clock,
    ids: IdSource,
) -> runs.Wiring:
    ledger, execution = sql.SqlLedger(store), settings.execution
    authorizer = plane.Authorizer(clock=clock)
    return runs.Wiring(
        store=store,
        ledger=ledger,
        catalog=capabilities,
        connections=desk,
        policy=rules,
        approvals=_approvals(settings, store, clock, ids),
        budgets=budgets.Budgets(store, sql.BudgetRecords(), clock=clock, rules=tuple(limits)),
        node=_node(lane, authorizer, clock),
        authorizer=authorizer,
        signer=signer,
        blobs=blobs.ObjectBlobs(settings.blobs_url),
        validators=sql.ValidatorRecords(),
        handlers=handlers.Hosts(isolated=frozenset(settings.connectors.isolated), child=handlers.ChildHost()),
        ownership=runs.Ownership(
            store=store,
            ledger=ledger,
            clock=clock,
            ids=ids,
            lease=timedelta(seconds=execution.owner_lease),
            host=platform.node(),
            process=str(os.getpid()),
        ),
        pressure=runs.Pressure(),
        sweep=lambda now: sql.sweep(store, now),
        clock=clock,
        ids=ids,
        limits=runs.Limits(inline_bytes=execution.inline_bytes, retry_wait=execution.retry_wait),
    )


def _approvals(settings: Settings, store: sql.SqlStore, clock: Clock, ids: IdSource) -> approvals.Approvals:
    return approvals.Approvals(
        store,
        sql.ApprovalRecords(),
        clock=clock,
        ids=ids,
        self_review=settings.approvals.self_review,
        expires_after=timedelta(seconds=settings.approvals.expires_after),
    )


def _rooms(
    settings: Settings,
    store: sql.SqlStore,
    wiring: runs.Wiring,
    discovery: catalog.Discovery,
    pending: connections.Pending,
    ring: keys.Keyring,
    evidence: sql.LedgerSink,
    errands: plane.Node,
) -> Parts:
    reading = runs.Reading(
        store=store,
        ledger=wiring.ledger,
        blobs=wiring.blobs,
        approvals=wiring.approvals,
        connections=wiring.connections,
        catalog=wiring.catalog,
        signer=wiring.signer,
        clock=wiring.clock,
    )
    execution = runs.Execution(wiring)
    invoker = runs.Invoker(wiring, reading, execution)
    return Parts(
        settings=settings,
        store=store,
        wiring=wiring,
        reading=reading,
        invoker=invoker,
        holding=runs.Holding(wiring, reading, execution, invoker),
        recovery=runs.Recovery(wiring, reading, execution, invoker),
        steering=runs.Steering(wiring, reading, execution, invoker),
        discovery=discovery,
        pending=pending,
        keyring=ring,
        evidence=evidence,
        errands=errands,
    )


async def close(parts: Parts) -> None:
    """End what `assemble` opened. A lease that cannot be given up runs out by itself: what was done is done."""
    try:
        await parts.wiring.node.aclose()  # first: what this process gives up, others take over at once
        await parts.errands.aclose()
        try:
            await parts.wiring.ownership.end()
        except StoreError as error:
            _log.warning("this process's lease was not given up, and will run out: %s", error)
    finally:
        parts.store.close()


def _node(
    lane: plane.Lane,
    authorizer: plane.Authorizer,
    clock: Clock,
    *,
    node_id: str = NODE_ID,
    sinks: plane.SinkSet | None = None,
) -> plane.Node:
    target = plane.LocalTarget("local-http", target_class=plane.LOCAL_HTTP, lane_id=LANE_ID, clock=clock)
    return plane.Node(node_id, lanes=[lane], targets=[target], verifier=authorizer.verifier(), clock=clock, sinks=sinks)
