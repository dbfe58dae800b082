"""What the room needs of a model, and what it is to those who ask models."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Literal, Protocol, TypeAlias

from pydantic import Field

from interlock.inference.messages import Answer, Part, Request, Usage
from interlock.kernel import Caller, Tx


class Delta(Part):
    """A piece of what a model is saying, as it comes: words, thoughts, or the arguments of a call. It is for those who watch;
    what counts is the answer, which may be another one than what was told before a retry."""

    kind: Literal["text", "thinking", "call"]
    text: str = ""
    index: Annotated[int, Field(ge=0)] = 0
    """The how manyth part of the message it belongs to."""
    call_id: str | None = None
    name: str | None = None


Told: TypeAlias = Callable[[Delta], None]
"""Is told each delta as it comes. It returns at once, and what it raises ends the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A request of a model's, without what proves who asks: the wire adds that. With `stream`, its answer is read as it comes."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The answer to a request: its head, and its body as it comes. Reading raises plane.EffectFailed where it breaks off."""

    status: int
    headers: tuple[tuple[str, str], ...]
    pieces: AsyncIterator[bytes]


class Wire(Protocol):
    """Where a model's requests leave: each is committed before it does, and settled after."""

    def send(self, sending: Sending) -> AbstractAsyncContextManager[Received]:
        """Send it once, in this attempt. Raises plane.EffectFailed, and what stops the run."""
        ...


class Model(Protocol):
    """One model of one provider. It tries nothing twice."""

    async def answer(self, request: Request, *, wire: Wire, told: Told | None) -> Answer:
        """What the model says. `told` asks for a stream. Raises leaves of the error tree; what was cut off is an answer that
        ends with Finish.CUT."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of asking: the answer, the run that has it on record, and what it cost in US dollars, where that is known."""

    run_id: str
    answer: Answer
    cost: Decimal | None


class Purse(Protocol):
    """Who else counts what a question takes, beside the rules for `inference.…`."""

    @property
    def units(self) -> frozenset[str]:
        """What it counts."""
        ...

    @property
    def first(self) -> Callable[[Tx], None] | None:
        """Takes what the first attempt may come to, in the transaction that admits the question. Raises runs.OverBudget. None: it
        was taken with what the question is asked for."""
        ...

    def lock(self, tx: Tx) -> None:
        """Take the locks of what is to be settled and taken, in an order that is always the same."""
        ...

    def hold(self, tx: Tx, most: Mapping[str, int]) -> None:
        """Take that for another attempt. Raises runs.OverBudget."""
        ...

    def settle(self, tx: Tx, came_to: Mapping[str, int] | None) -> None:
        """An attempt without an answer came to that; None: nobody knows."""
        ...


class Inference(Protocol):
    """Asking models, on record and under policy."""

    def most(self, request: Request) -> tuple[Usage, Decimal | None]:
        """The most that an answer may come to, before anybody has counted: tokens, and dollars if somebody knows. Raises
        UnknownModel."""
        ...

    async def ask(
        self,
        caller: Caller,
        request: Request,
        *,
        key: str,
        parent_run_id: str | None = None,
        environment: str = "dev",
        timeout_s: float = 120.0,
        told: Told | None = None,
        purse: Purse | None = None,
    ) -> Answered:
        """Ask the model that the request names. Asked again with the same `key` and request it answers from the record, and
        the model is not called; what was asked and not finished is asked anew. `timeout_s` bounds the whole of it.
        What attempts without an answer come to is told to the `purse`; of the answer, whoever gave it does that.

        Raises leaves of the error tree: what the model, policy, a budget or the store failed with; with `run_id` once there is
        a run.
        """
        ...
