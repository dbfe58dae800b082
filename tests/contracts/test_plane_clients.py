"""What every client of a node does, near or far: start, follow, feed, steer, cancel, and answer for what it accepted."""

import fcntl
import resource
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fix_plane import NODE_ID, EchoLane, Intents, check_receipt
from fix_remote import dialled, served, signer_of
from interlock import plane
from interlock.adapters import nodes
from interlock.kernel import RequestError, StoreError
from interlock.testing import SequentialIds

pytestmark = pytest.mark.anyio


Opened = Callable[..., AbstractAsyncContextManager[plane.Client]]


@dataclass
class Bed:
    """A node to reach, and what is needed to use it."""

    intents: Intents
    lane: EchoLane
    authorizer: plane.Authorizer
    node: plane.Node
    journal: Path
    opened: Opened
    numbers: list[int] = field(default_factory=list[int])

    def intent(self, url: str = "/echo", **fields: Any) -> plane.HttpIntent:
        self.numbers.append(1)
        later = self.intents.clock.now() + timedelta(days=1)
        named = {"intent_id": f"snd_{len(self.numbers)}", "deadline_at": later, **fields}
        return self.intents.http(url=f"https://api.acme.dev{url}", **named)

    def authority(self, intent: plane.Intent) -> plane.AuthorityDecision:
        return self.authorizer.issue(intent.digest, audience=NODE_ID, target_class=plane.LOCAL_HTTP)

    async def start(self, client: plane.Client, intent: plane.Intent) -> plane.ExecutionRef:
        return await client.start(intent, authority=self.authority(intent), target_class=plane.LOCAL_HTTP)


@pytest.fixture(params=["local", "remote"])
def bed(request: pytest.FixtureRequest, tmp_path: Path, node_keys: Path) -> Bed:
    intents, lane = Intents(), EchoLane()
    authorizer = plane.Authorizer(clock=intents.clock)
    target = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="echo", clock=intents.clock)
    node = plane.Node(
        NODE_ID,
        lanes=[lane],
        targets=[target],
        verifier=authorizer.verifier(),
        clock=intents.clock,
        signer=signer_of(node_keys),
    )
    ids = SequentialIds()

    @asynccontextmanager
    async def opened(path: Path = tmp_path / "journal", **options: Any) -> AsyncGenerator[plane.Client]:
        async with (
            aclosing(nodes.FileJournal(path, clock=intents.clock)) as journal,
            plane.Executions(node, clock=intents.clock, ids=ids, journal=journal, **options) as executions,
        ):
            if request.param == "local":
                yield executions
            else:
                async with served(node, executions, node_keys, intents.clock) as url, dialled(url, node_keys) as client:
                    yield client

    return Bed(intents, lane, authorizer, node, tmp_path / "journal", opened)


async def rest(client: plane.Client, ref: plane.ExecutionRef, after: int = 0) -> list[plane.ExecutionEvent]:
    async with aclosing(client.subscribe(ref, after=after)) as events:
        return [event async for event in events]


async def test_what_is_sent_in_comes_out_and_the_receipt_is_last(bed: Bed) -> None:
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent())
        for word in (b"one", b"two"):
            await client.send_input(ref, plane.Input(data=word))
        await client.end_input(ref)
        events = await rest(client, ref)
        receipt = await client.wait(ref)
        status = await client.status(ref)
    output = [event.data for event in events if event.type is plane.EventType.OUTPUT]
    assert output == [b"one", b"two"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].receipt == receipt == status.receipt
    assert receipt.facts == {"exit_code": 0}
    assert status.state is plane.ExecutionState.COMPLETED
    assert not status.input_open
    check_receipt(receipt)


async def test_a_reader_goes_on_from_its_cursor(bed: Bed) -> None:
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent())
        await client.send_input(ref, plane.Input(data=b"one"))
        async with aclosing(client.subscribe(ref)) as events:
            seen = [await anext(events) for _ in range(2)]
        await client.send_input(ref, plane.Input(data=b"two"))
        await client.end_input(ref)
        later = await rest(client, ref, after=seen[-1].seq)
    assert seen[-1].data == b"one"
    assert [event.data for event in later if event.type is plane.EventType.OUTPUT] == [b"two"]


async def test_after_the_receipt_there_is_nothing(bed: Bed) -> None:
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent())
        await client.end_input(ref)
        events = await rest(client, ref)
        assert await rest(client, ref, after=events[-1].seq) == []
        assert await rest(client, ref, after=events[-2].seq) == events[-1:]


async def test_a_reader_that_waits_holds_the_lane_up_and_misses_nothing(bed: Bed) -> None:
    pieces, came = [bytes([number]) * 65_536 for number in range(40)], list[plane.ExecutionEvent]()
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent())
        async with aclosing(client.subscribe(ref)) as events, anyio.create_task_group() as tasks:
            assert (await anext(events)).type is plane.EventType.STARTED

            async def feed() -> None:
                for piece in pieces:
                    await client.send_input(ref, plane.Input(data=piece))
                await client.end_input(ref)

            tasks.start_soon(feed)
            while (await client.status(ref)).last_seq < 10:
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            assert (await client.status(ref)).last_seq < len(pieces)
            came = [event async for event in events]
    assert [event.data for event in came if event.type is plane.EventType.OUTPUT] == pieces


async def test_one_who_leaves_early_holds_nobody_up(bed: Bed) -> None:
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent())
        async with aclosing(client.subscribe(ref)) as events:
            await anext(events)
        for _ in range(40):
            await client.send_input(ref, plane.Input(data=bytes(65_536)))
        await client.end_input(ref)
        assert (await client.wait(ref)).failure is None
        gap, *later = await rest(client, ref, after=1)
    assert gap.type is plane.EventType.GAP
    assert [event.seq for event in later] == list(range(gap.seq + 1, later[-1].seq + 1))


async def test_the_same_key_and_intent_are_begun_once(bed: Bed) -> None:
    intent = bed.intent(idempotency_key="once")
    async with bed.opened() as client:
        authority = bed.authority(intent)
        first = await client.start(intent, authority=authority, target_class=plane.LOCAL_HTTP)
        again = await client.start(intent, authority=authority, target_class=plane.LOCAL_HTTP)
        renewed = await bed.start(client, intent)
        other = bed.intent("/other", idempotency_key="once")
        with pytest.raises(plane.ExecutionConflict):
            await bed.start(client, other)
        await client.end_input(first)
        await client.wait(first)
        ended = await bed.start(client, intent)
    assert first == again == renewed == ended
    assert bed.lane.begun == 1


async def test_without_authority_nothing_is_begun(bed: Bed) -> None:
    async with bed.opened() as client:
        with pytest.raises(plane.ExecutionRejected) as rejected:
            await client.start(bed.intent(), authority=None, target_class=plane.LOCAL_HTTP)
        known = bed.intent(idempotency_key="once")
        await bed.start(client, known)
        with pytest.raises(plane.ExecutionRejected):
            await client.start(known, authority=None, target_class=plane.LOCAL_HTTP)
    assert rejected.value.failure.code == "authority_missing"
    check_receipt(rejected.value.receipt)
    assert bed.lane.begun == 1


@pytest.mark.parametrize(("intent", "target_class"), [(None, plane.LOCAL_HTTP), ({}, plane.LOCAL_HTTP), (..., None)])
async def test_what_is_no_request_is_told(bed: Bed, intent: Any, target_class: Any) -> None:
    async with bed.opened() as client:
        with pytest.raises(RequestError, match=r"^(the intent|target_class) must be an? "):
            await client.start(bed.intent() if intent is ... else intent, authority=None, target_class=target_class)


async def test_cancelling_ends_it_and_leaves_nothing(bed: Bed) -> None:
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent("/stuck"))
        await anyio.wait_all_tasks_blocked()
        statuses = [await client.cancel(ref), await client.cancel(ref)]
        receipt = await client.wait(ref)
    assert [status.state for status in statuses] == [plane.ExecutionState.CANCELLED] * 2
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.CANCELLED
    assert bed.lane.begun == bed.lane.left == 1


async def test_one_that_has_ended_stays_as_it_ended(bed: Bed) -> None:
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent("/broken"))
        await client.end_input(ref)
        before = await client.wait(ref)
        status = await client.cancel(ref)
        with pytest.raises(plane.InputClosed):
            await client.send_input(ref, plane.Input(data=b"late"))
    assert status.state is plane.ExecutionState.FAILED
    assert status.receipt == before


async def test_who_attaches_steers_and_the_earlier_only_reads(bed: Bed) -> None:
    async with bed.opened() as client:
        first = await bed.start(client, bed.intent())
        second = await client.attach(first)
        for steer in (client.send_input(first, plane.Input(data=b"x")), client.end_input(first), client.cancel(first)):
            with pytest.raises(plane.StaleExecution):
                await steer
        await client.end_input(second)
        assert (await client.wait(first)).failure is None


async def test_an_execution_that_nobody_knows(bed: Bed) -> None:
    nobody = plane.ExecutionRef(node_id=NODE_ID, execution_id="exe_nobody", fence=1)
    elsewhere = plane.ExecutionRef(node_id="another", execution_id="exe_nobody", fence=1)
    async with bed.opened() as client:
        for ref in (nobody, elsewhere):
            with pytest.raises(plane.ExecutionNotFound):
                await client.status(ref)
            with pytest.raises(plane.ExecutionNotFound):
                await rest(client, ref)


async def test_a_full_node_refuses_and_spends_no_authority(bed: Bed) -> None:
    async with bed.opened(capacity=1) as client:
        stuck = await bed.start(client, bed.intent("/stuck"))
        intent = bed.intent()
        authority = bed.authority(intent)
        with pytest.raises(plane.ExecutionRejected) as rejected:
            await client.start(intent, authority=authority, target_class=plane.LOCAL_HTTP)
        await client.cancel(stuck)
        ref = await client.start(intent, authority=authority, target_class=plane.LOCAL_HTTP)
        await client.end_input(ref)
        assert (await client.wait(ref)).failure is None
    assert rejected.value.failure.code == "node_full"


async def test_a_durable_intent_is_for_nodes_that_keep_a_journal(bed: Bed) -> None:
    clock, refused = bed.intents.clock, list[plane.Receipt]()
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent("/stuck", durable=True))
        await client.cancel(ref)
    intent = bed.intent(durable=True)
    authority = bed.authority(intent)
    async with plane.Executions(bed.node, clock=clock, ids=SequentialIds()) as forgetful:
        with pytest.raises(plane.ExecutionRejected) as rejected:
            await forgetful.start(intent, authority=authority, target_class=plane.LOCAL_HTTP)
        refused.append(rejected.value.receipt)
    refused.append(await bed.node.execute(intent, authority=authority, target_class=plane.LOCAL_HTTP))
    for receipt in refused:
        check_receipt(receipt)
        assert receipt.failure is not None
        assert (receipt.failure.code, receipt.delivery) == ("no_journal", plane.Delivery.NOT_SENT)
    assert bed.lane.begun == 1
    async with bed.opened() as client:  # and its authority is unused
        await client.cancel(await client.start(intent, authority=authority, target_class=plane.LOCAL_HTTP))


async def test_what_a_node_accepted_before_it_was_lost_is_ambiguous_and_never_begun_again(bed: Bed) -> None:
    done, lost = bed.intent(idempotency_key="done"), bed.intent("/stuck", idempotency_key="lost")
    async with bed.opened() as client:
        finished = await bed.start(client, done)
        await client.end_input(finished)
        receipt = await client.wait(finished)
        unfinished = await bed.start(client, lost)
        as_it_was = bed.journal.with_name("found after the crash")
        as_it_was.write_bytes(bed.journal.read_bytes())
    async with bed.opened(as_it_was) as client:
        again = await bed.start(client, lost)
        status = await client.status(again)
        assert await client.wait(await bed.start(client, done)) == receipt
    assert again.execution_id == unfinished.execution_id
    assert status.state is plane.ExecutionState.AMBIGUOUS
    assert status.receipt is not None
    assert status.receipt.bytes_sent is None
    assert plane.verify_evidence(status.receipt) is None
    assert bed.lane.begun == 2


async def test_closing_the_node_ends_what_runs(bed: Bed) -> None:
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent("/stuck"))
        await anyio.wait_all_tasks_blocked()
    async with bed.opened() as client:
        status = await client.status(ref)
    assert status.state is plane.ExecutionState.CANCELLED
    assert bed.lane.left == 1


async def test_executions_that_ended_long_ago_are_forgotten(bed: Bed) -> None:
    async with bed.opened() as client:
        old = await bed.start(client, bed.intent())
        await client.end_input(old)
        await client.wait(old)
        bed.intents.clock.advance(plane.RETAIN.total_seconds() + 1)
        new = await bed.start(client, bed.intent())
        with pytest.raises(plane.ExecutionNotFound):
            await client.status(old)
        assert (await client.status(new)).state is plane.ExecutionState.RUNNING


class Shelf:
    """A sink in memory."""

    name = "shelf"

    def __init__(self) -> None:
        self.records: list[plane.EvidenceRecord] = []

    async def emit(self, record: plane.EvidenceRecord) -> None:
        self.records.append(record)

    async def flush(self) -> None: ...

    async def aclose(self) -> None: ...


@asynccontextmanager
async def begun_again(bed: Bed, path: Path, sinks: plane.SinkSet | None = None) -> AsyncGenerator[plane.Executions]:
    """The node as another process has it: with the journal, and with no memory of its own."""
    target = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="echo", clock=bed.intents.clock)
    verifier, clock = bed.authorizer.verifier(), bed.intents.clock
    node = plane.Node(NODE_ID, lanes=[bed.lane], targets=[target], verifier=verifier, clock=clock, sinks=sinks)
    async with (
        aclosing(nodes.FileJournal(path, clock=clock)) as journal,
        plane.Executions(node, clock=clock, ids=SequentialIds(), journal=journal) as executions,
    ):
        yield executions


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/dev/full", "/dev/full is not a regular file"),
        ("/dev/null", "/dev/null is not a regular file"),
        ("not-there/journal", "No such file or directory"),
        (".", "Is a directory"),
    ],
)
async def test_what_cannot_be_a_journal_is_refused_and_nothing_is_made(
    bed: Bed, tmp_path: Path, path: str, words: str
) -> None:
    async with aclosing(nodes.FileJournal(tmp_path / path, clock=bed.intents.clock)) as journal:
        with pytest.raises(nodes.JournalUnavailable, match=words):
            await journal.load()
    assert not (tmp_path / "not-there").exists()


async def test_the_receipt_of_a_lost_execution_is_evidence_once(bed: Bed, tmp_path: Path) -> None:
    intent, shelf, crashed = bed.intent("/stuck"), Shelf(), tmp_path / "found after the crash"
    async with bed.opened() as client:
        ref = await bed.start(client, intent)
        crashed.write_bytes(bed.journal.read_bytes())
    told: list[plane.Receipt] = []
    for _ in range(2):
        async with begun_again(bed, crashed, plane.SinkSet([shelf])) as executions:
            told.append(await executions.wait(ref))
    [record] = shelf.records
    assert told == [record.receipt] * 2
    assert (record.tenant_id, record.run_id, record.attempt_id) == (intent.tenant_id, intent.run_id, intent.attempt_id)


class Witness(Shelf):
    """A sink that keeps what stands in the journal at the moment at which it is given evidence."""

    def __init__(self, journal: Path, copy: Path) -> None:
        super().__init__()
        self._journal, self._copy = journal, copy

    async def emit(self, record: plane.EvidenceRecord) -> None:
        await super().emit(record)
        self._copy.write_bytes(self._journal.read_bytes())


async def test_a_node_that_is_lost_between_evidence_and_journal_leaves_both_receipts(bed: Bed, tmp_path: Path) -> None:
    """Of which the first is what happened: the second says that nobody knows."""
    intent, crashed = bed.intent(), tmp_path / "found after the crash"
    witness = Witness(bed.journal, crashed)
    async with begun_again(bed, bed.journal, plane.SinkSet([witness])) as first:
        authority = bed.authority(intent)
        ref = await first.start(intent, authority=authority, target_class=plane.LOCAL_HTTP)
        await first.end_input(ref)
        receipt = await first.wait(ref)
    shelf = Shelf()
    async with begun_again(bed, crashed, plane.SinkSet([shelf])) as second:
        status = await second.status(ref)
    [true], [unknown] = witness.records, shelf.records
    assert true.receipt == receipt
    assert status.state is plane.ExecutionState.AMBIGUOUS
    assert (unknown.receipt.intent_digest, unknown.run_id) == (receipt.intent_digest, true.run_id)
    assert [each.receipt.evidence[-1].type for each in (true, unknown)] == ["finished", "lost"]


async def test_an_authority_that_was_used_before_the_node_was_lost_serves_nobody(bed: Bed, tmp_path: Path) -> None:
    """Not another client either, in whose name it would be another execution."""
    intent, crashed = bed.intent("/stuck"), tmp_path / "found after the crash"
    authority = bed.authority(intent)
    async with begun_again(bed, bed.journal) as first:
        ref = await first.start(intent, authority=authority, target_class=plane.LOCAL_HTTP, asked_by="ann")
        crashed.write_bytes(bed.journal.read_bytes())
    async with begun_again(bed, crashed) as second:
        with pytest.raises(plane.ExecutionRejected) as rejected:
            await second.start(intent, authority=authority, target_class=plane.LOCAL_HTTP, asked_by="bob")
        again = await second.start(intent, authority=authority, target_class=plane.LOCAL_HTTP, asked_by="ann")
    assert rejected.value.failure.code == "authority_replayed"
    assert again.execution_id == ref.execution_id
    assert bed.lane.begun == 1


class Stubborn(nodes.FileJournal):
    """A journal on a disk without room."""

    async def accept(self, acceptance: plane.Acceptance) -> None:
        await anyio.lowlevel.checkpoint()
        raise nodes.JournalUnavailable("no room")


async def test_what_could_not_be_accepted_is_begun_for_nobody_who_asked_meanwhile(bed: Bed, tmp_path: Path) -> None:
    intent, errors = bed.intent(idempotency_key="once"), list[Exception]()
    journal = Stubborn(tmp_path / "full", clock=bed.intents.clock)
    async with plane.Executions(bed.node, clock=bed.intents.clock, ids=SequentialIds(), journal=journal) as client:

        async def start() -> None:
            try:
                await bed.start(client, intent)
            except StoreError as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(start)
    await journal.aclose()
    assert len(errors) == 3
    assert bed.lane.begun == 0


async def test_an_old_execution_that_is_forgotten_does_not_take_the_key_of_a_newer_one(bed: Bed) -> None:
    """Both had the same key; the older one was forgotten before, and comes back with the journal."""
    intent, retain = bed.intent("/stuck", idempotency_key="once"), plane.RETAIN.total_seconds()
    async with bed.opened() as client:
        long = await bed.start(client, bed.intent())
        old = await bed.start(client, intent)
        await client.cancel(old)
        await client.end_input(long)
        await client.wait(long)
        bed.intents.clock.advance(retain + 1)
        intent = bed.intent("/stuck", idempotency_key="once", intent_id="snd_9")
        newer = await bed.start(client, intent)
        as_it_was = bed.journal.with_name("found after the crash")
        as_it_was.write_bytes(bed.journal.read_bytes())
    async with bed.opened(as_it_was) as client:
        bed.intents.clock.advance(retain - 1)
        await bed.start(client, bed.intent())
        again = await bed.start(client, intent)
        assert (await client.status(again)).state is plane.ExecutionState.AMBIGUOUS
    assert again.execution_id == newer.execution_id
    assert bed.lane.begun == 4


async def test_what_ended_long_ago_leaves_the_journal_when_it_is_loaded(bed: Bed) -> None:
    async with bed.opened() as client:
        for number in range(5):
            await client.cancel(await bed.start(client, bed.intent("/stuck", intent_id=f"old_{number}")))
        bed.intents.clock.advance(plane.RETAIN.total_seconds() + 1)
        young = await bed.start(client, bed.intent("/stuck", intent_id="young"))
        await client.cancel(young)
        lost = await bed.start(client, bed.intent("/stuck", intent_id="lost"))
        as_it_was = bed.journal.with_name("found after the crash")
        as_it_was.write_bytes(bed.journal.read_bytes())
        before = bed.journal.stat().st_ino
    for _ in range(2):  # what was compacted is a journal, too
        async with bed.opened(as_it_was) as client:
            assert (await client.status(young)).state is plane.ExecutionState.CANCELLED
            assert (await client.status(lost)).state is plane.ExecutionState.AMBIGUOUS
            with pytest.raises(nodes.JournalBusy):
                async with bed.opened(as_it_was):
                    pass
        assert as_it_was.read_bytes().count(b"\n") == 4
        assert b"old_" not in as_it_was.read_bytes()
    assert not as_it_was.with_name(f"{as_it_was.name}.new").exists()
    assert before != as_it_was.stat().st_ino
    assert as_it_was.stat().st_mode & 0o777 == 0o600


async def test_a_node_that_opened_the_journal_before_it_was_compacted_does_not_hold_it(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write into a file that has no name any more."""
    async with bed.opened():
        pass
    lock = fcntl.flock

    def late(file: int, how: int) -> None:
        bed.journal.with_name("compacted").write_bytes(b"")
        bed.journal.with_name("compacted").replace(bed.journal)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(nodes.JournalBusy):
        async with bed.opened():
            pass


async def test_half_a_line_is_taken_back(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    async with bed.opened() as client:
        ref = await bed.start(client, bed.intent())
        kept = bed.journal.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 20, limits[1]))
            with pytest.raises(nodes.JournalUnavailable) as raised:
                await bed.start(client, bed.intent())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        # Where the journal lies is not for those elsewhere.
        near = isinstance(client, plane.Executions)
        assert (str(bed.journal.parent) in repr(raised.value.to_json())) is near
        assert near or str(bed.journal) in caplog.text
        assert bed.journal.read_bytes() == kept
        later = await bed.start(client, bed.intent())
        await client.cancel(ref)
    async with bed.opened() as client:
        assert (await client.status(later)).state is plane.ExecutionState.CANCELLED
