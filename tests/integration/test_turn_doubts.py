"""Operations that do not end in time: what still runs may yet be done, and so nobody is told that it was not."""

import threading

import anyio
import anyio.to_thread
import pytest

from interlock import Interlock, agents
from interlock.agents.harness import performing
from interlock.testing import models

pytestmark = pytest.mark.anyio


async def test_what_does_not_end_when_it_is_stopped_is_in_doubt(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(performing, "GRACE_S", 0.02)

    @agents.operation(idempotency="reconcile", reconcile=agents.NotHappened)
    async def pay() -> str:
        """Pay."""
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.2)
        return "paid"

    script = models.Scripted([models.call("pay"), "It was not done."])
    async with Interlock.open(":memory:", models={"fake": lambda _: script}) as il:
        il.agents.offer(pay)
        defaults = {"operation_timeout_s": 0.05}
        spec = agents.agent("desk", "Help.", model="fake:x", operations=[pay], runtime_defaults=defaults)
        with pytest.raises(agents.OperationUnclear, match="pay"):
            await il.agents.run(spec, "Go.")


@pytest.mark.parametrize("again", [False, True])
async def test_what_an_async_function_has_left_to_a_thread_is_not_said_to_be_undone(again: bool):
    paid: list[str] = []
    gate, begun = threading.Event(), anyio.Event()

    def late(key: str) -> None:
        gate.wait(60)
        paid.append(key)

    @agents.operation(idempotency="reconcile", reconcile=lambda: "paid" if paid else agents.NotHappened())
    async def pay(context: agents.Invocation) -> str:
        """Pay."""
        begun.set()
        await anyio.to_thread.run_sync(late, context.key, abandon_on_cancel=True)
        return "paid"

    script = models.Scripted([models.call("pay"), "Done."])
    async with Interlock.open(":memory:", models={"fake": lambda _: script}) as il:
        il.agents.offer(pay)
        defaults = {"operation_timeout_s": 60 if again else 0.05}
        spec = agents.agent("desk", "Help.", model="fake:x", operations=[pay], runtime_defaults=defaults)
        if again:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(il.agents.run, spec, "Go.")
                await begun.wait()
                tasks.cancel_scope.cancel()
            [left] = await il.agents.list()
            taking = il.agents.resume(left.run_id)
        else:
            taking = il.agents.run(spec, "Go.")
        with pytest.raises(agents.OperationUnclear, match="pay"):
            await taking
        gate.set()


async def test_what_knows_a_call_again_by_its_key_is_asked_once_more_when_it_is_late():
    asked: list[tuple[str, bool]] = []

    @agents.operation(idempotency="dedupe")
    async def send(context: agents.Invocation) -> str:
        """Send."""
        asked.append((context.key, context.again))
        if not context.again:
            await anyio.sleep_forever()
        return "sent"

    script = models.Scripted([models.call("send"), "Sent."])
    async with Interlock.open(":memory:", models={"fake": lambda _: script}) as il:
        il.agents.offer(send)
        defaults = {"operation_timeout_s": 0.05}
        spec = agents.agent("desk", "Help.", model="fake:x", operations=[send], runtime_defaults=defaults)
        assert (await il.agents.run(spec, "Go.")).answer == "Sent."
        assert [again for _, again in asked] == [False, True]
        assert len({key for key, _ in asked}) == 1
