"""Where the evidence of an execution lies: a run's sends hold theirs, and all else that a host does has a table."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from fix_app import STRANGER, TOKEN, World
from fix_parrot import Answer, Parrot
from fix_plane import Bench, Intents
from interlock import app, connections, plane
from interlock.adapters import sql
from interlock.kernel import InterlockError

pytestmark = pytest.mark.anyio


def receipts(packet: bytes) -> Sequence[plane.Receipt]:
    """Those of a packet's sends."""
    sends = json.loads(packet)["records"]["sends"]
    return [plane.Receipt.model_validate_json(json.dumps(send["receipt"])) for send in sends]


async def record(*, after: int = 0, **fields: Any) -> plane.EvidenceRecord:
    """What a sink is given of an execution, so many seconds after the first."""
    intents = Intents()
    intents.clock.advance(after)
    rules = [{"when": {"kind": "http"}, "answer": {"status": 200, "text": "x"}}]
    lane = plane.simulate(json.dumps({"contract": "interlock.scenario/v1", "name": "x", "rules": rules}))
    target = plane.LocalTarget("sim", target_class="made-up", lane_id=plane.SIMULATED, clock=intents.clock)
    intent = intents.http(**fields)
    receipt = await Bench(intents, lane, [target]).execute(intent, "made-up")
    return plane.EvidenceRecord.of(intent, receipt, capture=plane.Capture.OFF)


# -- a run's own


async def test_each_send_of_a_run_holds_its_evidence(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("cut_answer", match="issues/create")
        outcome = await process.create()
        kept = receipts(await process.il.runs.packet(outcome.run_id))
        assert len(kept) >= 2  # the write whose answer was cut, and the read that settled it
        for receipt in kept:
            assert receipt.evidence[0].type == "admitted"
            assert receipt.evidence[-1].type == "finished"
            assert plane.verify_evidence(receipt) is None
        history = await process.il.runs.history(outcome.run_id)
        assert [receipt.intent_digest for receipt in kept] == [send.intent_digest for send in history.sends]


async def test_a_receipt_without_the_secret_that_a_service_repeats_still_verifies(file_world: World, parrot: Parrot):
    parrot.say = lambda heard: Answer(b'{"login": "octo-agent"}', 200, {"etag": f'"{TOKEN}"'})
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        await process.connect(parrot.url)
        with pytest.raises(InterlockError) as failed:
            await process.create()
        assert failed.value.run_id is not None
        kept = receipts(await process.il.runs.packet(failed.value.run_id))
    assert kept
    for receipt in kept:
        assert ("etag", '"[redacted]"') in receipt.headers
        assert TOKEN not in receipt.canonical
        assert plane.verify_evidence(receipt) is None
        assert "redacted_from" in receipt.evidence[-1].data


async def test_a_run_has_no_second_copy(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        before = await process.il.evidence()
        await process.create()
        assert await process.il.evidence() == before


# -- what is done outside of runs


async def test_a_probe_leaves_evidence(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        [kept] = await process.il.evidence()
        assert plane.verify_evidence(kept.receipt) is None
        assert kept.receipt.status == 200
        assert kept.tenant_id == "default"
        assert kept.body is None
        assert await process.il.as_caller(STRANGER).evidence() == []
    async with world.process() as later:
        assert [each.digest for each in await later.il.evidence()] == [kept.digest]


async def test_a_probe_that_was_refused_leaves_evidence(file_world: World):
    async with file_world.process() as process:
        with pytest.raises(connections.ProbeFailed):
            await process.connect(file_world.server.url, token="ghp_wrong_0123456789")
        [kept] = await process.il.evidence()
        assert kept.receipt.status == 401


async def test_what_a_service_repeats_of_a_token_is_not_kept(file_world: World, parrot: Parrot):
    parrot.say = lambda heard: Answer(b'{"login": "octo-agent"}', 200, {"etag": f'"{TOKEN}"'})
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        await process.connect(parrot.url)
        [kept] = await process.il.evidence()
        assert ("etag", '"[redacted]"') in kept.receipt.headers
        assert TOKEN not in kept.canonical


async def test_without_a_writable_ledger_nothing_is_probed(file_world: World):
    async with file_world.doomed() as process:
        process.parts.store.close()
        with pytest.raises(connections.ProbeFailed, match="evidence"):
            await process.connect(file_world.server.url)
    assert not file_world.server.requests()


async def test_a_plane_by_itself_can_keep_its_evidence_in_a_store(file_world: World):
    async with file_world.process() as process:
        sinks = [process.il.evidence_sink]
        async with app.open_local_plane(sandboxes=[plane.LOCAL_PROCESS], sinks=sinks) as local:
            intent = plane.ProcessIntent(**local.identity(seconds=30), argv=("/bin/echo", "hello"))
            ref = await local.start(intent, target_class=plane.LOCAL_PROCESS)
            receipt = await local.executions.wait(ref)
        [kept] = await process.il.evidence()
        assert kept.receipt.evidence_head == receipt.evidence_head
        assert kept.run_id == intent.run_id


# -- the sink and its table


async def test_given_again_it_is_kept_once(store: sql.SqlStore):
    sink = sql.LedgerSink(store)
    kept = await record()
    await sink.emit(kept)
    await sink.emit(kept)
    await sink.flush()
    found = await store.read(lambda tx: sink.list_records(tx, "default"))
    assert [each.canonical for each in found] == [kept.canonical]


async def test_it_is_read_in_pages_newest_first(store: sql.SqlStore):
    sink = sql.LedgerSink(store)
    made = [await record(after=number // 2, trace_id=f"t-{number}") for number in range(5)]
    for each in made:
        await sink.emit(each)
    await sink.emit(await record(tenant_id="elsewhere"))
    first = await store.read(lambda tx: sink.list_records(tx, "default", limit=2))
    rest = await store.read(lambda tx: sink.list_records(tx, "default", cursor=first[-1].digest))
    moments = [each.receipt.finished_at for each in (*first, *rest)]
    assert moments == sorted(moments, reverse=True)
    assert {each.digest for each in (*first, *rest)} == {each.digest for each in made}
    assert len(moments) == 5


async def test_a_closed_store_takes_none(store: sql.SqlStore):
    sinks = plane.SinkSet([sql.LedgerSink(store)])
    assert await sinks.check() is None
    store.close()
    failure = await sinks.check()
    assert failure is not None
    assert failure.failure_class is plane.FailureClass.EVIDENCE_UNWRITABLE
