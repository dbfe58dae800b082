"""Many who start executions at once."""

from datetime import timedelta

import anyio
import pytest

from fix_plane import Bench, EchoLane, Intents
from interlock import plane
from interlock.testing import SequentialIds

pytestmark = pytest.mark.anyio


class SlowSink:
    """Cannot say for a while whether it can be written."""

    name = "slow"

    def __init__(self) -> None:
        self.go_on = anyio.Event()

    async def emit(self, record: plane.EvidenceRecord) -> None:
        pass

    async def flush(self) -> None:
        await self.go_on.wait()

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(("keys", "begun", "refused"), [("aaaa", 1, 0), ("abcdef", 3, 3), ("aabbccdd", 3, 2)])
async def test_who_is_being_admitted_has_a_place(keys: str, begun: int, refused: int):
    intents, lane, sink = Intents(), EchoLane(), SlowSink()
    target = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="echo", clock=intents.clock)
    bench = Bench(intents, lane, [target], sinks=plane.SinkSet([sink]))
    refs, codes = set[str](), list[str]()
    later = intents.clock.now() + timedelta(days=1)

    async def start(key: str) -> None:
        intent = intents.http(intent_id=key, idempotency_key=key, url="https://api.acme.dev/stuck", deadline_at=later)
        try:
            ref = await executions.start(intent, authority=bench.authority(intent), target_class=plane.LOCAL_HTTP)
        except plane.ExecutionRejected as rejected:
            codes.append(rejected.failure.code)
        else:
            refs.add(ref.execution_id)

    async with plane.Executions(bench.node, clock=intents.clock, ids=SequentialIds(), capacity=3) as executions:
        async with anyio.create_task_group() as tasks:
            for key in keys:
                tasks.start_soon(start, key)
            await anyio.wait_all_tasks_blocked()
            sink.go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert (len(refs), lane.begun, codes) == (begun, begun, ["node_full"] * refused)
        await executions.end_all()
        codes.clear()
        for key in "xyz":  # no place is lost
            await start(key)
        assert codes == []
