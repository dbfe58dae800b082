"""Receipts: evidence that shows every change, and a closed meaning for every failure."""

from typing import Any

import pytest

from fix_plane import Bench, Intents
from interlock import kernel, plane


class Answering:
    lane_id = "http"
    carries = plane.HttpIntent

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        exchange.bytes_sent, exchange.status, exchange.peer = 10, 200, "192.0.2.1"
        exchange.headers = (("x", "y"),)
        exchange.note("redirected", {"status": 301, "path": "/z"})
        exchange.body, exchange.answered = b"body", True

    async def aclose(self) -> None:
        pass


@pytest.fixture(name="receipt")
async def _receipt(intents: Intents) -> plane.Receipt:
    return await Bench(intents, Answering()).execute(intents.http())


@pytest.mark.anyio
async def test_evidence_tells_the_story(receipt: plane.Receipt):
    assert [link.type for link in receipt.evidence] == ["admitted", "redirected", "finished"]
    assert receipt.evidence[0].prev == receipt.intent_digest
    assert receipt.evidence_head == receipt.evidence[-1].hash
    assert receipt.evidence[0].data["attested_by"] == plane.SELF_ATTESTED
    assert receipt.evidence[-1].data["peer"] == "192.0.2.1"


@pytest.mark.anyio
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    "change",
    [
        {"type": "other"},
        {"at": "2026-01-01T00:00:01.000000Z"},
        {"data": {}},
        {"prev": "sha256:" + "0" * 64},
        {"hash": "sha256:" + "0" * 64},
        {"seq": 9},
    ],
)
async def test_a_changed_link_shows(receipt: plane.Receipt, position: int, change: dict[str, Any]):
    links = list(receipt.evidence)
    links[position] = links[position].model_copy(update=change)
    assert plane.verify_evidence(receipt.model_copy(update={"evidence": tuple(links)})) == position + 1


@pytest.mark.anyio
async def test_a_missing_link_and_another_intent_show(receipt: plane.Receipt):
    without = receipt.model_copy(update={"evidence": receipt.evidence[1:]})
    assert plane.verify_evidence(without) == 1
    moved = receipt.model_copy(update={"intent_digest": "sha256:" + "0" * 64})
    assert plane.verify_evidence(moved) == 1


@pytest.mark.anyio
async def test_record_has_no_body_but_its_digest(receipt: plane.Receipt):
    record = receipt.record()
    assert "body" not in record
    assert record["body_digest"] == kernel.digest_bytes(b"body")
    assert receipt.body == b"body"


def test_every_failure_class_has_a_meaning():
    assert set(plane.MEANINGS) == set(plane.FailureClass)
    assert all(meaning.next_step for meaning in plane.MEANINGS.values())


@pytest.mark.parametrize(
    ("code", "retry"), [("authority_expired", kernel.Retry.LATER), ("authority_replayed", kernel.Retry.AFTER_CHANGE)]
)
def test_an_authority_whose_time_ran_out_is_no_reason_to_give_up(code: str, retry: kernel.Retry):
    """A process stood still on the way; another attempt has an authority of its own."""
    failure = plane.Failure.of(plane.FailureClass.AUTHORITY_DENIED, "too late", code=code)
    assert plane.EffectFailed.of(failure).retry is retry


@pytest.mark.parametrize("failure_class", plane.FailureClass)
def test_a_failure_becomes_an_error_of_its_meaning(failure_class: plane.FailureClass):
    failure = plane.Failure.of(failure_class, "it broke", code="finer")
    error = plane.EffectFailed.of(failure, run_id="run_1")
    assert error.to_json()["details"] == {"failure_class": failure_class.value, "failure_code": "finer"}
    assert (error.fault, error.retry, error.run_id) == (failure.owner, failure.meaning.retry, "run_1")
    assert error.next_step == failure.next_step
