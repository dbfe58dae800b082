"""Work that is done later: submitted, waited for."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from interlock import runs
from interlock.dispatch.docket import Docket
from interlock.dispatch.model import CAPABILITY_LANE, Priority, RetryPolicy, Work
from interlock.dispatch.queue import messaging
from interlock.kernel import Caller, Tx

POLLS: Final = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Seconds between two looks at a run that is waited for; the last one again and again."""

HELD: Final = runs.State.HELD.value
"""Why work waits that a person has to approve."""

WAITED_FOR: Final = frozenset(
    {
        runs.State.ACCEPTED,
        runs.State.HELD,
        runs.State.QUEUED,
        runs.State.RUNNING,
        runs.State.WAITING,
        runs.State.RETRY_SCHEDULED,
    }
)


class Dispatch:
    """Admits work for workers, and tells what came of it."""

    def __init__(
        self,
        wiring: runs.Wiring,
        reading: runs.Reading,
        invoker: runs.Invoker,
        tasks: runs.Tasks,
        docket: Docket,
        *,
        environment: str,
    ) -> None:
        self._wiring = wiring
        self._reading = reading
        self._invoker = invoker
        self._tasks = tasks
        self._docket = docket
        self._environment = environment

    def admit_in(self, tx: Tx, caller: Caller, work: Work) -> runs.Admitted:
        """A run of the work with its job, in the caller's transaction; or the run that holds its idempotency key. Policy may
        deny or shed it: the run then says so, and nobody is handed it. Raises RequestError, InvalidJson, IdempotencyConflict.
        """
        return self._admit_in(tx, caller, work)[0]

    def _admit_in(self, tx: Tx, caller: Caller, work: Work) -> tuple[runs.Admitted, runs.Run]:
        task = runs.Task(
            name=f"handler.{work.handler}",
            kind=runs.Kind.HANDLER,
            input=work.payload,
            origin=work.origin,
            connection_id=work.connection_id,
            environment=work.environment or self._environment,
            idempotency_key=work.idempotency_key,
            trace_id=work.trace_id,
            deadline_at=work.deadline_at,
        )
        with self._wiring.tracing.span(f"send {work.lane}", role="producer") as span:
            admitted, run = self._tasks.admit_in(tx, caller, task)
            span.note({**messaging("send", work.lane, run.run_id), "interlock.run.state": run.state.value})
        if admitted.fresh and run.state is runs.State.QUEUED:
            self._docket.enter(
                tx,
                run,
                lane=work.lane,
                retry=work.retry,
                priority=work.priority,
                due_at=work.due_at,
                deadline_at=work.deadline_at,
            )
        return admitted, run

    async def submit(self, caller: Caller, work: Work) -> runs.Outcome:
        """Have the work done later. Returns once it is committed; `wait` then tells what came of it. Denied and shed come back
        as values. Raises as `admit_in`, as `Reading.outcome` for a key that is known, and StoreError."""
        admitted, run = await self._wiring.store.write(lambda tx: self._admit_in(tx, caller, work))
        return replace(await self._reading.outcome(run), replayed=not admitted.fresh)

    async def submit_call(
        self,
        caller: Caller,
        request: runs.Request,
        *,
        priority: Priority = Priority.NORMAL,
        due_at: datetime | None = None,
        deadline_at: datetime | None = None,
        retry: RetryPolicy | None = None,
    ) -> runs.Outcome:
        """Have a capability invoked later. It is checked and judged now, and once more by the worker; held, it is queued once
        it is approved. Denied and shed come back as values. Raises as `Invoker.invoke` does before anything is written."""

        def enter(tx: Tx, run: runs.Run) -> None:
            self._docket.enter(
                tx,
                run,
                lane=CAPABILITY_LANE,
                retry=retry or RetryPolicy(),
                priority=priority,
                due_at=due_at,
                deadline_at=deadline_at,
                parked=HELD if run.state is runs.State.HELD else None,
            )

        return await self._invoker.submit(caller, request, entered=enter)

    async def wait(self, caller: Caller, run_id: str, *, timeout: float) -> runs.Outcome:  # noqa: ASYNC109
        """What came of a run, once it has ended, or after that many seconds how it stands. Raises RunNotFound, and what the run
        failed with."""
        clock = self._wiring.clock
        give_up = clock.now() + timedelta(seconds=timeout)
        looks = 0
        while True:
            run = await self._reading.fetch(caller, run_id)
            left = (give_up - clock.now()).total_seconds()
            if run.state not in WAITED_FOR or left <= 0:
                return await self._reading.outcome(run)
            await clock.sleep(min(POLLS[min(looks, len(POLLS) - 1)], left))
            looks += 1
