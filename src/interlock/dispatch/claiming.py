"""What a job comes to when a worker gets it: work to begin, or nothing to do."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from interlock import runs
from interlock.dispatch import sequel
from interlock.dispatch.docket import Docket
from interlock.dispatch.model import Due, Standing
from interlock.dispatch.pausing import Pause, find_pause
from interlock.dispatch.queue import Job, messaging
from interlock.dispatch.records import Records
from interlock.kernel import Caller, Retry, Span, Tracing, Tx

READY: Final = frozenset({runs.State.QUEUED, runs.State.RETRY_SCHEDULED})
"""States of a run in which its next attempt may begin."""


class Claim(NamedTuple):
    """Work that may be begun. It is this worker's once the run's next attempt is committed."""

    due: Due
    run: runs.Run
    caller: Caller | None
    """Who asked for a task; a capability's run is read as a whole when it goes on."""


def processing(tracing: Tracing, claim: Claim) -> AbstractContextManager[Span]:
    """The span of an attempt at claimed work, in the trace of what submitted it."""
    due, run, _ = claim
    facts = {
        **messaging("process", due.lane, run.run_id),
        "interlock.tenant.id": run.tenant_id,
        "interlock.attempt.number": run.attempt_count + 1,
        "interlock.hand_over.number": due.number,
    }
    return tracing.span(f"process {due.lane}", role="consumer", parent=run.traceparent, facts=facts)


class Seen(NamedTuple):
    """What a job was about when it was taken: work that might be begun, and the pause that keeps it from being begun."""

    claim: Claim | None = None
    pause: Pause | None = None


class Claiming:
    """Judges jobs."""

    def __init__(self, wiring: runs.Wiring, records: Records, docket: Docket, tasks: runs.Tasks) -> None:
        self._wiring = wiring
        self._records = records
        self._docket = docket
        self._tasks = tasks

    async def claim(self, job: Job, seen: Seen | None = None) -> Claim | None:
        """The work of a job, if that is the hand-over that counts, and the work may be begun now. `seen`: if it was looked at
        already. Raises StoreError."""
        if seen is None:
            [seen] = await self._wiring.store.read(lambda tx: self.look(tx, [job]))
        claim, pause = seen
        if claim is not None and pause is not None:
            await self._put_aside(claim.due, pause)
            return self._came_of(job, None, "paused")
        if claim is not None and sequel.is_over(claim.due, self._wiring.clock.now()):
            await self._bury(claim)
            return self._came_of(job, None, "too_late")
        return self._came_of(job, claim, "nothing_to_do" if claim is None else "claimed")

    def _came_of(self, job: Job, claim: Claim | None, result: str) -> Claim | None:
        self._wiring.counts.add("claims", lane=job.lane, result=result)
        return claim

    def look(self, tx: Tx, jobs: Sequence[Job]) -> Sequence[Seen]:
        """What each of the jobs is about. What becomes of it meanwhile is noticed when it is begun."""
        found = self._records.find_handed(tx, {(job.tenant_id, job.work_id) for job in jobs})
        pausing = sorted({handed.due.tenant_id for handed in found.values() if handed.tenant_pauses})
        pauses = {tenant_id: self._records.list_pauses(tx, tenant_id) for tenant_id in pausing}

        def judge(job: Job) -> Seen:
            handed = found.get((job.tenant_id, job.work_id))
            if handed is None or handed.run.state not in READY:
                return Seen()
            due, run = handed.due, handed.run
            if due.number != job.number or due.standing is not Standing.DUE:
                return Seen()
            caller = runs.asked_by(run, handed.facts_json) if handed.facts_json is not None else None
            return Seen(Claim(due, run, caller), find_pause(pauses.get(job.tenant_id, ()), due))

        return [judge(job) for job in jobs]

    async def _put_aside(self, due: Due, pause: Pause) -> None:
        """Unless another hand was first."""
        await self._wiring.store.write(lambda tx: self._docket.park(tx, due, why=pause.why, if_still=True))

    async def _bury(self, claim: Claim) -> None:
        due, run, _ = claim
        late = runs.DeadlinePassed(
            f"{due.capability} was to be begun by {due.deadline_at}, and no worker came to it",
            retry=Retry.NEVER,
            next_step="`interlock runs replay RUN` does it all the same, without a deadline.",
            run_id=due.run_id,
        )
        try:
            await self._tasks.close(
                run, runs.State.DEAD, late, beside=lambda tx: self._docket.bury(tx, due, why=late.code)
            )
        except runs.StaleRun:
            return  # another hand was first
