"""What can go wrong with the choice of a sink."""

from interlock.kernel import ConfigurationError


class EvidenceRefused(ConfigurationError):
    """A folder cannot be used for evidence."""

    code = "evidence_refused"
    next_step = "Name a folder that you may write, and that nobody else keeps evidence in at the same time."


class TelemetryMissing(ConfigurationError):
    """The part of Interlock that writes to OpenTelemetry is not installed."""

    code = "telemetry_missing"
    next_step = "Install Interlock with its extra `otel`, or configure another evidence sink."
