"""What the plane raises: wrong settings, and a failed effect where a caller wants an exception for it."""

from interlock.kernel import ConfigurationError, Fault, PlaneError, RequestError, Retry
from interlock.plane.failures import Failure


class InvalidAllowance(ConfigurationError):
    """An entry of the operator's list of allowed addresses cannot be read."""

    code = "invalid_allowance"
    next_step = "Write `host:port`, `[address]:port`, an address or a network such as 10.0.0.0/8."


class EffectFailed(PlaneError):
    """An effect was not carried out, or its answer never arrived."""

    code = "effect_failed"

    @classmethod
    def of(cls, failure: Failure, *, run_id: str | None = None) -> "EffectFailed":
        """The error for a receipt's failure, with its retry meaning, and the fault and the next step of its class."""
        return cls(
            failure.message,
            next_step=failure.next_step,
            retry=failure.retry,
            fault=failure.owner,
            run_id=run_id,
            details={"failure_class": failure.failure_class.value, "failure_code": failure.code},
        )


class EvidenceOwed(PlaneError):
    """What was done is done, and its evidence could not be kept."""

    code = "evidence_owed"
    retry = Retry.NEVER
    fault = Fault.OPERATOR
    next_step = "Mend the place that evidence goes to before anything more is done; do not repeat what was done."


class InputClosed(PlaneError):
    """Input was sent to an execution that takes no more."""

    code = "input_closed"
    retry = Retry.NEVER
    fault = Fault.CALLER
    next_step = "Start a new execution."


class InvalidPacket(RequestError):
    """What came over the wire is no packet of the contract that belongs there."""

    code = "invalid_packet"
    next_step = "Speak the contracts as `interlock plane schemas` shows them, of the versions that the node describes."
