"""What a caller asks for, and what it gets back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from interlock import policy
from interlock.kernel import JSON, JsonLimits, RequestError, check_json
from interlock.runs.model import Kind, Origin, State

MAX_TEXT = 200
EXTENSION_LIMITS = JsonLimits(max_bytes=16_384, max_depth=8, max_nodes=1000)

MAX_COST = 2**53 - 1
MAX_TARGETS = 20
MAX_OPERATIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One ask. It carries no identity and no secret: those come with the `Caller` and the connection.

    `targets` are acceptable target classes, best first (none: those of the operation); `allowed_operations` narrows what
    this caller may do, whatever policy says; `max_attempts` counts tries at an effect that is known not to have happened;
    `timeout` bounds the whole call. `cost` is what the call takes from budgets of spend, by unit. `extensions` are recorded
    and otherwise ignored. `traceparent` is set by whoever traces the call.
    """

    capability: str
    input: Mapping[str, JSON]
    connection: str | None = None
    environment: str = "dev"
    trace_id: str | None = None
    targets: tuple[str, ...] = ()
    sandbox: str | None = None
    allowed_operations: frozenset[str] | None = None
    idempotency_key: str | None = None
    origin: Origin = Origin.CALL
    kind: Kind = Kind.CAPABILITY
    parent_run_id: str | None = None
    max_attempts: int = 3
    timeout: timedelta = timedelta(seconds=120)
    cost: Mapping[str, int] = field(default_factory=dict[str, int])
    extensions: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    traceparent: str | None = None

    def traced(self, traceparent: str | None) -> "Request":
        """The request, as part of a trace: by its id the run is found among others, unless the caller gave one."""
        if traceparent is None:
            return self
        return replace(self, traceparent=traceparent, trace_id=self.trace_id or trace_id_of(traceparent))

    def __post_init__(self) -> None:
        if self.allowed_operations is not None and len(self.allowed_operations) > MAX_OPERATIONS:
            raise RequestError(
                f"allowed_operations has {len(self.allowed_operations)} entries; the limit is {MAX_OPERATIONS}"
            )
        if self.extensions:
            check_json(dict(self.extensions), limits=EXTENSION_LIMITS, what="extensions")
        texts = {
            "capability": self.capability,
            "connection": self.connection,
            "environment": self.environment,
            "trace_id": self.trace_id,
            "idempotency_key": self.idempotency_key,
            "parent_run_id": self.parent_run_id,
            "sandbox": self.sandbox,
            **{f"targets[{index}]": target for index, target in enumerate(self.targets)},
            **{f"allowed_operations[{index}]": name for index, name in enumerate(self.allowed_operations or ())},
        }
        for name, text in texts.items():
            if text is not None and (flaw := _flaw(text)) is not None:
                raise RequestError(f"{name} must be 1 to {MAX_TEXT} printable characters; {flaw}")
        if len(self.targets) > MAX_TARGETS:
            raise RequestError(
                f"targets must name at most {MAX_TARGETS} acceptable target classes, not {len(self.targets)}"
            )
        for unit, amount in self.cost.items():
            if not str(unit).isidentifier() or type(amount) is not int or not 0 <= amount <= MAX_COST:
                what = f"{str(unit)[:40]!r} must be a name, and its amount a whole number from 0 to {MAX_COST}"
                raise RequestError(f"cost: {what}, not {str(amount)[:40]}")
        if self.sandbox is not None and self.sandbox not in policy.SANDBOXES:
            raise RequestError(f"sandbox must be one of {', '.join(policy.SANDBOXES)}, not {self.sandbox!r}")
        if not 1 <= self.max_attempts <= 20:
            raise RequestError(f"max_attempts must be 1 to 20, not {self.max_attempts}")
        if not timedelta(0) < self.timeout <= timedelta(hours=1):
            raise RequestError(f"timeout must be above 0 and at most one hour, not {self.timeout}")


def trace_id_of(traceparent: str) -> str:
    """The trace that it is of."""
    return traceparent.split("-")[1]


def _flaw(text: str) -> str | None:
    """What keeps a text from being a name."""
    if not text or len(text) > MAX_TEXT:
        return f"this has {len(text)}"
    if text != text.strip():
        return "this begins or ends with a blank"
    if text.isprintable():
        return None
    hidden = next(each for each in text if not each.isprintable())
    return f"this holds U+{ord(hidden):04X}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run stands now. `output` is set when it completed; `approval_id` when it waits for a person; `reasons` are
    policy's; `retry_after_seconds` is set when a budget shed it, and says when there is room again; `error` has the shape of
    `InterlockError.to_json`. `replayed` says that an idempotency key answered with a run
    from an earlier call."""

    run_id: str
    state: State
    capability: str
    output: JSON = None
    reasons: tuple[str, ...] = ()
    approval_id: str | None = None
    error: JSON = None
    replayed: bool = False
    retry_after_seconds: float | None = None

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "run_id": self.run_id,
            "state": self.state.value,
            "capability": self.capability,
            "output": self.output,
            "reasons": list(self.reasons),
            "approval_id": self.approval_id,
            "error": self.error,
            "replayed": self.replayed,
            "retry_after_seconds": self.retry_after_seconds,
        }
