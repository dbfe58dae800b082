"""A lane on trial: in a node of its own, with a secret that must stay secret."""

from collections.abc import AsyncGenerator, Awaitable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, Final

import anyio

from interlock import plane
from interlock.conformance.checking import Skipped
from interlock.conformance.leftovers import SETTLES_WITHIN
from interlock.conformance.subject import Case, LaneSubject
from interlock.kernel import Clock, Secret

NODE_ID: Final = "conformance"
TARGET_CLASS: Final = "conformance"
CANARY: Final = Secret("c4nary-8Zq1vT7nLw0xRk5e")
_MINUTE: Final = 60_000


@dataclass
class Canary:
    """A resolver that gives out one secret."""

    redeemed: int = 0

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """The secret, whoever asks."""
        self.redeemed += 1
        return CANARY


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One execution that has ended."""

    receipt: plane.Receipt
    exchange: plane.Exchange
    mark: str


@dataclass
class LaneBench:
    """Where all checks of one subject take place."""

    subject: LaneSubject
    clock: Clock
    settles_within: float = SETTLES_WITHIN
    canary: Canary = field(default_factory=Canary)
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    @asynccontextmanager
    async def trial(self) -> AsyncGenerator["Trial"]:
        """A new lane, which is closed at the end."""
        trial = Trial(self)
        try:
            yield trial
        finally:
            with anyio.CancelScope(shield=True):
                await trial.lane.aclose()


class Trial:
    """One lane and its node."""

    def __init__(self, bench: LaneBench) -> None:
        self._bench = bench
        self.subject = bench.subject
        self.lane = lane = bench.subject.make_lane(bench.canary)
        self._authorizer = plane.Authorizer(clock=bench.clock)
        target = plane.LocalTarget("conformance", target_class=TARGET_CLASS, lane_id=lane.lane_id, clock=bench.clock)
        self._node = plane.Node(
            NODE_ID, lanes=[lane], targets=[target], verifier=self._authorizer.verifier(), clock=bench.clock
        )

    @property
    def carries(self) -> tuple[str, ...]:
        """The contracts of the intents that the lane takes, as its node tells them."""
        return tuple(name for lane in self._node.describe().lanes for name in lane.carries)

    def identity(self) -> dict[str, Any]:
        """The fields that all intents share, for a new one."""
        number = next(self._bench.numbers)
        return {
            "intent_id": f"snd_{number}",
            "tenant_id": "conformance",
            "run_id": f"run_{number}",
            "attempt_id": f"att_{number}",
            "trace_id": f"trace-{number}",
            "deadline_at": self._bench.clock.now() + timedelta(minutes=2),
        }

    def intent(self, case: Case, *, total_ms: int = _MINUTE) -> tuple[plane.Intent, str]:
        """An intent for that case, and its mark. Raises Skipped if the subject has none."""
        identity = self.identity()
        mark = f"mark-{id(self):x}-{identity['intent_id']}-end"
        intent = self.subject.intent(case, identity=identity, mark=mark, total_ms=total_ms)
        if intent is None:
            raise Skipped(f"the subject has no case {case.value!r}")
        return intent, mark

    async def execute(self, intent: plane.Intent, receipts: list[plane.Receipt]) -> plane.Receipt:
        """As any caller would."""
        authority = self._authorizer.issue(intent.digest, audience=NODE_ID, target_class=TARGET_CLASS)
        return await self._node.execute(
            intent, authority=authority, target_class=TARGET_CLASS, on_receipt=receipts.append
        )

    async def run(
        self,
        case: Case,
        *,
        total_ms: int = _MINUTE,
        channel: plane.Channel | None = None,
        ends_at: float | None = None,
    ) -> Outcome:
        """To its end, step by step, so that the exchange can be seen. `ends_at` moves the end of the authority."""
        intent, mark = self.intent(case, total_ms=total_ms)
        authority = self._authorizer.issue(intent.digest, audience=NODE_ID, target_class=TARGET_CLASS)
        execution = self._node.open(intent, TARGET_CLASS)
        execution.exchange.channel = channel
        lane = await self._node.admit(execution, authority)
        if ends_at is not None:
            execution.exchange.ends_at = ends_at
        failure = lane if isinstance(lane, plane.Failure) else await self._node.carry_out(execution, lane)
        receipt = await self._node.finish(execution, failure)
        return Outcome(receipt=receipt, exchange=execution.exchange, mark=mark)

    def channel(self) -> plane.Channel:
        """One whose input stays open."""
        return plane.Channel(plane.EventLog("conformance", self._bench.clock, window=65_536), plane.Inbox())

    async def reached(self, before: int) -> None:
        """Wait until more has reached the peer."""
        while self.subject.received <= before:  # noqa: ASYNC110 - the peer may be a process
            await anyio.sleep(0.01)


class CancelledAt:
    """Awaits something, and cancels it at its `number`-th wait."""

    def __init__(self, work: Awaitable[object], number: int, scope: anyio.CancelScope) -> None:
        self._work = work
        self._left = number
        self._scope = scope

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._work.__await__()
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                waits_for = steps.send(sent) if thrown is None else steps.throw(thrown)
            except StopIteration:
                return
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()
            sent, thrown = None, None
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is handed on
                thrown = error
