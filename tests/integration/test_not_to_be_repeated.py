"""What a caller is told when recovery will go on with its run: not to ask again; and when it may."""

from contextlib import suppress

import pytest

from fix_app import ASK_WRITES, World, asked
from interlock import approvals, runs
from interlock.kernel import InterlockError, Retry, StoreError, Tx

pytestmark = pytest.mark.anyio


async def broken(change: runs.Change) -> None:
    raise StoreError("the disk answers with an error")


async def test_a_write_that_did_not_leave_and_could_not_be_recorded(
    every_world: World, monkeypatch: pytest.MonkeyPatch
):
    """Nothing left, and nobody could write that down: recovery carries the call out, once it is allowed to."""
    world = every_world
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("status:403", match="issues/create", apply=False)
        monkeypatch.setattr(process.parts.wiring.ledger, "apply", broken)
        with pytest.raises(runs.OutcomeUnsaved) as raised:
            await process.create(max_attempts=1)
        monkeypatch.undo()
        assert raised.value.retry is Retry.NEVER
        assert raised.value.run_id == (await process.last()).run.run_id
        with suppress(InterlockError):
            await process.il.runs.recover()
        assert world.server.effects("issues/create") == 1


async def test_a_read_that_could_not_be_recorded_may_be_asked_for_again(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        monkeypatch.setattr(process.parts.wiring.ledger, "apply", broken)
        with pytest.raises(StoreError):
            await process.il.invoke("acme.account.fetch", {})
        monkeypatch.undo()


async def test_an_approval_that_is_withdrawn_as_it_is_about_to_be_used(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    file_world.law = ASK_WRITES
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        held = await process.create()
        approved = await process.reviewer.approvals.approve(asked(held))
        await process.il.runs.cancel(held.run_id)

        def find_late(tx: Tx, *, tenant_id: str, binding_digest: str) -> approvals.Approval:
            return approved

        monkeypatch.setattr(process.parts.wiring.approvals, "find_usable", find_late)
        again = await process.create()
        assert again.state is runs.State.HELD
        assert again.approval_id != held.approval_id
