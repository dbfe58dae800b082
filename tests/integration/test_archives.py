"""Runs that ended long ago leave as packets, and nothing else does."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import func, select, update

from fix_app import ASK_WRITES, REVIEWER, STRANGER, Process, World, asked
from fix_dispatch import submitted, work
from interlock import dispatch, runs
from interlock.adapters import sql
from interlock.adapters.sql import archives, tables
from interlock.kernel import JSON, Caller, RequestError, StoreError, digest_bytes

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
OF_RUNS = (tables.attempts, tables.sends, tables.events, tables.artifacts, tables.decisions)


@dispatch.handler("noted")
async def noted(event: dispatch.Event, context: dispatch.Context) -> JSON:
    if event.payload.get("bad"):
        raise dispatch.Reject("it is broken")
    return {"seen": event.payload}


async def counts(process: Process, run_ids: Sequence[str]) -> list[int]:
    """How many rows hang on these runs, by table."""
    return await process.parts.store.read(
        lambda tx: [
            sql.connection(tx).execute(select(func.count()).where(each.c.run_id.in_(run_ids))).scalar_one()
            for each in OF_RUNS
        ]
    )


def lines(archive: runs.Archive) -> list[dict[str, Any]]:
    text = gzip.decompress(Path(archive.folder, archive.name).read_bytes())
    return [json.loads(line) for line in text.splitlines()]


def damage(archive: runs.Archive) -> None:
    path = Path(archive.folder, archive.name)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)


async def test_what_ended_long_ago_leaves_as_it_was(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "LOOKED_AT", 2)
    async with world.process() as process:
        il, dead = process.il, await submitted(process, "noted", {"bad": True})
        plain = [await submitted(process, "noted", {"n": number}) for number in range(3)]
        keyed = await submitted(process, "noted", idempotency_key="one")
        await work(process, noted)
        others = await il.as_caller(STRANGER).dispatch.submit("noted")
        await work(process, noted)
        packets = {run_id: await il.runs.packet(run_id) for run_id in plain}
        page = await il.runs.list(limit=2)
        world.advance(20 * 86_400)
        young = await submitted(process, "noted")
        await work(process, noted)
        plan = await il.archives.plan(older_than=10 * DAY)
        assert plan.runs == 3
        assert sum(await counts(process, plain)) > 12
        seen: list[int] = []
        done = await il.archives.write(
            older_than=10 * DAY, folder=tmp_path / "a", on_progress=lambda each: seen.append(each.runs)
        )
        assert (done.runs, seen) == (3, [1, 3])
        assert await counts(process, plain) == [0] * len(OF_RUNS)
        assert {run.run_id for run in await il.runs.list()} == {dead, keyed, young}
        assert (await il.as_caller(STRANGER).runs.fetch(others.run_id)).state is runs.State.COMPLETED
        # A key's promise is kept as long as it was made for.
        assert (await il.dispatch.submit("noted", idempotency_key="one")).run_id == keyed
        # A list goes on after what has left meanwhile.
        assert [run.run_id for run in await il.runs.list(cursor=plain[2])] == [dead]
        assert len(page) == 2
        (archive,) = done.archives
        head = archive.after
        for told, run_id in zip(lines(archive), plain, strict=False):
            assert told["records"]["run"]["run_id"] == run_id
            assert told["events"] == json.loads(packets[run_id])["events"]
            packet = await il.runs.packet(run_id)
            assert json.loads(packet) == told
            assert runs.verify.verify(packet, trust=runs.Trust.parse(await il.trust())).ok
            head = digest_bytes(f"{head}\n{run_id}\n{digest_bytes(packet)}".encode())
        assert (head, lines(archive)[-1]) == (archive.head, json.loads(archive.seal_json or ""))
        world.advance(20 * 86_400)
        later = await il.archives.write(older_than=10 * DAY, folder=tmp_path / "a")
        assert later.runs == 2
        assert (later.archives[0].number, later.archives[0].after) == (2, archive.head)
        assert [each.number for each in await il.archives.list()] == [2, 1]
        assert [each.number for each in await il.archives.list(cursor=later.archives[0].archive_id)] == [1]
        assert [run.run_id for run in await il.runs.list()] == [dead]
        assert (await il.archives.write(older_than=10 * DAY, folder=tmp_path / "a")).runs == 0


async def test_an_archived_run_is_told_from_one_that_never_was(world: World, tmp_path: Path):
    async with world.process() as process:
        run_id = await submitted(process, "noted")
        await work(process, noted)
        world.advance(1)
        done = await process.il.archives.write(older_than=timedelta(0), folder=tmp_path)
        with pytest.raises(runs.RunArchived) as gone:
            await process.il.runs.history(run_id)
        assert gone.value.details["archive_id"] == done.archives[0].archive_id
        limited = Caller(actor="bot", capabilities=frozenset({"handler.noted"}))
        for caller in (STRANGER, limited):
            with pytest.raises(runs.RunNotFound) as unknown:
                await process.il.as_caller(caller).runs.packet(run_id)
            assert unknown.value.code == "run_not_found"
        damage(done.archives[0])
        with pytest.raises(runs.ArchiveDamaged):
            await process.il.runs.packet(run_id)
        with pytest.raises(RequestError, match="how old"):
            await process.il.archives.plan()


async def test_an_approval_leaves_with_the_last_run_that_needs_it(world: World, tmp_path: Path):
    world.law = ASK_WRITES
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        waiting = await process.create("Window")
        await process.reviewer.approvals.approve(asked(held))
        await process.il.approvals.execute(asked(held))
        world.advance(3600)
        assert (await process.il.archives.write(older_than=timedelta(0), folder=tmp_path)).runs == 1
        packet = json.loads(await process.il.runs.packet(held.run_id))
        (approval,) = packet["records"]["approvals"]
        assert (approval["approval_id"], approval["reviewer"]) == (asked(held), REVIEWER.actor)
        assert packet["records"]["connection"]["connector_id"] == "acme"
        assert packet["records"]["capability"]["capability_id"] == "acme.issue.create"
        assert [each.approval_id for each in await process.il.approvals.list()] == [asked(waiting)]


async def test_only_one_process_archives_a_tenant(world: World, tmp_path: Path):
    async with world.process() as process, world.process() as other:
        await submitted(process, "noted")
        await work(process, noted)
        world.advance(1)
        clock, records = process.parts.wiring.clock, sql.ArchiveRecords()
        left = runs.Archive(
            archive_id=process.parts.wiring.ids.new("arc"), tenant_id="default", number=0, folder=str(tmp_path),
            name="tenant-default/left.jsonl.gz", runs=0, size=0, after="", head="", opened_at=clock.now(),
            claimed_until=clock.now() + timedelta(minutes=2),
        )  # fmt: skip
        await process.parts.store.write(lambda tx: records.begin(tx, left))
        with pytest.raises(runs.ArchiveBusy):
            await other.il.archives.write(older_than=timedelta(0), folder=tmp_path)
        world.advance(121)
        done = await other.il.archives.write(older_than=timedelta(0), folder=tmp_path)
        assert [each.number for each in done.archives] == [1]
        assert done.runs == 1


async def test_a_folder_that_takes_nothing_leaves_everything_where_it_was(world: World, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    async with world.process() as process:
        run_id = await submitted(process, "noted")
        await work(process, noted)
        world.advance(1)
        with pytest.raises(StoreError) as refused:
            await process.il.archives.write(older_than=timedelta(0), folder=tmp_path / "file")
        assert refused.value.code == "archive_unavailable"
        assert (await process.il.runs.fetch(run_id)).state is runs.State.COMPLETED
        done = await process.il.archives.write(older_than=timedelta(0), folder=tmp_path / "good")
        assert done.runs == 1


async def damage_run(process: Process, run_id: str, error: str | None) -> None:
    change = update(tables.runs).where(tables.runs.c.run_id == run_id).values(error=error)
    await process.parts.store.write(lambda tx: sql.connection(tx).execute(change))


async def test_what_cannot_be_read_stays_and_is_told_of(world: World, tmp_path: Path):
    async with world.process() as process:
        run_ids = [await submitted(process, "noted") for _ in range(5)]
        await work(process, noted)
        of_one = update(tables.attempts).where(tables.attempts.c.run_id == run_ids[3])
        await process.parts.store.write(lambda tx: sql.connection(tx).execute(of_one.values(state="rubbish")))
        await damage_run(process, run_ids[1], "{")
        world.advance(1)
        done = await process.il.archives.write(older_than=timedelta(0), folder=tmp_path)
        assert (done.runs, done.unreadable, done.stays) == (3, 2, (run_ids[1], run_ids[3]))
        assert [len(lines(archive)) for archive in done.archives] == [4]
        await process.parts.store.write(lambda tx: sql.connection(tx).execute(of_one.values(state="completed")))
        await damage_run(process, run_ids[1], None)
        done = await process.il.archives.write(older_than=timedelta(0), folder=tmp_path)
        assert (done.runs, done.unreadable) == (2, 0)


async def test_a_run_that_cannot_be_read_keeps_no_other_from_leaving(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with world.process() as process:
        mine = await submitted(process, "noted")
        other = (await process.il.as_caller(STRANGER).dispatch.submit("noted")).run_id
        whole = await submitted(process, "noted")
        await work(process, noted)
        await damage_run(process, mine, "{")
        world.advance(2 * 86_400)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(process.parts.archiving.keep, after=DAY, folder=str(tmp_path)))
            with anyio.fail_after(60):
                while any(await counts(process, [other, whole])):  # noqa: ASYNC110 - the archive tells nobody
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert "1 runs of 'default' cannot be read, and stay" in caplog.text
        assert (await counts(process, [mine]))[2] > 0
        await damage_run(process, mine, None)


# -- archives are proven


@pytest.fixture
async def kept(file_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Path], runs.Trust]:
    """Two archives of five runs and of one, and whom to trust."""
    async with file_world.process() as process:
        for count in (5, 1):
            for number in range(count):
                await submitted(process, "noted", {"n": number})
            await work(process, noted)
            file_world.advance(1)
            await process.il.archives.write(older_than=timedelta(0), folder=tmp_path / "kept")
        trust = runs.Trust.parse(await process.il.trust())
    return sorted((tmp_path / "kept").rglob("*.jsonl.gz")), trust


def pieces(data: bytes) -> list[bytes]:
    return [gzip.compress(line + b"\n", 6, mtime=0) for line in gzip.decompress(data).splitlines()]


def proven(data: bytes, trust: runs.Trust | None) -> runs.verify_archive.ArchiveVerdict:
    return runs.verify_archive.verify_archive(data, trust=trust)


async def test_all_packets_of_archives_are_proven_and_the_chain_over_them(kept: tuple[list[Path], runs.Trust]):
    (first, second), trust = kept
    told: list[int] = []
    verdict = runs.verify_archive.verify_archive(first.read_bytes(), trust=trust, told=told.append)
    assert (verdict.ok, verdict.packets, verdict.unproven, verdict.number) == (True, 5, 0, 1)
    assert told == [1, 2, 3, 4, 5]
    both = [(path.name, proven(path.read_bytes(), trust)) for path in (second, first)]
    assert runs.verify_archive.gaps(both) == []
    unknown = proven(first.read_bytes(), None)
    assert (unknown.status, unknown.problems, unknown.unproven, unknown.amiss) == ("intact_signer_unknown", (), 5, 0)
    stranger = proven(first.read_bytes(), runs.Trust({"key_other": "A" * 43}))
    assert (stranger.status, stranger.unproven) == ("wrong_signer", 5)


async def test_what_is_not_as_it_was_sealed_is_told_and_the_rest_is_checked(kept: tuple[list[Path], runs.Trust]):
    (first, second), trust = kept
    data, whole = first.read_bytes(), pieces(first.read_bytes())
    assert b"".join(whole) == data
    broken = bytearray(data)
    broken[len(whole[0]) + 200] ^= 1
    found = proven(bytes(broken), trust)
    assert (found.packets, found.unproven, [each.number for each in found.failed]) == (5, 1, [2])
    changed = gzip.compress(
        gzip.decompress(whole[2]).replace(b'"noted"', b'"other"').replace(b"noted", b"other"), mtime=0
    )
    altered = proven(b"".join([*whole[:2], changed, *whole[3:]]), trust)
    assert (altered.status, [each.number for each in altered.failed]) == ("altered", [3])
    for other, told in (
        ([*whole[:2], *whole[3:]], "it has 4 packets, and 5 were sealed"),
        ([whole[0], *whole], "it has 6 packets, and 5 were sealed"),
        ([whole[1], whole[0], *whole[2:]], "it ends otherwise than it was sealed"),
        ([*pieces(second.read_bytes())[:1], *whole[1:]], "it ends otherwise than it was sealed"),
        (whole[:-1], "it was cut off"),
        ([*whole[:-1], pieces(second.read_bytes())[-1]], "it has 5 packets, and 1 were sealed"),
    ):
        verdict = proven(b"".join(other), trust)
        assert not verdict.ok
        assert told in str(verdict.problems)
        assert verdict.unproven == 0
    seal = gzip.compress(gzip.decompress(whole[-1]).replace(b'"number":1', b'"number":2'), mtime=0)
    forged = proven(b"".join([*whole[:-1], seal]), trust)
    assert "does not fit" in str(forged.problems)
    assert proven(b"", trust).status == "malformed"
    assert proven(data[: len(data) // 2], trust).status == "malformed"
    ours, theirs = proven(data, trust), proven(second.read_bytes(), trust)
    assert "is another archive 1" in str(runs.verify_archive.gaps([("a", ours), ("b", ours)]))
    later = replace(theirs, number=3)
    assert "1 archives of default are missing" in str(runs.verify_archive.gaps([("a", ours), ("b", later)]))
    assert "does not go on" in str(runs.verify_archive.gaps([("a", ours), ("b", replace(theirs, after="x"))]))
