"""Carries out runs of capabilities that were submitted for later."""

import logging
from datetime import timedelta
from typing import Final

from interlock import budgets, catalog, policy, runs
from interlock.dispatch.claiming import Claim, Claiming, Seen, processing
from interlock.dispatch.docket import Docket, Following
from interlock.dispatch.model import CAPABILITY_LANE
from interlock.dispatch.queue import Job
from interlock.kernel import InterlockError, Retry, StoreError

_log = logging.getLogger(__name__)

LATER_SECONDS: Final = 30.0
"""When work is looked at again that cannot be begun: policy sheds it, or an operator has to mend something."""

FOR_THE_OPERATOR: Final = (policy.RuleAstray, catalog.ConnectorBroken, catalog.DuplicateConnector)
"""What an operator mends, and is no reason to give work up."""


class CapabilityExecutor:
    """The `Executor` of runs of capabilities."""

    lanes = frozenset({CAPABILITY_LANE})

    def __init__(
        self, claiming: Claiming, wiring: runs.Wiring, resuming: runs.Resuming, tasks: runs.Tasks, docket: Docket
    ) -> None:
        self._claiming = claiming
        self._wiring = wiring
        self._resuming = resuming
        self._tasks = tasks
        self._docket = docket

    async def execute(self, job: Job, seen: Seen | None = None) -> None:
        """One attempt, if the job is the hand-over that counts. Raises StoreError."""
        claim = await self._claiming.claim(job, seen)
        if claim is None:
            return
        with self._wiring.ownership.working(claim.run.run_id), processing(self._wiring.tracing, claim):
            try:
                await self._carry_out(claim)
            except (runs.StaleRun, runs.OwnershipLapsed) as error:
                _log.info("%s is left to another worker: %s", job.work_id, error)
            except runs.OutcomeUnsaved as error:
                self._wiring.ownership.note_failure()
                _log.warning("%s is left to recovery: %s", job.work_id, error)

    async def _carry_out(self, claim: Claim) -> None:
        try:
            ready = await self._resuming.ready(claim.run)
        except StoreError:
            raise
        except FOR_THE_OPERATOR as error:
            _log.warning("%s waits: %s", claim.run.run_id, error)
            await self._put_off(claim, LATER_SECONDS, why=error.code)
        except InterlockError as error:
            await self._unready(claim, error)
        else:
            await self._attempt(claim, ready)

    async def _attempt(self, claim: Claim, ready: runs.Ready) -> None:
        async with self._resuming.reserved(ready) as taken:
            if not isinstance(taken, budgets.Exhausted):
                try:
                    await self._resuming.attempt(ready, Following(self._docket, claim.due, self._wiring.clock))
                except (runs.StaleRun, runs.OwnershipLapsed, runs.OutcomeUnsaved, StoreError):
                    raise
                except InterlockError as error:
                    # It could not be begun: no lease, no request.
                    await self._unready(claim, error)
                return
        if taken.retry_after is None:
            await self._unready(claim, runs.OverBudget(taken.text, retry=Retry.AFTER_CHANGE))
        else:
            await self._put_off(claim, taken.retry_after, why=f"budget:{taken.budget}")

    async def _unready(self, claim: Claim, error: InterlockError) -> None:
        """Nothing was begun. What may pass is looked at again; else it is a dead letter, or, with a write of which nobody knows
        what became, a person's."""
        error.run_id = claim.run.run_id
        if error.retry is Retry.LATER:
            await self._put_off(claim, error.retry_after or LATER_SECONDS, why=error.code)
            return
        docket, due = self._docket, claim.due
        if await self._resuming.is_doubtful(claim.run):
            await self._tasks.close(
                claim.run, runs.State.WAITING, error, beside=lambda tx: docket.park(tx, due, why=error.code)
            )
        else:
            await self._tasks.close(
                claim.run, runs.State.DEAD, error, beside=lambda tx: docket.bury(tx, due, why=error.code)
            )

    async def _put_off(self, claim: Claim, seconds: float, *, why: str) -> None:
        """Have it handed over again later, unless another hand was first; that takes no try."""
        due, at = claim.due, self._wiring.clock.now() + timedelta(seconds=seconds)
        await self._wiring.store.write(lambda tx: self._docket.again(tx, due, due_at=at, why=why, if_still=True))
