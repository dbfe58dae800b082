"""OpenTelemetry behind the port of tracing. Nothing of it is imported unless the program, or its environment, asks for spans."""

import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from interlock.kernel import (
    UNTRACED,
    VERSION,
    ConfigurationError,
    Fact,
    InterlockError,
    Role,
    Tracing,
    is_interruption,
)

if TYPE_CHECKING:
    from opentelemetry import trace

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The semantic conventions that names of facts are taken from; those of messaging and `url.template` are not stable there."""

_ASKING: Final = ("OTEL_CONFIG_FILE", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_KEY: Final = "traceparent"


class TelemetryNotStarted(ConfigurationError):
    """The environment asks for spans to be exported, and what exports them is not installed, or refuses its settings."""

    code = "telemetry_not_started"
    next_step = (
        "Install Interlock with its extra `otel` and the package of the exporter, such as "
        "opentelemetry-exporter-otlp-proto-http; or unset OTEL_TRACES_EXPORTER."
    )


def start() -> None:
    """Set OpenTelemetry up for a program of ours as the standard OTEL_* variables say, if they ask for spans and nobody has done
    so. Raises TelemetryNotStarted."""
    if not is_asked_for(os.environ) or isinstance(find_tracing(), OpenTelemetry):
        return
    try:
        from opentelemetry.sdk._configuration import _OTelSDKConfigurator  # pyright: ignore[reportPrivateUsage] - what distributions are to build on
        from opentelemetry.sdk.resources import OTELResourceDetector
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        os.environ.setdefault("OTEL_TRACES_EXPORTER", "otlp")  # as the specification has it
        named = "service.name" in OTELResourceDetector().detect().attributes
        configure = cast("Callable[..., None]", _OTelSDKConfigurator().configure)  # pyright: ignore[reportUnknownMemberType]
        configure(
            resource_attributes={} if named else {"service.name": "interlock"},
            exporter_args_map={ConsoleSpanExporter: {"out": sys.stderr}},  # what stands on stdout are answers
        )
    except Exception as error:
        raise TelemetryNotStarted(f"OpenTelemetry cannot be set up: {error}") from error


def is_asked_for(variables: Mapping[str, str]) -> bool:
    """Whether the environment asks for spans."""
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = variables.get("OTEL_TRACES_EXPORTER", "").strip()
    return exporter != "none" and (bool(exporter) or any(variables.get(name) for name in _ASKING))


def find_tracing() -> Tracing:
    """Spans go to the program's own tracer provider, if it has set one by now; else nowhere."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return UNTRACED
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return UNTRACED
    return OpenTelemetry(trace.get_tracer("interlock", VERSION, schema_url=SCHEMA_URL))


class OpenTelemetry:
    """`kernel.Tracing` over a tracer."""

    def __init__(self, tracer: "trace.Tracer") -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._trace = trace
        self._form = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self,
        name: str,
        *,
        role: Role = "internal",
        parent: str | None = None,
        facts: Mapping[str, Fact] | None = None,
    ) -> Generator["_Span"]:
        cause, around = self._read(parent), self._trace.get_current_span().get_span_context()
        begun = self._tracer.start_as_current_span(
            name,
            None if cause is None else self._trace.set_span_in_context(self._trace.NonRecordingSpan(cause)),
            self._trace.SpanKind[role.upper()],
            attributes=_told(facts or {}),
            links=[self._trace.Link(around)] if cause is not None and around.is_valid and around != cause else None,
            record_exception=False,  # its text and its frames may hold what was sent
            set_status_on_exception=False,
        )
        with begun as span:
            own = _Span(self, span)
            try:
                yield own
            except BaseException as error:
                if not is_interruption(error):
                    own.fail(error.code if isinstance(error, InterlockError) else type(error).__name__)
                raise

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._form.inject(carrier)
        return carrier.get(_KEY)

    def link(self, span: "trace.Span", traceparent: str | None) -> None:
        """Link what is going on elsewhere."""
        if (cause := self._read(traceparent)) is not None:
            span.add_link(cause)

    def fail(self, span: "trace.Span", kind: str) -> None:
        """Say that it failed."""
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR)

    def _read(self, traceparent: str | None) -> "trace.SpanContext | None":
        if traceparent is None:
            return None
        from opentelemetry.context import Context

        found = self._trace.get_current_span(self._form.extract({_KEY: traceparent}, Context())).get_span_context()
        return found if found.is_valid else None


class _Span:
    """`kernel.Span`."""

    def __init__(self, tracing: OpenTelemetry, span: "trace.Span") -> None:
        self._tracing = tracing
        self._span = span

    def note(self, facts: Mapping[str, Fact]) -> None:
        self._span.set_attributes(_told(facts))

    def fail(self, kind: str) -> None:
        self._tracing.fail(self._span, kind)

    def follows(self, traceparent: str | None) -> None:
        self._tracing.link(self._span, traceparent)


def _told(facts: Mapping[str, Fact]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not None}
