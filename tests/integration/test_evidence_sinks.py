"""Evidence sinks on real files, and the set that stops admission when one of them cannot be written."""

import base64
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fix_plane import Bench, Intents
from interlock import plane
from interlock.adapters.sinks import FileSink, TelemetrySink
from interlock.kernel import Redactor, Secret

pytestmark = pytest.mark.anyio

SECRET = "tok-0123456789abcdef"
INTENT = Intents().http()


async def receipt(text: str = f"hello {SECRET}", **answer: Any) -> plane.Receipt:
    intents = Intents()
    made = {"status": 200, "headers": {"content-type": "text/plain"}, "text": text, **answer}
    rules = [{"when": {"kind": "http"}, "answer": made}]
    lane = plane.simulate(json.dumps({"contract": "interlock.scenario/v1", "name": "x", "rules": rules}))
    target = plane.LocalTarget("sim", target_class="made-up", lane_id=plane.SIMULATED, clock=intents.clock)
    return await Bench(intents, lane, [target]).execute(intents.http(), "made-up")


def lines(folder: Path) -> list[Mapping[str, Any]]:
    files = [*sorted(folder.glob("evidence-*.jsonl")), folder / "evidence.jsonl"]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


class BrokenSink:
    """Takes nothing until it is mended."""

    name = "broken"

    def __init__(self) -> None:
        self.broken = True
        self.records: list[plane.EvidenceRecord] = []

    async def emit(self, record: plane.EvidenceRecord) -> None:
        if self.broken:
            raise OSError(errno.ENOSPC, "no space")
        self.records.append(record)

    async def flush(self) -> None:
        if self.broken:
            raise OSError(errno.ENOSPC, "no space")

    async def aclose(self) -> None: ...


# -- the file sink


async def test_a_line_per_receipt_that_verifies(tmp_path: Path):
    sinks = plane.SinkSet([FileSink(tmp_path / "evidence")])
    assert await sinks.check() is None
    kept = [await receipt(), await receipt(failure={"class": "read_timeout"})]
    for each in kept:
        await sinks.record(INTENT, each)
    read = lines(tmp_path / "evidence")
    back = [plane.Receipt.model_validate_json(json.dumps(line["receipt"])) for line in read]
    assert [each.canonical for each in back] == [each.canonical for each in kept]
    assert all(plane.verify_evidence(each) is None for each in back)
    assert (tmp_path / "evidence").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "evidence" / "evidence.jsonl").stat().st_mode & 0o777 == 0o600


async def test_full_files_are_kept_and_numbered(tmp_path: Path):
    sinks = plane.SinkSet([FileSink(tmp_path, max_bytes=4_000)])
    for number in range(9):
        await sinks.record(INTENT, await receipt(str(number)))
    assert (tmp_path / "evidence-000002.jsonl").exists()
    assert len(lines(tmp_path)) == 9
    await sinks.aclose()
    again = plane.SinkSet([FileSink(tmp_path, max_bytes=4_000)])
    await again.record(INTENT, await receipt())
    assert len(lines(tmp_path)) == 10


async def test_a_folder_has_one_writer(tmp_path: Path):
    first, second = plane.SinkSet([FileSink(tmp_path)]), plane.SinkSet([FileSink(tmp_path)])
    assert await first.check() is None
    failure = await second.check()
    assert failure is not None
    assert failure.failure_class is plane.FailureClass.EVIDENCE_UNWRITABLE
    await second.record(INTENT, await receipt())
    await first.aclose()
    assert await second.check() is None
    assert len(lines(tmp_path)) == 1


async def test_a_line_that_a_crash_cut_off_is_no_line(tmp_path: Path):
    sinks = plane.SinkSet([FileSink(tmp_path)])
    await sinks.record(INTENT, await receipt())
    await sinks.aclose()
    with (tmp_path / "evidence.jsonl").open("a") as file:
        file.write('{"receipt": ' + "x" * 100_000)
    await plane.SinkSet([FileSink(tmp_path)]).record(INTENT, await receipt())
    assert len(lines(tmp_path)) == 2


async def test_a_full_disk_leaves_no_half_line_and_stops_admission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sinks = plane.SinkSet([FileSink(tmp_path)])
    await sinks.record(INTENT, await receipt())
    real, full = os.write, True

    def half(file: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if full and calls % 2 == 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(file, data[:50] if full else data)

    calls = 0
    monkeypatch.setattr(os, "write", half)
    await sinks.record(INTENT, await receipt())
    failure = await sinks.check()
    assert failure is not None
    assert failure.failure_class is plane.FailureClass.EVIDENCE_UNWRITABLE
    assert len(lines(tmp_path)) == 1
    full = False
    assert await sinks.check() is None
    assert len(lines(tmp_path)) == 2


async def test_room_is_taken_ahead_and_given_back(tmp_path: Path):
    sink = FileSink(tmp_path)
    sinks = plane.SinkSet([sink])
    file = tmp_path / "evidence.jsonl"
    for number in range(2):
        assert await sinks.check() is None
        assert (file.stat().st_size > 0) is (number > 0), "what is reserved is no content"
        assert file.stat().st_blocks * 512 >= 1_048_576
        await sinks.record(INTENT, await receipt())
    await sinks.aclose()
    assert len(lines(tmp_path)) == 2
    assert file.stat().st_blocks * 512 < 1_048_576


@pytest.mark.parametrize("kind", ["file in the way", "symbolic link", "somebody else wrote"])
async def test_a_place_that_cannot_be_trusted_is_unwritable(tmp_path: Path, kind: str):
    folder = tmp_path / "evidence"
    sinks = plane.SinkSet([FileSink(folder)])
    if kind == "file in the way":
        folder.write_text("x")
    elif kind == "symbolic link":
        folder.mkdir()
        (folder / "evidence.jsonl").symlink_to(tmp_path / "elsewhere")
    else:
        assert await sinks.check() is None
        await sinks.record(INTENT, await receipt())
        (folder / "evidence.jsonl").write_text("")
        await sinks.record(INTENT, await receipt())
        assert await sinks.check() is None  # it looked again, and goes on from what is there
        assert len(lines(folder)) == 1
        return
    assert await sinks.check() is not None
    assert not (tmp_path / "elsewhere").exists()


async def test_many_at_once_are_whole_lines(tmp_path: Path):
    sinks = plane.SinkSet([FileSink(tmp_path, max_bytes=20_000)])
    each = await receipt()
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(sinks.record, INTENT, each)
    assert len(lines(tmp_path)) == 50


# -- the set


async def test_a_sink_that_recovers_has_no_gap():
    sink = BrokenSink()
    sinks = plane.SinkSet([sink])
    failure = await sinks.check()
    assert failure is not None
    assert failure.effect == "none"
    await sinks.record(INTENT, await receipt("1"))
    await sinks.record(INTENT, await receipt("2"))
    assert await sinks.check() is not None
    sink.broken = False
    assert await sinks.check() is None
    assert len(sink.records) == 2
    await sinks.record(INTENT, await receipt("3"))
    assert len(sink.records) == 3


async def test_evidence_is_kept_even_if_the_caller_is_gone(tmp_path: Path):
    sinks = plane.SinkSet([FileSink(tmp_path)])
    kept = await receipt()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sinks.record(INTENT, kept)
    assert len(lines(tmp_path)) == 1


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        (plane.Capture.OFF, None),
        (plane.Capture.METADATA, None),
        (plane.Capture.REDACTED, b"hello [redacted]"),
        (plane.Capture.FULL, f"hello {SECRET}".encode()),
    ],
)
async def test_bodies_are_kept_as_asked(capture: plane.Capture, expected: bytes | None):
    sink = BrokenSink()
    sink.broken = False
    sinks = plane.SinkSet([sink], capture=capture, redactor=lambda: Redactor([Secret(SECRET)]))
    await sinks.record(INTENT, await receipt())
    (record,) = sink.records
    assert (record.body is None) is (capture is plane.Capture.OFF)
    text = None if record.body is None or record.body.base64 is None else base64.b64decode(record.body.base64)
    assert text == expected
    if record.body is not None:
        assert record.body.media_type == "text/plain"
    assert plane.EvidenceRecord.model_validate_json(record.canonical).digest == record.digest


async def test_large_bodies_are_cut():
    sink = BrokenSink()
    sink.broken = False
    sinks = plane.SinkSet([sink], capture=plane.Capture.FULL, max_body_bytes=10)
    await sinks.record(INTENT, await receipt("x" * 11))
    body = sink.records[0].body
    assert body is not None
    assert body.truncated
    assert body.base64 is not None
    assert base64.b64decode(body.base64) == b"x" * 10


def test_a_wrong_set_is_refused():
    with pytest.raises(ValueError, match="one name"):
        plane.SinkSet([BrokenSink(), BrokenSink()])
    with pytest.raises(ValueError, match="redactor"):
        plane.SinkSet([], capture=plane.Capture.REDACTED)


# -- telemetry


async def test_a_receipt_is_a_span():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    sinks = plane.SinkSet([TelemetrySink(tracer=provider.get_tracer("test"))])
    good, bad = await receipt(), await receipt(failure={"class": "read_timeout"})
    assert await sinks.check() is None
    await sinks.record(INTENT, good)
    await sinks.record(INTENT, bad)
    first, second = exporter.get_finished_spans()
    assert first.attributes is not None
    assert first.attributes["interlock.evidence_head"] == good.evidence_head
    assert first.attributes["interlock.fact.simulated"] == good.facts["simulated"]
    assert SECRET not in first.to_json()
    assert not second.status.is_ok
    assert second.attributes is not None
    assert second.attributes["error.type"] == "read_timeout"
