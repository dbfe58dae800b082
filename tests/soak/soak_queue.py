"""Workers that are killed, frozen and cut off at random moments: every job that was put is handed over, none is left, and
hardly any twice."""

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator

import anyio
import psycopg
import pytest

from fix_queues import Yard
from queue_workers import Process

pytestmark = [pytest.mark.soak, pytest.mark.anyio, pytest.mark.timeout(1800)]

SEED = int(os.environ.get("SOAK_SEED", "1"))
ROUNDS = int(os.environ.get("SOAK_ROUNDS", "100"))
WORKERS = 3
AT_ONCE = 4
JOBS = 50


class Shift:
    """Three workers; whoever is killed is replaced."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard
        self._chance = random.Random(SEED)
        self._at_work = [self._start() for _ in range(WORKERS)]
        self._gone: list[Process] = []

    def _start(self) -> Process:
        return Process(self._yard.url, at_once=AT_ONCE)

    async def disturb(self) -> None:
        """Do one of them harm, or the database."""
        number = self._chance.randrange(WORKERS)
        match self._chance.choice(["kill", "freeze", "cut"]):
            case "kill":
                self._at_work[number].close()
                self._gone.append(self._at_work[number])
                self._at_work[number] = self._start()
            case "freeze":
                self._at_work[number].send(signal.SIGSTOP)
                await anyio.sleep(self._chance.uniform(0, 2.5))  # chance is the point here: no condition is waited for
                self._at_work[number].send(signal.SIGCONT)
            case _ if self._yard.is_postgres:
                with psycopg.connect(self._yard.url, autocommit=True) as session:
                    session.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'interlock%'"
                    )
            case _:
                await anyio.sleep(self._chance.uniform(0, 0.2))

    def close(self) -> Counter[str]:
        """How often each job was handed over."""
        for process in self._at_work:
            process.close()
        lines = [line for process in [*self._at_work, *self._gone] for line in process.said()]
        return Counter(line.removeprefix("handed ") for line in lines if line.startswith("handed "))


@pytest.fixture
def shift(yard: Yard) -> Iterator[Shift]:
    shift = Shift(yard)
    yield shift
    shift.close()


async def test_nothing_is_lost(yard: Yard, shift: Shift):
    jobs = [yard.job() for _ in range(ROUNDS * JOBS)]
    for start in range(0, len(jobs), JOBS):
        await yard.put(*jobs[start : start + JOBS])
        await shift.disturb()
    await yard.gone(*jobs)
    handed = shift.close()
    assert handed.keys() == {job.work_id for job in jobs}
    again = sum(handed.values()) - len(jobs)
    print(f"seed {SEED}: {again} of {len(jobs)} jobs were handed over again")
    assert again <= ROUNDS * AT_ONCE
