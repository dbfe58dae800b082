"""SIGKILL at every commit of archiving: each run is in the ledger or in an archive, never in both; others go on."""

import gzip
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import anyio

from fault_kills import commits_of, kill_at
from fix_faults import Case, Child, Watcher
from interlock import dispatch, runs
from interlock.kernel import SystemClock
from interlock.testing import ManualClock

MakeCase = Callable[[], Case]
COUNT = 3


@dispatch.handler("noted")
async def noted(event: dispatch.Event, context: dispatch.Context) -> None:
    """Nothing is to be done."""


async def fill(case: Case) -> None:
    """Runs that have ended."""
    async with case.watch(SystemClock()) as il:
        for _ in range(COUNT):
            await il.dispatch.submit("noted")
        worker = il.worker(noted)
        while due := await il.dispatch.list():
            for each in due:
                await worker.handle(each.due.job)


def kept(folder: Path) -> list[str]:
    """The runs whose packets lie in the archives of a folder, by what the files alone say."""
    texts = [gzip.decompress(path.read_bytes()) for path in folder.rglob("*.gz")]
    documents = [json.loads(line) for text in texts for line in text.splitlines()]
    return [each["records"]["run"]["run_id"] for each in documents if "records" in each]


async def verified(il: Watcher, run_ids: list[str]) -> None:
    trust = runs.Trust.parse(await il.trust())
    for run_id in run_ids:
        verdict = runs.verify.verify(await il.runs.packet(run_id), trust=trust)
        assert verdict.ok, verdict


async def go_on(case: Case, folder: Path) -> int:
    """What another process finds, later, and how many it has leave."""
    async with case.watch(ManualClock(SystemClock().now() + timedelta(minutes=3))) as il:
        there = {run.run_id for run in await il.runs.list()}
        gone = [each.runs for each in await il.archives.list()]
        assert len(there) + sum(gone) == COUNT
        done = await il.archives.write(older_than=timedelta(0), folder=folder)
        assert await il.runs.list() == []
        found = kept(folder)
        assert sorted(set(found)) == sorted(found)
        assert len(found) == COUNT
        assert there <= set(found)
        await verified(il, found)
        chain = list(reversed(await il.archives.list()))
        assert all(each.seal_json for each in chain)
        assert [each.after for each in chain] == [runs.genesis("default"), *(each.head for each in chain[:-1])]
        return done.runs


def test_a_kill_at_every_commit_of_archiving(child: Child, make_case: MakeCase, tmp_path: Path) -> None:
    case = make_case()
    anyio.run(fill, case)
    commits = commits_of(child, case, "archived", key=str(tmp_path / "dry"))
    assert len(commits) >= 3
    left: dict[str, int] = {}
    for number in range(1, len(commits) + 1):
        for when in ("before", "after"):
            case, folder = make_case(), tmp_path / f"{when}-{number}"
            anyio.run(fill, case)
            killed = kill_at(child, case, "archived", when, number, key=str(folder))
            left[killed.boundary] = anyio.run(go_on, case, folder)
    assert set(left.values()) == {0, COUNT}, left
