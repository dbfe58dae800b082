"""The telemetry sink: one OpenTelemetry span per receipt. Where spans go is for the program's own SDK to say."""

from typing import TYPE_CHECKING, Final

from interlock import plane
from interlock.adapters.sinks.errors import TelemetryMissing
from interlock.kernel import VERSION, to_micros

if TYPE_CHECKING:
    from opentelemetry import trace

_PREFIX: Final = "interlock."


class TelemetrySink:
    """A copy for those who watch. It is not durable: an exporter may drop what it likes, so this sink alone is no ledger."""

    def __init__(self, *, tracer: "trace.Tracer | None" = None, name: str = "telemetry") -> None:
        """`tracer` replaces the one of the global provider. Raises TelemetryMissing."""
        try:
            from opentelemetry import trace
        except ImportError as error:
            raise TelemetryMissing("OpenTelemetry's API is not installed") from error
        self._trace = trace
        self._tracer = tracer or trace.get_tracer("interlock", VERSION)
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def emit(self, record: plane.EvidenceRecord) -> None:
        receipt = record.receipt
        span = self._tracer.start_span(
            f"interlock {receipt.lane_id or 'rejected'}",
            kind=self._trace.SpanKind.CLIENT,
            start_time=to_micros(receipt.started_at) * 1000,
            attributes=_attributes(record),
        )
        if receipt.failure is not None:
            code = receipt.failure.code
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, code))
            span.set_attribute("error.type", receipt.failure.failure_class.value)
        span.end(to_micros(receipt.finished_at) * 1000)

    async def flush(self) -> None:
        """Nothing is held back here."""

    async def aclose(self) -> None:
        """The tracer is the program's own."""


def _attributes(record: plane.EvidenceRecord) -> dict[str, str | int | list[str]]:
    receipt = record.receipt
    named: dict[str, str | int | list[str] | None] = {
        "intent_id": receipt.intent_id,
        "intent_digest": receipt.intent_digest,
        "node_id": receipt.node_id,
        "target_class": receipt.target_class,
        "target_id": receipt.target_id,
        "lane_id": receipt.lane_id,
        "delivery": receipt.delivery.value,
        "status": receipt.status,
        "bytes_sent": receipt.bytes_sent,
        "body_digest": receipt.body_digest,
        "body_size": receipt.body_size,
        "evidence_head": receipt.evidence_head,
        **{f"fact.{name}": fact for name, fact in receipt.facts.items()},
    }
    if record.body is not None and record.body.base64 is not None:
        named["body_base64"] = record.body.base64
    return {_PREFIX + name: value for name, value in named.items() if value is not None}
