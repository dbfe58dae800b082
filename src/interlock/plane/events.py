"""What an execution says while it goes: numbered events, each once and in order, the receipt last."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from interlock.plane.contract import Contract, Moment, Name
from interlock.plane.receipt import Fact, Receipt


class EventType(StrEnum):
    """What an event tells. `gap` stands for events that were let go before this reader came."""

    STARTED = "started"
    OUTPUT = "output"
    INPUT_CLOSED = "input_closed"
    GAP = "gap"
    RECEIPT = "receipt"


class ExecutionEvent(Contract):
    """One event of one execution. `data` travels beside the record, which holds its size; `stream` names what it came
    from (`stdout`, `stderr`, `body`, `message`, `event` …)."""

    contract: Literal["interlock.execution-event/v1"] = "interlock.execution-event/v1"
    execution_id: Name
    seq: Annotated[int, Field(ge=1)]
    type: EventType
    at: Moment
    stream: Name | None = None
    data: SkipJsonSchema[bytes] = Field(default=b"", exclude=True, repr=False)
    size: Annotated[int, Field(ge=0)] = 0
    facts: dict[str, Fact] = Field(default_factory=dict)
    receipt: Receipt | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.receipt is not None) is not (self.type is EventType.RECEIPT):
            raise ValueError("the receipt comes in the event of that type, and in no other")
        return self
