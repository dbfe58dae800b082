"""Runs that were admitted for later: made ready once a worker has them, and carried out for one attempt."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from interlock import budgets, policy
from interlock.runs import drawing, entries, rebuilding
from interlock.runs.attempt import Ending
from interlock.runs.beginning import begin_again
from interlock.runs.call import Call
from interlock.runs.doubt import last_left, writes_in_doubt
from interlock.runs.errors import AttemptLost, RefusedByPolicy
from interlock.runs.execution import Doubt, Execution
from interlock.runs.handed import Following
from interlock.runs.journal import CANCEL_REQUESTED, SETTLED, Records
from interlock.runs.model import Decision, Event, Run, Send
from interlock.runs.preparing import judge, prepare
from interlock.runs.reading import History, Reading
from interlock.runs.reserving import reserved
from interlock.runs.sandboxing import confined
from interlock.runs.wiring import Wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A run that may be begun, as policy sees it now."""

    call: Call
    history: History
    decided: Decision
    doubtful: tuple[Send, ...]
    """Writes of which nobody knows what became of them."""
    allowed: bool
    """Whether the effect may come about; else it is only read about."""


class Resuming:
    """Carries such runs out."""

    def __init__(self, wiring: Wiring, reading: Reading, execution: Execution) -> None:
        self._wiring = wiring
        self._reading = reading
        self._execution = execution

    async def ready(self, run: Run) -> Ready:
        """The call as it would be made now. Raises ManifestChanged, RefusedByPolicy, and as `invoke` what there is to say against
        it; policy.RuleAstray and StoreError are for an operator to mend."""
        wiring = self._wiring
        history = await self._reading.history(run.tenant_id, run.run_id)
        before = history.decisions[-1]
        requester, request = rebuilding.asked(run, before)
        capability = await wiring.catalog.fetch_for(run.tenant_id, run.capability)
        rebuilding.same_contract(run, before, capability)
        call = await prepare(wiring, requester, replace(request, max_attempts=1), capability)
        verdict, facts = await judge(wiring, call)
        decided = drawing.decision(
            replace(call, request=request),
            run.run_id,
            before.number + 1,
            verdict,
            facts,
            ids=wiring.ids,
            at=wiring.clock.now(),
        )
        doubtful = await self._doubtful(history, call)
        allowed = verdict.effect is policy.Effect.ALLOW or (
            verdict.effect is policy.Effect.ASK and run.approval_id is not None
        )
        if not allowed and not doubtful:
            raise RefusedByPolicy.of(verdict, run_id=run.run_id)
        return Ready(
            call=confined(call, verdict, wiring), history=history, decided=decided, doubtful=doubtful, allowed=allowed
        )

    async def is_doubtful(self, run: Run) -> bool:
        """Whether nobody knows what became of a write of the run, as far as its sends tell."""
        return bool(writes_in_doubt((await self._reading.history(run.tenant_id, run.run_id)).sends))

    @asynccontextmanager
    async def reserved(self, ready: Ready) -> AsyncGenerator[budgets.Reservation | budgets.Exhausted]:
        """The call's budgets while the block lasts, or what is used up."""
        call, holder = ready.call, ready.history.run.run_id
        async with reserved(self._wiring, call.budget_call, holder=holder, cost=call.request.cost) as taken:
            yield taken

    async def attempt(self, ready: Ready, following: Following) -> Ending:
        """Make one attempt, which first settles by reading what an earlier one left open; `following` decides where the run goes
        then. Raises StaleRun and OwnershipLapsed if the run is another's, and StoreError."""
        wiring, call, run = self._wiring, ready.call, ready.history.run
        doubt = await self._doubt(ready)
        at, journal = wiring.clock.now(), wiring.journal(run)
        decided = replace(ready.decided, at=at)
        begun, facts = await begin_again(
            wiring,
            call,
            journal,
            ready.history.sends,
            told=[entries.policy_decided(decided)],
            records=Records(decisions=(decided,)),
            at=at,
            send_first=doubt is None,
        )
        return await self._execution.run(call, journal, begun, facts, doubt=doubt, following=following)

    async def _doubt(self, ready: Ready) -> Doubt | None:
        if not ready.doubtful:
            return None
        history, run = ready.history, ready.history.run
        stop = any(note.type == CANCEL_REQUESTED for note in await self._notes(run))
        lost = AttemptLost("the outcome of an earlier attempt is unknown", run_id=run.run_id)
        return Doubt(
            cause=lost,
            written_at=last_left(history, ready.doubtful, self._wiring.clock.now()),
            may_send=ready.allowed and not stop,
            forbidden=not ready.allowed and not stop,
        )

    async def _doubtful(self, history: History, call: Call) -> tuple[Send, ...]:
        """The writes in doubt, without those of which a person has said what became of them."""
        doubtful = tuple(writes_in_doubt(history.sends, call.operation))
        if not doubtful:
            return ()
        said: list[datetime] = [note.at for note in await self._notes(history.run) if note.type == SETTLED]
        return tuple(send for send in doubtful if not said or send.started_at > said[-1])

    async def _notes(self, run: Run) -> Sequence[Event]:
        """All that the run's chain tells."""
        notes: list[Event] = []
        while page := await self._reading.events_after(run, notes[-1].seq if notes else 0):
            notes += page
        return notes
