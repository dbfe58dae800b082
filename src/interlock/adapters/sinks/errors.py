"""What can go wrong with the choice of a sink."""

from interlock.kernel import ConfigurationError


class TelemetryMissing(ConfigurationError):
    """The part of Interlock that writes to OpenTelemetry is not installed."""

    code = "telemetry_missing"
    next_step = "Install Interlock with its extra `otel`, or configure another evidence sink."
