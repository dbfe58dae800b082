"""One question under way: attempts at one model, then at those that stand in for it, each on record by itself."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

import anyio

from interlock import connections, plane, policy, runs
from interlock.inference import records
from interlock.inference.asked import Asked
from interlock.inference.endpoints import Endpoint, Models, micros
from interlock.inference.errors import ModelRefused, ModelUnpriced, ModelUnreadable
from interlock.inference.messages import Answer
from interlock.inference.paying import TOKENS, USD, Paying, is_paid, most_of, units_of
from interlock.inference.port import Answered, Delta, Wire
from interlock.inference.wire import NoWire, RunWire, held
from interlock.kernel import JSON, InterlockError, Redactor, RequestError, Retry, StoreError, Tx, is_interruption

WATCH_S: Final = 1.0
"""How soon a question that is being asked hears that somebody cancels it."""

ENDS: Final = (runs.StaleRun, runs.OwnershipLapsed, runs.RunCancelled, StoreError)
"""What no other attempt would mend."""

OUT_OF_TIME: Final = frozenset({plane.FailureClass.TOTAL_TIMEOUT.value, plane.FailureClass.DEADLINE_PASSED.value})
"""How the plane says that all of the question's time is over: its requests have that, and no limit of their own."""

ITS_OWN_FAULT: Final = (ModelRefused, RequestError)
"""What another model would be asked in vain, too."""


class Pursuit:
    """The attempts at one answer."""

    def __init__(
        self,
        outside: runs.Wiring,
        tasks: runs.Tasks,
        models: Models,
        pending: connections.Pending,
        asked: Asked,
        working: runs.Working,
    ) -> None:
        self._wiring = outside
        self._tasks = tasks
        self._models = models
        self._pending = pending
        self._asked = asked
        self._working = working
        self._outlet: runs.Outlet | None = None
        self._notes: list[runs.Entry] = []
        self._redactor = Redactor()
        self._paying = Paying(wiring=outside, asked=asked, run_id=working.attempt.run_id)
        self._wire_of: RunWire | None = None
        self._was_asked = working.attempt.number > 1
        """Whether the attempt may have come to its model at all."""
        self._stand_ins = [models.fetch(each) for each in models.fallbacks(asked.request.model)]
        self._unsaved_end: runs.SendEnd | None = None

    async def run(self) -> Answered:
        """Ask until there is an answer, and record it. Raises what the last attempt failed with."""
        left, endpoint, tried = list(self._stand_ins), self._asked.endpoint, 0
        while True:
            tried += 1
            try:
                answer = await self._attempt(endpoint)
                break
            except ENDS:
                raise
            except InterlockError as error:
                if error.details.get("failure_class") in OUT_OF_TIME:
                    raise self._asked.too_late(endpoint) from error
                if (delay := self._delay(error, tried)) is not None and not self._hurries(error, left):
                    await self._again(self._shown(error), endpoint, delay)
                    continue
                if isinstance(error, ITS_OWN_FAULT) or (following := self._next(left)) is None:
                    raise
                endpoint, tried = following, 0
                await self._again(self._shown(error), endpoint, 0.0)
        return await self._finish(endpoint, answer)

    async def fail(self, error: InterlockError) -> InterlockError:
        """Record that there is no answer. Returns the error, with the run's id."""
        error.run_id = self._working.attempt.run_id
        cancelled = isinstance(error, runs.RunCancelled)
        state = runs.State.CANCELLED if cancelled else runs.State.FAILED
        ended = runs.AttemptState.CANCELLED if cancelled else runs.AttemptState.FAILED
        send_end = self._send_end()
        came_to = self._came_to(send_end)
        end = runs.TaskEnd(state=state, attempt_state=ended, reason=error.code, error=self._shown(error).to_json())
        await self._end(replace(end, send_end=send_end), lambda tx: self._paying.over(tx, came_to))
        return error

    async def cancel(self) -> None:
        """Record that nobody waits for an answer any more; recovery does if the store fails."""
        gone = runs.RunCancelled("whoever asked stopped waiting", run_id=self._working.attempt.run_id)
        try:
            await self.fail(gone)
        except (runs.StaleRun, StoreError):
            return

    # -- one attempt

    async def _attempt(self, endpoint: Endpoint) -> Answer:
        asked, self._was_asked, self._wire_of, self._outlet = self._asked, False, None, None
        missing = endpoint.missing(asked.request, stream=asked.told is not None)
        self._notes += [records.compatible(endpoint, missing)]
        if missing:
            raise ModelRefused(
                f"{endpoint.ref} lacks what the request needs: {', '.join(missing)}",
                next_step="Ask another model, or ask without it.",
            )
        if (wrong := endpoint.wrong_options(asked.request)) is not None:
            raise ModelRefused(f"{endpoint.ref} is not told what the request says: {wrong}")
        self._notes += [records.resolved(endpoint)]
        raised: list[Exception] = []

        def watching(delta: Delta) -> None:
            assert asked.told is not None
            try:
                asked.told(delta)
            except Exception as error:
                raised.append(error)
                raise

        async with self._wire(endpoint) as wire:
            try:
                request = asked.request.model_copy(update={"model": endpoint.ref})
                if self._is_counted(endpoint):
                    request = endpoint.bounded(request)  # what was reserved is what it may come to
                self._was_asked = True
                told = None if asked.told is None else watching
                return self._clean(await endpoint.model.answer(request, wire=wire, told=told))
            except InterlockError:
                raise
            except BaseException as error:
                if is_interruption(error):
                    raise
                if raised:
                    text = f"whoever is told what the model says raised {type(raised[0]).__name__}: {raised[0]}"
                    raise RequestError(text, next_step="Mend what `told` does.") from raised[0]
                # Its text may hold what the provider sent; the type says enough of a library's defect.
                raise ModelUnreadable(f"{endpoint.ref}: what came cannot be read ({type(error).__name__})") from None

    @asynccontextmanager
    async def _wire(self, endpoint: Endpoint) -> AsyncGenerator[Wire]:
        if endpoint.base_url is None:
            async with self._watched():
                yield NoWire()
            return
        outside, working = self._wiring, self._working
        secrets = await endpoint.secrets(working.attempt.tenant_id)
        self._redactor = Redactor(secrets.values())
        handle, deadline_at = outside.ids.new("lse"), self._asked.deadline_at
        redeemable = held(self._pending, endpoint, secrets, working.journal.run, handle)
        opened = runs.outlet(outside, working, deadline_at=deadline_at, redactor=self._redactor)
        async with redeemable, opened as self._outlet, self._watched():
            self._wire_of = RunWire(
                outside,
                working,
                self._outlet,
                endpoint,
                handle,
                deadline_at=deadline_at,
                redactor=self._redactor,
                notes=self._notes,
            )
            yield self._wire_of

    @asynccontextmanager
    async def _watched(self) -> AsyncGenerator[None]:
        """Ends the block with RunCancelled if somebody cancels the run meanwhile."""
        outside, run_id = self._wiring, self._working.attempt.run_id
        failure: Exception | None = None
        stopped = False

        async def watch(scope: anyio.CancelScope) -> None:
            nonlocal stopped
            while not stopped:
                # Of real time, in which the model answers, whatever clock the ledger goes by.
                await anyio.sleep(WATCH_S)
                with suppress(StoreError):  # which is no reason to break a question off: it is looked at again
                    found = await outside.store.read(lambda tx: outside.ledger.find_cancelled(tx, frozenset({run_id})))
                    stopped = run_id in found
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, tasks.cancel_scope)
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised outside the group, which would wrap it in another
                failure = error
            finally:
                tasks.cancel_scope.cancel()
        if stopped:
            raise runs.RunCancelled(f"{run_id} was cancelled while its model was asked", run_id=run_id)
        if failure is not None:
            raise failure

    def _clean(self, answer: Answer) -> Answer:
        """The answer, without a secret that the provider repeated."""
        text = answer.model_dump_json().encode()
        if not self._redactor.finds(text):
            return answer
        return Answer.model_validate_json(self._redactor.data(text))

    def _shown(self, error: InterlockError) -> InterlockError:
        error.message = self._redactor.text(error.message)
        error.args = (error.message,)
        error.details = cast("dict[str, JSON]", self._redactor.json(error.details))
        return error

    # -- between attempts

    def _delay(self, error: InterlockError, tried: int) -> float | None:
        """How long to wait before the same model is asked once more. None: it is not."""
        limits = self._wiring.limits
        if error.retry is not Retry.LATER or tried >= self._models.tries:
            return None
        delay = limits.backoff.delay(tried, at_least=error.retry_after)
        in_time = self._wiring.clock.now() + timedelta(seconds=delay) < self._asked.deadline_at
        return delay if delay <= limits.retry_wait and in_time else None

    def _hurries(self, error: InterlockError, left: list[Endpoint]) -> bool:
        """Whether another model is asked at once: the provider has said that it takes a while."""
        return bool(left) and (error.retry_after or 0.0) >= 1.0

    def _next(self, left: list[Endpoint]) -> Endpoint | None:
        """The next model that can be asked the same, and that policy lets stand in."""
        while left:
            endpoint = left.pop(0)
            if (wrong := endpoint.wrong_options(self._asked.request)) is not None:
                self._notes += [records.refused(endpoint, [wrong])]
                continue
            try:
                most_of(self._wiring, self._asked, endpoint)
            except ModelUnpriced as error:
                self._notes += [records.refused(endpoint, [error.message])]
                continue
            verdict = self._tasks.decide(self._asked.caller, self._asked.in_place(endpoint))
            if verdict.effect is policy.Effect.ALLOW:
                return endpoint
            self._notes += [records.refused(endpoint, [each.text for each in verdict.reasons])]
        return None

    async def _again(self, error: InterlockError, endpoint: Endpoint, delay: float) -> None:
        if delay >= 0.1:
            await self._flush()  # what is known must not wait for the pause
        await self._wiring.clock.sleep(delay)
        told, send_end = list(self._notes), self._send_end()
        came_to = self._came_to(send_end)
        try:
            self._working = await self._tasks.again(
                self._working,
                error,
                told=told,
                send_end=send_end,
                beside=(lambda tx: self._paying.next(tx, endpoint, came_to)) if self._is_paid else None,
            )
        except runs.OverBudget as over:  # and nothing of it is written
            raise runs.OverBudget(
                f"{over.message}; it failed before: {error.message}",
                details={**over.details, "failed": error.code},
                retry_after=over.retry_after,
                next_step=over.next_step,
                run_id=over.run_id,
            ) from error
        del self._notes[: len(told)]
        self._outlet, self._unsaved_end, self._was_asked = None, None, False
        if self._working.journal.cancel_requested:
            raise runs.RunCancelled("it was cancelled between two attempts")

    async def _flush(self) -> None:
        if self._notes:
            told = list(self._notes)
            await self._working.journal.write(told, at=self._wiring.clock.now())
            del self._notes[: len(told)]

    # -- its end

    async def _finish(self, endpoint: Endpoint, answer: Answer) -> Answered:
        cost = endpoint.price(answer.usage) if answer.is_counted else None
        self._notes += [records.answered(endpoint, answer, cost)]
        end = runs.TaskEnd(
            state=runs.State.COMPLETED,
            attempt_state=runs.AttemptState.COMPLETED,
            output=records.output(answer, cost),
            send_end=self._send_end(),
        )
        came_to = {} if not answer.is_counted else {TOKENS: answer.usage.tokens}
        came_to |= {} if cost is None else {USD: micros(cost)}
        with anyio.CancelScope(shield=True):
            await self._end(end, lambda tx: self._paying.settle(tx, came_to))
        return Answered(run_id=self._working.attempt.run_id, answer=answer, cost=cost)

    async def _end(self, end: runs.TaskEnd, settle: Callable[[Tx], None]) -> None:
        """Its end, and with it what it took of the budgets."""
        told, self._notes[:] = list(self._notes), []
        await self._tasks.end(self._working, replace(end, told=told), beside=settle if self._is_paid else None)

    @property
    def _is_paid(self) -> bool:
        """Whether anything may be reserved for it."""
        return is_paid(self._wiring, self._asked, (self._asked.endpoint, *self._stand_ins))

    def _is_counted(self, endpoint: Endpoint) -> bool:
        return bool(units_of(self._wiring, self._asked, endpoint) & {TOKENS, USD})

    def _came_to(self, end: runs.SendEnd | None) -> Mapping[str, int] | None:
        """What an attempt without an answer took: nothing, if it is known that no model did anything; None: nobody knows."""
        unsent = end is not None and end.delivery in (runs.Delivery.NOT_SENT, runs.Delivery.REJECTED)
        refused = self._wire_of is not None and self._wire_of.was_refused
        return {TOKENS: 0, USD: 0} if unsent or refused or not self._was_asked else None

    def _send_end(self) -> runs.SendEnd | None:
        """What is known of the attempt's last send and not on record, until it is."""
        if self._unsaved_end is None and self._outlet is not None:
            self._unsaved_end = self._outlet.send_end()
        return self._unsaved_end
