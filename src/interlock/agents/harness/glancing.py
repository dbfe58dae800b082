"""Turns as lists tell them: from the rows of their runs and two lines of each journal, however long these are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from interlock import inference, runs
from interlock.agents.harness import guest_journal
from interlock.agents.harness.asking import NAME
from interlock.agents.harness.journal import PREFIX
from interlock.agents.harness.looking import Looks
from interlock.agents.harness.replaying import read
from interlock.kernel import JSON, Tx, to_rfc3339

_BEGAN: Final = f"{PREFIX}began"
_ENDED: Final = f"{PREFIX}ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A turn in a list; `fetch` tells all of it."""

    run_id: str
    agent_id: str
    session_id: str | None
    """None also of one that has not begun."""
    state: runs.State
    """That of its run."""
    reason: str | None
    """Why it is in that state."""
    error: JSON
    """What it failed of: `code`, `message` and the rest of an error as JSON; None if it did not."""
    rounds: int | None
    """How often the model was asked; None until it has ended."""
    operations: int | None
    """How many were done; None until it has ended."""
    usage: inference.Usage | None
    """What its models took; None until it has ended, and of another framework's agent, whose program has it."""
    created_at: datetime
    finished_at: datetime | None

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "run_id": self.run_id,
            "agent_id": self.agent_id,
            "session_id": self.session_id,
            "state": self.state.value,
            "reason": self.reason,
            "error": self.error,
            "rounds": self.rounds,
            "operations": self.operations,
            "usage": None if self.usage is None else self.usage.model_dump(mode="json"),
            "created_at": to_rfc3339(self.created_at),
            "finished_at": None if self.finished_at is None else to_rfc3339(self.finished_at),
        }


async def glances(looks: Looks, query: runs.RunFilter) -> Sequence[Glance]:
    """The turns that it chooses. Raises RequestError, StoreError."""
    found = await looks.reading.list_runs(query)
    ids, ledger = [each.run_id for each in found], looks.wiring.ledger

    def lines(tx: Tx) -> Sequence[runs.Event]:
        return ledger.list_told(tx, query.tenant_id, ids, (_BEGAN, _ENDED, guest_journal.ENDED))

    told = {(each.run_id, each.type): each for each in await looks.wiring.store.read(lines)}

    def line(run: runs.Listed, kind: str) -> runs.Event | None:
        return told.get((run.run_id, kind))

    return [_glance(each, line(each, _BEGAN), line(each, _ENDED) or line(each, guest_journal.ENDED)) for each in found]


def _glance(run: runs.Listed, began: runs.Event | None, ended: runs.Event | None) -> Glance:
    place = None if began is None else read(run.run_id, [began])[0].place
    end = cast("Mapping[str, Any]", {} if ended is None else runs.data_of(ended))
    usage = end.get("usage")
    return Glance(
        run_id=run.run_id,
        agent_id=run.capability.removeprefix(NAME),
        session_id=None if place is None else place.session_id,
        state=run.state,
        reason=run.reason,
        error=run.error,
        rounds=end.get("rounds", end.get("models")),  # of a guest
        operations=end.get("operations", end.get("tools")),
        usage=None if usage is None else inference.Usage.model_validate(usage),
        created_at=run.created_at,
        finished_at=run.finished_at,
    )
