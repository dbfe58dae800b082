"""What turns leave below them when they end."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from interlock import Interlock, agents, inference, kernel, runs
from interlock.testing import models

pytestmark = pytest.mark.anyio


@agents.operation(idempotency="unsafe_once", approval={})
async def pay(n: int) -> str:
    """Pay."""
    return f"paid {n}"


@agents.operation(idempotency="unsafe_once", approval={})
async def odd() -> str:
    """Odd."""
    raise kernel.UnknownOutcome("nobody knows")


def given(says: Callable[[inference.Request], Any]) -> dict[str, Callable[[str], inference.Model]]:
    return {"fake": lambda _: models.Scripted(says)}


SPEC = agents.agent("desk", "Pay.", model="fake:x", operations=[pay])


@pytest.mark.parametrize("waits", [pay, odd])
async def test_who_cancels_a_turn_cancels_those_below_it(waits: Any):
    wanted = models.call("pay", n=1) if waits is pay else models.call("odd")
    below = agents.agent("below", "Do.", model="fake:x", operations=[waits])

    def says(request: inference.Request) -> Any:
        text = request.messages[-1].text
        if text == "Go.":
            return models.call("ask", task="do")
        return wanted if text == "do" else "Done."

    async with Interlock.open(":memory:", models=given(says)) as il:
        il.agents.offer(waits)
        # As a turn of an agent below leaves it when nobody goes on with it.
        above = await il.agents.submit(SPEC, "Go.")
        child = await il.agents.run(below, "do", parent_run_id=above.run_id)
        if waits is odd:
            [each] = child.waiting
            assert each.approval_id is not None
            reviewer = il.as_caller(kernel.Caller(tenant_id="default", actor="ada", roles=frozenset({"approver"})))
            await reviewer.approvals.approve(each.approval_id)
            with pytest.raises(agents.OperationUnclear):
                await il.agents.resume(child.run_id)
            assert (await il.runs.fetch(child.run_id)).state is runs.State.WAITING
        await il.runs.cancel(above.run_id)
        gone = await il.runs.fetch(child.run_id)
        assert (gone.state, gone.reason) == (runs.State.CANCELLED, "turn_ended")


async def test_who_cancels_a_turn_cancels_those_that_were_cut_off_below_it():
    reached = anyio.Event()

    @agents.operation(idempotency="pure")
    async def wait() -> str:
        """Wait."""
        reached.set()
        await anyio.sleep_forever()
        return ""

    below = agents.agent("below", "Do.", model="fake:x", operations=[wait])
    async with Interlock.open(":memory:", models=given(lambda _: models.call("wait"))) as il:
        il.agents.offer(wait)
        above = await il.agents.submit(SPEC, "Go.")
        async with anyio.create_task_group() as tasks:

            async def take() -> None:
                await il.agents.run(below, "do", parent_run_id=above.run_id)

            tasks.start_soon(take)
            await reached.wait()
            tasks.cancel_scope.cancel()
        [child] = [each for each in await il.runs.list() if each.capability == "agent.below"]
        assert child.state is runs.State.RETRY_SCHEDULED
        await il.runs.cancel(above.run_id)
        assert (await il.runs.fetch(child.run_id)).state is runs.State.CANCELLED
