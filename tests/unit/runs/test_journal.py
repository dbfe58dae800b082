"""The pen of a run: draws again what somebody else's note has overtaken, and stops when the run is somebody else's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from fix_ledger import Builder
from interlock import runs
from interlock.runs import chain
from interlock.runs.journal import CANCEL_REQUESTED, Journal, Move, Records
from interlock.runs.transitions import IllegalTransition
from interlock.testing import SequentialIds

pytestmark = pytest.mark.anyio


class Signer:
    key_id = "key_1"

    def sign(self, data: bytes) -> str:
        return "signed"

    def public_keys(self) -> dict[str, str]:
        return {}


class Ledger:
    """One run, compared and set."""

    def __init__(self, run: runs.Run) -> None:
        self.run = run
        self.events: list[runs.Event] = []
        self.lose_answer = False
        self.before_apply: list[Callable[[], None]] = []

    async def read(self, fn: Callable[[Any], Any]) -> Any:
        return fn(None)

    async def apply(self, change: runs.Change) -> None:
        if self.before_apply:
            self.before_apply.pop(0)()
        before = change.before
        if (self.run.head_hash, self.run.fence) != (before.head_hash, before.fence):
            raise runs.StaleRun("moved on")
        self.run = change.after
        self.events.extend(change.events)
        if self.lose_answer:
            self.lose_answer = False
            raise runs.StaleRun("applied a second time")

    def find_run(self, tx: object, tenant_id: str, run_id: str) -> runs.Run:
        return self.run

    def list_events(self, tx: object, tenant_id: str, run_id: str, after_seq: int = 0) -> list[runs.Event]:
        return [event for event in self.events if event.seq > after_seq]

    def note(self, kind: str, **fields: Any) -> None:
        extension = chain.append(self.run, [(kind, {})], ids=SequentialIds(), at=self.run.created_at)
        self.events.extend(extension.events)
        self.run = replace(self.run, head_seq=extension.head_seq, head_hash=extension.head_hash, **fields)


@pytest.fixture
def ledger(builder: Builder) -> Ledger:
    run = builder.run(state=runs.State.RUNNING)
    return Ledger(replace(run, head_hash=chain.genesis(run.run_id)))


@pytest.fixture
def journal(ledger: Any) -> Journal:
    return Journal(ledger.run, store=ledger, ledger=ledger, signer=Signer(), ids=SequentialIds())


async def test_a_note_in_between_is_kept_and_the_change_drawn_again(journal: Journal, ledger: Ledger):
    ledger.before_apply = [lambda: ledger.note(CANCEL_REQUESTED)]
    await journal.write([("x.noted", {})], at=ledger.run.created_at)
    assert [event.type for event in ledger.events] == [CANCEL_REQUESTED, "x.noted"]
    assert [event.seq for event in ledger.events] == [1, 2]
    assert journal.cancel_requested
    assert journal.run == ledger.run


async def test_another_fence_is_somebody_elses_run(journal: Journal, ledger: Ledger):
    ledger.before_apply = [lambda: ledger.note("x.taken", fence=2)]
    with pytest.raises(runs.StaleRun, match="went on without this process"):
        await journal.write([("x.noted", {})], at=ledger.run.created_at)
    assert [event.type for event in ledger.events] == ["x.taken"]


async def test_too_many_hands_are_given_up_on(journal: Journal, ledger: Ledger):
    ledger.before_apply = [lambda: ledger.note("x.other")] * 20
    with pytest.raises(runs.StaleRun, match="too many hands"):
        await journal.write([("x.noted", {})], at=ledger.run.created_at)


async def test_a_change_that_stands_after_all_is_not_drawn_twice(journal: Journal, ledger: Ledger):
    ledger.lose_answer = True
    await journal.write([("x.noted", {})], at=ledger.run.created_at)
    assert [event.type for event in ledger.events] == ["x.noted"]


async def test_a_caller_that_goes_in_the_middle_does_not_part_the_pen_from_the_ledger(
    journal: Journal, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    apply, scope = ledger.apply, anyio.CancelScope()

    async def take_a_while(change: runs.Change) -> None:
        await apply(change)
        scope.cancel()
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(ledger, "apply", take_a_while)
    with scope:
        await journal.write([("x.noted", {})], at=ledger.run.created_at)
    assert journal.run == ledger.run


async def test_a_note_keeps_reason_and_error(journal: Journal, ledger: Ledger):
    journal.run = ledger.run = replace(ledger.run, reason="why", error={"code": "x"})
    await journal.write([("x.noted", {})], at=ledger.run.created_at)
    assert (ledger.run.reason, ledger.run.error) == ("why", {"code": "x"})


async def test_the_end_is_signed_and_dated(journal: Journal, ledger: Ledger):
    at = ledger.run.created_at
    await journal.write([], at=at, move=Move(state=runs.State.COMPLETED))
    assert (ledger.run.signature, ledger.run.signing_key_id, ledger.run.finished_at) == ("signed", "key_1", at)
    assert ledger.events[-1].type == "run.completed"


def test_an_illegal_move_is_not_even_drawn(journal: Journal):
    with pytest.raises(IllegalTransition):
        journal.draft([], move=Move(state=runs.State.DENIED), records=Records(), at=journal.run.created_at)
