"""One attempt at a turn, from its beginning to what is recorded of its end."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import anyio

from interlock import approvals, dispatch, runs
from interlock.agents import turns
from interlock.agents.harness import consenting, journal, leaving, recalling, sheets
from interlock.agents.harness.asking import asked_for, plan_of
from interlock.agents.harness.beginning import past_of
from interlock.agents.harness.driving import CANCELLED, Driving, Pause
from interlock.agents.harness.journal import Past
from interlock.agents.harness.looking import replayed
from interlock.agents.harness.means import Means, Watch
from interlock.agents.harness.pen import Pen
from interlock.agents.harness.performing import OURS
from interlock.agents.harness.recording import recorded, stands
from interlock.agents.harness.spending import Spending
from interlock.agents.harness.standing import Turn, failed, turn_of, unclear, waiting_of
from interlock.kernel import JSON, InterlockError, InternalError, Retry, StoreError, Tx, canonical, is_interruption

LAST_SECONDS: Final = 5.0
"""For so long a process that is to end tries to record what came of its work while the store fails."""

_ENDS: Final = 2
"""Entries that tell of an attempt's end: how it ended, and where the run goes."""

OPERATION_HELD: Final = "operation_held"
CONSENT: Final = "approval_required"

_log = logging.getLogger(__name__)


class Taking:
    """An attempt that was begun. `due` is how workers know of the turn, if it was left to them."""

    def __init__(
        self,
        means: Means,
        docket: dispatch.Docket,
        working: runs.Working,
        *,
        watch: Watch | None,
        due: dispatch.Due | None,
    ) -> None:
        self._means = means
        self._docket = docket
        self._working = working
        self._watch = watch
        self._due = due
        self.asked = asked_for(working.journal.run)
        self._driving: Driving | None = None
        self._beginning = anyio.CancelScope()
        self._stopped = False

    def stop(self) -> None:
        """Somebody wants the turn to end."""
        self._stopped = True
        self._beginning.cancel()
        if self._driving is not None:
            self._driving.stop()

    async def take(self) -> Turn:
        """Take the turn as far as it goes. Raises what ended the attempt and not the turn, once that is recorded."""
        plan, run = plan_of(self.asked.spec), self._working.journal.run
        spending = Spending(self._means, run, self.asked)
        blank = sheets.blank(plan, run.run_id)
        pen = Pen(self._means, self._working, plan, blank, spending=spending, watch=self._watch)
        try:
            if self._working.attempt.number > 1:  # a turn that begins has no journal
                pen.sheet = await replayed(self._means, run, goes_on=True)
            await spending.look_up()
            pause = await self._drive(pen)
        except anyio.get_cancelled_exc_class():
            await self._end_soon(pen, dispatch.WorkerStopped("the process was stopped in the middle of the turn"))
            raise
        except BaseException as error:
            if is_interruption(error):
                raise
            return await self._broken(pen, error)
        await self._end(pen, pause)
        return turn_of(self._working.journal.run, self.asked, pen.sheet)

    async def _drive(self, pen: Pen) -> Pause | None:
        asked, means = self.asked, self._means
        self._driving = Driving(means, pen, asked, watch=self._watch, patient=self._due is not None)
        if self._stopped:
            self._driving.stop()
        taken_over = pen.sheet.state.phase is not turns.Phase.NEW
        if not taken_over:
            await self._begin(pen)
            if pen.sheet.state.phase is turns.Phase.NEW:
                pen.happened(turns.Stopped(code="cancelled", message=CANCELLED, took_s=pen.took_s()))
        elif pen.sheet.state.phase is turns.Phase.PERSON:
            await consenting.Consenting(means=means, pen=pen, asked=asked).take()
        pause = await self._driving.drive()
        with pen.working_beside():
            wrong = await recalling.learn(means, self._working, asked, pen.sheet.state, taken_over=taken_over)
        if wrong is not None:
            pen.note(recalling.failed("capture", wrong), pen.sheet)
        return pause

    async def _begin(self, pen: Pen) -> None:
        """The turn begins; one whose spec wants its memory ends here if that failed, and one that somebody wants stopped before
        it has begun does not."""
        means, asked = self._means, self.asked
        with self._beginning, pen.working_beside():
            past = await past_of(means, self._working, asked, pen.spending)
            absent = await recalling.absent(means, self._working, asked)
            told = await recalling.recalled(means, recalling.around(self._working, asked), asked.text)
            if not self._stopped:
                self._began(pen, past, told, absent)

    def _began(self, pen: Pen, past: Past, told: recalling.Recalled, absent: Mapping[str, str]) -> None:
        if told.wrong is not None:
            pen.note(recalling.failed("recall", told.wrong), pen.sheet)
            if self.asked.spec.memory is not None and self.asked.spec.memory.required:
                text = f"the agent's memory is required, and failed: {told.wrong}"
                pen.happened(turns.Stopped(code="memory_failed", message=text, took_s=pen.took_s()))
                return
        pen.began(
            turns.Began(
                input=self.asked.text,
                conversation=past.conversation,
                recalled=told.text,
                absent=absent,
                took_s=pen.took_s(),
            ),
            past,
        )

    # -- recorded

    async def _broken(self, pen: Pen, error: BaseException) -> Turn:
        """The attempt failed, and the turn may go on."""
        ours = error if isinstance(error, InterlockError) else None
        if ours is None:
            _log.exception("%s", self._working.attempt.run_id, exc_info=error)
            name = type(error).__name__
            ours = InternalError(f"taking the turn raised {name}", run_id=self._working.attempt.run_id)
        ours.run_id = ours.run_id or self._working.attempt.run_id
        await recorded(self._means.wiring, self._working, lambda: self._fail(pen, ours))
        raise ours from (None if error is ours else error)

    async def _end_soon(self, pen: Pen, error: InterlockError) -> None:
        """Record it, though the process is to end: a store that goes on failing keeps it no longer."""
        with anyio.move_on_after(LAST_SECONDS, shield=True) as last:
            await recorded(self._means.wiring, self._working, lambda: self._fail(pen, error))
        if last.cancelled_caught:
            _log.warning("%s is left to recovery: the store still fails", self._working.attempt.run_id)

    async def _end(self, pen: Pen, pause: Pause | None) -> None:
        """What the pen and the run tell after it is on record. Raises what keeps it from being that."""
        if pause is None:
            pen.note(journal.ended(pen.sheet.state), pen.sheet)
        known = await stands(
            self._means.wiring,
            self._working,
            lambda: self._over(pen) if pause is None else self._paused(pen, pause),
        )
        if known is not None:
            pen.sheet = await replayed(self._means, self._working.journal.run)
            await pen.tell_after(known)

    async def _over(self, pen: Pen) -> None:
        """The turn has ended."""
        state, run = pen.sheet.state, self._working.journal.run
        told, kept = await pen.rest()
        gone: list[runs.Entry] = []
        failure = state.failure
        error = None if failure is None else failed(failure, run.run_id)
        cancelled = failure is not None and failure.code == "cancelled"
        ends = {True: runs.State.CANCELLED, False: runs.State.COMPLETED if error is None else runs.State.FAILED}
        tries = {
            runs.State.CANCELLED: runs.AttemptState.CANCELLED,
            runs.State.COMPLETED: runs.AttemptState.COMPLETED,
            runs.State.FAILED: runs.AttemptState.FAILED,
        }
        problem: JSON = None if error is None or cancelled else error.to_json()
        output: JSON = {"answer": state.answer, "result": state.result, "session_id": self.asked.session_id}
        end = runs.TaskEnd(
            state=ends[cancelled],
            attempt_state=tries[ends[cancelled]],
            reason=None if failure is None else failure.code,
            error=problem,
            output=canonical(output) if error is None else None,
            told=lambda: [*gone, *told],
            kept=kept,
        )

        def beside(tx: Tx) -> None:
            pen.settle_all(tx)
            self._docket.strike(tx, run.tenant_id, run.run_id)
            if self.asked.session_id is not None:
                self._means.sessions.end(
                    tx,
                    run.tenant_id,
                    self.asked.session_id,
                    turn_id=run.run_id,
                    said=leaving.left(self.asked.spec, state),
                    failure=None if failure is None else failure.code,
                )
            gone[:] = runs.withdraw(tx, self._means.wiring, run)

        await self._means.tasks.end(self._working, end, beside=beside)
        pen.tell_rest([*gone, *told], followed_by=_ENDS + (end.output is not None))

    async def _paused(self, pen: Pen, pause: Pause) -> None:
        """A person has to say something first."""
        before, kept = await pen.rest()
        asking = consenting.Consenting(means=self._means, pen=pen, asked=self.asked)
        open_ones = [each for each in pause.consents if each.key not in pen.sheet.asked]
        requested: list[approvals.Approval] = []
        held = not pause.doubts
        why = OPERATION_HELD if pause.put_off else CONSENT
        run_id = self._working.attempt.run_id
        doubt = None if held else unclear(run_id, waiting_of(pen.sheet))

        state = runs.State.WAITING

        def beside(tx: Tx) -> None:
            nonlocal state
            pen.settle(tx)
            requested[:] = asking.request(tx, open_ones)
            state = runs.State.HELD if held else runs.State.WAITING
            if self._due is None:
                return
            if held and not open_ones and asking.is_decided(tx, pause.put_off):
                # Somebody has decided since this attempt looked: nobody else would have it go on.
                state = runs.State.RETRY_SCHEDULED
                self._docket.again(tx, self._due, due_at=self._means.wiring.clock.now(), why=why)
            else:
                self._docket.park(tx, self._due, why=why if doubt is None else doubt.code)

        def told() -> Sequence[runs.Entry]:
            asked = [
                entry for one, of in zip(requested, open_ones, strict=True) for entry in consenting.requested(one, of)
            ]
            return [*before, *asked]

        end = runs.TaskEnd(
            state=lambda: state,
            attempt_state=runs.AttemptState.COMPLETED,
            reason=why if doubt is None else doubt.code,
            error=None if doubt is None else doubt.to_json(),
            told=told,
            kept=kept,
            approval_id=lambda: requested[-1].approval_id if requested else None,
        )
        await self._means.tasks.end(self._working, end, beside=beside)
        for approval, consent in zip(requested, open_ones, strict=True):
            pen.sheet = pen.sheet.asking(consent.key, approval.approval_id)
        pen.tell_rest(told(), followed_by=_ENDS)

    async def _fail(self, pen: Pen, error: InterlockError) -> None:
        """The attempt has failed; the turn goes on in another one, if that may be otherwise."""
        told, kept = await pen.rest()
        error.run_id = error.run_id or self._working.attempt.run_id
        due, run, gone = self._due, self._working.journal.run, list[runs.Entry]()
        following = None if due is None else self._following(due, error)
        after = [] if following is None else [dispatch.sequel.told(following)]
        ends = runs.State.RETRY_SCHEDULED if _may_go_on(error) else runs.State.FAILED
        end = runs.TaskEnd(
            state=ends if following is None else following.state,
            attempt_state=runs.AttemptState.FAILED,
            reason=error.code if following is None else following.reason,
            error=error.to_json(),
            told=lambda: [*gone, *told, *after],
            kept=kept,
        )

        def beside(tx: Tx) -> None:
            pen.settle(tx)
            if end.state is runs.State.FAILED:
                gone[:] = runs.withdraw(tx, self._means.wiring, run)
            if following is not None:
                self._docket.follow(tx, following)

        await self._means.tasks.end(self._working, end, beside=beside)
        pen.tell_rest([*gone, *told], followed_by=_ENDS + len(after))

    def _following(self, due: dispatch.Due, error: InterlockError) -> dispatch.sequel.Sequel:
        """What follows of a turn that was left to workers. A store that is away says nothing against it."""
        wiring, working = self._means.wiring, self._working
        away = isinstance(error, StoreError) and error.retry is Retry.LATER
        return dispatch.sequel.after(
            due,
            error,
            now=wiring.clock.now(),
            store_failed=away or wiring.ownership.failed_during(working.attempt),
            attempts=working.journal.run.attempt_count,
        )


def _may_go_on(error: InterlockError) -> bool:
    return error.retry is Retry.LATER or isinstance(error, OURS)
