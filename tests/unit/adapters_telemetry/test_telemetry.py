"""Spans as OpenTelemetry has them, and when there are any."""

import subprocess
import sys
from collections.abc import Mapping

import pytest
from opentelemetry import trace

from fix_spans import Spans, place
from interlock.adapters import telemetry
from interlock.kernel import UNTRACED, NotFoundError

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_span_is_within_what_goes_on_around_it(spans: Spans):
    tracing = telemetry.find_tracing()
    assert tracing.traceparent() is None
    with tracing.span("outer", role="server", facts={"a": 1, "b": None}):
        around = tracing.traceparent()
        with tracing.span("inner") as inner:
            inner.note({"c": "x", "d": None})
    [inner_span, outer] = spans.all
    assert spans.way(inner_span) == ["outer", "inner"]
    assert (outer.kind, outer.attributes, inner_span.attributes) == (trace.SpanKind.SERVER, {"a": 1}, {"c": "x"})
    assert str(around).startswith(f"00-{place(outer).trace_id:032x}-{place(outer).span_id:016x}-")


def test_kept_work_goes_on_where_it_came_from_and_links_what_took_it(spans: Spans):
    tracing = telemetry.find_tracing()
    with tracing.span("worker"), tracing.span("process", role="consumer", parent=GIVEN):
        pass
    [process, worker] = spans.all
    assert f"{place(process).trace_id:032x}" in GIVEN
    assert [each.context.span_id for each in process.links] == [place(worker).span_id]


@pytest.mark.parametrize(
    "rubbish", ["", "x", GIVEN[:-1], GIVEN.replace("4", "g"), "00-" + "0" * 32 + GIVEN[35:], "ÿ" * 9999]
)
def test_what_is_no_traceparent_is_ignored(spans: Spans, rubbish: str):
    with telemetry.find_tracing().span("alone", parent=rubbish) as span:
        span.follows(rubbish)
    [alone] = spans.all
    assert (alone.parent, alone.links) == (None, ())


def test_an_error_is_told_by_its_code_and_not_by_its_words(spans: Spans):
    tracing = telemetry.find_tracing()
    for error in (NotFoundError("tok-123"), ValueError("tok-123")):
        with pytest.raises(type(error)), tracing.span("it"):
            raise error
    assert "tok-123" not in "".join(each.to_json() for each in spans.all)
    assert [each.attributes and each.attributes["error.type"] for each in spans.all] == ["not_found", "ValueError"]
    assert not any(each.events or each.status.description for each in spans.all)


def test_without_a_provider_nothing_is_traced():
    assert telemetry.find_tracing() is UNTRACED
    with UNTRACED.span("it", facts={"a": 1}) as span:
        span.note({})
        span.fail("x")
        span.follows(GIVEN)
    assert UNTRACED.traceparent() is None


@pytest.mark.parametrize(
    ("variables", "asks"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
    ],
)
def test_the_environment_has_to_ask(variables: Mapping[str, str], asks: bool):
    assert telemetry.is_asked_for(variables) is asks


HIDDEN = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry.sdk"):
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Missing())
from interlock.adapters import telemetry
assert "opentelemetry" not in sys.modules
try:
    telemetry.start()
except telemetry.TelemetryNotStarted as error:
    print(error.code)
"""


@pytest.mark.parametrize(("exporter", "said"), [("console", "telemetry_not_started\n"), ("", "")])
def test_without_the_sdk_only_who_asks_for_spans_hears_of_it(exporter: str, said: str):
    environment = {"OTEL_TRACES_EXPORTER": exporter}
    told = subprocess.run([sys.executable, "-c", HIDDEN], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == said
