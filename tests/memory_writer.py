"""Processes that write into a memory until they are killed or done. Imported by the tests and by the fork server."""

import os
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import anyio

from interlock import memory

ANA = memory.Scope(tenant="acme", user="ana")
BATCH = 20


def drafts(prefix: str) -> list[memory.Draft]:
    """A batch whose records say which batch they are of."""
    return [memory.Draft(text=f"{prefix} part {number}", kind=prefix) for number in range(BATCH)]


def write(name: str, config: dict[str, Any], answers: Connection) -> None:
    """For ever: a batch, a record, and its next revision; each that is answered is told."""

    async def main() -> None:
        async with memory.Memory.open(name, config, scope=ANA) as mem:
            answers.send(("ready",))
            for turn in count():
                await mem.ingest(drafts(f"batch{turn}"))
                answers.send(("batch", f"batch{turn}"))
                kept = await mem.remember(f"first {turn}", idempotency_key=f"k{turn}")
                answers.send(("kept", kept.record_id, 1))
                await mem.remember(f"second {turn}", record_id=kept.record_id)
                answers.send(("kept", kept.record_id, 2))

    anyio.run(main)


def revise(name: str, config: dict[str, Any], record_id: str, times: int, start: Barrier, answers: Connection) -> None:
    """So many revisions of one record, each only if nobody was faster; which were made is told."""

    async def main() -> None:
        async with memory.Memory.open(name, config, scope=ANA) as mem:
            start.wait()
            made = 0
            while made < times:
                last = await mem.get(record_id)
                try:
                    record = await mem.remember(
                        f"by {os.getpid()}: {made}", record_id=record_id, if_revision=last.revision
                    )
                except memory.RecordConflict:
                    answers.send(("conflict", last.revision))
                    continue
                made += 1
                answers.send(("made", last.revision, record.revision))
            answers.send(("done",))

    anyio.run(main)
