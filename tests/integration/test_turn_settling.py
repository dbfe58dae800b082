"""Two people who say at once what became of what nobody can tell: each word is written down once, and the turn goes on."""

from dataclasses import replace

import anyio
import pytest

from interlock import Interlock, agents, kernel, runs
from interlock.testing import models

pytestmark = pytest.mark.anyio


@agents.operation(idempotency="unsafe_once")
def odd(n: int) -> str:
    """Odd."""
    raise kernel.UnknownOutcome(f"nobody knows of {n}")


@pytest.mark.parametrize("second", ["c1", "c2"])
async def test_people_who_settle_at_once_are_both_heard(second: str):
    script = models.Scripted([models.answer(*(models.call("odd", n=n, call_id=f"c{n}") for n in (1, 2))), "Done."])
    async with Interlock.open(":memory:", models={"fake": lambda _: script}) as il:
        il.agents.offer(odd)
        harmless = {"operations": [{"control": "max_length", "options": {"max": 99}}]}
        spec = agents.agent("desk", "Help.", model="fake:x", operations=[odd], controls=harmless)
        with pytest.raises(agents.OperationUnclear) as raised:
            await il.agents.run(spec, "Go.")
        run_id = raised.value.run_id or ""
        reviewer = il.as_caller(replace(il.caller, actor="test:reviewer", roles=frozenset({"approver"})))
        told = list[object]()

        async def settle(call_id: str) -> None:
            try:
                told.append((await reviewer.agents.settle(run_id, call_id, happened=True, text=call_id)).state)
            except kernel.RequestError as error:
                told.append(error.message)

        async with anyio.create_task_group() as tasks:
            for call_id in ("c1", second):
                tasks.start_soon(settle, call_id)
        if second == "c1":
            assert told == [runs.State.WAITING, "nothing is unclear of a call 'c1'; there are: c2"]
            await settle("c2")
        assert (await il.agents.fetch(run_id)).state is runs.State.QUEUED
        assert (await il.agents.resume(run_id)).answer == "Done."
        settled = [each for each in await il.agents.lines(run_id) if each.kind == "settled"]
        assert [each.data["call_id"] for each in settled] == ["c1", "c2"]
