"""What becomes of a run whose approval is over, in the transaction that ends the approval."""

from interlock import approvals
from interlock.kernel import Tx
from interlock.runs import entries, waking
from interlock.runs.journal import Move, Records
from interlock.runs.model import State
from interlock.runs.wiring import Wiring


def release(tx: Tx, wiring: Wiring, approval: approvals.Approval, *, reason: str) -> None:
    """Cancel the run that is held for the approval, if there is one; an agent's turn goes on without it. Raises StaleRun if
    another hand has just moved it."""
    if approval.run_id is None:
        return
    run = wiring.ledger.find_run(tx, approval.tenant_id, approval.run_id)
    if waking.is_turn(run):
        waking.note(tx, wiring, approval.tenant_id, approval.run_id, approval)
        return
    if run is None or run.state is not State.HELD:
        return
    journal = wiring.journal(run)
    change = journal.draft(
        [entries.approval_moved(approval)],
        move=Move(state=State.CANCELLED, reason=reason),
        records=Records(),
        at=wiring.clock.now(),
    )
    wiring.handed.moved(tx, run, State.CANCELLED, reason)
    wiring.ledger.apply_in(tx, change)
    waking.note_parent(tx, wiring, run)
