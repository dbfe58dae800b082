"""Work that is done later: submitted, waited for."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

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
"""States of a run whose end is still to come."""


class Drawn(NamedTuple):
    """Work, and its run as it is to be admitted."""

    work: Work
    admission: runs.Admission


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
        return self.admit_all_in(tx, [self.draw(caller, work)])[0][0]

    def draw(self, caller: Caller, work: Work) -> Drawn:
        """The work as it is to be admitted. Nothing is written. Raises RequestError, InvalidJson."""
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
            admission = self._tasks.draw(caller, task)
            run = admission.run
            span.note({**messaging("send", work.lane, run.run_id), "interlock.run.state": run.state.value})
        return Drawn(work, admission)

    def admit_all_in(self, tx: Tx, drawn: Sequence[Drawn]) -> Sequence[tuple[runs.Admitted, runs.Run]]:
        """As `admit_in`, of many that were drawn. Raises IdempotencyConflict."""
        answers = self._tasks.admit_all_in(tx, [each.admission for each in drawn])
        fresh = [
            self._docket.due_of(
                run,
                lane=work.lane,
                retry=work.retry,
                priority=work.priority,
                due_at=work.due_at,
                deadline_at=work.deadline_at,
            )
            for (work, _), (admitted, run) in zip(drawn, answers, strict=True)
            if admitted.fresh and run.state is runs.State.QUEUED
        ]
        self._docket.enter(tx, fresh)
        return answers

    async def submit(self, caller: Caller, work: Work) -> runs.Outcome:
        """Have the work done later. Returns once it is committed; `wait` then tells what came of it. Denied and shed come back
        as values. Raises as `admit_in`, as `Reading.outcome` for a key that is known, and StoreError."""
        drawn = self.draw(caller, work)
        admitted, run = await self._wiring.store.write_together(self.admit_all_in, drawn)
        decisions = drawn.admission.decisions if admitted.fresh else None
        return replace(await self._reading.outcome(run, decisions=decisions), replayed=not admitted.fresh)

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
            due = self._docket.due_of(
                run,
                lane=CAPABILITY_LANE,
                retry=retry or RetryPolicy(),
                priority=priority,
                due_at=due_at,
                deadline_at=deadline_at,
                parked=HELD if run.state is runs.State.HELD else None,
            )
            self._docket.enter(tx, [due])

        return await self._invoker.submit(caller, request, entered=enter)

    async def wait(self, caller: Caller, run_id: str, *, timeout: float) -> runs.Outcome:  # noqa: ASYNC109
        """What came of a run, once it has ended, or after that many seconds how it stands. Raises RunNotFound, and what the run
        failed with."""
        clock = self._wiring.clock
        give_up = clock.monotonic() + timeout
        looks = 0
        while True:
            run = await self._reading.fetch(caller, run_id)
            left = give_up - clock.monotonic()
            if run.state not in WAITED_FOR or left <= 0:
                return await self._reading.outcome(run)
            await clock.sleep(min(POLLS[min(looks, len(POLLS) - 1)], left))
            looks += 1
