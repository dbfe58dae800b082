"""The room of conversations with agents, over a store."""

from typing import TYPE_CHECKING

from interlock import runs
from interlock.kernel import Tx

if TYPE_CHECKING:  # and late in the functions: whoever asks no agent needs none of it
    from interlock import agents


def furnish(wiring: runs.Wiring) -> "agents.sessions.Sessions":
    """The room over a store."""
    from interlock import agents
    from interlock.adapters import sql

    def fate(tx: Tx, tenant_id: str, run_id: str) -> agents.sessions.Fate:
        found = wiring.ledger.find_run(tx, tenant_id, run_id)
        if found is None:
            return agents.sessions.Fate.GONE
        return agents.sessions.Fate.OPEN if found.finished_at is None else agents.sessions.Fate.ENDED

    records = sql.AgentSessionRecords()
    return agents.sessions.Sessions(wiring.store, records, clock=wiring.clock, ids=wiring.ids, fate=fate)


def retake(wiring: runs.Wiring, tx: Tx, run: runs.Run) -> None:
    """A dead letter is to be replayed: if it is a turn, its session must not have gone on without it. Raises SessionNotFound,
    SessionWentOn, SessionBusy."""
    if run.kind is runs.Kind.AGENT_TURN and isinstance(session_id := runs.input_of(run).get("session_id"), str):
        furnish(wiring).retake(tx, run.tenant_id, session_id, turn_id=run.run_id)
