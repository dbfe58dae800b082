"""Receipts in files, and the evidence records around them, for those who check them later and elsewhere."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from interlock.kernel import InvalidJson, JsonLimits, parse_json
from interlock.plane.errors import InvalidPacket
from interlock.plane.evidence import ReceiptStatus, ReceiptVerdict, verify_receipt
from interlock.plane.packets import MAX_RECORD, read_record
from interlock.plane.receipt import Receipt
from interlock.plane.signatures import is_signed
from interlock.plane.sinks import Capture, EvidenceRecord, seal_statement

_LIMITS: Final = JsonLimits(max_bytes=MAX_RECORD)

Proof: TypeAlias = Receipt | EvidenceRecord


def read_proofs(data: bytes) -> Sequence[Proof]:
    """What is in a file: one receipt or record that stands there by itself, or those of an evidence sink, line by line.
    Raises InvalidPacket, with the line."""
    lines = data.splitlines()
    if len(lines) < 2 or not _is_json(lines[0]):
        return [_read(data)]
    found: list[Proof] = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_read(line))
        except InvalidPacket as error:
            raise InvalidPacket(f"line {number}: {error.message}") from error
    return found


def verify_proof(proof: Proof, trust: Mapping[str, str] | None = None) -> ReceiptVerdict:
    """As `verify_receipt`, and of an evidence record also whether all that stands around its receipt is as it was made: for
    whom it was, and the captured body. Without a link `altered` means the record. Raises as `verify_receipt`, and
    InvalidPacket for a body that is not in base64."""
    if isinstance(proof, Receipt):
        return verify_receipt(proof, trust)
    verdict = verify_receipt(_with_body(proof), trust)
    if verdict.status in (ReceiptStatus.ALTERED, ReceiptStatus.WRONG_SIGNER):
        return verdict
    seal = proof.seal
    if seal is None or (verdict.signer is not None and seal.signature is None):
        return replace(verdict, status=ReceiptStatus.UNBOUND)
    altered = replace(verdict, status=ReceiptStatus.ALTERED)
    if seal.content != proof.content_digest or seal.key_id != verdict.signer:
        return altered
    if verdict.ok and trust is not None and seal.key_id is not None and seal.signature is not None:
        signed = is_signed(seal_statement(seal.content), seal.signature, trust[seal.key_id])
        return verdict if signed else altered
    return verdict


def _is_json(line: bytes) -> bool:
    try:
        parse_json(line, limits=_LIMITS)
    except InvalidJson:
        return False
    return True


def _read(text: bytes) -> Proof:
    try:
        value = parse_json(text, limits=_LIMITS, what="receipt", unique=True)
    except InvalidJson as error:
        raise InvalidPacket(error.message) from error
    is_record = isinstance(value, dict) and str(value.get("contract")).startswith("interlock.evidence-record/")
    if not is_record:
        return read_record(Receipt, text)
    record = read_record(EvidenceRecord, text)
    _with_body(record)
    return record


def _with_body(record: EvidenceRecord) -> Receipt:
    """The receipt, with its body where all of it was captured as it came."""
    body = record.body
    if record.capture is not Capture.FULL or body is None or body.base64 is None or body.truncated:
        return record.receipt
    try:
        return record.receipt.model_copy(update={"body": base64.b64decode(body.base64, validate=True)})
    except binascii.Error as error:
        raise InvalidPacket("the captured body is not in base64") from error
