"""What a handler can do: ask for effects, each a governed run of its own that is not done twice however often it is asked."""

import threading
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import anyio
import anyio.from_thread

from interlock import runs
from interlock.kernel import JSON, RequestError, StoreError


class Context:
    """A handler's view of its run. `attempt` counts from 1; `cancelled` says that somebody wants it to stop, or that its time
    is over."""

    def __init__(self, working: runs.Working, doors: runs.Doors, ownership: runs.Ownership) -> None:
        self._working = working
        self._doors = doors
        self._ownership = ownership
        self._stopped = threading.Event()
        self._over = False
        self._asking = 0
        self.scope: anyio.CancelScope | None = None
        """Where the handler runs."""

    @property
    def run_id(self) -> str:
        """The run of this event: the same in every attempt."""
        return self._working.attempt.run_id

    @property
    def attempt(self) -> int:
        """The how manyth attempt this is."""
        return self._working.attempt.number

    @property
    def tenant_id(self) -> str:
        """Whose event it is."""
        return self._working.attempt.tenant_id

    @property
    def cancelled(self) -> bool:
        """Whether to stop."""
        return self._stopped.is_set()

    def end(self) -> None:
        """Nothing more is asked for by this attempt."""
        self._stopped.set()

    def stop(self) -> None:
        """As `end`, and what waits in it waits no longer."""
        self.end()
        if self.scope is not None:
            self.scope.cancel()

    def is_asking(self) -> bool:
        """From now on it asks for nothing more. Whether something is still under way that it has asked for."""
        self._over = True
        return self._asking > 0

    async def invoke(
        self,
        capability: str,
        input: Mapping[str, JSON] | None = None,  # noqa: A002 - the domain's word
        *,
        step: str,
        connection: str | None = None,
        timeout: float = 120.0,  # noqa: ASYNC109 - it becomes the run's recorded deadline
        max_attempts: int = 3,
    ) -> runs.Outcome:
        """Ask for an effect, as `Interlock.invoke`, as a child of this run. `step` names it within the handler: the same step
        asked for again, in this attempt or a later one, is answered with what came of it; if it failed, and nothing was done,
        it is tried anew. What was held is executed once it is approved, when it is asked for again. Held, denied and shed come
        back as values.

        Raises as `Interlock.invoke`, OwnershipLapsed if this worker has lost its hold, and RunCancelled once the run is to stop.
        """
        run = self._working.journal.run
        if not step or len(step) > 100 or not step.isprintable():
            raise RequestError(f"a step is named by 1 to 100 printable characters, not {step[:60]!r}")
        request = runs.Request(
            capability=capability,
            input=input or {},
            connection=connection,
            environment=run.environment,
            trace_id=run.trace_id,
            idempotency_key=f"{self.run_id}:{step}",
            origin=run.origin,
            parent_run_id=run.run_id,
            timeout=timedelta(seconds=timeout),
            max_attempts=max_attempts,
        )
        self._asking += 1
        try:
            return await runs.take_step(self._doors, self._working.caller, request, before=self._check)
        except (StoreError, runs.OutcomeUnsaved):
            self._ownership.note_failure()
            raise
        finally:
            self._asking -= 1

    def _check(self) -> None:
        if self._ownership.may_send(self._working.attempt.owner_id) <= 0:
            raise runs.OwnershipLapsed(f"this process lost its hold on {self.run_id}", run_id=self.run_id)
        if self.cancelled or self._over:
            raise runs.RunCancelled(f"{self.run_id} is to stop; nothing more is asked for", run_id=self.run_id)


class BlockingContext:
    """As `Context`, for a handler that runs on a thread."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def run_id(self) -> str:
        """The run of this event: the same in every attempt."""
        return self._context.run_id

    @property
    def attempt(self) -> int:
        """The how manyth attempt this is."""
        return self._context.attempt

    @property
    def tenant_id(self) -> str:
        """Whose event it is."""
        return self._context.tenant_id

    @property
    def cancelled(self) -> bool:
        """Whether to stop. A thread cannot be stopped from outside: what takes long looks here from time to time."""
        return self._context.cancelled

    def invoke(
        self,
        capability: str,
        input: Mapping[str, JSON] | None = None,  # noqa: A002 - the domain's word
        *,
        step: str,
        connection: str | None = None,
        timeout: float = 120.0,
        max_attempts: int = 3,
    ) -> runs.Outcome:
        """As `Context.invoke`."""
        asked = partial(
            self._context.invoke,
            capability,
            input,
            step=step,
            connection=connection,
            timeout=timeout,
            max_attempts=max_attempts,
        )
        return anyio.from_thread.run(asked)
