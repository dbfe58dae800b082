"""The execution plane by itself, in this process: every lane of this host, and the authority to use them.

No store, no connections, no policy: whoever opens it holds all of its authority.
"""

import sys
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock import plane
from interlock.app.given import Given, Remembering
from interlock.app.opened import LOCAL_NET, LocalPlane
from interlock.app.placing import Placed, make_placed
from interlock.app.riding import Commands, NoActions, Riding
from interlock.kernel import Clock, RequestError, Secret, SystemClock, Uuid7Ids

if TYPE_CHECKING:
    from interlock.adapters import lanes, targets

NODE_ID: Final = "local"


class UnknownSandbox(RequestError):
    """Targets of a class were asked for that this host could not have."""

    code = "unknown_sandbox"
    next_step = (
        "Give a list of classes (`plane.LOCAL_PROCESS` …), or None for all: `interlock plane targets` shows them."
    )


def make_lane(
    lane_id: str,
    *,
    credentials: plane.CredentialResolver,
    addresses: plane.AddressPolicy,
    actions: plane.ActionHost | None = None,
) -> plane.Lane:
    """A lane of ours by its name (`http`, `sse`, `websocket`, `process`, `jsonrpc`, `script`), on its own. `actions`
    carries out what scripts ask for. Raises KeyError."""
    from interlock.adapters import lanes, targets

    if lane_id == "script":
        return lanes.ScriptLane(actions or NoActions(), confiner=targets.Landlock())
    if lane_id == "process":
        return lanes.ProcessLane(credentials=credentials)
    if lane_id == "jsonrpc":
        http, websocket, process = (
            make_lane(name, credentials=credentials, addresses=addresses) for name in ("http", "websocket", "process")
        )
        lane = lanes.JsonRpcLane(
            egress=lanes.Egress(addresses=addresses), http=http, websocket=websocket, process=process
        )
        return Riding(lane, http, websocket, process)
    web = {"http": lanes.HttpLane, "sse": lanes.SseLane, "websocket": lanes.WebSocketLane}
    return web[lane_id](credentials=credentials, egress=lanes.Egress(addresses=addresses))


def local_sandboxes(
    clock: Clock,
    classes: Iterable[str] | None = None,
    *,
    credentials: plane.CredentialResolver | None = None,
    egress_allow: Sequence[str] = (),
) -> "dict[targets.LocalSandbox, lanes.ProcessLane]":
    """Every target for processes on this host, or those of these classes, each with its lane. `egress_allow` is for the
    hosts that sandboxes list. Raises UnknownSandbox, InvalidAllowance."""
    from interlock.adapters import lanes, targets

    known = plane.CLASSES.keys() - plane.PLACED
    asked = [classes] if isinstance(classes, str) else list(known if classes is None else classes)
    if isinstance(classes, str) or not known.issuperset(asked):
        named = ", ".join(sorted(map(repr, {*asked} - known))) or f"the text {classes!r}"
        raise UnknownSandbox(f"{named[:200]} is no list of classes for processes; known: {', '.join(sorted(known))}")
    confiners: list[plane.Confiner | None] = [
        None,
        targets.Landlock(),
        targets.Bubblewrap(),
        targets.Container(plane.CONTAINER_RUNC),
        targets.Container(plane.CONTAINER_GVISOR),
    ]
    egress = lanes.Egress(addresses=plane.AddressPolicy(allow=tuple(egress_allow)))
    made: dict[targets.LocalSandbox, lanes.ProcessLane] = {}
    for confiner in confiners:
        name = plane.LOCAL_PROCESS if confiner is None else confiner.target_class
        if name not in asked:
            continue
        lane = lanes.ProcessLane(credentials=credentials or Given({}), confiner=confiner, egress=egress, lane_id=name)
        made[targets.LocalSandbox(name, lane=lane, clock=clock, confiner=confiner)] = lane
    return made


def guest_agent() -> str:
    """The program of the guest agent, in one text."""
    from interlock.adapters import lanes

    return lanes.agent_program()


def python_profile(folder: str) -> plane.SandboxProfile:
    """A sandbox in which this very Python runs, and writes only in that folder."""
    from interlock.adapters import targets

    return plane.SandboxProfile(read=(*targets.SYSTEM, sys.base_prefix), write=(folder,))


@asynccontextmanager
async def open_local_plane(
    *,
    egress_allow: Sequence[str] = (),
    sandboxes: Iterable[str] | None = (),
    sinks: Sequence[plane.EvidenceSink] = (),
    placed: Placed | None = None,
    credentials: plane.CredentialResolver | None = None,
    secrets: Mapping[str, Secret] | None = None,
    actions: plane.ActionHost | None = None,
) -> AsyncGenerator[LocalPlane]:
    """Open it. `sandboxes`: which classes for processes to probe and offer; None for all there are. `sinks` are given the
    evidence of every execution, and are closed with it. `placed`: somewhere else to offer, which is reached first.
    `credentials`: who redeems the secrets that requests name. `secrets`: for commands, by the variables that they become.
    `actions`: who carries out what scripts ask for.
    Raises UnknownSandbox, InvalidAllowance, and EffectFailed if the place is not reached."""
    clock = SystemClock()
    ids, authorizer = Uuid7Ids(clock), plane.Authorizer(clock=clock)
    given = Given(secrets or {})
    others = [] if placed is None else [make_placed(placed, clock=clock, ids=ids, given=given)]
    async with (
        open_node(
            NODE_ID,
            verifier=authorizer.verifier(),
            clock=clock,
            egress_allow=egress_allow,
            sandboxes=sandboxes,
            sinks=sinks,
            others=dict(others),
            credentials=credentials,
            given=given,
            actions=actions,
        ) as node,
        plane.Executions(node, clock=clock, ids=ids) as executions,
    ):
        yield LocalPlane(
            node=node,
            executions=executions,
            authorizer=authorizer,
            clock=clock,
            ids=ids,
            secrets=given.variables,
        )


@asynccontextmanager
async def open_evidence(folder: Path | None) -> AsyncGenerator[Sequence[plane.EvidenceSink]]:
    """The sinks that keep evidence in a folder, which was tried; none without one. Raises EvidenceRefused."""
    from interlock.adapters import sinks

    if folder is None:
        yield ()
        return
    async with sinks.open_file_sink(folder) as sink:
        yield (sink,)


@asynccontextmanager
async def open_node(
    node_id: str,
    *,
    verifier: plane.AuthorityVerifier,
    clock: Clock,
    egress_allow: Sequence[str],
    sandboxes: Iterable[str] | None,
    sinks: Sequence[plane.EvidenceSink] = (),
    signer: plane.Signer | None = None,
    others: "Mapping[targets.PlacedTarget, lanes.PlacedLane] | None" = None,
    credentials: plane.CredentialResolver | None = None,
    given: Given | None = None,
    actions: plane.ActionHost | None = None,
) -> AsyncGenerator[plane.Node]:
    """A node with the lanes of this host, and the targets for processes that were probed and are offered. Raises
    EffectFailed if one of the `others` is not reached."""
    from interlock.adapters import lanes, targets

    egress = lanes.Egress(addresses=plane.AddressPolicy(allow=tuple(egress_allow)))
    attestations = plane.AttestationVerifier({}, clock=clock)
    redeemer = Remembering(credentials or Given({}), also=given.secrets if given else ())
    web = _web(redeemer, egress)
    script = lanes.ScriptLane(actions or NoActions(), confiner=targets.Landlock())
    local = local_sandboxes(clock, sandboxes, credentials=given, egress_allow=egress_allow)
    classes = {**{lane.lane_id: LOCAL_NET for lane in web}, script.lane_id: plane.LOCAL_SCRIPT}
    here = [
        plane.LocalTarget(lane_id, target_class=target_class, lane_id=lane_id, clock=clock)
        for lane_id, target_class in classes.items()
    ]
    commands = [Commands(lane, egress=egress) for lane in local.values()]
    elsewhere = others or {}
    node = plane.Node(
        node_id,
        lanes=[*web, script, *commands, *elsewhere.values()],
        targets=[*here, *local, *elsewhere],
        verifier=verifier,
        clock=clock,
        attestations=attestations,
        sinks=plane.SinkSet(sinks, redactor=redeemer.redactor) if sinks else None,
        signer=signer,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(node.aclose)
        await node.prove()
        for target in elsewhere:
            if target.failure is not None:
                raise plane.EffectFailed.of(target.failure)
        yield node


def _web(credentials: plane.CredentialResolver, egress: "lanes.Egress") -> list[plane.Lane]:
    """Every lane that leaves this process over the network."""
    from interlock.adapters import lanes

    http = lanes.HttpLane(credentials=credentials, egress=egress)
    websocket = lanes.WebSocketLane(credentials=credentials, egress=egress)
    events = lanes.SseLane(credentials=credentials, egress=egress)
    talk = lanes.JsonRpcLane(egress=egress, credentials=credentials, http=http, websocket=websocket)
    return [http, events, websocket, talk]


async def list_targets(*, probe: bool, placed: Sequence[Placed] = ()) -> list[plane.TargetDescriptor]:
    """The targets for processes on this host, and those that are `placed` somewhere else, as they are announced; `probe`
    them first."""
    clock = SystemClock()
    ids = Uuid7Ids(clock)
    sandboxes = local_sandboxes(clock)
    others = [make_placed(place, clock=clock, ids=ids, given=Given({}))[0] for place in placed]
    try:
        if probe:
            for target in (*sandboxes, *others):
                await target.attest()
        return [target.describe() for target in (*sandboxes, *others)]
    finally:
        for lane in sandboxes.values():
            await lane.aclose()
