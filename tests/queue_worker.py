"""A worker that tests stop and kill: `python queue_worker.py URL LEASE [AT_ONCE]`.

Says on stdout which job it was `handed` and which it `ended`. It ends one for each line on stdin; with AT_ONCE, that many at once
and each at once.
"""

import sys

import anyio
import anyio.to_thread

from interlock import dispatch
from interlock.adapters import queues, sql
from interlock.kernel import SystemClock, Uuid7Ids


async def main(url: str, lease: float, at_once: int) -> None:
    clock = SystemClock()
    queue = queues.make_queue(
        url, sql.open_store(url), sql.connection, clock=clock, ids=Uuid7Ids(clock), timing=queues.Timing(lease=lease)
    )

    async def handle(job: dispatch.Job, _seen: object) -> None:
        print("handed", job.work_id, flush=True)
        if not at_once:
            await anyio.to_thread.run_sync(sys.stdin.readline)
        print("ended", job.work_id, flush=True)

    print("serving", flush=True)
    await queue.serve(handle, lanes=["capability"], at_once=at_once or 1)


anyio.run(main, sys.argv[1], float(sys.argv[2]), int("".join(sys.argv[3:]) or "0"))
