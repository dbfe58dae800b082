"""The composition root: settings become adapters, adapters become rooms."""

import logging
import os
import platform
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from interlock import approvals, budgets, catalog, connections, dispatch, inference, plane, policy, runs, sdk, tokens
from interlock.adapters import blobs, handlers, keys, sql, telemetry
from interlock.app import inferring, provided, remembering, reporting, roots, timed, workshop
from interlock.app.doors import Doors
from interlock.app.editing import Edits
from interlock.app.foreign import Foreign, offers
from interlock.app.late import COMMAND_CLASSES, LateLane, LateTarget
from interlock.app.outgoing import Outgoing, outgoing
from interlock.app.settings import RetentionSettings, Settings, SettingsFile
from interlock.kernel import Clock, Counts, IdSource, RequestError, StoreError

_log = logging.getLogger(__name__)

NODE_ID = "node-local"
ERRANDS_ID = "node-errands"
LANE_ID = "http"
OUR_CLASSES = (plane.LOCAL_HTTP, plane.LOCAL_SCRIPT, *plane.CLASSES)
"""Of the targets whose meaning is ours; no package takes their place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that one open Interlock consists of."""

    settings: Settings
    store: sql.RingingStore
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
    errands: connections.Errands
    """For what is done outside of runs; its evidence goes to `evidence`."""
    desk: connections.Desk
    leases: connections.Leases
    checking: connections.Checking
    refreshing: connections.Refreshing
    providers: catalog.Providers
    revoking: connections.Revoking
    unwanted: connections.Unwanted
    workshop: workshop.Workshop
    webhooks: reporting.Webhooks
    timed: timed.Timed
    tokens: tokens.Tokens
    outgoing: Outgoing
    archiving: runs.Archiving
    memories: remembering.Holder
    inference: inference.RecordedInference


async def assemble(
    settings: Settings,
    *,
    file: SettingsFile | None,
    clock: Clock,
    ids: IdSource,
    create: bool,
    rules: policy.Policy | None = None,
    more_connectors: Sequence[sdk.Manifest] = (),
    listener: connections.Listener | None = None,
    models: inferring.Given | None = None,
) -> Parts:
    """Open the store and wire the rooms. The caller closes what it gets (`close`). Raises StoreError, ConfigurationError."""
    judged, limits = provided.read_rules(settings, file)
    discovery, capabilities = _read_catalog(settings, more_connectors)
    # Before the store: a missing key must not leave an empty store behind.
    root, former = roots.load_root(settings, create=create), roots.load_former(settings)
    store = sql.RingingStore(sql.open_store(settings.store_url, create=create))
    try:
        ring = keys.Keyring(root, sql.KeyRecords(), store, clock=clock, ids=ids, former=former)
        await ring.check()
        await ring.take_signer()
        ways: dict[connections.SourceKind, connections.SecretSource] = {}
        desk = connections.Connections(
            store, sql.ConnectionRecords(), ring, clock=clock, ids=ids, listener=listener, ways=ways
        )
        pending = connections.Pending(desk)
        lane, docket = _http_lane(settings, pending), workshop.open_docket(settings, store, clock, ids)
        wiring = _wire(
            settings,
            store=store,
            capabilities=capabilities,
            desk=desk,
            lane=lane,
            pending=pending,
            rules=rules or judged,
            limits=limits,
            ring=ring,
            handed=docket,
            clock=clock,
            ids=ids,
        )
    except BaseException:
        store.close()
        raise
    evidence = sql.LedgerSink(store)
    errands = _errands(lane, wiring, pending, evidence)
    ways |= provided.secret_sources(errands)
    asked = inferring.Providers(settings.inference, models or {}, ways)
    return _rooms(settings, store, wiring, discovery, pending, ring, evidence, errands, docket, asked)


def _read_catalog(
    settings: Settings, more_connectors: Sequence[sdk.Manifest]
) -> tuple[catalog.Discovery, catalog.Catalog]:
    discovery, capabilities = provided.read_catalog(settings, more_connectors)
    for broken in capabilities.left_out:
        _log.warning("%s is left out: %s", broken.entry_point, broken.problem)
    return discovery, capabilities


def _errands(
    lane: plane.Lane, wiring: runs.Wiring, pending: connections.Pending, evidence: plane.EvidenceSink
) -> connections.Errands:
    """Requests about credentials, and programs that are asked for some, on a node of their own."""
    clock = wiring.clock
    sinks = plane.SinkSet([evidence], capture=plane.Capture.OFF, redactor=pending.redactor)
    programs = LateTarget(plane.LOCAL_PROCESS, credentials=pending, clock=clock, egress_allow=())
    node = _node(lane, wiring.authorizer, clock, node_id=ERRANDS_ID, sinks=sinks, commands=[programs])
    return connections.Errands(pending, node, wiring.authorizer, clock=clock, ids=wiring.ids)


def _means(
    settings: Settings, store: sql.SqlStore, wiring: runs.Wiring, ring: keys.Keyring, errands: connections.Errands
) -> connections.Means:
    """What accounts are connected and renewed with, by a grant."""
    return connections.Means(
        store=store,
        records=sql.ConnectionRecords(),
        installs=sql.InstallRecords(),
        clients=sql.ClientRecords(),
        cipher=ring,
        changing=wiring.connections.changing,
        profile=partial(_profile, wiring.catalog),
        client=partial(provided.read_client, settings),
        program=partial(provided.find_program, settings, errands),
        errands=errands,
        clock=wiring.clock,
        ids=wiring.ids,
        random_bytes=ring.random_bytes,
    )


async def _profile(
    capabilities: catalog.Catalog, tenant_id: str, connector_id: str, profile_id: str
) -> sdk.AuthProfile:
    declared = (await capabilities.fetch_connector_for(tenant_id, connector_id)).auth
    found = next((each for each in declared if each.profile_id == profile_id), None)
    if found is None:
        raise RequestError(f"{connector_id} has no auth profile {profile_id[:60]!r}")
    return found


def _wire(
    settings: Settings,
    *,
    store: sql.SqlStore,
    capabilities: catalog.Catalog,
    desk: connections.Connections,
    lane: plane.Lane,
    pending: connections.Pending,
    rules: policy.Policy,
    limits: Sequence[budgets.Rule],
    ring: keys.Keyring,
    handed: runs.Handed,
    clock: Clock,
    ids: IdSource,
) -> runs.Wiring:
    counts, execution = Counts(), settings.execution
    ledger = sql.SqlLedger(store, counts=counts, clock=clock)
    authorizer, actions = plane.Authorizer(clock=clock), runs.Actions(capabilities, clock)
    commands = _commands(pending, clock, execution.egress_allow)
    node = _node(lane, authorizer, clock, actions=actions, commands=commands)
    lease = timedelta(seconds=execution.owner_lease)
    return runs.Wiring(
        store=store,
        ledger=ledger,
        catalog=capabilities,
        connections=desk,
        policy=rules,
        straying=runs.Straying(rules, capabilities),
        approvals=_approvals(settings, store, clock, ids),
        budgets=_budgets(store, clock, limits, lease),
        node=node,
        authorizer=authorizer,
        signing=ring,
        blobs=blobs.ObjectBlobs(settings.blobs_url),
        validators=sql.ValidatorRecords(),
        handlers=handlers.Hosts(isolated=frozenset(settings.connectors.isolated), child=handlers.ChildHost()),
        actions=actions,
        offered=_foreign(settings, node, pending, clock),
        ownership=_owner(store, ledger, clock, ids, lease),
        handed=handed,
        edits=Edits(),
        pressure=runs.Pressure(),
        sweep=_sweep(store, settings.retention),
        clock=clock,
        ids=ids,
        limits=runs.Limits(inline_bytes=execution.inline_bytes, retry_wait=execution.retry_wait),
        counts=counts,
        tracing=telemetry.find_tracing(),
        trace_to=frozenset(execution.trace_to),
    )


def _commands(pending: connections.Pending, clock: Clock, allow: Sequence[str]) -> Sequence[LateTarget]:
    return [LateTarget(each, credentials=pending, clock=clock, egress_allow=allow) for each in COMMAND_CLASSES]


def _owner(store: sql.SqlStore, ledger: sql.SqlLedger, clock: Clock, ids: IdSource, lease: timedelta) -> runs.Ownership:
    """This process, as the owner of its attempts."""
    host, process = platform.node(), str(os.getpid())
    return runs.Ownership(store=store, ledger=ledger, clock=clock, ids=ids, lease=lease, host=host, process=process)


def _budgets(store: sql.SqlStore, clock: Clock, limits: Sequence[budgets.Rule], lease: timedelta) -> budgets.Budgets:
    ttl = max(budgets.SLOT_TTL, lease)  # slots are renewed at the lease's beats
    return budgets.Budgets(store, sql.BudgetRecords(), clock=clock, rules=tuple(limits), slot_ttl=ttl)


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
    store: sql.RingingStore,
    wiring: runs.Wiring,
    discovery: catalog.Discovery,
    pending: connections.Pending,
    ring: keys.Keyring,
    evidence: sql.LedgerSink,
    errands: connections.Errands,
    docket: dispatch.Docket,
    models: inference.Models,
) -> Parts:
    reading, execution = _reading(wiring, ring), runs.Execution(wiring)
    wiring.catalog.providers = providers = catalog.Providers(store, sql.ProviderRecords(), clock=wiring.clock)
    means = _means(settings, store, wiring, ring, errands)
    wiring.connections.renewer = refreshing = connections.Refreshing(means)
    invoker, holding = runs.Invoker(wiring, reading, execution), runs.Holding(wiring, reading, execution)
    wiring.actions.doors = Doors(invoker, holding, wiring.approvals)
    telling = outgoing(store, wiring, ring, errands, docket.queue)
    shop = workshop.furnish(settings, wiring, reading, execution, invoker, docket, telling.courier)
    return Parts(
        settings=settings,
        store=store,
        wiring=wiring,
        reading=reading,
        invoker=invoker,
        holding=holding,
        recovery=runs.Recovery(wiring, reading, execution),
        steering=runs.Steering(wiring, reading, execution),
        discovery=discovery,
        pending=pending,
        keyring=ring,
        evidence=evidence,
        errands=errands,
        desk=connections.Desk(means),
        refreshing=refreshing,
        providers=providers,
        revoking=_revoking(means, wiring),
        unwanted=connections.Unwanted(means),
        workshop=shop,
        webhooks=reporting.wire(store, wiring, ring, shop.intake, errands, keys_from=settings.webhooks.keys_from),
        timed=timed.furnish(settings, wiring, reading, invoker, shop.intake),
        outgoing=telling,
        checking=connections.Checking(means, wiring.connections),
        tokens=_tokens(store, wiring, ring),
        archiving=runs.Archiving(wiring, sql.ArchiveRecords(), blobs.FolderBundles()),
        memories=remembering.Holder(settings, wiring.clock, errands),
        inference=inference.RecordedInference(wiring, shop.tasks, reading, models, pending),
        leases=connections.Leases(store, means.records, wiring.connections, profile=means.profile, clock=wiring.clock),
    )


def _reading(wiring: runs.Wiring, ring: keys.Keyring) -> runs.Reading:
    return runs.Reading(
        store=wiring.store,
        ledger=wiring.ledger,
        blobs=wiring.blobs,
        approvals=wiring.approvals,
        connections=wiring.connections,
        catalog=wiring.catalog,
        keys=ring,
        clock=wiring.clock,
    )


def _sweep(store: sql.SqlStore, kept: RetentionSettings) -> Callable[[datetime], Awaitable[int]]:
    evidence = timedelta(days=kept.evidence_days)
    sessions = None if kept.sessions_days is None else timedelta(days=kept.sessions_days)
    return partial(sql.sweep, store, evidence_kept=evidence, sessions_kept=sessions)


def _tokens(store: sql.SqlStore, wiring: runs.Wiring, ring: keys.Keyring) -> tokens.Tokens:
    return tokens.Tokens(store, sql.TokenRecords(), clock=wiring.clock, ids=wiring.ids, random_bytes=ring.random_bytes)


def _revoking(means: connections.Means, wiring: runs.Wiring) -> connections.Revoking:
    store, records, cipher, desk = means.store, means.records, means.cipher, wiring.connections
    return connections.Revoking(store, records, cipher, desk, means.revoker(), profile=means.profile, clock=means.clock)


async def close(parts: Parts) -> None:
    """End what `assemble` opened. A lease that cannot be given up runs out by itself: what was done is done. Raises
    EvidenceOwed once all is closed."""
    async with AsyncExitStack() as stack:
        stack.callback(parts.store.close)
        stack.push_async_callback(_give_up, parts)
        stack.push_async_callback(parts.errands.aclose)
        stack.push_async_callback(parts.memories.aclose)
        # First: what this process gives up, others take over at once.
        stack.push_async_callback(parts.wiring.node.aclose)


async def _give_up(parts: Parts) -> None:
    try:
        await parts.wiring.ownership.end()
    except StoreError as error:
        _log.warning("this process's lease was not given up, and will run out: %s", error)


def _http_lane(settings: Settings, pending: connections.Pending) -> plane.Lane:
    """Reading the system's trust store takes longer than most commands."""
    addresses = plane.AddressPolicy(allow=settings.execution.egress_allow)

    def make() -> plane.Lane:
        from interlock.adapters import lanes

        return lanes.HttpLane(credentials=pending, egress=lanes.Egress(addresses=addresses))

    return LateLane(LANE_ID, plane.HttpIntent, make)


def _foreign(settings: Settings, node: plane.Node, pending: connections.Pending, clock: Clock) -> Foreign:
    """What installed packages offer to that node."""
    addresses = plane.AddressPolicy(allow=settings.execution.egress_allow)
    return Foreign(node, offers(taken=OUR_CLASSES), credentials=pending, addresses=addresses, clock=clock)


def _script_lane(actions: runs.Actions) -> plane.Lane:
    def make() -> plane.Lane:
        from interlock.adapters import lanes, targets

        return lanes.ScriptLane(actions, confiner=targets.Landlock())

    return LateLane(plane.LOCAL_SCRIPT, plane.ScriptIntent, make)


def _node(
    lane: plane.Lane,
    authorizer: plane.Authorizer,
    clock: Clock,
    *,
    node_id: str = NODE_ID,
    actions: runs.Actions | None = None,
    commands: Sequence[LateTarget] = (),
    sinks: plane.SinkSet | None = None,
) -> plane.Node:
    lanes, classes = [lane], {LANE_ID: plane.LOCAL_HTTP}
    if actions is not None:
        lanes.append(_script_lane(actions))
        classes[plane.LOCAL_SCRIPT] = plane.LOCAL_SCRIPT
    here = [
        plane.LocalTarget(target_class, target_class=target_class, lane_id=lane_id, clock=clock)
        for lane_id, target_class in classes.items()
    ]
    return plane.Node(
        node_id,
        lanes=[*lanes, *(target.lane for target in commands)],
        targets=[*here, *commands],
        verifier=authorizer.verifier(),
        clock=clock,
        sinks=sinks,
        attestations=plane.AttestationVerifier({}, clock=clock),
    )
