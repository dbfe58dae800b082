"""A process that admits and completes runs until it is killed. Imported by the tests and by the fork server that makes it."""

from itertools import count
from multiprocessing.connection import Connection

import anyio

from fix_ledger import Builder
from interlock.adapters import sql


def write(url: str, prefix: int, callers: int, keys: bool, answers: Connection) -> None:
    """For ever. Each answer that it gets is sent on as words, the first thing of all being `ready`."""
    ledger, builder = sql.SqlLedger(sql.open_store(url)), Builder(prefix=prefix)
    answers.send(("ready",))

    async def caller(number: int) -> None:
        for turn in count():
            key = f"k{number}-{turn}" if keys else None
            admission = builder.admission(key=key)
            answer = await ledger.admit(admission)
            answers.send(("admitted", answer.run_id, key))
            if answer.fresh:
                await ledger.apply(builder.completion(admission))
                answers.send(("completed", answer.run_id))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(callers):
                tasks.start_soon(caller, number)

    anyio.run(main)
