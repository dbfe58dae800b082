"""Drives one attempt at a turn: does what the machine wants, until it ends or has to wait for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from interlock import inference, runs
from interlock.agents import rulings, turns
from interlock.agents.harness import spending
from interlock.agents.harness.asking import Asked
from interlock.agents.harness.means import DELTA, Happening, Means, Watch
from interlock.agents.harness.pen import Pen, tell
from interlock.agents.harness.performing import OURS, Doubt, Performing
from interlock.kernel import InterlockError, Retry

CANCELLED: Final = "somebody has cancelled the turn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Why a turn cannot go on: a person is to be asked for a yes (`consents`), about a run that policy holds (`put_off`), or what
    became of something (`doubts`)."""

    consents: Sequence[turns.Consent] = ()
    put_off: Sequence[turns.Perform] = ()
    doubts: Sequence[Doubt] = ()


class Driving:
    """One attempt at a turn. `stop` ends it as soon as it can be: from any task."""

    def __init__(self, means: Means, pen: Pen, asked: Asked, *, watch: Watch | None, patient: bool) -> None:
        """`patient`: a model that has no answer now is left for a later attempt."""
        self._means = means
        self._pen = pen
        self._asked = asked
        self._watch = watch
        self._patient = patient
        self._performing = Performing(means, pen, asked)
        self._scope = anyio.CancelScope()
        self._stopped = False

    def stop(self) -> None:
        """Somebody wants the turn to end."""
        self._stopped = True
        self._scope.cancel()

    async def drive(self) -> Pause | None:
        """Until the turn is over (None), or waits. Raises what ends the attempt and not the turn: StoreError, StaleRun,
        OwnershipLapsed, and of a model what it may have an answer to later."""
        pause = None
        with self._scope:
            pause = await self._drive()
        if self._stopped and not self._pen.sheet.state.ended:
            self._pen.happened(turns.Stopped(code="cancelled", message=CANCELLED, took_s=self._pen.took_s()))
            return None
        return pause

    async def _drive(self) -> Pause | None:
        pen = self._pen
        while not pen.sheet.state.ended:
            self._check()
            wanted = pen.sheet.wanted
            first = wanted[0]
            match first:
                case turns.Judge():
                    await pen.save()
                    with pen.working_beside():
                        said = await self._means.judging.judge(
                            pen.plan, pen.sheet.state, first, surroundings=self._surroundings()
                        )
                    pen.happened(turns.Judged(judgements=said, took_s=pen.took_s()))
                case turns.Ask():
                    await self._ask(first)
                case turns.Consent():
                    return Pause(consents=[each for each in wanted if isinstance(each, turns.Consent)])
                case turns.Perform():
                    if (pause := await self._perform()) is not None:
                        return pause
                case turns.End():
                    raise AssertionError("a turn that is to end has ended")
        return None

    def _surroundings(self) -> rulings.Surroundings:
        return rulings.Surroundings(
            caller=self._pen.working.caller,
            environment=self._pen.working.journal.run.environment,
            session_id=self._asked.session_id,
            context=self._asked.context,
        )

    def _check(self) -> None:
        """Nothing is done under a hold that is gone, and for somebody who wants it no more."""
        self._pen.check_hold()
        if self._pen.cancel_requested:
            self.stop()

    async def _perform(self) -> Pause | None:
        wanted = [each for each in self._pen.sheet.wanted if isinstance(each, turns.Perform)]
        begun = any(
            each.key in self._pen.sheet.intended for each in wanted
        )  # of which something may have to be found out
        if not begun and self._is_late("what it wanted done was not begun"):
            return None
        try:
            doubts = await self._performing.perform(wanted)
        except runs.OverBudget as error:
            if doubts := self._performing.in_doubt(wanted, error.message):
                return Pause(doubts=doubts)  # first it is said what became of these: the turn would end without
            self._exhausted(error)
            return None
        left = [each for each in self._pen.sheet.wanted if isinstance(each, turns.Perform)]
        if not left:
            return None
        put_off = [each for each in left if each.key in self._pen.sheet.put_off]
        return Pause(put_off=put_off, doubts=doubts)

    async def _ask(self, intent: turns.Ask) -> None:
        pen = self._pen
        if self._is_late("its model was not asked once more"):
            return
        request = pen.plan.request(pen.sheet.state)
        leg = pen.spending.leg(intent.key, min(self._asked.spec.runtime_defaults.model_timeout_s, pen.left_s()))
        try:
            await pen.intend([intent], holding=pen.spending.timed(leg, pen.spending.asking(intent.key, request)))
        except runs.OverBudget as error:
            self._exhausted(error)
            return
        except (inference.ModelUnpriced, inference.UnknownModel, inference.ModelRefused) as error:
            self._unanswered(error)
            return
        self._check()
        with pen.working_for(leg):
            await self._ask_now(intent, request)

    def _is_late(self, what: str) -> bool:
        """Whether there is no time for more; then the turn has ended."""
        left, shortage = self._pen.left()
        if left >= spending.LEAST_S:
            return False
        self._pen.happened(shortage.stopped(what, self._pen.took_s()))
        return True

    async def _ask_now(self, intent: turns.Ask, request: inference.Request) -> None:
        pen = self._pen
        try:
            answered = await self._answered(intent, request)
        except OURS:
            raise
        except InterlockError as error:
            pen.came_to(intent.key, spending.NOTHING)  # what attempts took is settled already
            self._unanswered(error)
            return
        pen.came_to(intent.key, spending.answered(answered))
        # With the ids that its calls have from now on: they hang on the conversation before, which may be deleted one day.
        message = turns.kept(answered.answer.message, pen.sheet.state)
        answer = answered.answer.model_copy(update={"message": message})
        pen.happened(turns.Answered(answer=answer, took_s=pen.took_s()), run_id=answered.run_id)

    async def _answered(self, intent: turns.Ask, request: inference.Request) -> inference.Answered:
        """The answer, which is on record if it was given before. A question that failed or was cancelled in an earlier attempt is
        asked anew."""
        pen, limit = self._pen, self._asked.spec.runtime_defaults.model_timeout_s
        run = pen.working.journal.run
        failure: InterlockError | None = None
        for key in runs.keys_of(f"{run.run_id}:{intent.key}"):
            self._check()
            try:
                return await self._means.inference.ask(
                    pen.working.caller,
                    request,
                    key=key,
                    parent_run_id=run.run_id,
                    environment=run.environment,
                    timeout_s=max(spending.LEAST_S, min(limit, pen.left_s())),
                    told=self._told if self._is_heard else None,
                    purse=pen.spending.purse(intent.key) if pen.spending.units else None,
                )
            except runs.RunFailed as error:  # told again; one of now raises what it failed with
                failure = error
            except runs.RunCancelled as error:  # by an attempt that stopped waiting, unless it was somebody's wish
                if await self._is_unwanted(error.run_id):
                    raise
                failure = error
        assert failure is not None
        raise failure

    async def _is_unwanted(self, run_id: str | None) -> bool:
        """Whether somebody wants the question stopped, and not only the process that asked it before."""
        wiring, asked = self._means.wiring, frozenset(filter(None, [run_id]))
        return bool(await wiring.store.read(lambda tx: wiring.ledger.find_cancelled(tx, asked)))

    def _unanswered(self, error: InterlockError) -> None:
        """The model has no answer. Raises the error if that may be otherwise for a later attempt."""
        pen = self._pen
        if self._is_late("its model had not answered"):
            return
        took_s = pen.took_s()
        if isinstance(error, runs.RunCancelled):
            text = f"somebody has cancelled what it asked of its model: {error.message}"
            pen.happened(turns.Stopped(code="cancelled", message=text, took_s=took_s))
            return
        if isinstance(error, runs.OverBudget):
            self._exhausted(error, took_s)
            return
        if self._patient and error.retry is Retry.LATER:
            raise error
        details = dict(error.to_json())
        if isinstance(error, runs.DeadlinePassed):
            limit = self._asked.spec.runtime_defaults.model_timeout_s
            details |= {"limit": "runtime_defaults.model_timeout_s", "seconds": limit}
        pen.happened(turns.Stopped(code="model_failed", message=error.message, details=details, took_s=took_s))

    def _exhausted(self, error: runs.OverBudget, took_s: float | None = None) -> None:
        """A budget has no more: the turn ends, and keeps what it has done."""
        took_s = self._pen.took_s() if took_s is None else took_s
        details = error.to_json()
        self._pen.happened(
            turns.Stopped(code="budget_exhausted", message=error.message, details=details, took_s=took_s)
        )

    @property
    def _is_heard(self) -> bool:
        """Whether somebody is told what the model says as it comes: not where it has to be judged first."""
        return self._watch is not None and not self._asked.spec.controls.outputs

    def _told(self, delta: inference.Delta) -> None:
        assert self._watch is not None
        data, run_id = delta.model_dump(mode="json", exclude_none=True), self._pen.working.attempt.run_id
        tell(self._watch, Happening(kind=DELTA, data=data, run_id=run_id))
