"""For programs of ours: have what happens in them told to whoever watches."""

from interlock.kernel import Tracing


def start_telemetry() -> Tracing:
    """Set OpenTelemetry up as the standard OTEL_* variables say, if they ask for spans; where these go. Raises
    TelemetryNotStarted."""
    from interlock.adapters import telemetry

    telemetry.start()
    return telemetry.find_tracing()
