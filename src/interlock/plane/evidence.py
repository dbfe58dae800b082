"""The evidence of one execution: the chain is built here, bound to its receipt, signed, and checked.

A chain without a signature shows a change by somebody who did not make it anew; whoever holds a receipt can. Only the
signature of a node whose key the reader knows from elsewhere rules that out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias, cast

from pydantic import BaseModel

from interlock.kernel import RequestError, canonical, digest, digest_bytes, to_rfc3339
from interlock.plane.receipt import Evidence, Fact, Receipt
from interlock.plane.signatures import Signer, is_signed

_BEGIN: Final = "admitted"
_FINISHED: Final = "finished"
_ENDS: Final = frozenset({_FINISHED, "rejected", "lost"})
_SIGNED: Final = "signed"
_RESERVED: Final = _ENDS | {_BEGIN, _SIGNED}
_Keys: TypeAlias = Mapping[object, object]
_READ_KEYS: Final = "Read them from a file with `app.load_receipt_keys(Path(…))`."


class EvidenceLog:
    """Builds the chain of one execution."""

    def __init__(self, intent_digest: str) -> None:
        self._head = intent_digest
        self._links: list[Evidence] = []

    def add(self, type_: str, at: datetime, data: Mapping[str, Fact]) -> None:
        """Append a link."""
        self._append(type_, to_rfc3339(at), data)

    def seal(self, type_: str, bare: Receipt, data: Mapping[str, Fact], signer: Signer | None) -> Receipt:
        """The receipt with its evidence, whose end binds all that the receipt says. With a signer, a last link holds its
        signature under that."""
        at = to_rfc3339(bare.finished_at)
        self._append(type_, at, {**data, "receipt_digest": _content_digest(bare)})
        if signer is not None:
            signature = signer.sign(_statement(self._head))
            self._append(_SIGNED, at, {"key_id": signer.key_id, "signature": signature})
        # Pydantic's own copy: the parts are checked already, and nobody has asked for the digest of the bare receipt.
        receipt = BaseModel.model_copy(bare, update={"evidence": tuple(self._links)})
        assert isinstance(receipt, Receipt)
        return receipt

    def copy(self, link: Evidence, data: Mapping[str, Fact]) -> None:
        """Append what another chain has, with other data."""
        self._append(link.type, link.at, data)

    def _append(self, type_: str, at: str, data: Mapping[str, Fact]) -> None:
        body = {"seq": len(self._links) + 1, "type": type_, "at": at, "data": dict(data), "prev": self._head}
        self._head = digest(body)
        self._links.append(Evidence.model_validate({**body, "hash": self._head}))


def redacted(
    receipt: Receipt,
    clean: Callable[[str], str],
    *,
    headers: Callable[[str], bool] = lambda _: True,
    signer: Signer | None = None,
) -> Receipt:
    """The receipt with `clean` over all texts that a peer may have a hand in, and only those headers (by name). If that
    changes anything, its chain is made anew, signed anew, and its end names the head of the original (`redacted_from`)."""
    failure = receipt.failure
    changed = receipt.model_copy(
        update={
            "headers": tuple((clean(name), clean(value)) for name, value in receipt.headers if headers(name)),
            "failure": failure and failure.model_copy(update={"message": clean(failure.message)}),
            "facts": _cleaned(receipt.facts, clean),
        }
    )
    links = [link for link in receipt.evidence if link.type != _SIGNED]
    data = [_cleaned(link.data, clean) for link in links]
    if changed == receipt and data == [link.data for link in links]:
        return receipt
    log = EvidenceLog(receipt.intent_digest)
    for link, each in zip(links[:-1], data[:-1], strict=True):
        log.copy(link, each)
    return log.seal(links[-1].type, changed, {**data[-1], "redacted_from": receipt.evidence_head}, signer)


def _cleaned(facts: Mapping[str, Fact], clean: Callable[[str], str]) -> dict[str, Fact]:
    return {name: _clean(fact, clean) for name, fact in facts.items()}


def _clean(fact: Fact, clean: Callable[[str], str]) -> Fact:
    match fact:
        case str():
            return clean(fact)
        case list():
            return [clean(each) for each in fact]
        case _:
            return fact


def verify_evidence(receipt: Receipt) -> int | None:
    """The number of the first link that is wrong: it does not fit the one before, is not where it belongs (the first
    admits, exactly one ends), or disagrees with the receipt; one more than there are, if the end is missing. None if all
    is well. It says nothing of who made the receipt: `verify_receipt`."""
    prev = receipt.intent_digest
    for position, link in enumerate(receipt.evidence, start=1):
        record = link.record()
        claimed = record.pop("hash")
        if link.seq != position or link.prev != prev or digest(record) != claimed:
            return position
        prev = link.hash
    return _misplaced(receipt) or _disagreeing(receipt)


class ReceiptStatus(StrEnum):
    """What a reader can know of a receipt. `unsigned`: it is whole, and whoever holds it could have made it. `unbound`: it is
    proven, but not the evidence record around it."""

    VERIFIED = "verified"
    INTACT_UNSIGNED = "intact_unsigned"
    INTACT_SIGNER_UNKNOWN = "intact_signer_unknown"
    WRONG_SIGNER = "wrong_signer"
    UNBOUND = "unbound"
    ALTERED = "altered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptVerdict:
    """The answer. `link` is the number of the link that is wrong, `signer` the id of the key that is said to have signed."""

    status: ReceiptStatus
    link: int | None = None
    signer: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the receipt is proven, by a key that the reader trusts."""
        return self.status is ReceiptStatus.VERIFIED


def verify_receipt(receipt: Receipt, trust: Mapping[str, str] | None = None) -> ReceiptVerdict:
    """Check a receipt. `trust`: the public keys (32 bytes in base64) by key id of the node that the receipt names, known
    from elsewhere; a receipt never vouches for its own key. `app.load_receipt_keys` reads them from a file. Raises
    RequestError for what is no such mapping."""
    _check_trust(trust)
    signed = receipt.evidence[-1] if receipt.evidence and receipt.evidence[-1].type == _SIGNED else None
    signer = None if signed is None else str(signed.data.get("key_id"))
    if (link := verify_evidence(receipt)) is not None:
        return ReceiptVerdict(status=ReceiptStatus.ALTERED, link=link, signer=signer)
    if signed is None or signer is None:
        return ReceiptVerdict(status=ReceiptStatus.INTACT_UNSIGNED)
    if trust is None:
        return ReceiptVerdict(status=ReceiptStatus.INTACT_SIGNER_UNKNOWN, signer=signer)
    if signer not in trust:
        return ReceiptVerdict(status=ReceiptStatus.WRONG_SIGNER, signer=signer)
    if not is_signed(_statement(signed.prev), str(signed.data.get("signature")), trust[signer]):
        return ReceiptVerdict(status=ReceiptStatus.ALTERED, link=signed.seq, signer=signer)
    return ReceiptVerdict(status=ReceiptStatus.VERIFIED, signer=signer)


def _check_trust(trust: object) -> None:
    is_mapping = isinstance(trust, Mapping)
    if trust is not None and not (is_mapping and all(type(key) is str for key in cast("_Keys", trust).values())):
        raise RequestError("trust must be public keys in base64 by key id", next_step=_READ_KEYS)


def _statement(head: str) -> bytes:
    """What a node signs: the hash of the link that ends the chain, and so all of the receipt."""
    return canonical({"contract": "interlock.receipt/v1", "head": head})


def _content_digest(receipt: Receipt) -> str:
    """Over all that a receipt's record says besides its evidence."""
    record = receipt.record()
    del record["evidence"]
    return digest(record)


def _misplaced(receipt: Receipt) -> int | None:
    types = [link.type for link in receipt.evidence]
    if types[-1:] == [_SIGNED]:
        types.pop()
    if not types or types[-1] not in _ENDS:
        return len(types) + 1
    *before, end = types
    if end != _FINISHED:
        return 1 if before else None
    for position, type_ in enumerate(before, start=1):
        if type_ in _RESERVED and (type_ != _BEGIN or position > 1):
            return position
    return None if before[:1] == [_BEGIN] else 1


def _disagreeing(receipt: Receipt) -> int | None:
    """The first link that says something else than the receipt. Receipts of before `receipt_digest` have no more than
    what their links repeat."""
    first, end = receipt.evidence[0], [link for link in receipt.evidence if link.type != _SIGNED][-1]
    if first.type == _BEGIN and not _says(first, receipt.started_at, _admission(receipt)):
        return first.seq
    told = _outcome(receipt) if end.type != "lost" else {"node_id": receipt.node_id}
    bound = end.data.get("receipt_digest", _content_digest(receipt))
    whole = not receipt.body or (receipt.body_size, receipt.body_digest) == (
        len(receipt.body),
        digest_bytes(receipt.body),
    )
    if not whole or bound != _content_digest(receipt) or not _says(end, receipt.finished_at, told):
        return end.seq
    return None


def _says(link: Evidence, at: datetime, told: Mapping[str, Fact]) -> bool:
    return link.at == to_rfc3339(at) and all(name in link.data and link.data[name] == told[name] for name in told)


def _admission(receipt: Receipt) -> dict[str, Fact]:
    return {
        "node_id": receipt.node_id,
        "target_id": receipt.target_id,
        "target_class": receipt.target_class,
        "lane_id": receipt.lane_id,
    }


def _outcome(receipt: Receipt) -> dict[str, Fact]:
    """What the end repeats of the receipt."""
    return {
        **receipt.facts,
        "delivery": receipt.delivery.value,
        "failure": None if receipt.failure is None else receipt.failure.code,
        "status": receipt.status,
        "bytes_sent": receipt.bytes_sent,
        "body_digest": receipt.body_digest,
    }
