"""What dead processes leave: read about, sent again only when that is safe, never twice."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from fix_app import LEASE, Process, World, connector, operations
from interlock import plane, policy, runs, sdk
from interlock.kernel import InterlockError, StoreError, Tx, UnknownOutcome
from interlock.runs.recovery import MAX_ATTEMPTS
from interlock.testing import ManualClock

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

MISSPELT = policy.Policy(
    rules=(
        policy.Rule(rule_id="no", then=policy.Effect.DENY, capability=("acme.isue.close",)),
        policy.Rule(rule_id="rest", then=policy.Effect.ALLOW),
    )
)


def create(title: str = "Door") -> Callable[[Process], Awaitable[runs.Outcome]]:
    return lambda process: process.create(title)


async def connected(world: World) -> None:
    async with world.process() as process:
        await process.connect(world.server.url)


async def test_a_write_that_was_applied_is_found(world: World):
    await connected(world)
    await world.killed("hold", create())
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1
        history = await process.last()
        assert [each.state.value for each in history.attempts] == ["lost", "completed"]
        assert history.run.fence == 2
        assert await process.il.runs.recover() == []


async def test_what_another_run_made_is_not_taken_for_the_lost_ones(world: World):
    """The same call was made again before recovery came: what is there may be the work of either."""
    await connected(world)
    await world.killed("hold_before", create())
    async with world.process() as process:
        again = await process.create()
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.WAITING
        assert recovered.error is not None
        assert again.run_id in recovered.error.message
        assert world.server.effects("issues/create") == 1


async def test_what_a_run_at_work_made_is_not_taken_for_another_ones(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("hold", match="issues/create")
        world.server.fault("cut_before", match="issues/create", apply=False)
        async with anyio.create_task_group() as group:
            group.start_soon(process.create)
            await anyio.to_thread.run_sync(world.server.wait_held)
            with pytest.raises(UnknownOutcome, match="asked for the same"):
                await process.create()
            world.server.release()
        assert sorted(await process.states()) == ["completed", "waiting"]
        assert world.server.effects("issues/create") == 1


async def test_a_run_that_was_over_before_is_no_rival(world: World):
    await connected(world)
    async with world.process() as process:
        await process.create()
        world.advance(3600)
        world.server.fault("cut_before", match="issues/create")
        assert (await process.create()).state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 2


async def test_a_write_that_was_not_applied_is_sent_again(world: World):
    await connected(world)
    await world.killed("hold_before", create())
    assert world.server.effects("issues/create") == 0
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1


async def test_a_read_is_done_again(world: World):
    await connected(world)
    await world.killed("hold", lambda process: process.il.invoke("acme.account.fetch"), match="GET /user")
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert (await process.il.runs.outcome(recovered.run_id)).output == {"login": "octo-agent"}


async def test_a_write_without_a_way_to_read_waits(world: World):
    await connected(world)
    world.server.add_issues("acme/rocket", 1)
    value = {"repo": "acme/rocket", "issue_number": 1, "body": "Hm."}
    await world.killed(
        "hold", lambda process: process.il.invoke("acme.comment.create", value), match="issues/create-comment"
    )
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.WAITING
        assert world.server.effects("issues/create-comment") == 1


async def test_a_handler_that_may_have_written_waits(world: World):
    await connected(world)
    value = {"repo": "acme/rocket", "title": "Door"}
    await world.killed("hold", lambda process: process.il.invoke("acme.issue.file", value))
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.WAITING
        assert world.server.effects("issues/create") == 1


async def test_two_processes_recover_one_run_once(world: World):
    await connected(world)
    await world.killed("hold_before", create())
    async with world.process() as one, world.process() as two:
        found: list[runs.Recovered] = []

        async def sweep(process: Process) -> None:
            found.extend(await process.sweep())

        # Both know the owner for dead, and wait for nobody: a pause of the one moves the clock past the other's deadline.
        await sweep(one)
        await sweep(two)
        world.advance(LEASE)

        async with anyio.create_task_group() as group:
            for process in (one, two, one, two):
                group.start_soon(sweep, process)
        assert [each.state for each in found] == [runs.State.COMPLETED]
        assert world.server.effects("issues/create") == 1


async def test_who_asks_for_recovery_hears_of_it_when_it_is_over(world: World):
    """Also of what a sweep of the same process is at: as long as that takes, the run is still running."""
    await connected(world)
    await world.killed("hold", create())
    async with world.process() as process:
        await process.sweep()
        world.advance(LEASE)
        world.server.fault("hold", match="GET *")

        async def ask() -> None:
            await process.il.runs.recover()
            assert await process.states() == ["completed"]

        async with anyio.create_task_group() as group:
            group.start_soon(process.sweep)
            await anyio.to_thread.run_sync(world.server.wait_held)
            group.start_soon(ask)
            await anyio.sleep(0.05)  # it would be told by now
            world.server.release()


async def live(world: World, process: Process):
    """Time passes, and the process beats in time."""
    while True:
        await process.beat()
        world.advance(LEASE / 4)


async def test_a_live_process_is_left_alone(world: World):
    world.clock = ManualClock(world.clock.now(), autojump=False)
    async with world.process() as alive, world.process() as other:
        await alive.connect(world.server.url)
        world.server.fault("hold", match="issues/create")
        async with anyio.create_task_group() as group:
            group.start_soon(alive.create)
            await anyio.to_thread.run_sync(world.server.wait_held)
            async with anyio.create_task_group() as living:
                living.start_soon(live, world, alive)
                assert await other.il.runs.recover() == []
                living.cancel_scope.cancel()
            assert await alive.il.runs.recover() == []
            world.server.release()
        assert (await alive.last()).run.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1


async def test_an_owner_that_lapsed_while_it_lived_overwrites_nothing_and_goes_on(world: World):
    """It could not beat (its disk hung, say), and another process took its work over; its own answer comes after that."""
    world.clock = clock = ManualClock(world.clock.now(), autojump=False)
    async with world.process() as late, world.process() as other:
        await late.connect(world.server.url)
        world.server.fault("hold", match="issues/create")
        told: list[InterlockError] = []
        before, settled = late.parts.wiring.ownership.owner_id, list[runs.History]()

        async def call() -> None:
            with pytest.raises(InterlockError) as raised:
                await late.create()
            told.append(raised.value)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.to_thread.run_sync(world.server.wait_held)
            assert await other.sweep() == []
            clock.advance(LEASE + 1)
            [recovered] = await other.sweep()
            assert recovered.state is runs.State.COMPLETED
            settled.append(await other.last())
            await late.beat()
            world.server.release()
        assert told[0].code == "stale_run"
        assert [await other.last()] == settled
        assert world.server.effects("issues/create") == 1

        assert (await late.create("Another")).state is runs.State.COMPLETED
        [attempt] = (await late.last()).attempts
        assert attempt.owner_id == late.parts.wiring.ownership.owner_id != before
        assert await other.sweep() == await late.sweep() == []
        assert world.server.effects("issues/create") == 2


async def test_a_process_that_freezes_as_it_takes_its_authority_sends_nothing(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    """Its hold has been looked at, and lapses before the authority is made out, which would then outlive it."""
    world = file_world
    async with world.process(execution={"owner_lease": 20}) as process:
        await process.connect(world.server.url)
        authorizer = process.parts.wiring.authorizer
        issue = authorizer.issue

        def late(*args: Any, **kwargs: Any) -> plane.AuthorityDecision:
            world.advance(21)
            return issue(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(authorizer, "issue", late)
            with pytest.raises(runs.OwnershipLapsed):
                await process.create()
        assert world.server.effects() == 0


async def test_absence_counts_from_when_the_lost_process_could_last_have_sent(world: World):
    """Not from its commit: it may have hung for nearly a lease before its bytes left, and they take their time to show."""
    await connected(world)
    await world.killed("hold_before", create())
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        waited = [
            json.loads(event.body)["data"]["milliseconds"]
            for event in await process.il.runs.events(recovered.run_id)
            if event.type == "reconcile.waiting"
        ]
        settle_after = process.il.catalog.fetch("acme.issue.create").operation.settled_after
        assert waited == [settle_after * 1000]


async def test_a_process_that_ends_can_send_nothing_by_the_time_it_gives_its_work_up(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        ownership = process.parts.wiring.ownership
        end = ownership.end

        async def ending() -> None:
            with pytest.raises(plane.EffectFailed, match="lane is closed"):
                await process.create(max_attempts=1)
            await end()

        monkeypatch.setattr(ownership, "end", ending)
    assert file_world.server.effects() == 0


async def test_a_connection_that_was_revoked_meanwhile(world: World):
    await connected(world)
    await world.killed("hold", create())
    await world.killed("hold", lambda process: process.il.invoke("acme.account.fetch"), match="GET /user")
    async with world.process() as process:
        await process.il.connections.revoke("acme")
        recovered = await process.il.runs.recover()
        assert {each.capability: each.state.value for each in recovered} == {
            "acme.issue.create": "waiting",
            "acme.account.fetch": "failed",
        }
        assert world.server.effects("issues/create") == 1


async def test_a_misspelt_rule_leaves_it_for_later(world: World):
    await connected(world)
    await world.killed("hold", create())
    lawful, world.law = world.law, MISSPELT
    async with world.process() as process:
        assert not await process.il.runs.recover()
        assert await process.states() == ["running"]
    world.law = lawful
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1


async def test_a_connector_that_is_gone(world: World):
    await connected(world)
    await world.killed("hold", create())
    other = sdk.Connector(
        "other",
        version="1.0.0",
        description="Another one.",
        base_url="https://api.acme.dev",
        category="developer_tools",
        auth=[sdk.token_profile(scopes=["repo"])],
        operations=operations(),
    ).manifest
    async with world.process(manifest=other) as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.WAITING
        assert recovered.error is not None
        assert recovered.error.code == "unknown_capability"


async def test_a_newer_connector_with_the_same_contract_goes_on(world: World):
    await connected(world)
    await world.killed("hold_before", create())
    newer = connector(version="1.1.0")
    async with world.process(manifest=newer) as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        run = (await process.last()).run
        assert (run.connector_version, run.manifest_digest) == ("1.1.0", newer.digest)
        assert "run.manifest_changed" in await process.events(run.run_id)


async def test_a_newer_connector_with_another_contract_does_not(world: World):
    await connected(world)
    await world.killed("hold_before", create())

    class More(sdk.Input):
        """Open an issue."""

        repo: sdk.Repo
        title: str
        body: str | None = None
        more: str | None = None

    from fix_app import FIND, Issue

    changed = [
        sdk.post("issue.create", "/repos/{repo}/issues", input=More, output=Issue, scopes=["repo"], reconcile=FIND),
        *operations()[1:],
    ]
    async with world.process(manifest=connector(version="2.0.0", operations=changed)) as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.error is not None
        assert recovered.error.code == "manifest_changed"
        assert recovered.state is runs.State.WAITING
        assert world.server.effects("issues/create") == 0


async def test_a_cancel_request_keeps_recovery_from_sending(world: World):
    await connected(world)
    await world.killed("hold_before", create())
    async with world.process() as process:
        await process.il.runs.cancel((await process.last()).run.run_id)
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.FAILED
        assert world.server.effects("issues/create") == 0


async def test_an_idle_sweep_writes_nothing_and_processes_that_left_nothing_are_forgotten_in_one_commit(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    await connected(file_world)
    for number in range(3):
        async with file_world.doomed() as process:
            await process.create(title=f"Door {number}")
    async with file_world.process() as process:
        wiring, writes = process.parts.wiring, list[object]()
        write = wiring.store.write

        async def counted(fn: Callable[[Tx], object], *, urgent: bool = False) -> object:
            writes.append(fn)
            return await write(fn, urgent=urgent)

        await process.sweep()
        monkeypatch.setattr(wiring.store, "write", counted)
        await process.sweep()
        assert writes == []
        file_world.advance(LEASE + 1)
        await process.sweep()
        monkeypatch.undo()
        assert len(writes) == 1
        assert await wiring.store.read(wiring.ledger.list_owners) == []


async def test_policy_that_forbids_it_now_keeps_recovery_from_sending(world: World):
    await connected(world)
    await world.killed("hold_before", create())
    world.law = policy.Policy(rules=(policy.Rule(rule_id="no", then=policy.Effect.DENY),))
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.FAILED
        assert world.server.effects("issues/create") == 0
        decisions = (await process.last()).decisions
        assert [(each.number, each.effect) for each in decisions] == [(1, "allow"), (2, "deny")]


async def test_a_run_that_kills_its_processes_is_not_sent_for_ever(world: World):
    await connected(world)
    await world.killed("hold_before", create())
    for _ in range(MAX_ATTEMPTS - 1):
        await world.killed("hold_before", lambda process: process.il.runs.recover())
    sent = len(world.server.requests("issues/create"))
    assert sent == MAX_ATTEMPTS
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.FAILED
        assert len(world.server.requests("issues/create")) == sent
        assert world.server.effects("issues/create") == 0


@pytest.mark.parametrize("port", ["admit", "apply"])
async def test_an_answer_of_the_store_that_was_lost(every_world: World, monkeypatch: pytest.MonkeyPatch, port: str):
    """The commit went through, and its answer did not: the caller gets an error, and nobody here works on the run."""
    world = every_world
    async with world.process() as process:
        await process.connect(world.server.url)
        ledger = process.parts.wiring.ledger
        original = getattr(ledger, port)
        lost = port == "apply"

        async def lose(value: object) -> object:
            if not lost:
                await original(value)
            raise StoreError("the connection to the database broke", details={runs.WRITTEN: "unknown"})

        monkeypatch.setattr(ledger, port, lose)
        with pytest.raises(runs.OutcomeUnsaved) as raised:
            await process.create()
        monkeypatch.undo()
        run = (await process.last()).run
        assert raised.value.run_id == run.run_id
        assert run.state is runs.State.RUNNING
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1
        assert await process.il.runs.recover() == []


async def test_a_store_that_fails_during_recovery_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    await connected(world)
    await world.killed("hold_before", create())
    async with world.process() as process:

        async def broken(*args: object, **kwargs: object) -> None:
            raise StoreError("busy")

        with monkeypatch.context() as patch:
            patch.setattr(process.parts.wiring.connections, "resolve", broken)
            assert await process.il.runs.recover() == []
        assert (await process.last()).run.state is runs.State.RUNNING
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED


async def test_one_run_that_breaks_recovery_does_not_keep_the_others(world: World, monkeypatch: pytest.MonkeyPatch):
    await connected(world)
    await world.killed("hold_before", create("One"))
    await world.killed("hold_before", create("Two"))
    async with world.process() as process:
        reading = process.parts.reading
        original, [second, first] = reading.history, await process.il.runs.list()

        async def damaged(tenant_id: str, run_id: str) -> runs.History:
            if run_id == first.run_id:
                raise KeyError("damaged")
            return await original(tenant_id, run_id)

        with monkeypatch.context() as patch:
            patch.setattr(reading, "history", damaged)
            [recovered] = await process.il.runs.recover()
        assert recovered.run_id == second.run_id
        [later] = await process.il.runs.recover()
        assert later.run_id == first.run_id


async def test_a_recovery_that_is_interrupted_is_recovered(world: World):
    await connected(world)
    await world.killed("hold", create())
    async with world.process() as process:
        world.server.fault("hold", match="GET /repos/*/issues")
        async with anyio.create_task_group() as group:
            group.start_soon(process.il.runs.recover)
            await anyio.to_thread.run_sync(world.server.wait_held)
            group.cancel_scope.cancel()
        world.server.release()
        assert (await process.last()).run.state is runs.State.RUNNING
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1


async def test_reading_for_a_person_that_is_interrupted_never_sends(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("cut_before", match="issues/create", apply=False)
        world.server.fault("status:500", match="GET /repos/*/issues", times=6)
        with pytest.raises(UnknownOutcome):
            await process.create()
        world.server.clear_faults()
        run_id = (await process.last()).run.run_id
        world.server.fault("hold", match="GET /repos/*/issues")
        async with anyio.create_task_group() as group:
            group.start_soon(process.il.runs.settle, run_id)
            await anyio.to_thread.run_sync(world.server.wait_held)
            group.cancel_scope.cancel()
        world.server.release()
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.FAILED
        assert world.server.effects("issues/create") == 0


async def test_a_process_that_ends_in_good_order_leaves_its_work_at_once(world: World):
    await connected(world)
    await world.killed("hold", create())
    async with world.process() as process:
        await process.il.runs.recover()
        assert process.parts.wiring.ownership.remaining() <= LEASE
    async with world.process() as process:
        assert await process.il.runs.recover() == []


async def test_a_store_that_fails_while_the_service_is_read_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    """It says nothing of the service: no person is asked for what reading again will tell."""
    await connected(world)
    await world.killed("hold", create())
    async with world.process() as process:
        ledger = process.parts.wiring.ledger
        apply = ledger.apply

        async def fail_to_send(change: runs.Change) -> None:
            if "send.intended" in repr(change):
                raise StoreError("gone")
            await apply(change)

        with monkeypatch.context() as patch:
            patch.setattr(ledger, "apply", fail_to_send)
            assert await process.il.runs.recover() == []
        assert (await process.last()).run.state is runs.State.RUNNING
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1
