"""Operations that do not end in time: what still runs may yet be done, and so nobody is told that it was not."""

import anyio
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
