"""The script lane: one fresh interpreter process per program, and nothing of it left behind."""

import anyio

from interlock import plane
from interlock.adapters.lanes.process.groups import Groups
from interlock.adapters.lanes.script.run import ScriptRun
from interlock.adapters.lanes.script.worker import worker_for


class ScriptLane:
    """Carries `plane.ScriptIntent`. Each action that a script asks for goes to the host, which admits it like any other
    effect. At most `workers` scripts run at once; the others wait, within their `wall_ms`. Where this host has the `confiner`,
    the interpreter runs inside; `confined_by` in the facts says what held it."""

    def __init__(self, host: plane.ActionHost, *, confiner: plane.Confiner | None = None, workers: int = 16) -> None:
        self._host = host
        self._confiner = confiner
        self._groups = Groups()
        self._slots = anyio.Semaphore(workers)
        self._threads = anyio.CapacityLimiter(workers)
        self._closed = False

    @property
    def lane_id(self) -> str:
        return "script"

    @property
    def carries(self) -> type[plane.ScriptIntent]:
        return plane.ScriptIntent

    async def execute(self, intent: plane.ScriptIntent, exchange: plane.Exchange) -> None:
        if self._closed:
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, "the lane is closed", code="lane_closed")
        run = ScriptRun(intent, exchange, self._host)
        try:
            async with (
                self._slots,
                worker_for(intent, exchange, self._threads, confiner=self._confiner, groups=self._groups) as worker,
            ):
                await run.drive(worker)
        finally:
            exchange.facts |= run.facts()

    async def aclose(self) -> None:
        self._closed = True
