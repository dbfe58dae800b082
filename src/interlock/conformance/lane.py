"""The lane suite: what `plane.Lane` promises, each promise by a check of its own."""

from collections.abc import Iterable
from typing import Final

import anyio

from interlock import plane
from interlock.conformance import lane_ends, lane_words
from interlock.conformance.checking import Check, chosen, expect
from interlock.conformance.leftovers import SETTLES_WITHIN, own_temporary_folder
from interlock.conformance.report import Report
from interlock.conformance.subject import Case, OpenLaneSubject
from interlock.conformance.trial import LaneBench
from interlock.kernel import Clock, SystemClock

_ON_ITS_WAY: Final = 0.1
"""Seconds within which what has left arrives, on one host."""


async def check_lane(
    name: str,
    opened: OpenLaneSubject,
    *,
    clock: Clock | None = None,
    only: Iterable[str] | None = None,
    settles_within: float = SETTLES_WITHIN,
) -> Report:
    """Put a lane through the suite, or through the checks of these ids. It takes some seconds. While it goes, it counts what
    this process has open, so nothing else should happen in it; what is on its way out has `settles_within` seconds."""
    checks = chosen(LANE_CHECKS, only)
    with own_temporary_folder():
        async with opened() as subject:
            bench = LaneBench(subject, clock or SystemClock(), settles_within)
            return Report(kind="lane", subject=name, findings=tuple([await check.run(bench) for check in checks]))


async def _one_receipt(bench: LaneBench) -> str:
    async with bench.trial() as trial:
        cases = (Case.GOOD, Case.UNSENT, Case.FAILING)
        for case in cases:
            receipts: list[plane.Receipt] = []
            intent, _mark = trial.intent(case)
            returned = await trial.execute(intent, receipts)
            expect(receipts == [returned], f"{case}: {len(receipts)} receipts were handed out")
            expect(returned.intent_id == intent.intent_id, f"{case}: the receipt is of {returned.intent_id}")
    return f"one each for {len(cases)} executions"


async def _evidence(bench: LaneBench) -> str:
    links = 0
    async with bench.trial() as trial:
        for case in (Case.GOOD, Case.UNSENT, Case.FAILING):
            receipt = (await trial.run(case)).receipt
            expect((wrong := plane.verify_evidence(receipt)) is None, f"{case}: link {wrong} does not fit")
            read = plane.Receipt.model_validate_json(receipt.canonical)
            expect(read.canonical == receipt.canonical, f"{case}: the receipt is another one after a round trip")
            times = [link.at for link in receipt.evidence]
            expect(times == sorted(times), f"{case}: the evidence goes back in time: {', '.join(times)}")
            links += len(times)
    return f"{links} links"


async def _delivery(bench: LaneBench) -> str:
    async with bench.trial() as trial:
        before = trial.subject.received
        late = await trial.run(Case.GOOD, ends_at=float("-inf"))
        await anyio.sleep(_ON_ITS_WAY)
        left = trial.subject.received - before
        expect(not left, f"{left} bytes reached the peer before `exchange.leave` had let them: the authority had ended")
        refused = late.receipt.failure
        expect(refused is not None and refused.code == "authority_expired", f"an ended authority came to {refused}")
        unsent = (await trial.run(Case.UNSENT)).receipt
        await anyio.sleep(_ON_ITS_WAY)
        expect(unsent.delivery is plane.Delivery.NOT_SENT, f"nothing left, and the delivery is {unsent.delivery}")
        expect(trial.subject.received == before, "not_sent, and yet something reached the peer")
        good = (await trial.run(Case.GOOD)).receipt
        expect(trial.subject.received > before, "the good case reached no peer: the subject does not count")
        expect(good.bytes_sent, "something reached the peer, and the receipt counts no bytes")
    return f"{good.bytes_sent} bytes were counted"


async def _failures(bench: LaneBench) -> str:
    async with bench.trial() as trial:
        good = await trial.run(Case.GOOD)
        _consistent(good.receipt)
        expect(good.receipt.failure is None, f"the good case failed: {good.receipt.failure}")
        expect(good.mark.encode() in good.receipt.body, "the good case's body does not contain its mark")
        unsent = (await trial.run(Case.UNSENT)).receipt
        _consistent(unsent)
        expect(
            unsent.failure and unsent.failure.effect != "unknown", f"nothing left, and it failed as {unsent.failure}"
        )
        failing = (await trial.run(Case.FAILING)).receipt
        _consistent(failing)
        expect(failing.failure is not None, "the failing case did not fail")
    return f"unsent: {unsent.failure and unsent.failure.code}; failing: {failing.failure and failing.failure.code}"


def _consistent(receipt: plane.Receipt) -> None:
    failure, delivery = receipt.failure, receipt.delivery
    if failure is None:
        expect(delivery is plane.Delivery.RESPONDED, f"no failure, and the delivery is {delivery}")
        return
    expect(failure.failure_class is not plane.FailureClass.LANE_FAILED, failure.message)
    said = f"{failure.code} says of the effect `{failure.effect}`, and the delivery is {delivery}"
    expect(failure.effect != "none" or delivery is plane.Delivery.NOT_SENT, said)
    expect(failure.effect != "unknown" or delivery is not plane.Delivery.NOT_SENT, said)


async def _foreign_kind(bench: LaneBench) -> str:
    async with bench.trial() as trial:
        foreign: list[plane.Intent] = [
            plane.HttpIntent(
                **trial.identity(), method="GET", url="http://127.0.0.1:1/", allowed_hosts=("127.0.0.1:1",)
            ),
            plane.ProcessIntent(**trial.identity(), argv=("/bin/false",)),
        ]
        kinds = trial.carries
        others = [intent for intent in foreign if intent.contract_name not in kinds]
        expect(others, f"it says that it carries every kind, also {foreign[0].contract_name}")
        for intent in others:
            receipt = await trial.execute(intent, [])
            expect(receipt.delivery is plane.Delivery.NOT_SENT, f"it took an intent of {intent.contract_name}")
    return f"it carries {', '.join(kinds)}"


LANE_CHECKS: Final[tuple[Check[LaneBench], ...]] = (
    Check("one-receipt", "every execution ends in exactly one receipt", _one_receipt),
    Check("evidence", "the evidence is a whole chain in order of time", _evidence),
    Check("delivery", "not_sent is a proof: `exchange.leave` comes before the first byte", _delivery),
    Check("failures", "failure classes fit what is known of the effect", _failures),
    Check("cancellation", "cancelled at any await, nothing is left behind", lane_ends.cancellation),
    Check("total-timeout", "the time for all of it is obeyed", lane_ends.total_timeout),
    Check("backpressure", "a reader that does not read stops the lane", lane_ends.backpressure),
    Check("secrets", "no secret in receipt, notes, facts, repr or logs", lane_words.secrets),
    Check("concurrency", "fifty at once keep their receipts apart", lane_words.concurrency),
    Check("foreign-kind", "an intent of a kind that it does not carry is refused", _foreign_kind),
    Check("close", "it can be closed twice, and then holds nothing", lane_ends.close),
)
"""The suite, in order."""
