"""The node: admits an intent, hands it to one lane once, and answers with a receipt whatever happens."""

import logging
import traceback
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar

import anyio

from interlock.kernel import VERSION, Clock, RequestError, is_interruption
from interlock.plane.attestation import AttestationVerifier
from interlock.plane.authority import AuthorityDecision, AuthorityVerifier
from interlock.plane.channel import Channel
from interlock.plane.classes import CLASSES
from interlock.plane.descriptor import NodeDescriptor
from interlock.plane.direct import DirectUse
from interlock.plane.execution import Collector, Execution
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.intent import Intent, check_kind, check_request
from interlock.plane.lane import Lane, LaneFailure, carried
from interlock.plane.negotiation import TargetRequirement
from interlock.plane.planner import ANYTHING, AcceptableAttestation, LaneCapabilities, plan
from interlock.plane.receipt import Receipt
from interlock.plane.renewal import Renewal
from interlock.plane.schemas import contract_versions
from interlock.plane.signatures import Signer
from interlock.plane.sinks import SinkSet, Whose
from interlock.plane.targets import Target, TargetDescriptor

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)

Authority: TypeAlias = AuthorityDecision | DirectUse
"""Under what an execution is carried out."""

OnReceipt = Callable[[Receipt], None]
"""Takes the one receipt of an execution. Must not raise."""


class Node:
    """Carries out intents on its targets. It judges authority, target and lane; it holds no policy, does not fall back,
    and dispatches exactly once."""

    def __init__(
        self,
        node_id: str,
        *,
        lanes: Iterable[Lane],
        targets: Iterable[Target],
        verifier: AuthorityVerifier,
        clock: Clock,
        sinks: SinkSet | None = None,
        attestations: AttestationVerifier | None = None,
        signer: Signer | None = None,
    ) -> None:
        """While one of the `sinks` cannot be written, nothing is admitted. The `signer` signs every receipt. With
        `attestations`, a target of a class that a probe has to prove takes work only under an attestation that was accepted
        there and still holds; a `ProvableTarget` is probed by the node itself, in the background (`keep_proved`) and where an
        execution would need it. Raises ValueError if two lanes or two targets have one name."""
        self.node_id = node_id
        self.signer = signer
        self._lanes = _by_name("lane", ((lane.lane_id, lane) for lane in lanes))
        self._capabilities = [_capabilities(lane) for lane in self._lanes.values()]
        self._targets = _by_name("target", ((target.target_id, target) for target in targets))
        self._verifier = verifier
        self._clock = clock
        self._sinks = sinks
        self._attestations = attestations
        self._renewal = None if attestations is None else Renewal(self._targets.values(), attestations, clock=clock)
        self._granted: set[DirectUse] = set()

    def grant_direct(self, owner: str) -> DirectUse:
        """Let the owner of a lane have executions carried out without a decision for each, until it is taken back."""
        grant = DirectUse(owner)
        self._granted.add(grant)
        return grant

    def take_back(self, grant: DirectUse) -> None:
        """From now on the grant counts for nothing. Again is harmless."""
        self._granted.discard(grant)

    def register(self, target: Target, lane: Lane) -> None:
        """Take on a target together with the lane that leads there; the node closes the lane with its own. Raises ValueError
        if there is one of that name."""
        descriptor = target.describe()
        if descriptor.lane_id != lane.lane_id:
            raise ValueError(
                f"the target {target.target_id!r} is reached by {descriptor.lane_id!r}, not {lane.lane_id!r}"
            )
        # Both checked before either is there.
        lanes = _by_name("lane", [*self._lanes.items(), (lane.lane_id, lane)])
        self._targets = _by_name("target", [*self._targets.items(), (target.target_id, target)])
        self._lanes = lanes
        self._capabilities.append(_capabilities(lane))
        if self._renewal is not None:
            self._renewal.add(target)

    def describe(self) -> NodeDescriptor:
        """The node as it is now."""
        return NodeDescriptor(
            node_id=self.node_id,
            version=VERSION,
            contracts=contract_versions(),
            lanes=tuple(self._capabilities),
            targets=tuple(target.describe() for target in self._targets.values()),
        )

    @property
    def target_classes(self) -> frozenset[str]:
        """The classes of its targets, whether they take work now or not, and those that they would prove."""
        provable = frozenset[str]() if self._renewal is None else self._renewal.classes
        return provable | frozenset(target.describe().attestation.target_class for target in self._targets.values())

    async def execute(
        self,
        intent: Intent,
        *,
        authority: Authority | None,
        target_class: str,
        requirement: TargetRequirement = ANYTHING,
        may_leave: Callable[[], bool] | None = None,
        on_receipt: OnReceipt | None = None,
        channel: Channel | None = None,
    ) -> Receipt:
        """Carry out an intent on a target of that class that fits the requirement. A failed effect is a receipt, never an
        exception.

        `on_receipt` is called exactly once with the receipt; when the caller is cancelled, that is before the
        cancellation goes on, and the only way to learn whether anything was sent. `may_leave` is asked before any bytes
        leave: no stops them, in the middle of a request, too. On the `channel` the caller follows what streams; its log does not
        end by itself. Raises RequestError for an intent that is not what its
        record speaks of, and for what is no intent, authority or class at all.
        """
        execution = self.open(intent, target_class)
        execution.exchange.channel = channel
        if may_leave is not None:
            execution.exchange.may_leave = may_leave
        try:
            lane = not_durable(self.node_id) if intent.durable else await self.admit(execution, authority, requirement)
            failure = lane if isinstance(lane, Failure) else await self.carry_out(execution, lane)
        except anyio.get_cancelled_exc_class():
            await self.finish(
                execution, Failure.of(FailureClass.CANCELLED, "the caller stopped waiting"), on_receipt=on_receipt
            )
            raise
        return await self.finish(execution, failure, on_receipt=on_receipt)

    async def prove(self, target_class: str | None = None) -> None:
        """Probe those targets, of that class or all, that have to be proved and are not, unless that has just failed."""
        if self._renewal is not None:
            await self._renewal.prove(target_class)

    async def keep_proved(self) -> None:
        """Probe those that were probed once again and again, before their attestations end, until it is cancelled."""
        if self._renewal is not None:
            await self._renewal.run()

    async def aclose(self) -> None:
        """Close the lanes and the sinks, all of them: a cancellation waits until then. Raises EvidenceOwed if a sink could not
        take all that was done."""
        with anyio.CancelScope(shield=True):
            for lane in self._lanes.values():
                await lane.aclose()
            if self._sinks is not None:
                await self._sinks.aclose()

    # -- the four steps, for `execute` and for `Executions`

    def open(self, intent: Intent, target_class: str, *, asked_by: str | None = None) -> Execution:
        """An execution that has not been admitted. `asked_by`: as whom the client is known, for the evidence. Raises
        RequestError for an intent that is not what its record speaks of, for what is none, and for what is no class."""
        check_request(intent, target_class)
        if not intent.has_body:
            raise RequestError(
                f"what travels beside the record of intent {intent.intent_id} is not what the record speaks of",
                next_step="Make a new intent: this one was read from its record alone, or was changed after it was made.",
            )
        return Execution(self.node_id, intent, target_class, self._clock, asked_by=asked_by)

    async def admit(
        self, execution: Execution, authority: Authority | None, requirement: TargetRequirement = ANYTHING
    ) -> Lane | Failure:
        """The lane that is to carry it out, or why none may. Authority first, so that whoever has none learns nothing of
        the node. Raises RequestError for what is no authority."""
        kinds = AuthorityDecision | DirectUse | None
        check_kind("the authority", authority, kinds, "an AuthorityDecision or a DirectUse")
        intent, target_class = execution.intent, execution.target_class
        if authority is None:
            return Failure.of(FailureClass.AUTHORITY_DENIED, "the execution has no authority", code="authority_missing")
        # Before the authority is used up: it serves once the evidence can be written again.
        if self._sinks is not None and (unwritable := await self._sinks.check()) is not None:
            return unwritable
        denied = self._spend(authority, intent, target_class)
        if denied is not None:
            return denied
        if self._renewal is not None:
            await self._renewal.prove(target_class)
        descriptors, unproved = self._attested(target_class)
        # After sinks and probes, which may have taken their time; the moment before the time of day, so that a process that
        # is frozen between the two has less time left, and not more.
        moment, now = self._clock.monotonic(), self._clock.now()
        route = plan(
            intent,
            _one_class(target_class),
            descriptors.values(),
            self._capabilities,
            now=now,
            requirement=requirement,
        )
        if isinstance(route, Failure):
            return unproved or route
        execution.admitted(authority, descriptors[route.target_id], route)
        if isinstance(authority, AuthorityDecision):
            execution.exchange.ends_at = moment + (authority.expires_at - now).total_seconds()
        return self._lanes[route.lane_id]

    def _spend(self, authority: Authority, intent: Intent, target_class: str) -> Failure | None:
        if isinstance(authority, AuthorityDecision):
            return self._verifier.spend(
                authority, intent_digest=intent.digest, audience=self.node_id, target_class=target_class
            )
        if authority in self._granted:
            return None
        message = f"{authority.owner} was not granted direct use of this node, or no longer"
        return Failure.of(FailureClass.AUTHORITY_DENIED, message, code="direct_use_not_granted")

    def _attested(self, target_class: str) -> tuple[dict[str, TargetDescriptor], Failure | None]:
        """The targets as they are announced, without those whose proof does not hold; and why one of the class is left out."""
        found: dict[str, TargetDescriptor] = {}
        unproved: Failure | None = None
        for target in self._targets.values():
            descriptor = target.describe()
            if self._attestations is not None and descriptor.attestation.target_class in CLASSES:
                refused = self._attestations.holds(descriptor)
                if refused is not None:
                    unproved = refused if descriptor.attestation.target_class == target_class else unproved
                    continue
            found[descriptor.target_id] = descriptor
        return found, unproved

    async def carry_out(self, execution: Execution, lane: Lane) -> Failure | None:
        """Hand it to the lane, once."""
        intent, exchange = execution.intent, execution.exchange
        collector = None
        if exchange.channel is None and intent.collected is not None:
            exchange.channel = collector = Collector(exchange, *intent.collected)
        limit = min(intent.total_ms / 1000, (intent.deadline_at - self._clock.now()).total_seconds())
        if limit <= 0:
            return Failure.of(FailureClass.DEADLINE_PASSED, "the deadline passed before the execution began")
        failure = None
        with anyio.move_on_after(limit) as scope:
            try:
                await lane.execute(intent, exchange)
            except LaneFailure as error:
                failure = error.failure
            except BaseException as error:
                if is_interruption(error):
                    raise
                # Only the frames: the text of a foreign exception may hold what the lane was given to send.
                _log.error("lane %s broke:\n%s", lane.lane_id, "".join(traceback.format_tb(error.__traceback__)))
                failure = Failure.of(FailureClass.LANE_FAILED, f"the lane {lane.lane_id} broke: {type(error).__name__}")
            finally:
                if collector is not None:
                    failure = await _finished(collector) or failure
        if scope.cancelled_caught:
            return Failure.of(
                FailureClass.TOTAL_TIMEOUT, f"not done within {round(limit, 1) or round(limit, 3):g} seconds"
            )
        return failure

    async def finish(
        self, execution: Execution, failure: Failure | None, *, on_receipt: OnReceipt | None = None
    ) -> Receipt:
        """Close the execution and keep its evidence."""
        receipt = execution.close(failure, signer=self.signer)
        if on_receipt is not None:
            on_receipt(receipt)
        await self.record(execution.intent, receipt)
        return receipt

    async def record(self, whose: Whose, receipt: Receipt) -> None:
        """Give the sinks a receipt. Never raises, as `SinkSet.record`."""
        if self._sinks is not None:
            await self._sinks.record(whose, receipt, signer=self.signer)


async def _finished(collector: Collector) -> Failure | None:
    """Close it, also where the execution was cancelled. What went wrong, if something did."""
    with anyio.CancelScope(shield=True):
        try:
            await collector.finish()
        except LaneFailure as error:
            return error.failure
    return None


def not_durable(node_id: str) -> Failure:
    """Why an intent that is durable has no place where nothing is written down."""
    message = f"the intent is durable, and the node {node_id} keeps no journal"
    return Failure.of(FailureClass.LANE_UNAVAILABLE, message, code="no_journal")


@lru_cache(maxsize=64)
def _one_class(target_class: str) -> AcceptableAttestation:
    return AcceptableAttestation(classes=(target_class,))


def _capabilities(lane: Lane) -> LaneCapabilities:
    return LaneCapabilities(lane_id=lane.lane_id, carries=carried(lane))


def _by_name(what: str, items: Iterable[tuple[str, T]]) -> dict[str, T]:
    named: dict[str, T] = {}
    for name, item in items:
        if name in named:
            raise ValueError(f"two {what}s are called {name!r}")
        named[name] = item
    return named
