"""The port of whoever has executions carried out, near or far: start, follow, feed, end, look, cancel."""

from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import Field

from interlock.kernel import ConflictError, NotFoundError, PlaneError
from interlock.plane.authority import AuthorityDecision
from interlock.plane.channel import Input
from interlock.plane.contract import Contract, Digest, Moment, Name
from interlock.plane.events import ExecutionEvent
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.intent import Intent
from interlock.plane.receipt import Delivery, Receipt


class ExecutionState(StrEnum):
    """Where an execution stands. `ambiguous`: its node was lost in the middle, and nobody can tell from here."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    AMBIGUOUS = "ambiguous"

    @classmethod
    def of(cls, receipt: Receipt) -> "ExecutionState":
        """The state in which that receipt leaves an execution."""
        if receipt.failure is None:
            return cls.COMPLETED
        match receipt.failure.failure_class:
            case FailureClass.NODE_LOST:
                return cls.AMBIGUOUS if receipt.delivery is Delivery.UNKNOWN else cls.FAILED
            case FailureClass.CANCELLED:
                return cls.CANCELLED
            case _:
                return cls.FAILED


class ExecutionRef(Contract):
    """What a caller holds of an execution. It cannot be guessed; its fence is outrun when somebody else attaches."""

    contract: Literal["interlock.execution-ref/v1"] = "interlock.execution-ref/v1"
    node_id: Name
    execution_id: Name
    fence: Annotated[int, Field(ge=1)]


class ExecutionStatus(Contract):
    """An execution as it stands now."""

    contract: Literal["interlock.execution-status/v1"] = "interlock.execution-status/v1"
    execution_id: Name
    intent_id: Name
    intent_digest: Digest
    state: ExecutionState
    fence: Annotated[int, Field(ge=1)]
    target_id: Name | None
    lane_id: Name | None
    accepted_at: Moment
    last_seq: Annotated[int, Field(ge=0)]
    input_open: bool
    receipt: Receipt | None


class ExecutionRejected(PlaneError):
    """The node did not accept the execution; nothing was begun. `receipt` says why, with evidence."""

    code = "execution_rejected"

    def __init__(self, receipt: Receipt) -> None:
        failure = receipt.failure
        assert failure is not None
        super().__init__(
            failure.message,
            next_step=failure.next_step,
            retry=failure.retry,
            fault=failure.owner,
            details={"failure_class": failure.failure_class.value, "failure_code": failure.code},
        )
        self.receipt = receipt

    @property
    def failure(self) -> Failure:
        """Why."""
        assert self.receipt.failure is not None
        return self.receipt.failure


class ExecutionConflict(ConflictError):
    """The idempotency key belongs to an execution of another intent."""

    code = "execution_conflict"
    next_step = "Use a new idempotency key for a different intent."


class StaleExecution(ConflictError):
    """Somebody attached to the execution after this reference was given out."""

    code = "stale_execution"
    next_step = "Attach to the execution again if it is yours to steer."


class ExecutionNotFound(NotFoundError):
    """This node has no such execution, or has no longer."""

    code = "execution_not_found"
    next_step = "Look at the receipt that was given when it ended; nodes keep finished executions for a while only."


class Client(Protocol):
    """Executions on a node, in this process or elsewhere. Every method but `start` raises ExecutionNotFound; those that
    steer raise StaleExecution."""

    async def start(self, intent: Intent, *, authority: AuthorityDecision | None, target_class: str) -> ExecutionRef:
        """Have an intent accepted and begun. Asked again with the same key and intent, it answers with the same
        execution. Raises ExecutionRejected and ExecutionConflict."""
        ...

    def subscribe(self, ref: ExecutionRef, *, after: int = 0) -> AsyncGenerator[ExecutionEvent]:
        """The events after that number, to the receipt. Close the generator to leave early."""
        ...

    async def send_input(self, ref: ExecutionRef, piece: Input) -> None:
        """Send input; waits while the lane has no room. Raises InputClosed."""
        ...

    async def end_input(self, ref: ExecutionRef) -> None:
        """No more input. Again is harmless."""
        ...

    async def attach(self, ref: ExecutionRef) -> ExecutionRef:
        """Take over the steering: earlier references then only read."""
        ...

    async def status(self, ref: ExecutionRef) -> ExecutionStatus:
        """As it stands now."""
        ...

    async def cancel(self, ref: ExecutionRef) -> ExecutionStatus:
        """End it, and wait until nothing of it is left. Again is harmless; one that has ended stays as it ended."""
        ...

    async def wait(self, ref: ExecutionRef) -> Receipt:
        """Its receipt, when it has ended."""
        ...
