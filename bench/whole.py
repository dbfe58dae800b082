"""An asynchronous run as a program has it: submitted, handed to a worker, its handler called, the whole record written. For suite
`queue`, beside what only hands jobs over."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio

from bench.subject import CALLER, rooms
from interlock import dispatch

if TYPE_CHECKING:
    from bench.handing import Jobs


class _Told:
    """An executor that says when a run is committed as finished."""

    def __init__(self, executor: dispatch.Executor, jobs: "Jobs", keys: dict[str, str]) -> None:
        self._executor = executor
        self._jobs = jobs
        self._keys = keys
        self.lanes = executor.lanes

    async def execute(self, job: dispatch.Job, seen: dispatch.Seen | None = None) -> None:
        await self._executor.execute(job, seen)
        if key := self._keys.pop(job.work_id, None):
            self._jobs.done(key)


@asynccontextmanager
async def full_runs(url: str, jobs: "Jobs") -> AsyncGenerator[Callable[[str], Awaitable[object]]]:
    """Interlock on that store, with a worker and one handler, which gives back a small result."""
    keys: dict[str, str] = {}

    @dispatch.handler("bench")
    async def bench(event: dispatch.Event, context: dispatch.Context) -> dict[str, str]:
        keys[context.run_id] = str(event.payload["key"])
        return {"text": "x" * 100}

    with TemporaryDirectory(prefix="blobs-", dir=".") as blobs:
        async with rooms(url, Path(blobs)) as subject:
            wiring, shop = subject.wiring, subject.parts.workshop
            assert wiring.actions.doors is not None
            handled = dispatch.HandlerExecutor(
                shop.claiming, wiring, shop.tasks, shop.docket, dispatch.Handlers([bench]), wiring.actions.doors
            )
            worker = dispatch.Worker(shop.queue, shop.claiming, [_Told(handled, jobs, keys)])

            async def put(key: str) -> None:
                work = dispatch.Work(handler="bench", payload={"key": key, "text": "x" * 100})
                await shop.intake.submit(CALLER, work)

            async def serve() -> None:
                await worker.run(at_once=64)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve)
                yield put
                tasks.cancel_scope.cancel()
