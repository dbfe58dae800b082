"""Agents' turns that end: what they asked for, and nobody has done yet, is not done any more."""

from dataclasses import replace
from typing import Final

from interlock.kernel import Tx
from interlock.runs import entries, transitions
from interlock.runs.entries import Entry
from interlock.runs.journal import Move, Records
from interlock.runs.ledger import RunFilter
from interlock.runs.model import Kind, Listed, Run, State
from interlock.runs.wiring import Wiring

TURN_ENDED: Final = "turn_ended"
"""Why a run was cancelled that a turn had asked for."""

_ASLEEP: Final = (State.HELD, State.QUEUED, State.WAITING, State.RETRY_SCHEDULED)
_UNDONE: Final = (State.HELD, State.DENIED, State.SHED, State.CANCELLED)
_PAGE: Final = 100


def withdraw(tx: Tx, wiring: Wiring, run: Run) -> list[Entry]:
    """Withdraw what is still asked about a turn that ends, and what is below it; what its chain tells of that. Raises StaleRun
    if another hand has just moved something below it."""
    if run.kind is not Kind.AGENT_TURN:
        return []
    told = [] if run.approval_id is None else _unasked(tx, wiring, run)
    withdraw_below(tx, wiring, run)
    return told


def withdraw_below(tx: Tx, wiring: Wiring, run: Run) -> None:
    """Cancel below a turn that ends what is held, with all that is asked about it, and turns and questions to models that only
    it would have gone on with; what such turns had asked for, too. A turn that was left to workers goes on without it. Raises
    StaleRun if another hand has just moved one of them."""
    if run.kind is not Kind.AGENT_TURN:
        return
    unbegun = _unbegun(tx, wiring, run)
    wiring.budgets.lock_in(tx, tenant_id=run.tenant_id, holders=unbegun)
    below = RunFilter(tenant_id=run.tenant_id, parent_run_id=run.run_id, states=_ASLEEP, limit=_PAGE)
    while found := wiring.ledger.list_runs(tx, below):
        for each in filter(_is_the_turns, found):
            child = wiring.ledger.find_run(tx, run.tenant_id, each.run_id)
            if child is not None and not (child.kind is Kind.AGENT_TURN and wiring.handed.knows(tx, child)):
                _withdraw(tx, wiring, child)
        below = replace(below, cursor=found[-1].run_id)
    over = {key for key, run_id in unbegun.items() if _is_undone(wiring.ledger.find_run(tx, run.tenant_id, run_id))}
    wiring.budgets.give_back_in(tx, tenant_id=run.tenant_id, holders=over)


def _unbegun(tx: Tx, wiring: Wiring, run: Run) -> dict[str, str]:
    """What a turn has asked for and nobody has begun, by the keys under which it was asked for, which are those under which
    budgets of turns hold what it takes."""
    if not wiring.budgets.counts_turns and run.parent_run_id is None:
        return {}  # its own limits are over with it; those of a turn above it are not
    found: dict[str, str] = {}
    below = RunFilter(tenant_id=run.tenant_id, parent_run_id=run.run_id, states=_UNDONE, limit=_PAGE)
    while page := wiring.ledger.list_runs(tx, below):
        found |= {each.idempotency_key: each.run_id for each in page if each.idempotency_key and not each.attempt_count}
        below = replace(below, cursor=page[-1].run_id)
    return found


def _is_undone(run: Run | None) -> bool:
    return run is not None and run.attempt_count == 0 and run.state in transitions.FINAL


def _is_the_turns(below: Listed) -> bool:
    """Whether nobody but the turn goes on with it. A capability's run does so by itself: what it may have done is found out."""
    match below.kind:
        case Kind.AGENT_TURN:
            return True
        case Kind.INFERENCE:
            return below.state in (State.HELD, State.RETRY_SCHEDULED)
        case _:
            return below.state is State.HELD


def _withdraw(tx: Tx, wiring: Wiring, run: Run) -> None:
    told = _unasked(tx, wiring, run)
    withdraw_below(tx, wiring, run)
    wiring.handed.moved(tx, run, State.CANCELLED, TURN_ENDED)
    move = Move(state=State.CANCELLED, reason=TURN_ENDED, error=run.error if run.state is State.WAITING else None)
    change = wiring.journal(run).draft(told, move=move, records=Records(), at=wiring.clock.now())
    wiring.ledger.apply_in(tx, change)


def _unasked(tx: Tx, wiring: Wiring, run: Run) -> list[Entry]:
    """Nobody is asked about the run any more."""
    desk = wiring.approvals
    asked = {each.approval_id for each in desk.list_for_run(tx, tenant_id=run.tenant_id, run_id=run.run_id)}
    asked |= set[str]() if run.approval_id is None else {run.approval_id}
    gone = [desk.cancel(tx, tenant_id=run.tenant_id, approval_id=each, reason=TURN_ENDED) for each in sorted(asked)]
    return [entries.approval_moved(each) for each in gone if each is not None]
