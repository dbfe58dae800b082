"""Evidence sinks: where receipts go besides the caller. While one of them cannot be written, nothing is admitted."""

import base64
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, Protocol

import anyio

from interlock.kernel import JSON, Redactor, canonical, digest, is_interruption
from interlock.plane.contract import Contract, Digest, Name
from interlock.plane.errors import EvidenceOwed
from interlock.plane.evidence import redacted
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.receipt import Receipt
from interlock.plane.signatures import Signer

_log: Final = logging.getLogger(__name__)


_PLAIN_HEADERS: Final = frozenset({"content-length", "content-type", "date", "etag", "last-modified", "retry-after"})
"""The headers that are kept without looking for secrets in them."""


class Capture(StrEnum):
    """How much of an answer goes into a sink. `off`: nothing of its body beside the digest and size in the receipt, and only
    headers that describe it; `metadata`: its type, too; `redacted`: all headers and its bytes, without the secrets that
    are known; `full`: all of it as it came."""

    OFF = "off"
    METADATA = "metadata"
    REDACTED = "redacted"
    FULL = "full"


class CapturedBody(Contract):
    """What is kept of a body beside the size and digest in its receipt: its type, and at the higher levels its bytes, in
    base64. `truncated` if there was more than a record takes."""

    media_type: str | None
    base64: str | None = None
    truncated: bool = False


class Whose(Protocol):
    """What says for whom something was executed: an intent, or what a node wrote down of one."""

    @property
    def tenant_id(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def attempt_id(self) -> str: ...


class RecordSeal(Contract):
    """What binds a record: the digest of all else in it (`content`) and, of a node with a key, its signature under that."""

    content: Digest
    key_id: Name | None = None
    signature: str | None = None


class EvidenceRecord(Contract):
    """What a sink is given: whose execution it was, its receipt, and of its body what the capture level says. One that was
    made before there were seals has none, and then nothing binds what stands around the receipt."""

    contract: Literal["interlock.evidence-record/v1"] = "interlock.evidence-record/v1"
    tenant_id: Name
    run_id: Name
    attempt_id: Name
    capture: Capture
    receipt: Receipt
    body: CapturedBody | None
    seal: RecordSeal | None = None

    def record(self) -> dict[str, JSON]:
        """As `Contract.record`. A record without a seal keeps the text, and so the digest, that it had without the member."""
        value = super().record()
        return value if self.seal else {name: each for name, each in value.items() if name != "seal"}

    @property
    def content_digest(self) -> str:
        """Over all that it says besides its seal."""
        return digest({name: each for name, each in self.record().items() if name != "seal"})

    def sealed(self, signer: Signer | None) -> "EvidenceRecord":
        """The record with its seal, signed if there is a signer."""
        content = self.content_digest
        key_id, signature = (None, None) if signer is None else (signer.key_id, signer.sign(seal_statement(content)))
        return self.model_copy(update={"seal": RecordSeal(content=content, key_id=key_id, signature=signature)})

    @classmethod
    def of(
        cls, whose: Whose, receipt: Receipt, *, capture: Capture, body: CapturedBody | None = None
    ) -> "EvidenceRecord":
        """The record of an execution for them."""
        return cls(
            tenant_id=whose.tenant_id,
            run_id=whose.run_id,
            attempt_id=whose.attempt_id,
            capture=capture,
            receipt=receipt,
            body=body,
        )


def seal_statement(content: str) -> bytes:
    """What a node signs of a record: the digest of all that it says."""
    return canonical({"contract": "interlock.evidence-record/v1", "content": content})


class EvidenceSink(Protocol):
    """Something that keeps evidence."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    async def emit(self, record: EvidenceRecord) -> None:
        """Keep a record, durably if the sink claims to be durable. Raises OSError or InterlockError if it could not; then
        nothing of it is kept, and it may be given the record again."""
        ...

    async def flush(self) -> None:
        """Wait until all that was emitted is kept, and see whether more could be. Asked before each admission, also while a
        record is emitted. Raises as `emit`."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds. Again is harmless."""
        ...


@dataclass(slots=True)
class _Line:
    """A sink, what it is still owed, and whether it took all that it was last given."""

    sink: EvidenceSink
    owed: deque[EvidenceRecord] = field(default_factory=deque[EvidenceRecord])
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    sound: bool = False
    trouble: str = ""


class SinkSet:
    """All sinks of a node. `check` comes before each admission and `record` after each receipt."""

    def __init__(
        self,
        sinks: Iterable[EvidenceSink],
        *,
        capture: Capture = Capture.METADATA,
        redactor: Callable[[], Redactor] | None = None,
        max_body_bytes: int = 65_536,
    ) -> None:
        """`redactor` knows the secrets of the moment, and is asked for each receipt. Raises ValueError for two sinks of one
        name, and for `redacted` without a redactor."""
        self._lines = [_Line(sink) for sink in sinks]
        if len({line.sink.name for line in self._lines}) < len(self._lines):
            raise ValueError("two evidence sinks have one name")
        if capture is Capture.REDACTED and redactor is None:
            raise ValueError("to capture redacted bodies, the set needs a redactor")
        self._capture = capture
        self._redactor = redactor or Redactor
        self._max_body_bytes = max_body_bytes

    async def check(self) -> Failure | None:
        """Why nothing may be admitted now, or None. A sink that has not proved itself yet, or failed last time, is given what
        it is owed first, so that one that recovers has no gap."""
        for line in self._lines:
            if not (await self._tried(line, line.sink.flush) if line.sound else await self._pay(line, flush=True)):
                message = f"the evidence sink {line.sink.name} cannot be written"
                return Failure.of(FailureClass.EVIDENCE_UNWRITABLE, message)
        return None

    async def record(self, whose: Whose, receipt: Receipt, *, signer: Signer | None = None) -> None:
        """Give a receipt to all sinks; one from which something was taken out is signed anew. Never raises: what a sink could
        not take is owed, and stops the next admission. Is not cut short by a cancellation."""
        record = self._captured(whose, receipt, signer).sealed(signer)
        for line in self._lines:
            line.owed.append(record)
        with anyio.CancelScope(shield=True):
            for line in self._lines:
                await self._pay(line, flush=False)

    async def aclose(self) -> None:
        """Try once more to give each sink what it is owed, and close it. Raises EvidenceOwed once all are closed."""
        owing: list[str] = []
        for line in self._lines:
            if line.owed and not await self._pay(line, flush=False):
                owing.append(f"{len(line.owed)} in {line.sink.name}: {line.trouble}")
                line.owed.clear()
            await line.sink.aclose()
        if owing:
            raise EvidenceOwed(f"evidence could not be kept of executions: {'; '.join(owing)}")

    async def _pay(self, line: _Line, *, flush: bool) -> bool:
        async def pay() -> None:
            while line.owed:
                await line.sink.emit(line.owed[0])
                line.owed.popleft()
            if flush:
                await line.sink.flush()

        async with line.lock:
            line.sound = False
            line.sound = await self._tried(line, pay)
        return line.sound

    async def _tried(self, line: _Line, act: Callable[[], Awaitable[None]]) -> bool:
        try:
            await act()
        except BaseException as error:
            if is_interruption(error):
                raise
            line.sound = False
            line.trouble = str(error)
            _log.error("evidence sink %s: %s: %s", line.sink.name, type(error).__name__, error)
            return False
        return True

    def _captured(self, whose: Whose, receipt: Receipt, signer: Signer | None) -> EvidenceRecord:
        redactor = self._redactor()
        receipt = self._cleaned(receipt, redactor, signer)
        if self._capture is Capture.OFF:
            return EvidenceRecord.of(whose, receipt, capture=self._capture)
        media_type = next((value for name, value in receipt.headers if name == "content-type"), None)
        kept: bytes | None = None
        if self._capture is Capture.FULL:
            kept = receipt.body
        elif self._capture is Capture.REDACTED:
            kept = redactor.data(receipt.body)
        body = CapturedBody(
            media_type=media_type,
            base64=None if kept is None else base64.b64encode(kept[: self._max_body_bytes]).decode(),
            truncated=kept is not None and len(kept) > self._max_body_bytes,
        )
        return EvidenceRecord.of(whose, receipt, capture=self._capture, body=body)

    def _cleaned(self, receipt: Receipt, redactor: Redactor, signer: Signer | None) -> Receipt:
        """Without what a peer may have echoed of a secret."""
        if self._capture is Capture.FULL:
            return receipt
        whole = self._capture is Capture.REDACTED
        return redacted(receipt, redactor.text, headers=lambda name: whole or name in _PLAIN_HEADERS, signer=signer)
