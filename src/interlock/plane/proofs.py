"""Receipts in files, as `--receipt` and evidence sinks write them, for those who check them later and elsewhere."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from interlock.kernel import InvalidJson, JsonLimits, parse_json
from interlock.plane.errors import InvalidPacket
from interlock.plane.packets import MAX_RECORD, read_record
from interlock.plane.receipt import Receipt
from interlock.plane.sinks import Capture, EvidenceRecord

_LIMITS: Final = JsonLimits(max_bytes=MAX_RECORD)


def read_receipts(data: bytes) -> Sequence[Receipt]:
    """The receipts in a file: one that stands there by itself, or those of an evidence sink, line by line. Where the whole
    body was captured, the receipt has it. Raises InvalidPacket, with the line."""
    lines = data.splitlines()
    if len(lines) < 2 or not _is_json(lines[0]):
        return [_receipt(data)]
    found: list[Receipt] = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_receipt(line))
        except InvalidPacket as error:
            raise InvalidPacket(f"line {number}: {error.message}") from error
    return found


def _is_json(line: bytes) -> bool:
    try:
        parse_json(line, limits=_LIMITS)
    except InvalidJson:
        return False
    return True


def _receipt(text: bytes) -> Receipt:
    try:
        value = parse_json(text, limits=_LIMITS, what="receipt", unique=True)
    except InvalidJson as error:
        raise InvalidPacket(error.message) from error
    if not (isinstance(value, dict) and str(value.get("contract")).startswith("interlock.evidence-record/")):
        return read_record(Receipt, text)
    record = read_record(EvidenceRecord, text)
    body = record.body
    if record.capture is not Capture.FULL or body is None or body.base64 is None or body.truncated:
        return record.receipt
    try:
        return record.receipt.model_copy(update={"body": base64.b64decode(body.base64, validate=True)})
    except binascii.Error as error:
        raise InvalidPacket("the captured body is not in base64") from error
