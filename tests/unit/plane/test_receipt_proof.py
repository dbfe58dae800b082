"""Receipts prove themselves: nothing that one says can be changed without notice, and a signature says who made it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_plane import NODE_ID, Bench, Intents
from fix_review import Signer
from interlock import kernel, plane
from interlock.plane.acceptance import lost

SIGNER = Signer(1, "node-key")
OTHER = Signer(2, "node-key")
TRUST = SIGNER.public_keys()
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
ANOTHER = "sha256:" + "7" * 64


class Speaking:
    """An answer with all that a receipt can hold; or one that breaks in the middle."""

    lane_id = "http"
    carries = plane.HttpIntent

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        exchange.bytes_sent, exchange.status, exchange.peer = 10, 200, "192.0.2.1"
        exchange.headers = (("set", "abc-secret"), ("content-type", "text/plain"))
        exchange.facts.update(http_version="1.1", said="abc-secret", heard=["abc-secret"])
        exchange.note("redirected", {"status": 301, "path": "/z?abc-secret"})
        if intent.url.endswith("/broken"):
            raise plane.LaneFailure(plane.FailureClass.READ_FAILED, "it said abc-secret and broke")
        exchange.body, exchange.answered = b"body", True

    async def aclose(self) -> None:
        pass


async def _make(intents: Intents, *, broken: bool = False, signer: plane.Signer | None = SIGNER) -> plane.Receipt:
    bench = Bench(intents, Speaking(), signer=signer)
    return await bench.execute(intents.http(url=f"https://api.acme.dev/{'broken' if broken else 'whole'}"))


async def _refuse(intents: Intents) -> plane.Receipt:
    return await Bench(intents, Speaking(), signer=SIGNER).node.execute(
        intents.http(), authority=None, target_class=plane.LOCAL_HTTP
    )


def _lose() -> plane.Receipt:
    acceptance = plane.Acceptance(
        execution_id="exe_1",
        tenant_id="default",
        run_id="run_1",
        attempt_id="att_1",
        key="k",
        intent_id="snd_1",
        intent_digest=ANOTHER,
        authority_nonce="0" * 32,
        target_class="local-process",
        target_id="t",
        lane_id="l",
        accepted_at=MOMENT,
    )
    return lost(acceptance, NODE_ID, MOMENT + timedelta(seconds=1), signer=SIGNER)


@pytest.fixture(name="receipts", scope="module")
def _receipts() -> dict[str, plane.Receipt]:
    """One of each kind, with and without a signature."""
    import anyio

    intents = Intents()
    made = {
        "whole": anyio.run(_make, intents),
        "broken": anyio.run(lambda: _make(intents, broken=True)),
        "unsigned": anyio.run(lambda: _make(intents, signer=None)),
        "refused": anyio.run(_refuse, intents),
        "lost": _lose(),
    }
    made["redacted"] = plane.redacted(
        made["broken"], lambda text: text.replace("abc-secret", "[redacted]"), signer=SIGNER
    )
    return made


KINDS = ("whole", "broken", "unsigned", "refused", "lost", "redacted")

name = st.text("abcdefghij-", min_size=1, max_size=8)
fact = st.none() | st.integers(-9, 999) | name | st.lists(name, max_size=2)
moment = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
digest = st.binary(max_size=4).map(kernel.digest_bytes)
failure = st.builds(
    plane.Failure, failure_class=st.sampled_from(plane.FailureClass), code=name, message=st.text("abc ", max_size=9)
)
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "intent_id": name,
    "intent_digest": digest,
    "node_id": name,
    "target_class": name,
    "target_id": st.none() | name,
    "lane_id": st.none() | name,
    "delivery": st.sampled_from(plane.Delivery),
    "failure": st.none() | failure,
    "status": st.none() | st.integers(100, 599),
    "headers": st.lists(st.tuples(name, name), max_size=2).map(tuple),
    "body": st.binary(min_size=1, max_size=9),
    "body_digest": digest,
    "body_size": st.integers(0, 99),
    "bytes_sent": st.none() | st.integers(0, 99),
    "facts": st.dictionaries(name, fact, max_size=2),
    "started_at": moment,
    "finished_at": moment,
}


def test_the_changes_are_to_every_field() -> None:
    assert set(plane.Receipt.model_fields) - {"contract", "evidence"} == set(CHANGES)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_change_of_a_field_is_found(receipts: dict[str, plane.Receipt], kind: str, data: st.DataObject) -> None:
    receipt = receipts[kind]
    assert plane.verify_evidence(receipt) is None
    field = data.draw(st.sampled_from(sorted(CHANGES)))
    value = data.draw(CHANGES[field].filter(lambda drawn: drawn != getattr(receipt, field)))
    changed = receipt.model_copy(update={field: value})
    assert plane.verify_evidence(changed) is not None
    assert plane.verify_receipt(changed, TRUST).status is plane.ReceiptStatus.ALTERED


@pytest.mark.parametrize("kind", KINDS)
def test_no_link_can_be_left_out_doubled_or_moved(receipts: dict[str, plane.Receipt], kind: str) -> None:
    receipt = receipts[kind]
    links = receipt.evidence
    others = [
        (),
        *(
            links[:count]
            for count in range(1, len(links))
            if links[count - 1].type not in ("finished", "lost", "rejected")
        ),
        *((*links[:at], *links[at + 1 :]) for at in range(len(links) - 1)),
        *((*links[:at], links[at], *links[at:]) for at in range(len(links))),
        links[::-1] if len(links) > 1 else (),
    ]
    for other in others:
        assert plane.verify_evidence(receipt.model_copy(update={"evidence": other})) is not None, other


def _rechained(receipt: plane.Receipt, change: Callable[[list[dict[str, Any]]], None]) -> plane.Receipt:
    """With changed links whose hashes all fit, as somebody would make them who knows how."""
    records: list[dict[str, Any]] = [link.record() for link in receipt.evidence]
    change(records)
    prev = receipt.intent_digest
    for seq, record in enumerate(records, start=1):
        record.update(seq=seq, prev=prev)
        record["hash"] = prev = kernel.digest({key: value for key, value in record.items() if key != "hash"})
    return receipt.model_copy(update={"evidence": tuple(plane.Evidence.model_validate(each) for each in records)})


@pytest.mark.parametrize(("link", "wrong"), [(0, 1), (-1, 3)])
def test_a_chain_without_its_beginning_or_its_end_is_found(
    receipts: dict[str, plane.Receipt], link: int, wrong: int
) -> None:
    def drop(records: list[dict[str, Any]]) -> None:
        del records[link]

    assert plane.verify_evidence(_rechained(receipts["unsigned"], drop)) == wrong


@pytest.mark.parametrize("type_", ["admitted", "finished", "rejected", "lost", "signed"])
def test_an_execution_is_admitted_once_and_ends_once(receipts: dict[str, plane.Receipt], type_: str) -> None:
    def double(records: list[dict[str, Any]]) -> None:
        records.insert(1, {**records[0], "type": type_})

    assert plane.verify_evidence(_rechained(receipts["unsigned"], double)) == 2


@pytest.mark.parametrize(
    ("link", "change"),
    [
        (0, {"node_id": "another"}),
        (0, {"target_id": "another"}),
        (0, {"target_class": "another"}),
        (0, {"lane_id": "another"}),
        (-1, {"delivery": "unknown"}),
        (-1, {"failure": "read_failed"}),
        (-1, {"status": 500}),
        (-1, {"bytes_sent": 0}),
        (-1, {"body_digest": ANOTHER}),
        (-1, {"http_version": "2"}),
        (-1, {"receipt_digest": ANOTHER}),
    ],
)
def test_links_that_say_something_else_than_the_receipt_are_found(
    receipts: dict[str, plane.Receipt], link: int, change: dict[str, Any]
) -> None:
    def say(records: list[dict[str, Any]]) -> None:
        records[link]["data"] = {**records[link]["data"], **change}

    receipt = receipts["unsigned"]
    assert plane.verify_evidence(_rechained(receipt, say)) == link % len(receipt.evidence) + 1


@pytest.mark.parametrize("link", [0, -1])
def test_times_of_the_links_are_those_of_the_receipt(receipts: dict[str, plane.Receipt], link: int) -> None:
    def date(records: list[dict[str, Any]]) -> None:
        records[link]["at"] = "2026-01-01T00:00:01.000000Z"

    assert plane.verify_evidence(_rechained(receipts["unsigned"], date)) is not None


def test_a_receipt_of_before_the_digest_verifies_and_is_held_to_what_its_links_say(
    receipts: dict[str, plane.Receipt],
) -> None:
    def age(records: list[dict[str, Any]]) -> None:
        del records[-1]["data"]["receipt_digest"]

    old = _rechained(receipts["unsigned"], age)
    assert plane.verify_receipt(old).status is plane.ReceiptStatus.INTACT_UNSIGNED
    assert plane.verify_evidence(old.model_copy(update={"status": 500})) == len(old.evidence)


@pytest.mark.parametrize("kind", ["whole", "broken", "refused", "lost", "redacted"])
def test_a_signed_receipt_is_proven_by_a_key_that_is_known_from_elsewhere(
    receipts: dict[str, plane.Receipt], kind: str
) -> None:
    receipt = receipts[kind]
    status = plane.ReceiptStatus
    assert plane.verify_receipt(receipt, TRUST) == plane.ReceiptVerdict(status=status.VERIFIED, signer="node-key")
    assert plane.verify_receipt(receipt, TRUST).ok
    assert plane.verify_receipt(receipt).status is status.INTACT_SIGNER_UNKNOWN
    assert plane.verify_receipt(receipt, {"another": TRUST["node-key"]}).status is status.WRONG_SIGNER
    assert plane.verify_receipt(receipt, OTHER.public_keys()).status is status.ALTERED


@pytest.mark.parametrize("trust", [object(), "a key", [("k", "v")], {"k": b"raw"}, {"k": object()}])
def test_keys_of_another_kind_are_told_as_that(receipts: dict[str, plane.Receipt], trust: Any) -> None:
    with pytest.raises(kernel.RequestError, match="base64 by key id") as told:
        plane.verify_receipt(receipts["whole"], trust)
    assert "load_receipt_keys" in told.value.next_step


def test_who_makes_the_chain_anew_has_no_signature_for_it(receipts: dict[str, plane.Receipt]) -> None:
    """What an unsigned chain cannot show."""
    receipt = receipts["whole"]
    bare = receipt.model_copy(update={"status": 500})

    def falsify(records: list[dict[str, Any]]) -> None:
        content = {key: value for key, value in bare.record().items() if key != "evidence"}
        records[-2]["data"] = {**records[-2]["data"], "status": 500, "receipt_digest": kernel.digest(content)}

    forged = _rechained(bare, falsify)
    assert plane.verify_evidence(forged) is None
    assert plane.verify_receipt(forged).status is plane.ReceiptStatus.INTACT_SIGNER_UNKNOWN
    assert plane.verify_receipt(forged, TRUST).status is plane.ReceiptStatus.ALTERED

    def strip(records: list[dict[str, Any]]) -> None:
        del records[-1]

    stripped = _rechained(forged, strip)
    assert plane.verify_receipt(stripped, TRUST).status is plane.ReceiptStatus.INTACT_UNSIGNED
    assert not plane.verify_receipt(stripped, TRUST).ok


def test_what_is_taken_out_leaves_a_receipt_that_verifies_and_names_its_original(
    receipts: dict[str, plane.Receipt],
) -> None:
    original, copy = receipts["broken"], receipts["redacted"]
    assert "abc-secret" in original.canonical
    assert "abc-secret" not in copy.canonical
    assert copy.evidence[-2].data["redacted_from"] == original.evidence_head
    assert plane.redacted(original, lambda text: text) is original


@pytest.mark.anyio
async def test_a_body_that_did_not_travel_with_its_receipt_is_not_missed(intents: Intents) -> None:
    receipt = await _make(intents)
    assert plane.verify_receipt(plane.Receipt.model_validate_json(receipt.canonical), TRUST).ok


@pytest.mark.anyio
async def test_a_sink_gets_a_receipt_that_verifies_at_every_level(intents: Intents) -> None:
    class Kept:
        name = "kept"

        def __init__(self) -> None:
            self.records: list[plane.EvidenceRecord] = []

        async def emit(self, record: plane.EvidenceRecord) -> None:
            self.records.append(record)

        async def flush(self) -> None:
            pass

        async def aclose(self) -> None:
            pass

    redactor = kernel.Redactor([kernel.Secret("abc-secret")])
    for capture in plane.Capture:
        sink = Kept()
        sinks = plane.SinkSet([sink], capture=capture, redactor=lambda: redactor)
        bench = Bench(intents, Speaking(), signer=SIGNER, sinks=sinks)
        receipt = await bench.execute(intents.http())
        assert plane.verify_receipt(receipt, TRUST).ok
        [record] = sink.records
        assert plane.verify_receipt(record.receipt, TRUST).ok, capture
        assert ("abc-secret" in record.receipt.canonical) == (capture is plane.Capture.FULL)
