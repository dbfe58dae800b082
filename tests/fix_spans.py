"""What a process tells of itself, collected in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def place(span: ReadableSpan) -> trace.SpanContext:
    """Where a span stands."""
    assert span.context is not None
    return span.context


@dataclass
class Spans:
    """Spans that have ended, and who is within whom."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def all(self) -> Sequence[ReadableSpan]:
        """In the order in which they ended."""
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> Sequence[ReadableSpan]:
        return [each for each in self.all if each.name == name]

    def way(self, span: ReadableSpan) -> list[str]:
        """The names from the root of its trace down to it."""
        known = {place(each).span_id: each for each in self.all}
        names = [span.name]
        while span.parent is not None:
            span = known[span.parent.span_id]
            names.insert(0, span.name)
        return names


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """Of every process that a test opens from now on."""
    made = Spans()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made.provider)  # a program sets one, once and for all
    return made
