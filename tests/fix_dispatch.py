"""Work and workers of a simulated process: a test hands the jobs over by itself, so that it decides what comes when."""

from collections.abc import Callable, Sequence
from typing import Any

from fix_app import Process
from interlock import dispatch
from interlock.adapters import sql
from interlock.kernel import JSON

RECORDS = sql.DispatchRecords()


def worker(process: Process, *handlers: Callable[..., Any]) -> dispatch.Worker:
    """A worker of that process with these handlers."""
    wiring = process.parts.wiring
    assert wiring.actions.doors is not None
    return process.parts.workshop.worker(wiring, wiring.actions.doors, dispatch.Handlers(handlers))


async def list_due(process: Process) -> Sequence[dispatch.Due]:
    """What is due by now."""
    now = process.parts.wiring.clock.now()
    return await process.parts.store.read(lambda tx: RECORDS.list_due(tx, before=now))


async def find_due(process: Process, run_id: str, tenant_id: str = "default") -> dispatch.Due | None:
    """The row of a run."""
    return await process.parts.store.read(lambda tx: RECORDS.find(tx, tenant_id, run_id))


async def work(process: Process, *handlers: Callable[..., Any]) -> int:
    """Hand over what is due by now and for these handlers, until nothing is. How many jobs that were."""
    carried, jobs = worker(process, *handlers), 0
    while due := [each for each in await list_due(process) if each.lane in carried.lanes]:
        for each in due:
            await carried.handle(each.job)
            jobs += 1
    return jobs


async def submitted(
    process: Process, handler: str = "incident", payload: dict[str, JSON] | None = None, **more: Any
) -> str:
    """The run of work that was admitted."""
    outcome = await process.il.dispatch.submit(handler, payload or {}, **more)
    assert outcome.state.value == "queued", outcome
    return outcome.run_id
