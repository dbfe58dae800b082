"""How strained the installation is, as policy sees it: each reading is fed by the room that knows it."""

from collections.abc import Callable

import pytest

from fix_app import Process, World, asked
from fix_dispatch import submitted
from interlock import runs
from interlock.kernel import Tx

pytestmark = pytest.mark.anyio

SHED = """
[[policy.rules]]
id = "strained"
then = "{then}"
effect = "create"
pressure = {{ {reading} = "{condition}" }}

[[policy.rules]]
id = "all"
then = "allow"
"""


def rules(reading: str, condition: str, then: str = "shed") -> str:
    return SHED.format(reading=reading, condition=condition, then=then)


def slow(process: Process, world: World, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Commits of runs take that long from now on."""
    monkeypatch.undo()
    wiring = process.parts.wiring
    admit, write = wiring.ledger.admit, wiring.store.write

    async def admit_slowly(admission: runs.Admission) -> runs.Admitted:
        world.advance(seconds)
        return await admit(admission)

    async def write_slowly(fn: Callable[[Tx], object], *, urgent: bool = False) -> object:
        world.advance(0 if urgent else seconds)
        return await write(fn, urgent=urgent)

    monkeypatch.setattr(wiring.ledger, "admit", admit_slowly)
    monkeypatch.setattr(wiring.store, "write", write_slowly)


async def test_what_is_left_of_a_budget_is_a_reading(world: World):
    limit = '[[budgets]]\nname = "two"\nper = "connection"\nrate = { limit = 2, per_seconds = 60 }\n'
    async with world.process(rules=limit + rules("budget_left", "<0.9")) as process:
        await process.connect(world.server.url)
        assert (await process.create()).state is runs.State.COMPLETED
        shed = await process.create()
        assert (shed.state, shed.reasons) == (runs.State.SHED, shed.reasons)
        assert any("budget_left" in reason for reason in shed.reasons)
        world.advance(60)
        assert (await process.create()).state is runs.State.COMPLETED


@pytest.mark.parametrize("then", ["shed", "ask"])
async def test_how_long_commits_take_is_a_reading(file_world: World, monkeypatch: pytest.MonkeyPatch, then: str):
    """Also while a rule lets no more through: what it sheds or holds is committed as well, and shows when it is over."""
    async with file_world.process(rules=rules("store_latency_ms", ">250", then)) as process:
        await process.connect(file_world.server.url)
        slow(process, file_world, monkeypatch, 0.4)
        assert (await process.create()).state is runs.State.COMPLETED
        stopped = await process.create()
        assert stopped.state is (runs.State.SHED if then == "shed" else runs.State.HELD)
        slow(process, file_world, monkeypatch, 0.0)
        states = [(await process.create(title=f"Door {number}")).state for number in range(8)]
        assert states[0] is stopped.state
        assert states[-1] is runs.State.COMPLETED


async def test_what_an_approved_run_needs_is_counted_too(file_world: World, monkeypatch: pytest.MonkeyPatch):
    async with file_world.process(rules=rules("store_latency_ms", ">0", "ask")) as process:
        await process.connect(file_world.server.url)
        slow(process, file_world, monkeypatch, 0.1)
        assert (await process.create()).state is runs.State.COMPLETED
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        before = process.parts.wiring.pressure.readings()["store_latency_ms"]
        slow(process, file_world, monkeypatch, 1.0)
        assert (await process.create()).approval_id == held.approval_id  # which uses the approval
        assert process.parts.wiring.pressure.readings()["store_latency_ms"] > before


async def test_what_no_worker_serves_sheds_nobody(file_world: World):
    """Else whoever asks for a handler that nobody has would have the work of all shed."""

    async def age() -> float:
        await sweeping.look()
        return process.parts.wiring.pressure.readings()["queue_age_s"]

    async with file_world.process() as process:
        sweeping = process.parts.workshop.sweeping
        await submitted(process, "nobody")
        file_world.advance(100)
        assert await age() == 100, "there is no worker, so all work waits"
        await sweeping.note({"handler:incident"})
        assert await age() == 0
        await submitted(process, "incident")
        file_world.advance(50)
        assert await age() == 50


async def test_a_room_to_come_feeds_a_reading_of_its_own(file_world: World):
    async with file_world.process(rules=rules("queue_age_s", ">30")) as process:
        await process.connect(file_world.server.url)
        assert (await process.create()).state is runs.State.COMPLETED, "what nobody feeds matches nothing"
        process.parts.wiring.pressure.feed("queue_age_s", 31)
        assert (await process.create()).state is runs.State.SHED
        process.parts.wiring.pressure.feed("queue_age_s", 0)
        assert (await process.create()).state is runs.State.COMPLETED
