"""The conformance kit: ours pass, and for each promise there is one that breaks it and fails."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from fix_conformance import BROKEN, ToyLane, ToyTarget, check_toy, check_toy_target
from interlock import conformance, plane

PASSED, FAILED, SKIPPED = conformance.Verdict.PASSED, conformance.Verdict.FAILED, conformance.Verdict.SKIPPED

pytestmark = pytest.mark.anyio


def not_passed(report: conformance.Report) -> list[str]:
    return [f"{each.check_id}: {each.detail}" for each in report.findings if each.verdict is not PASSED]


@pytest.mark.parametrize("name", conformance.LANES.names(entries=[]))
@pytest.mark.faults
async def test_our_lanes_pass(name: str):
    report = await conformance.check_lane(name, conformance.LANES.find(name))
    scripts_hold_no_secrets = ["secrets"] if name == "script" else []
    assert [each.check_id for each in report.findings if each.verdict is SKIPPED] == scripts_hold_no_secrets
    assert report.passed, not_passed(report)
    assert len(report.findings) == len(conformance.LANE_CHECKS)


def test_all_six_lanes_can_be_tried():
    assert conformance.LANES.names(entries=[]) == ("http", "jsonrpc", "process", "script", "sse", "websocket")


async def test_a_lane_of_somebody_else_passes():
    assert not not_passed(await check_toy(ToyLane))


@pytest.mark.parametrize(("check_id", "kind", "words"), BROKEN, ids=[each[1].__name__ for each in BROKEN])
@pytest.mark.usefixtures("tidied")
async def test_a_broken_lane_fails_the_check_that_it_breaks(check_id: str, kind: type[ToyLane], words: str):
    report = await check_toy(kind, check_id)
    finding = report.finding(check_id)
    assert (finding.verdict, words in finding.detail) == (FAILED, True), finding
    assert not report.passed


def test_there_is_a_broken_lane_for_every_check():
    assert {each[0] for each in BROKEN} == {check.check_id for check in conformance.LANE_CHECKS}


async def test_what_cannot_be_tried_is_skipped_and_says_why():
    class Mute(ToyLane):
        async def execute(self, intent: Any, exchange: plane.Exchange) -> None:
            await super().execute(intent.model_copy(update={"credentials": ()}), exchange)

        async def send(self, exchange: plane.Exchange, secret: Any) -> None:
            self.credentials.redeemed = 0  # pyright: ignore[reportAttributeAccessIssue] - as if nobody had asked
            await super().send(exchange, secret)

    finding = (await check_toy(Mute, "secrets")).finding("secrets")
    assert (finding.verdict, "credential" in finding.detail) == (SKIPPED, True)


@pytest.mark.parametrize("name", ["local-process", "local-landlock", "local-bubblewrap"])
async def test_our_targets_pass(name: str):
    report = await conformance.check_target(name, conformance.TARGETS.find(name))
    assert report.passed, not_passed(report)
    promised = {f"stops-{each}" for each in plane.CLASSES[name]}
    if report.finding("attestation").verdict is SKIPPED:
        pytest.skip(report.finding("attestation").detail)
    skipped = {each.check_id for each in report.findings if each.verdict is SKIPPED}
    assert not promised & skipped


BROKEN_TARGETS: list[tuple[str, dict[str, Any]]] = [
    ("unproven-first", {"eager": True}),
    ("describe", {"describe": lambda: Path(__file__).read_bytes()}),
    ("attestation", {"attestation": {"properties": ("writes-confined",)}}),
    ("attestation", {"attestation": {"nonce": "f" * 32}}),
    ("refused", {"attestation": {"nonce": "f" * 32}}),
    *((check.check_id, {}) for check in conformance.TARGET_CHECKS if check.check_id.startswith("stops-")),
]


@pytest.mark.parametrize(("check_id", "wrong"), BROKEN_TARGETS, ids=[each[0] for each in BROKEN_TARGETS])
async def test_a_broken_target_fails_the_check_that_it_breaks(
    check_id: str, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SOMETHING", "inherited")
    report = await check_toy_target(ToyTarget(**wrong), check_id)
    assert report.finding(check_id).verdict is FAILED, report


def test_there_is_a_broken_target_for_every_check():
    assert {check_id for check_id, _wrong in BROKEN_TARGETS} == {each.check_id for each in conformance.TARGET_CHECKS}


async def test_a_lane_of_a_package_is_found_by_its_entry_point():
    entries = [EntryPoint("toy", "fix_conformance:toy", conformance.LANES.group)]
    assert set(conformance.LANES.names(entries=entries)) == {"toy", *conformance.LANES.names(entries=[])}
    report = await conformance.check_lane("toy", conformance.LANES.find("toy", entries=entries), only=["failures"])
    assert report.passed
    with pytest.raises(conformance.UnknownSubject, match="toy"):
        conformance.LANES.find("toyy", entries=entries)


async def test_a_target_of_a_package_is_found_by_its_entry_point():
    entries = [EntryPoint("toy", "fix_conformance:toy_target", conformance.TARGETS.group)]
    opened = conformance.TARGETS.find("toy", entries=entries)
    report = await conformance.check_target("toy", opened, only=["attestation", "stops-writes-confined"])
    assert [each.verdict for each in report.findings] == [PASSED, FAILED]  # it claims what it does not keep


@pytest.mark.parametrize("value", ["no_such_module:toy", "fix_conformance:BROKEN"])
async def test_a_broken_entry_point_is_told(value: str):
    entries = [EntryPoint("toy", value, conformance.LANES.group)]
    with pytest.raises(conformance.SubjectBroken, match="toy"):
        await conformance.check_lane("toy", conformance.LANES.find("toy", entries=entries))


async def test_a_report_is_json_and_a_table():
    report = await check_toy(ToyLane, "failures", "foreign-kind")
    record = report.record()
    assert (record["kind"], record["subject"], record["passed"]) == ("lane", "toy", True)
    assert record["counts"] == {"passed": 2, "failed": 0, "skipped": 0}
    assert [row[:2] for row in report.rows()] == [("failures", PASSED), ("foreign-kind", PASSED)]
