"""The node: admission, one dispatch, one receipt."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Literal

import anyio
import pytest

from fix_plane import NODE_ID, Bench, Intents, check_receipt
from interlock import plane
from interlock.kernel import PlaneError, RequestError
from interlock.testing import SequentialIds

pytestmark = pytest.mark.anyio


Behaviour = Callable[[plane.HttpIntent, plane.Exchange], Awaitable[None]]


class FakeLane:
    """A lane that behaves as told, and counts."""

    def __init__(self, behaviour: Behaviour | None = None, lane_id: str = "http") -> None:
        self.lane_id = lane_id
        self.carries: type[plane.Intent] = plane.HttpIntent
        self.executions = 0
        self.closed = False
        self._behaviour = behaviour

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        self.executions += 1
        if self._behaviour is not None:
            await self._behaviour(intent, exchange)
        exchange.bytes_sent, exchange.status, exchange.body, exchange.answered = 5, 200, b"ok", True

    async def aclose(self) -> None:
        self.closed = True


class FixedTarget:
    """A target with a description that does not renew itself."""

    def __init__(self, intents: Intents, target_id: str = "fixed", **change: Any) -> None:
        self.target_id = target_id
        now = intents.clock.now()
        attestation = plane.Attestation(
            target_class=change.pop("target_class", plane.LOCAL_HTTP),
            properties=(),
            attested_by="key-1",
            attested_at=now,
            expires_at=now + timedelta(seconds=30),
        )
        self._descriptor = plane.TargetDescriptor(
            target_id=target_id,
            lane_id=change.pop("lane_id", "http"),
            attestation=attestation,
            health=change.pop("health", plane.Health.READY),
        )

    def describe(self) -> plane.TargetDescriptor:
        return self._descriptor

    def announce(self, attestation: plane.Attestation) -> None:
        self._descriptor = self._descriptor.model_copy(update={"attestation": attestation})


def rejected(receipt: plane.Receipt, failure_class: plane.FailureClass, code: str) -> None:
    assert receipt.failure is not None
    assert (receipt.failure.failure_class, receipt.failure.code) == (failure_class, code)
    assert receipt.delivery is plane.Delivery.NOT_SENT
    assert receipt.target_id is None
    assert [link.type for link in receipt.evidence] == ["rejected"]
    check_receipt(receipt)


async def test_an_answer_is_a_receipt(intents: Intents):
    lane = FakeLane()
    receipt = await Bench(intents, lane).execute(intents.http())
    assert receipt.delivery is plane.Delivery.RESPONDED
    assert receipt.failure is None
    assert (receipt.status, receipt.body, receipt.bytes_sent) == (200, b"ok", 5)
    assert (receipt.node_id, receipt.target_id, receipt.lane_id) == (NODE_ID, "here", "http")
    assert lane.executions == 1


async def test_without_authority_nothing_happens(intents: Intents):
    lane = FakeLane()
    bench = Bench(intents, lane)
    receipt = await bench.node.execute(intents.http(), authority=None, target_class=plane.LOCAL_HTTP)
    rejected(receipt, plane.FailureClass.AUTHORITY_DENIED, "authority_missing")
    assert lane.executions == 0


async def test_one_authority_is_one_execution(intents: Intents):
    lane = FakeLane()
    bench = Bench(intents, lane)
    intent = intents.http()
    authority = bench.authority(intent)
    first = await bench.node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)
    second = await bench.node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)
    assert first.failure is None
    rejected(second, plane.FailureClass.AUTHORITY_DENIED, "authority_replayed")
    assert lane.executions == 1


async def test_authority_for_another_intent_is_refused(intents: Intents):
    lane = FakeLane()
    bench = Bench(intents, lane)
    authority = bench.authority(intents.http())
    other = intents.http(url="https://api.acme.dev/other")
    receipt = await bench.node.execute(other, authority=authority, target_class=plane.LOCAL_HTTP)
    rejected(receipt, plane.FailureClass.AUTHORITY_DENIED, "authority_wrong_intent")
    assert lane.executions == 0


async def test_a_passed_deadline_stops_admission(intents: Intents):
    intent = intents.http(deadline_at=intents.clock.now() + timedelta(seconds=1))
    intents.clock.advance(1)
    receipt = await Bench(intents, FakeLane()).execute(intent)
    rejected(receipt, plane.FailureClass.DEADLINE_PASSED, "deadline_passed")


async def test_an_unknown_class_is_not_guessed(intents: Intents):
    receipt = await Bench(intents, FakeLane()).execute(intents.http(), "microvm")
    rejected(receipt, plane.FailureClass.TARGET_UNAVAILABLE, "target_class_unknown")


async def test_a_stale_attestation_proves_nothing(intents: Intents):
    bench = Bench(intents, FakeLane(), [FixedTarget(intents)])
    intents.clock.advance(30)
    rejected(await bench.execute(intents.http()), plane.FailureClass.TARGET_UNAVAILABLE, "attestation_stale")


async def test_an_attestation_from_the_future_proves_nothing(intents: Intents):
    intents.clock.advance(10)
    target = FixedTarget(intents)
    past = Intents()
    rejected(
        await Bench(past, FakeLane(), [target]).execute(past.http()),
        plane.FailureClass.TARGET_UNAVAILABLE,
        "attestation_stale",
    )


@pytest.mark.parametrize("health", [plane.Health.DRAINING, plane.Health.UNAVAILABLE])
async def test_an_unhealthy_target_gets_no_work(intents: Intents, health: plane.Health):
    bench = Bench(intents, FakeLane(), [FixedTarget(intents, health=health)])
    rejected(await bench.execute(intents.http()), plane.FailureClass.TARGET_UNAVAILABLE, "target_unhealthy")


async def test_the_first_ready_target_of_the_class_serves(intents: Intents):
    targets = [
        FixedTarget(intents, "weak", target_class="other"),
        FixedTarget(intents, "ill", health=plane.Health.DRAINING),
        FixedTarget(intents, "well"),
        FixedTarget(intents, "spare"),
    ]
    receipt = await Bench(intents, FakeLane(), targets).execute(intents.http())
    assert receipt.target_id == "well"


async def test_a_missing_lane_is_told(intents: Intents):
    bench = Bench(intents, FakeLane(), [FixedTarget(intents, lane_id="process")])
    rejected(await bench.execute(intents.http()), plane.FailureClass.LANE_UNAVAILABLE, "lane_not_registered")


async def test_a_lane_gets_only_what_it_carries(intents: Intents):
    class Other(plane.Intent):
        contract: Literal["acme.other-intent/v1"] = "acme.other-intent/v1"

        @property
        def total_ms(self) -> int:
            return 1

    lane = FakeLane()
    lane.carries = Other
    rejected(
        await Bench(intents, lane).execute(intents.http()), plane.FailureClass.LANE_UNAVAILABLE, "lane_cannot_carry"
    )


async def test_a_local_target_renews_its_own_attestation(intents: Intents):
    bench = Bench(intents, FakeLane())
    intents.clock.advance(3600)
    assert (await bench.execute(intents.http())).failure is None


@pytest.mark.parametrize(("sent", "delivery"), [(0, plane.Delivery.NOT_SENT), (1, plane.Delivery.UNKNOWN)])
async def test_a_failed_lane_is_dispatched_once_and_told_by_bytes(
    intents: Intents, sent: int, delivery: plane.Delivery
):
    async def fail(_intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        exchange.bytes_sent = sent
        exchange.body = b"half"
        raise plane.LaneFailure(plane.FailureClass.TOTAL_TIMEOUT, "made up", code="finer")

    lane = FakeLane(fail)
    receipt = await Bench(intents, lane).execute(intents.http())
    assert receipt.delivery is delivery
    assert receipt.failure is not None
    assert receipt.failure.code == "finer"
    assert [link.type for link in receipt.evidence] == ["admitted", "finished"]
    assert lane.executions == 1


async def test_a_broken_lane_loses_neither_node_nor_facts(intents: Intents, caplog: pytest.LogCaptureFixture):
    secret = "token-" * 3  # never spelled out, since a traceback quotes the source

    async def break_(_intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        exchange.bytes_sent = 7
        raise KeyError(secret)

    with caplog.at_level(logging.ERROR):
        receipt = await Bench(intents, FakeLane(break_)).execute(intents.http())
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.LANE_FAILED
    assert receipt.delivery is plane.Delivery.UNKNOWN
    assert "break_" in caplog.text
    assert secret not in caplog.text + receipt.canonical


@pytest.mark.parametrize("by_deadline", [False, True])
async def test_total_time_is_bounded(intents: Intents, by_deadline: bool):
    async def hang(_intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        exchange.bytes_sent = 3
        await anyio.sleep_forever()

    if by_deadline:
        intent = intents.http(deadline_at=intents.clock.now() + timedelta(milliseconds=5))
    else:
        intent = intents.http(timeouts=plane.Timeouts(total_ms=5))
    receipt = await Bench(intents, FakeLane(hang)).execute(intent)
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.TOTAL_TIMEOUT
    assert receipt.delivery is plane.Delivery.UNKNOWN


@pytest.mark.parametrize(("sent", "delivery"), [(0, plane.Delivery.NOT_SENT), (9, plane.Delivery.UNKNOWN)])
async def test_a_cancelled_caller_still_gets_the_receipt(intents: Intents, sent: int, delivery: plane.Delivery):
    started = anyio.Event()

    async def hang(_intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        exchange.bytes_sent = sent
        started.set()
        await anyio.sleep_forever()

    bench = Bench(intents, FakeLane(hang))
    intent = intents.http()
    receipts: list[plane.Receipt] = []
    outcome: list[str] = []

    async def call() -> None:
        try:
            await bench.node.execute(
                intent,
                authority=bench.authority(intent),
                target_class=plane.LOCAL_HTTP,
                on_receipt=receipts.append,
            )
        except anyio.get_cancelled_exc_class():
            outcome.append("cancelled")
            raise

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert outcome == ["cancelled"]
    [receipt] = receipts
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.CANCELLED
    assert receipt.delivery is delivery
    check_receipt(receipt)


async def test_a_cancelled_caller_need_not_ask(intents: Intents):
    async def hang(_intent: plane.HttpIntent, _exchange: plane.Exchange) -> None:
        await anyio.sleep_forever()

    bench = Bench(intents, FakeLane(hang))
    intent = intents.http()
    with anyio.move_on_after(0) as scope:
        await bench.node.execute(intent, authority=bench.authority(intent), target_class=plane.LOCAL_HTTP)
    assert scope.cancelled_caught


async def test_an_intent_without_its_body_is_a_mistake(intents: Intents):
    recorded = plane.HttpIntent.model_validate_json(intents.http(method="POST", body=b"x").canonical)
    bench = Bench(intents, FakeLane())
    with pytest.raises(RequestError, match="not what the record speaks of"):
        await bench.execute(recorded)


@pytest.mark.parametrize("entrance", ["node", "executions"])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"intent": None}, "the intent must be an intent, such as an HttpIntent, not NoneType"),
        ({"intent": "x"}, "the intent must be an intent, such as an HttpIntent, not str"),
        ({"authority": {}}, "the authority must be an AuthorityDecision or a DirectUse, not dict"),
        ({"authority": 5}, "the authority must be an AuthorityDecision or a DirectUse, not int"),
        ({"target_class": None}, "target_class must be a text, such as local-process, not NoneType"),
    ],
)
async def test_what_is_of_the_wrong_kind_is_told(intents: Intents, entrance: str, wrong: dict[str, Any], told: str):
    bench = Bench(intents, FakeLane())
    given: dict[str, Any] = {"intent": intents.http(), "authority": None, "target_class": plane.LOCAL_HTTP, **wrong}
    intent: Any = given.pop("intent")
    async with plane.Executions(bench.node, clock=intents.clock, ids=SequentialIds()) as executions:
        begin = bench.node.execute if entrance == "node" else executions.start
        with pytest.raises(RequestError) as refused:
            await begin(intent, **given)
    assert refused.value.message == told


async def test_names_are_unique(intents: Intents):
    target = FixedTarget(intents)
    with pytest.raises(ValueError, match="two targets are called 'fixed'"):
        Bench(intents, FakeLane(), [target, target])


async def test_closing_closes_the_lanes(intents: Intents):
    lane = FakeLane()
    await Bench(intents, lane).node.aclose()
    assert lane.closed


def watched(intents: Intents, lane: FakeLane, sink: plane.EvidenceSink) -> tuple[plane.Node, plane.Authorizer]:
    """A node whose evidence goes to that sink, and who authorises for it."""
    authorizer = plane.Authorizer(clock=intents.clock)
    target = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="http", clock=intents.clock)
    node = plane.Node(
        NODE_ID,
        lanes=[lane],
        targets=[target],
        verifier=authorizer.verifier(),
        clock=intents.clock,
        sinks=plane.SinkSet([sink]),
    )
    return node, authorizer


class Shelf:
    """A sink that can be made to fail."""

    name = "shelf"

    def __init__(self) -> None:
        self.full = False
        self.records: list[plane.EvidenceRecord] = []

    async def emit(self, record: plane.EvidenceRecord) -> None:
        await self.flush()
        self.records.append(record)

    async def flush(self) -> None:
        if self.full:
            raise OSError("no room")

    async def aclose(self) -> None:
        pass


async def test_while_evidence_cannot_be_kept_nothing_is_admitted_and_no_authority_is_used_up(intents: Intents):
    lane, shelf = FakeLane(), Shelf()
    node, authorizer = watched(intents, lane, shelf)
    intent = intents.http()
    authority = authorizer.issue(intent.digest, audience=NODE_ID, target_class=plane.LOCAL_HTTP)
    shelf.full = True
    refused = await node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)
    rejected(refused, plane.FailureClass.EVIDENCE_UNWRITABLE, "evidence_unwritable")
    assert lane.executions == 0
    shelf.full = False
    done = await node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)
    assert done.failure is None
    assert [record.receipt for record in shelf.records] == [refused, done], "what it was owed came first"


async def test_a_node_that_ends_owing_evidence_says_so_once_all_is_closed(intents: Intents):
    lane, shelf = FakeLane(), Shelf()
    node, _ = watched(intents, lane, shelf)
    shelf.full = True
    await node.execute(intents.http(), authority=None, target_class=plane.LOCAL_HTTP)
    with pytest.raises(PlaneError, match="1 in shelf: no room") as raised:
        await node.aclose()
    assert raised.value.code == "evidence_owed"
    assert lane.closed
    await node.aclose()


async def test_a_sink_that_fills_up_while_nothing_is_written_admits_nothing(intents: Intents):
    lane, shelf = FakeLane(), Shelf()
    node, authorizer = watched(intents, lane, shelf)
    for full in (False, True):
        shelf.full = full
        intent = intents.http()
        authority = authorizer.issue(intent.digest, audience=NODE_ID, target_class=plane.LOCAL_HTTP)
        await node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)
    assert lane.executions == 1


async def test_an_attestation_is_checked_again_at_every_dispatch(intents: Intents):
    lane = FakeLane()
    authorizer, verifier = plane.Authorizer(clock=intents.clock), plane.AttestationVerifier({}, clock=intents.clock)
    target = FixedTarget(intents)
    node = plane.Node(
        NODE_ID,
        lanes=[lane],
        targets=[target],
        verifier=authorizer.verifier(),
        clock=intents.clock,
        attestations=verifier,
    )

    async def execute() -> plane.Receipt:
        intent = intents.http()
        authority = authorizer.issue(intent.digest, audience=NODE_ID, target_class=plane.LOCAL_PROCESS)
        return await node.execute(intent, authority=authority, target_class=plane.LOCAL_PROCESS)

    def attest(nonce: str | None) -> plane.Attestation:
        attestation = plane.mint(
            None,
            target_id=target.target_id,
            target_class=plane.LOCAL_PROCESS,
            shown=frozenset(plane.CLASSES[plane.LOCAL_PROCESS]),
            nonce=nonce,
            now=intents.clock.now(),
            life=timedelta(seconds=30),
        )
        target.announce(attestation)
        return attestation

    attest(None)
    rejected(await execute(), plane.FailureClass.TARGET_UNAVAILABLE, "attestation_unknown")
    assert verifier.accept(attest(verifier.challenge(target.target_id))) is None
    assert (await execute()).failure is None
    attest(verifier.challenge(target.target_id))
    rejected(await execute(), plane.FailureClass.TARGET_UNAVAILABLE, "attestation_unknown")
    intents.clock.advance(31)
    rejected(await execute(), plane.FailureClass.TARGET_UNAVAILABLE, "attestation_unknown")
    assert lane.executions == 1


async def test_direct_use_is_granted_by_the_host_and_leaves_evidence(intents: Intents):
    lane = FakeLane()
    node, other = Bench(intents, lane).node, Bench(intents, FakeLane()).node
    grant = node.grant_direct("the owner of the lane")
    receipt = await node.execute(intents.http(), authority=grant, target_class=plane.LOCAL_HTTP)
    assert receipt.failure is None
    assert receipt.evidence[0].data["direct_use_by"] == "the owner of the lane"
    assert "authority_nonce" not in receipt.evidence[0].data
    check_receipt(receipt)

    async def refused(by: plane.Node, authority: plane.Authority) -> None:
        rejected(
            await by.execute(intents.http(), authority=authority, target_class=plane.LOCAL_HTTP),
            plane.FailureClass.AUTHORITY_DENIED,
            "direct_use_not_granted",
        )

    await refused(node, plane.DirectUse("the owner of the lane"))
    await refused(other, grant)
    node.take_back(grant)
    await refused(node, grant)
    assert lane.executions == 1


def test_a_node_says_what_it_has(intents: Intents):
    described = Bench(intents, FakeLane()).node.describe()
    assert (described.node_id, [lane.lane_id for lane in described.lanes]) == (NODE_ID, ["http"])
    assert [target.target_id for target in described.targets] == ["here"]
    assert "interlock.receipt/v1" in described.contracts
    assert plane.NodeDescriptor.model_validate_json(described.canonical) == described


class Slow(Shelf):
    """A sink that takes its time."""

    def __init__(self, intents: Intents, seconds: float) -> None:
        super().__init__()
        self._intents, self._seconds = intents, seconds

    async def flush(self) -> None:
        self._intents.clock.advance(self._seconds)


@pytest.mark.parametrize(("seconds", "code"), [(61, "authority_expired"), (45, "deadline_passed")])
async def test_time_that_a_sink_takes_counts(intents: Intents, seconds: float, code: str):
    lane = FakeLane()
    node, authorizer = watched(intents, lane, Slow(intents, seconds))
    intent = intents.http(deadline_at=intents.clock.now() + timedelta(seconds=40))
    authority = authorizer.issue(intent.digest, audience=NODE_ID, target_class=plane.LOCAL_HTTP)
    receipt = await node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)
    assert receipt.failure is not None
    assert receipt.failure.code == code
    assert lane.executions == 0


class Running:
    """A clock that goes on at every look."""

    def __init__(self, intents: Intents) -> None:
        self._clock = intents.clock
        self.monotonic, self.sleep = self._clock.monotonic, self._clock.sleep

    def now(self) -> datetime:
        self._clock.advance(0.001)
        return self._clock.now()


class Stopping(plane.LocalTarget):
    """A target that is the last to be asked before the process freezes, at its next look at the time of day."""

    def __init__(self, intents: Intents) -> None:
        super().__init__("here", target_class=plane.LOCAL_HTTP, lane_id="http", clock=intents.clock)
        self.clock = intents.clock
        self.asked = False
        self.monotonic, self.sleep = self.clock.monotonic, self.clock.sleep

    def describe(self) -> plane.TargetDescriptor:
        self.asked = True
        return super().describe()

    def now(self) -> datetime:
        seen = self.clock.now()
        if self.asked:
            self.asked = False
            self.clock.advance(61)
        return seen


async def test_a_process_that_freezes_while_it_is_admitted_sends_nothing(intents: Intents):
    async def send(_intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        exchange.leave(1)

    clock = Stopping(intents)
    authorizer = plane.Authorizer(clock=intents.clock)
    node = plane.Node(NODE_ID, lanes=[FakeLane(send)], targets=[clock], verifier=authorizer.verifier(), clock=clock)
    intent = intents.http(deadline_at=intents.clock.now() + timedelta(seconds=600))
    authority = authorizer.issue(intent.digest, audience=NODE_ID, target_class=plane.LOCAL_HTTP)
    receipt = await node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)
    assert (receipt.delivery, receipt.failure and receipt.failure.code) == (
        plane.Delivery.NOT_SENT,
        "authority_expired",
    )


async def test_a_target_that_renews_its_attestation_while_it_is_asked_serves(intents: Intents):
    clock, lane = Running(intents), FakeLane()
    authorizer = plane.Authorizer(clock=clock)
    target = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="http", clock=clock)
    node = plane.Node(NODE_ID, lanes=[lane], targets=[target], verifier=authorizer.verifier(), clock=clock)
    intents.clock.advance(600)
    intent = intents.http()
    authority = authorizer.issue(intent.digest, audience=NODE_ID, target_class=plane.LOCAL_HTTP)
    assert (await node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP)).failure is None


async def test_a_lane_that_notes_what_is_no_fact_still_leaves_a_receipt(intents: Intents):
    async def careless(_intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        notes: dict[str, Any] = {"seconds": 0.5, "answer": {"a": 1}, "names": ["one"]}
        exchange.note("odd", notes)
        exchange.facts.update(notes, delivery="not_sent")

    receipt = await Bench(intents, FakeLane(careless)).execute(intents.http())
    assert receipt.evidence[1].data == {"seconds": "(float)", "answer": "(dict)", "names": ["one"]}
    assert receipt.facts == {**receipt.evidence[1].data, "delivery": "not_sent"}
    assert receipt.evidence[-1].data["delivery"] == "responded", "a lane's fact does not stand for what the node found"
