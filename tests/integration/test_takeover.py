"""How soon work goes to another process whose own is gone: within ten seconds from the last beat, on both queues.

A clock that jumps from sleep to sleep shows what the constants add up to, whatever the machine has to do beside.
"""

from datetime import timedelta
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from fix_app import World
from fix_dispatch import list_due, submitted, worker
from interlock import dispatch
from interlock.adapters.queues import in_process, pgqueuer, stored
from interlock.app.beside import RECOVERIES
from interlock.app.settings import ExecutionSettings
from interlock.kernel import JSON

pytestmark = pytest.mark.anyio

LIMIT = 10.0
SPARE = {"sqlite": 0.9, "postgres": 0.15}
"""Of these, what is left for what no constant says. On Postgres a worker that cannot hear a bell looks once a second."""

LEASE = ExecutionSettings().owner_lease
EVERY = LEASE / RECOVERIES
LOOKS = {"sqlite": in_process.LOOK_SECONDS, "postgres": pgqueuer.LOOK_SECONDS}


@pytest.mark.parametrize("phase", [0.01, 0.5, 0.99])
async def test_an_attempt_goes_on_elsewhere(world: World, phase: float):
    begun, last_beat = anyio.Event(), world.clock.now()

    @dispatch.handler("incident")
    async def hanging(event: dispatch.Event, context: dispatch.Context) -> JSON:
        begun.set()
        await anyio.sleep_forever()

    lease = {"execution": {"owner_lease": LEASE}}
    async with world.process(**lease) as other:
        run_id = await submitted(other)
        async with world.doomed(**lease) as victim:
            [due] = await list_due(victim)
            async with anyio.create_task_group() as group:
                group.start_soon(worker(victim, hanging).handle, due.job)
                await begun.wait()
                await other.sweep()  # it has been watching, and looks again when `phase` of its pause is over
                await victim.beat()
                last_beat = world.clock.now()
                world.advance(EVERY * phase)
                victim.parts.store.close()
                group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            group.start_soon(partial(other.parts.recovery.keep, every=EVERY))
            with anyio.fail_after(60):
                while not await list_due(other):
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        [due] = await list_due(other)
        assert (due.run_id, due.crashes) == (run_id, 1)
    after = (due.due_at - last_beat).total_seconds()
    assert after >= LEASE, "it was taken from somebody who might have been alive"
    engine = "postgres" if world.store_url.startswith("postgres") else "sqlite"
    assert after + LOOKS[engine] + SPARE[engine] <= LIMIT


async def test_a_job_goes_to_another_worker():
    """A live holder beats four times in a lease; the others look at least so often, and ask when the lease of one is over."""
    assert all(stored.Timing().lease + LOOKS[engine] + SPARE[engine] <= LIMIT for engine in LOOKS)
    assert timedelta(seconds=stored.Timing().lease) < timedelta(seconds=LEASE)
