"""Carries out what handlers are to do."""

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias, cast

import anyio
import anyio.to_thread

from interlock import runs
from interlock.dispatch import sequel
from interlock.dispatch.claiming import Claiming, Seen, processing
from interlock.dispatch.context import BlockingContext, Context
from interlock.dispatch.docket import Docket
from interlock.dispatch.errors import HandlerOutputInvalid, HandlerRaised, HandlerTimedOut, WorkerStopped
from interlock.dispatch.handlers import Event, Handler, Handlers
from interlock.dispatch.leash import LeftBehind, held
from interlock.dispatch.model import Due
from interlock.dispatch.queue import Job
from interlock.dispatch.saving import until_saved
from interlock.dispatch.stopping import Stopping
from interlock.kernel import (
    JSON,
    InterlockError,
    StoreError,
    Tx,
    canonical,
    check_json,
    is_interruption,
)

_log = logging.getLogger(__name__)

THREADS: Final = 64
"""How many handlers run on threads side by side. One that ignores its end keeps its thread, and nobody's place."""

FRAMES: Final = 10
"""How much of where an exception came from is kept."""

LAST_SECONDS: Final = 5.0
"""For so long a worker that is to end tries to record what came of its work while the store fails."""


Unpack: TypeAlias = Callable[[str, Mapping[str, JSON]], Awaitable[Mapping[str, JSON]]]
"""From a tenant's payload to all that the handler is to get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What came of a call: its output, or what went wrong."""

    output: bytes | None = None
    error: InterlockError | None = None
    cancelled: bool = False


class HandlerExecutor:
    """The `Executor` of all handlers of this process."""

    def __init__(
        self,
        claiming: Claiming,
        wiring: runs.Wiring,
        tasks: runs.Tasks,
        docket: Docket,
        handlers: Handlers,
        doors: runs.Doors,
        *,
        unpack: Unpack | None = None,
    ) -> None:
        """`unpack`: makes a payload whole that says where its data is."""
        self._unpack = unpack
        self._claiming = claiming
        self._wiring = wiring
        self._tasks = tasks
        self._docket = docket
        self._handlers = handlers
        self._doors = doors
        self._threads = anyio.CapacityLimiter(THREADS)
        self.stopping = Stopping(wiring)
        """What hears of handlers that somebody wants stopped."""

    @property
    def lanes(self) -> frozenset[str]:
        """A lane for each handler."""
        return self._handlers.lanes

    async def execute(self, job: Job, seen: Seen | None = None) -> None:
        """One attempt, if the job is the hand-over that counts. Raises StoreError."""
        claimed = await self._claiming.claim(job, seen)
        if claimed is None:
            return
        due, run, caller = claimed
        assert caller is not None
        handler = self._handlers.find(run.capability.partition(".")[2])
        assert handler is not None
        with self._wiring.ownership.working(run.run_id), processing(self._wiring.tracing, claimed) as span:
            try:
                working = await self._tasks.begin(run, caller)
            except runs.StaleRun:
                return  # another worker, or a person, was first
            await self._carry_out(handler, due, working)
            span.note({"interlock.run.state": working.journal.run.state.value})
            if (error := working.journal.run.error) is not None:
                span.fail(str(cast("Mapping[str, JSON]", error)["code"]))

    async def _carry_out(self, handler: Handler, due: Due, working: runs.Working) -> None:
        context = Context(working, self._doors, self._wiring.ownership)
        try:
            with self.stopping.heard(due.run_id, context.stop):
                end = await self._call(handler, _event(handler, due, working), context)
        except anyio.get_cancelled_exc_class():
            await self._end_soon(due, working, _End(error=WorkerStopped("the worker was stopped")))
            raise
        finally:
            context.end()
        try:
            await self._end(due, working, end)
        except anyio.get_cancelled_exc_class():
            await self._end_soon(due, working, end)
            raise

    async def _call(self, handler: Handler, event: Event, context: Context) -> _End:
        try:
            with anyio.move_on_after(handler.timeout) as context.scope:
                if self._unpack is not None:
                    event = replace(event, payload=await self._unpack(event.tenant_id, event.payload))
                output = await self._run(handler, event, context)
                return _End(output=_kept(handler, output))
            if context.cancelled:
                return _cancelled(context)
            return _End(error=HandlerTimedOut(f"the handler {handler.name} took longer than {handler.timeout:.0f} s"))
        except LeftBehind:
            return self._left(handler, context)
        except InterlockError as error:
            if isinstance(error, StoreError):
                self._wiring.ownership.note_failure()
            return _cancelled(context) if context.cancelled else _End(error=error)
        except BaseException as error:
            if is_interruption(error):
                raise
            return _End(error=_raised(handler, error))

    async def _run(self, handler: Handler, event: Event, context: Context) -> JSON:
        if handler.is_async:
            return await held(handler.function(event, context), grace=handler.grace, is_busy=context.is_asking)
        call = partial(handler.function, event, BlockingContext(context))
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)

    def _left(self, handler: Handler, context: Context) -> _End:
        """It was told to end, and did not in its grace."""
        _log.warning(
            "the handler %s (%s) does not end when it is told to, and is left behind: let it pass cancellation on",
            handler.name,
            handler.where,
        )
        if context.cancelled:
            return _cancelled(context)
        if context.scope is not None and context.scope.cancel_called:
            late = f"the handler {handler.name} took longer than {handler.timeout:.0f} s, and then did not end"
            return _End(error=HandlerTimedOut(late))
        return _End(error=WorkerStopped("the worker was stopped"))

    async def _end_soon(self, due: Due, working: runs.Working, end: _End) -> None:
        """Record it, though the worker is to end: a store that goes on failing keeps it no longer."""
        with anyio.move_on_after(LAST_SECONDS, shield=True) as last:
            await self._end(due, working, end)
        if last.cancelled_caught:
            _log.warning("%s is left to recovery: the worker ends, and the store still fails", due.run_id)

    async def _end(self, due: Due, working: runs.Working, end: _End) -> None:
        """Record it: what the handler did must not count as lost because the database was away, or its disk full."""
        try:
            await until_saved(self._wiring, lambda: self._record(due, working, end))
        except runs.StaleRun as stale:
            # It was recorded by the try before, whose answer was lost, or is no longer this worker's.
            _log.info("%s", stale)
        except Exception as error:  # noqa: BLE001 - the store refuses it for good, whatever it is
            _log.warning("%s is left to recovery: %s: %s", working.attempt.run_id, type(error).__name__, error)

    async def _record(self, due: Due, working: runs.Working, end: _End) -> None:
        docket, error = self._docket, end.error
        if error is None:
            done = runs.TaskEnd(
                state=runs.State.COMPLETED, attempt_state=runs.AttemptState.COMPLETED, output=end.output
            )
            await self._tasks.end(working, done, beside=runs.Also(docket.strike_all, (due.tenant_id, due.run_id)))
            return
        error.run_id = error.run_id or due.run_id
        following = sequel.after(
            due,
            error,
            now=self._wiring.clock.now(),
            cancelled=end.cancelled,
            store_failed=self._wiring.ownership.failed_during(working.attempt),
            attempts=working.journal.run.attempt_count,
        )

        def beside(tx: Tx) -> None:
            docket.follow(tx, following)

        await self._tasks.end(
            working,
            runs.TaskEnd(
                state=following.state,
                attempt_state=runs.AttemptState.CANCELLED if end.cancelled else runs.AttemptState.FAILED,
                reason=following.reason,
                error=error.to_json(),
                told=[sequel.told(following)],
            ),
            beside=beside,
        )


def _cancelled(context: Context) -> _End:
    return _End(
        error=runs.RunCancelled(f"{context.run_id} was cancelled while it was at work", run_id=context.run_id),
        cancelled=True,
    )


def _event(handler: Handler, due: Due, working: runs.Working) -> Event:
    run = working.journal.run
    return Event(
        handler=handler.name,
        payload=runs.input_of(run),
        origin=run.origin,
        tenant_id=run.tenant_id,
        connection_id=run.connection_id,
        trace_id=run.trace_id,
        submitted_at=due.submitted_at,
    )


def _kept(handler: Handler, output: JSON) -> bytes | None:
    """What is kept of what it returned. Raises HandlerOutputInvalid."""
    if output is None:
        return None
    try:
        check_json(output, limits=runs.TASK_LIMITS, what="output")
        return canonical(output)
    except (InterlockError, ValueError, TypeError) as error:
        raise HandlerOutputInvalid(f"the handler {handler.name} returned what cannot be kept: {error}") from error


def _raised(handler: Handler, error: BaseException) -> HandlerRaised:
    """What a handler's own exception becomes: its text, and the places it came by, without any values."""
    kind = type(error).__name__
    return HandlerRaised(
        f"the handler {handler.name} raised {kind}: {str(error)[:500]}",
        details={"exception": kind, "at": list(_places(traceback.extract_tb(error.__traceback__)))},
    )


def _places(frames: Iterable[traceback.FrameSummary]) -> Iterable[str]:
    ours = [frame for frame in frames if "interlock/dispatch/" not in frame.filename]
    return (f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in ours[-FRAMES:])
