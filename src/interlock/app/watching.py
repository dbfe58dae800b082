"""For programs of ours: have what happens in them told to whoever watches."""


def start_telemetry() -> None:
    """Set OpenTelemetry up as the standard OTEL_* variables say, if they ask for spans. Raises TelemetryNotStarted."""
    from interlock.adapters import telemetry

    telemetry.start()
