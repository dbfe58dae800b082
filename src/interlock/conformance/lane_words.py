"""Checks on what a lane says: no secrets, and never about another execution."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio

from interlock.conformance.checking import Skipped, expect
from interlock.conformance.subject import Case
from interlock.conformance.trial import CANARY, LaneBench, Outcome, Trial
from interlock.kernel import Redactor

_AT_ONCE: Final = 50


async def secrets(bench: LaneBench) -> str:
    """No form of the credential stands anywhere but on the wire."""
    before = bench.canary.redeemed
    told: dict[str, str] = {}
    with _logged() as records:
        async with bench.trial() as trial:
            for case in (Case.GOOD, Case.UNSENT, Case.FAILING):
                outcome = await trial.run(case)
                told |= {f"{case}: {place}": text for place, text in _texts(outcome).items()}
            told["the lane's repr"] = f"{trial.lane!r} {trial.lane}"
    told["the log"] = "\n".join(_line(record) for record in records)
    if bench.canary.redeemed == before:
        raise Skipped("no intent of the subject has a credential (conformance.CREDENTIAL)")
    redactor = Redactor((CANARY,))
    leaks = [place for place, text in told.items() if redactor.finds(text.encode(errors="surrogateescape"))]
    expect(not leaks, f"the credential stands in {', '.join(leaks)}")
    return f"{bench.canary.redeemed - before} times given out, and nowhere to be found"


async def concurrency(bench: LaneBench) -> str:
    """Fifty at once, each with its own mark."""
    outcomes: list[Outcome] = []

    async def one(trial: Trial) -> None:
        outcomes.append(await trial.run(Case.GOOD))

    async with bench.trial() as trial, anyio.create_task_group() as tasks:
        for _ in range(_AT_ONCE):
            tasks.start_soon(one, trial)
    marks = {outcome.mark for outcome in outcomes}
    for outcome in outcomes:
        failure, body = outcome.receipt.failure, outcome.receipt.body
        expect(failure is None, f"one of {_AT_ONCE} failed: {failure}")
        found = [mark for mark in marks if mark.encode() in body]
        expect(found == [outcome.mark], f"a receipt has the answers of {len(found)} executions, or of another one")
    heads = {outcome.receipt.evidence_head for outcome in outcomes}
    expect(len(heads) == _AT_ONCE, "two executions have the same evidence")
    return f"{len(outcomes)} receipts, each with its own answer"


def _texts(outcome: Outcome) -> dict[str, str]:
    """All that a receipt and an exchange say, but the peer's own words."""
    receipt, exchange = outcome.receipt, outcome.exchange
    return {
        "the receipt": receipt.canonical,
        "the receipt's repr": repr(receipt),
        "the notes": repr(exchange.notes),
        "the facts": repr(exchange.facts),
    }


def _line(record: logging.LogRecord) -> str:
    return logging.Formatter("%(name)s %(message)s").format(record)


class _Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _logged() -> Generator[list[logging.LogRecord]]:
    """Every record meanwhile, however unimportant."""
    handler = _Keeping()
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    others = {each: each.level for each in root.handlers if each is not handler}
    for each in others:
        each.setLevel(max(each.level, level))
    try:
        yield handler.records
    finally:
        for each, was in others.items():
            each.setLevel(was)
        root.setLevel(level)
        root.removeHandler(handler)
