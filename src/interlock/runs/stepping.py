"""A step of work that may be repeated as a whole: however often it is asked for, it is done once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from interlock import approvals
from interlock.kernel import Caller, RequestError
from interlock.runs.errors import RunCancelled, RunFailed
from interlock.runs.model import State
from interlock.runs.request import Outcome, Request

MOST_TRIES: Final = 100
"""How many runs one step may come to."""

NOTHING_DONE: Final = (None, "none", "not_happened")
"""What a recorded error says of the effect if it may be asked for again."""


def keys_of(key: str) -> tuple[str, ...]:
    """The idempotency keys that the runs of a step have, one after the other."""
    return (key, *(f"{key}:{number}" for number in range(2, MOST_TRIES + 1)))


class Doors(Protocol):
    """What work that asks for other work needs of this room."""

    async def invoke(self, caller: Caller, request: Request) -> Outcome:
        """As `Invoker.invoke`."""
        ...

    async def execute(self, caller: Caller, run_id: str) -> Outcome:
        """As `Holding.execute`."""
        ...

    async def approval(self, caller: Caller, approval_id: str) -> approvals.Approval:
        """As `Approvals.fetch_approval`."""
        ...


async def take_step(
    doors: Doors, caller: Caller, request: Request, *, before: Callable[[], None] = lambda: None
) -> Outcome:
    """Ask for an effect under the key that the request has. Asked for again, it is answered with what came of it; if it failed,
    and nothing was done, it is tried anew; what was held is executed once it is approved. `before` is called before each try,
    and may refuse it.

    Raises as `Invoker.invoke`.
    """
    assert request.idempotency_key is not None
    for key in keys_of(request.idempotency_key):
        before()
        try:
            return await go_on(doors, caller, await doors.invoke(caller, replace(request, idempotency_key=key)))
        except (RunFailed, RunCancelled) as error:
            # Told again of a run that is over. One that failed just now raises what it failed with.
            if isinstance(error, RunCancelled) or error.details.get("effect") not in NOTHING_DONE:
                raise
    raise RequestError(
        f"{request.capability} has failed {MOST_TRIES} times under the key {request.idempotency_key}, with nothing done"
    )


async def go_on(doors: Doors, caller: Caller, outcome: Outcome) -> Outcome:
    """What was held before, executed if it has been approved in the meantime."""
    if outcome.state is not State.HELD or not outcome.replayed or outcome.approval_id is None:
        return outcome
    approval = await doors.approval(caller, outcome.approval_id)
    return await doors.execute(caller, outcome.run_id) if approval.state is approvals.State.APPROVED else outcome
