"""Takes turns that were left to workers."""

import logging

from interlock import dispatch, runs
from interlock.agents.harness.harness import LANE, Harness
from interlock.kernel import InterlockError, StoreError

_log = logging.getLogger(__name__)


class TurnExecutor:
    """The `dispatch.Executor` of the lane of agents."""

    def __init__(self, claiming: dispatch.Claiming, harness: Harness) -> None:
        self._claiming = claiming
        self._harness = harness

    @property
    def lanes(self) -> frozenset[str]:
        """One, for the turns of all agents."""
        return frozenset({LANE})

    async def execute(self, job: dispatch.Job, seen: dispatch.Seen | None = None) -> None:
        """One attempt at a turn, if the job is the hand-over that counts. Raises StoreError."""
        claimed = await self._claiming.claim(job, seen)
        if claimed is None:
            return
        assert claimed.caller is not None
        with dispatch.processing(self._harness.means.wiring.tracing, claimed) as span:
            try:
                run = await self._harness.take_due(claimed.run, claimed.caller, claimed.due)
            except (StoreError, runs.StaleRun):
                raise
            except InterlockError as error:
                _log.info("%s: the attempt ended: %s", claimed.run.run_id, error)
                span.fail(error.code)  # it is recorded, with what follows
                return
            if run is not None:
                span.note({"interlock.run.state": run.state.value})
