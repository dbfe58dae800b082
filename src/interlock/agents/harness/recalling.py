"""An agent's memory around its turn: what helps with it is recalled before, and what is new in it is kept after."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar, runtime_checkable

import anyio

from interlock import memory, runs
from interlock.agents import turns
from interlock.agents.harness.asking import Asked
from interlock.agents.harness.means import Means
from interlock.agents.operations import MEMORY
from interlock.agents.spec import Capture, Memory
from interlock.kernel import InterlockError

PATIENCE_S: Final = 10.0
"""Seconds that a turn waits for its memory; it goes on without what takes longer."""

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


async def recalled(means: Means, working: runs.Working, asked: Asked) -> str | None:
    """What memory holds about what is said, as data for the model; None without a memory, and if there is nothing. A memory that
    fails keeps no turn from being taken."""
    return await _tried(means, working, asked, lambda mem: _before(mem, asked))


async def _before(mem: memory.Turns, asked: Asked) -> str | None:
    return (await mem.before(asked.text)).prompt or None


async def learn(means: Means, working: runs.Working, asked: Asked, state: turns.State) -> None:
    """Keep what was said, if the spec says so. Done again for the same turn, it changes nothing."""
    told = asked.spec.memory
    if told is None or told.capture is not Capture.CONVERSATION or state.phase is not turns.Phase.FINISHED:
        return
    said = [memory.Said(role="user", text=asked.text), memory.Said(role="assistant", text=state.answer or "")]
    turn = memory.Turn(turn_id=state.turn_id, said=tuple(each for each in said if each.text.strip()))
    await _tried(means, working, asked, lambda mem: mem.after(turn))


async def _tried(
    means: Means, working: runs.Working, asked: Asked, act: Callable[[memory.Turns], Awaitable[T]]
) -> T | None:
    source = means.registry.find_source(MEMORY)
    if asked.spec.memory is None or not isinstance(source, Remembers):
        return None
    run_id = working.attempt.run_id
    try:
        with anyio.move_on_after(PATIENCE_S):
            found = await source.turns_of(
                asked.spec.memory,
                tenant_id=working.caller.tenant_id,
                agent_id=asked.spec.id,
                session_id=asked.session_id,
                turn_id=run_id,
            )
            return None if found is None else await act(found)
        _log.warning("%s goes on without its memory, which took longer than %g s", run_id, PATIENCE_S)
    except InterlockError as error:
        _log.warning("%s goes on without its memory: %s", run_id, error)
    return None
