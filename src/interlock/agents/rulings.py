"""What a control is shown, and what it says: the two sides of every function that watches over a turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, cast

from pydantic import BaseModel

from interlock.agents.operations import Operation
from interlock.agents.shapes import S
from interlock.agents.turns import Boundary, Verdict
from interlock.kernel import Caller

ANYWHERE: Final[tuple[Boundary, ...]] = ("input", "operations", "output")
CALLS: Final[tuple[Boundary, ...]] = ("operations",)
MAX_REASON: Final = 2000
"""Characters of a reason that are kept: a model and a person read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a turn is taken: for whom, and with what its context says, which no model sees or writes; `seen` is the same as a
    pydantic model, if this program has one of its schema."""

    caller: Caller
    environment: str
    session_id: str | None
    context: Mapping[str, Any]
    seen: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlInput(Generic[S]):
    """What a control looks at: the `text` that goes in or comes out, or a call of `operation` with `arguments`. Nothing in it can
    be changed, and what is in `text`, `result` and `arguments` may have been written by anybody.

    `result` is the structured answer, at the boundary `output`; it and `context` are pydantic models where this program has those
    of their schemas (`ControlInput[Model]` tells a type checker of the context's), else JSON. `options` are those of this use of
    the control: as the control's own model, if it has one, else as they stand in the spec.
    """

    boundary: Boundary
    agent_id: str
    fingerprint: str
    turn_id: str
    surroundings: Surroundings
    text: str | None = None
    result: Any = None
    call_id: str | None = None
    operation: Operation | None = None
    arguments: Mapping[str, Any]
    options: Any

    @property
    def context(self) -> S:
        """The turn's."""
        around = self.surroundings
        return cast("S", around.context if around.seen is None else around.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a control says. `role` is whose yes it takes, where a person is to be asked."""

    verdict: Verdict
    reason: str | None = None
    role: str | None = None


def allow() -> Ruling:
    """Let it pass."""
    return Ruling(verdict=Verdict.ALLOW)


def block(reason: str) -> Ruling:
    """Keep it from happening. A model is told the reason, where it asked for it."""
    return Ruling(verdict=Verdict.BLOCK, reason=reason)


def interrupt(reason: str, *, role: str | None = None) -> Ruling:
    """Have a person say yes first: one with that role, None: as policy says."""
    return Ruling(verdict=Verdict.INTERRUPT, reason=reason, role=role)


def error(reason: str) -> Ruling:
    """Say that it cannot be judged, which ends the turn: nothing is allowed, and no model is asked to try otherwise."""
    return Ruling(verdict=Verdict.ERROR, reason=reason)


Controlling: TypeAlias = Callable[[ControlInput], Any]
"""A control, async or not. It returns a Ruling; one that only says whether a person is to be asked may return a bool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A function that is a control, the model of its options, and the boundaries at which it has something to say. `instant`:
    it is ours, and quick, so that it needs no thread of its own."""

    name: str
    function: Controlling
    options: type[BaseModel] | None = None
    boundaries: tuple[Boundary, ...] = ANYWHERE
    instant: bool = False
