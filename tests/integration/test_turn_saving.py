"""What a turn has come to is written down, whatever is cancelled or fails meanwhile, and nothing is done that is not."""

from collections.abc import Callable
from typing import Any, cast

import anyio
import pytest

from interlock import Interlock, agents, inference, runs
from interlock.kernel import Retry, StoreError
from interlock.testing import models

pytestmark = pytest.mark.anyio

DONE: list[int] = []
LONG = "x" * 70_000
"""More than stands in the ledger."""


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()


@agents.operation(idempotency="unsafe_once")
async def act(n: int) -> str:
    """Act."""
    DONE.append(n)
    return f"{n}: {LONG}"


HARMLESS = {"operations": [{"control": "max_length", "options": {"max": 99}}]}


def calls(*numbers: int) -> inference.Answer:
    return models.answer(*(models.call("act", n=n, call_id=f"c{n}") for n in numbers))


def given(*script: Any) -> dict[str, Callable[[str], inference.Model]]:
    return {"fake": lambda _: models.Scripted(list(script))}


def spec(at_once: int = 8) -> agents.Spec:
    defaults = {"parallel_operations": at_once}
    return agents.agent("desk", "Act.", model="fake:x", operations=[act], controls=HARMLESS, runtime_defaults=defaults)


async def test_who_is_stopped_while_what_came_of_it_is_put_away_keeps_it(monkeypatch: pytest.MonkeyPatch):
    async with Interlock.open(":memory:", models=given(calls(1, 2), "Done.")) as il:
        il.agents.offer(act)
        blobs, put, reached = il._parts.wiring.blobs, il._parts.wiring.blobs.put, anyio.Event()

        async def slowly(key: str, content: bytes) -> None:
            if not reached.is_set():
                reached.set()
                await anyio.sleep(0.05)
            await put(key, content)

        monkeypatch.setattr(blobs, "put", slowly)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(il.agents.run, spec(), "Go.")
            await reached.wait()
            tasks.cancel_scope.cancel()
        [turn] = await il.agents.list()
        assert turn.state is runs.State.RETRY_SCHEDULED
        assert (await il.agents.resume(turn.run_id)).answer == "Done."
        assert sorted(DONE) == [1, 2], "what came of both was kept"


async def test_nothing_is_done_after_a_commit_that_failed(monkeypatch: pytest.MonkeyPatch):
    async with Interlock.open(":memory:", models=given(calls(1, 2, 3, 4), "Done.")) as il:
        il.agents.offer(act)
        tasks, note = il._parts.workshop.tasks, il._parts.workshop.tasks.note
        failures = 0

        async def failing(working: runs.Working, told: Any, **also: Any) -> None:
            nonlocal failures
            if not callable(told) and failures < 2 and any("c" in str(data.get("call_id")) for _, data in told):
                failures += 1
                await anyio.sleep(0.01)
                raise StoreError("no", retry=Retry.NEVER)
            await note(working, cast("Any", told), **also)

        monkeypatch.setattr(tasks, "note", failing)
        with pytest.raises(StoreError):
            await il.agents.run(spec(at_once=3), "Go.")
        [turn] = await il.agents.list()
        begun = [each.data.get("call_id") for each in await il.agents.lines(turn.run_id) if each.kind == "intended"]
        assert all(f"c{n}" in begun for n in DONE)
        assert failures == 1, "nobody tries after the first"
