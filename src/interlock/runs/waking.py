"""Agents' turns that wait for people: what is decided goes into the turn's chain, and the turn goes on.

A turn may wait for several decisions at once, of which none ends it: a yes is spent, and a no is told to the model, once the turn
goes on. One that was left to workers does so by itself, when nobody has to be asked any more.
"""

from collections.abc import Callable
from dataclasses import replace

from interlock import approvals
from interlock.kernel import Tx
from interlock.runs import entries
from interlock.runs.errors import StaleRun
from interlock.runs.journal import REBUILDS, Move, Records
from interlock.runs.model import Kind, Run, State
from interlock.runs.transitions import FINAL
from interlock.runs.wiring import Wiring

DECIDED = "approval_decided"
"""Why a held turn goes on."""


def is_turn(run: Run | None) -> bool:
    """Whether the run is a turn of an agent."""
    return run is not None and run.kind is Kind.AGENT_TURN


async def decided(wiring: Wiring, run: Run, decide: Callable[[Tx], approvals.Approval]) -> approvals.Approval:
    """Write a decision about what a turn wants, into its chain as well, whether it is held or at work. Raises what `decide`
    raises, and StaleRun if the turn is written by too many hands."""

    def both(tx: Tx) -> approvals.Approval:
        approval = decide(tx)
        note(tx, wiring, run.tenant_id, run.run_id, approval)
        return approval

    for _ in range(REBUILDS):
        try:
            return await wiring.store.write(both)
        except StaleRun:  # it went on in between: the decision is drawn anew, on what it has become
            continue
    raise StaleRun(f"{run.run_id} is being written by too many hands", run_id=run.run_id)


def note(tx: Tx, wiring: Wiring, tenant_id: str, run_id: str, moved: approvals.Approval | None = None) -> None:
    """Tell a turn's chain of a decision, and have the turn go on if it waits for no other. Nothing happens to what is no turn,
    and to one that has ended. Raises StaleRun if another hand has just moved it."""
    run = wiring.ledger.find_run(tx, tenant_id, run_id)
    if run is None or not is_turn(run) or run.state in FINAL:
        return
    told = [] if moved is None else [entries.approval_moved(moved)]
    move = Move(reason=run.reason, error=run.error, approval_id=moved and moved.approval_id)
    if run.state is State.HELD and wiring.handed.knows(tx, run) and not is_waited_for(tx, wiring, run):
        move = replace(move, state=State.QUEUED, reason=DECIDED, error=None)
        wiring.handed.released(tx, run)
    if told or move.state is not None:
        change = wiring.journal(run).draft(told, move=move, records=Records(), at=wiring.clock.now())
        wiring.ledger.apply_in(tx, change)


def note_parent(tx: Tx, wiring: Wiring, run: Run) -> None:
    """A run was decided on that a turn may have asked for, and wait for. Raises as `note`."""
    if run.parent_run_id is not None:
        note(tx, wiring, run.tenant_id, run.parent_run_id)


def is_waited_for(tx: Tx, wiring: Wiring, run: Run) -> bool:
    """Whether somebody is still asked about the run itself."""
    found = wiring.approvals.list_for_run(tx, tenant_id=run.tenant_id, run_id=run.run_id)
    return any(each.state is approvals.State.PENDING for each in found)
