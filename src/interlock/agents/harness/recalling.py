"""What surrounds a turn: what helps with it is recalled before, and what is new in it kept after; and which operations it goes
without."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, runtime_checkable

import anyio

from interlock import memory, runs
from interlock.agents import turns
from interlock.agents.harness.asking import Asked
from interlock.agents.harness.means import Means
from interlock.agents.operations import MEMORY
from interlock.agents.sources import Looking
from interlock.agents.spec import Capture, Memory, Spec
from interlock.kernel import InterlockError, InvalidJson, parse_json

PATIENCE_S: Final = 10.0
"""Seconds that a turn waits for its memory; it goes on without what takes longer."""

MOST_SAID: Final = 500
"""Characters of why it failed."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


@runtime_checkable
class Remembers(Protocol):
    """A source of an agent's own memory, such as `agents.Remembering`."""

    def turns_of(
        self, told: Memory, *, tenant_id: str, agent_id: str, session_id: str | None, turn_id: str
    ) -> Awaitable[memory.Turns | None]:
        """The memory around a turn; None once all is closed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What memory holds about what is said, as data for the model; None without a memory, and if there is nothing. `wrong`: why
    nobody knows what it holds."""

    text: str | None = None
    wrong: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The turn that memory is asked around: one that is taken, or that might be."""

    spec: Spec
    tenant_id: str
    session_id: str | None
    turn_id: str


def around(working: runs.Working, asked: Asked) -> Around:
    """The turn that is taken."""
    tenant_id, turn_id = working.caller.tenant_id, working.attempt.run_id
    return Around(spec=asked.spec, tenant_id=tenant_id, session_id=asked.session_id, turn_id=turn_id)


async def recalled(means: Means, turn: Around, text: str) -> Recalled:
    """What memory holds about this. A memory that fails raises nothing, whatever its provider raised."""
    found, wrong = await _tried(means, turn, lambda mem: mem.before(text))
    return Recalled(text=None if found is None else found.prompt or None, wrong=wrong)


async def learn(
    means: Means, working: runs.Working, asked: Asked, state: turns.State, *, taken_over: bool
) -> str | None:
    """Keep what was said, if the spec says so; why it could not be kept. Done again for the same turn, it changes nothing. Of a
    turn that was `taken_over` from an earlier attempt, what that recalled is recalled again first: nobody here knows it, and it
    would be learned as new."""
    told = asked.spec.memory
    if told is None or told.capture is not Capture.CONVERSATION or state.phase is not turns.Phase.FINISHED:
        return None
    said = [memory.Said(role="user", text=asked.text), memory.Said(role="assistant", text=state.answer or "")]
    turn = memory.Turn(turn_id=state.turn_id, said=tuple(each for each in said if each.text.strip()))
    questions = [asked.text, *_recalled_by(asked, state)] if taken_over else []

    async def after(mem: memory.Turns) -> None:
        for each in questions:
            await mem.before(each)
        await mem.after(turn)

    _, wrong = await _tried(means, around(working, asked), after)
    return wrong


def _recalled_by(asked: Asked, state: turns.State) -> list[str]:
    """What the model had its memory asked for."""
    questions: list[str] = []
    for call in [each for message in state.said for each in message.calls]:
        operation = asked.spec.find_operation(call.name)
        if operation is None or (operation.source.kind, operation.source.ref) != (MEMORY, "recall"):
            continue
        try:
            arguments = parse_json(call.arguments, limits=turns.ARGUMENTS, what="arguments")
        except InvalidJson:
            continue
        if isinstance(arguments, dict) and isinstance(query := arguments.get("query"), str):
            questions.append(query)
    return questions


def failed(what: str, why: str) -> runs.Entry:
    """What the chain tells of a memory that failed: at `recall`, or at `capture`."""
    return f"memory.{what}_failed", {"reason": why}


async def absent(means: Means, working: runs.Working, asked: Asked) -> dict[str, str]:
    """The operations that cannot be asked for now, each with the reason. Raises what keeps the turn from beginning."""
    found: dict[str, str] = {}
    for kind in sorted({each.kind for each in asked.spec.operations}):
        source = means.registry.find_source(kind)
        if isinstance(source, Looking):
            operations = [each for each in asked.spec.operations if each.kind == kind]
            found |= await source.absent(operations, caller=working.caller, run_id=working.attempt.run_id)
    return found


async def _tried(
    means: Means, turn: Around, act: Callable[[memory.Turns], Awaitable[T]]
) -> tuple[T | None, str | None]:
    source = means.registry.find_source(MEMORY)
    if turn.spec.memory is None or not isinstance(source, Remembers):
        return None, None
    try:
        with anyio.move_on_after(PATIENCE_S):
            found = await source.turns_of(
                turn.spec.memory,
                tenant_id=turn.tenant_id,
                agent_id=turn.spec.id,
                session_id=turn.session_id,
                turn_id=turn.turn_id,
            )
            return (None if found is None else await act(found)), None
        wrong = f"it took longer than {PATIENCE_S:g} s"
    except InterlockError as error:
        wrong = f"{error.code}: {error.message}"[:MOST_SAID]
    except Exception as error:  # noqa: BLE001 - a stranger's provider, and no turn ends with what it raises
        # Its type alone: what a provider's own exception says may be anything, and the chain keeps it for ever.
        _log.debug("the memory of %s", turn.turn_id, exc_info=True)
        wrong = f"its provider raised {type(error).__name__}"
    _log.warning("the memory of the agent %s failed, asked for %s: %s", turn.spec.id, turn.turn_id, wrong)
    return None, wrong
